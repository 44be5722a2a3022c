#!/bin/bash
# Shows, on a small real Debian, what ltsp-update-image does, and that the result is right. Needs root.
#
# Usage: demo.sh
#
# Everything happens in a world of its own (see world.sh). What stays is the cached chroot.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

say() {
    printf '\n== %s\n' "$*"
}

# Prints a line for each entry of tree $1: its path, then everything that an image has to keep, contents included.
listing() {
    cd "$1"
    find . -type f -printf '%P\t%y %m %U:%G %n %s %Ts ' -exec sh -c 'sha256sum <"$1"' sh {} \; \
        -o -type l -printf '%P\t%y %m %U:%G %Ts -> %l\n' \
        -o -printf '%P\t%y %m %U:%G %Ts\n'
    find . \( -type b -o -type c \) -exec stat --printf '%n\tdevice %t:%T\n' {} +
    # A squashfs without any attribute says that it supports none.
    if getfattr . 2>/dev/null; then
        getfattr --recursive --no-dereference --dump --match='^(user|trusted|security)\.' . |
            awk '/^# file: / { file = substr($0, 9); next } $0 != "" { print file "\t" $0 }'
    fi
}

# Reads a listing and leaves out what the exclude list keeps out of an image of tree $1.
without_excluded() {
    "$here/rigs/excluded.sh" /etc/ltsp/ltsp-update-image.excludes "$1" | tr '\0' '\n' >/run/excluded
    awk -F '\t' 'part == 1 { excluded[$0]; next }
        { path = $1; sub(/^\.\//, "", path)
          while (path != "") { if (path in excluded) next; if (!sub(/\/[^\/]*$/, "", path)) break }
          print }' part=1 /run/excluded part=2 -
}

if [ "${1:-}" != inside ]; then
    say "Building ltsp-update-image"
    make --no-print-directory -C "$here/.."

    say "Getting a chroot: a small Debian, as an administrator would make one for the clients"
    chroot=$("$here/chroot.sh" demo)
    echo "$chroot"

    folder=$(mktemp -d /var/tmp/ltsp-demo.XXXXXX)
    world=
    # Killing the world ends everything in it, its mounts included. It may have ended by itself.
    trap '[ -z "$world" ] || kill -KILL "$world" 2>/dev/null || true; wait; rm -rf --one-file-system "$folder"' EXIT
    trap 'exit 1' HUP INT TERM
    "$here/world.sh" "$here/../target/release/ltsp-update-image" "$folder" "$here/demo.sh" inside "$chroot" &
    world=$!
    wait "$world"
    exit
fi

mkdir /opt/ltsp/demo
mount --bind -o ro "$2" /opt/ltsp/demo

say "Making and publishing its image: ltsp-update-image demo"
ltsp-update-image demo
ls -l /opt/ltsp/images

say "The export that it has written for nbd-server"
cat /etc/nbd-server/conf.d/ltsp_demo.conf

say "nbd-server is running; a client asks it for that export"
for _ in $(seq 100); do
    ! nbdinfo --size nbd://127.0.0.1//opt/ltsp/demo >/dev/null 2>&1 || break
    sleep 0.1
done
echo "It gets $(nbdinfo --size nbd://127.0.0.1//opt/ltsp/demo) bytes."

say "Reading all of it through the NBD protocol: is it the image, byte for byte?"
nbdcopy nbd://127.0.0.1//opt/ltsp/demo /opt/ltsp/received
cmp /opt/ltsp/images/demo.img /opt/ltsp/received
echo "Yes, $(stat -c %s /opt/ltsp/received) bytes."

say "Mounting what was read: does it hold the chroot, less what the exclude list names?"
mkdir /run/received
mount -t squashfs -o loop,ro /opt/ltsp/received /run/received
(listing /opt/ltsp/demo) | without_excluded /opt/ltsp/demo | sort >/run/wanted
(listing /run/received) | sort >/run/found
diff /run/wanted /run/found
echo "Yes: $(cut -f 1 /run/found | sed 's,^\./,,' | sort -u | wc -l) entries are equal in type, mode, owner, time, link, device, attributes and bytes;"
echo "$(wc -l </run/excluded) paths are left out, as the exclude list says."

say "All of it is right. Nothing of it stays on this machine but the cached chroot."
