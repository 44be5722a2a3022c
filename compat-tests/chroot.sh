#!/bin/bash
# Makes a Debian chroot for the demo and the tests, or finds the one made before, and prints where it is.
#
# Usage: chroot.sh demo|netboot|services
#
# The chroots have the suite of this machine and come from its own Debian mirrors, so this works wherever
# apt does. They are kept in $LTSP_TEST_CACHE (default /var/cache/ltsp-image-tools-tests), under a name
# that ends in a hash of the recipe: another recipe, or an emptied cache, has them made again.

set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
cache=${LTSP_TEST_CACHE:-/var/cache/ltsp-image-tools-tests}
# shellcheck source=/dev/null
suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")

# Prints the recipe of chroot $1: the options of mmdebstrap, one a line.
recipe() {
    printf '%s\n' --mode=root --aptopt='APT::Install-Recommends false'
    case $1 in
    demo)
        # What makes a Debian, and nothing else; without documentation it is small.
        printf '%s\n' --variant=essential --dpkgopt='path-exclude=/usr/share/doc/*' \
            --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
        ;;
    netboot)
        # A client as an LTSP server exports it. iputils-ping brings a file capability, that is an extended
        # attribute; the other files make the ramdisk able to mount a squashfs and the system report its root.
        printf '%s\n' --variant=apt \
            --include=linux-image-cloud-amd64,initramfs-tools,nbd-client,systemd-sysv,iputils-ping \
            "--essential-hook=sync-in '$here/rigs/netboot' /" \
            "--customize-hook=chroot \"\$1\" systemctl enable netboot-report.service"
        ;;
    services)
        # What makes keys when it is installed, and what brings keys as examples or for its tests, with all
        # documentation.
        printf '%s\n' --variant=apt \
            --include=openssh-server,ssl-cert,ca-certificates,perl,libio-socket-ssl-perl,python3,python3-tornado,openvpn \
            --include=wpasupplicant,network-manager,cups-daemon,apache2,wireguard-tools,samba-common,cloud-init,cryptsetup-bin
        ;;
    *)
        echo "chroot.sh: there is no recipe for a chroot named '$1'" >&2
        return 1
        ;;
    esac
}

# Prints the lines of sources.list that name this machine's Debian mirrors.
debian_mirrors() {
    # The words beginning with $ are apt's own; anything but Debian's own packages stays out.
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 'Origin: Debian' |
        grep -E " $suite(-updates|-security)? main\$" |
        sort -u |
        sed 's,^,deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ,'
}

# Prints the options of mmdebstrap that hand on how this machine's apt reaches its mirrors. Mostly there are
# none, for which grep has a status of its own.
transport() {
    apt-config dump |
        sed -nE 's/^(Acquire::(https?|ftp|Check-|Retries)[^ ]*) (.*);$/--aptopt=\1 \3/p' |
        grep -v ' ""$' || true
}

wanted=$(recipe "${1:?which chroot?}")
hash=$({
    echo "$suite $(dpkg --print-architecture) ${wanted//$here/}"
    if [ -d "$here/rigs/$1" ]; then
        cd "$here/rigs/$1"
        find . -type f -printf '%p %m\n' -exec sha256sum {} + | sort
    fi
} | sha256sum | cut -c 1-12)
chroot=$cache/$1-$hash

mkdir -p "$cache"
# Two tests may want the same chroot at the same time: the second waits for the first.
exec 9>"$cache/.$1.lock"
flock 9

if [ ! -d "$chroot" ]; then
    echo "Making the chroot $chroot" >&2
    mirrors=$(debian_mirrors)
    if [ -z "$mirrors" ]; then
        echo "chroot.sh: apt knows no mirror of Debian $suite; is this Debian, and has 'apt-get update' been run?" >&2
        exit 1
    fi
    new=$cache/.$1.new
    rm -rf --one-file-system "$new"
    mapfile -t options < <(recipe "$1"; transport)
    mmdebstrap --quiet "${options[@]}" "$suite" "$new" - <<<"$mirrors" >&2 9>&-
    mv "$new" "$chroot"
fi
echo "$chroot"
