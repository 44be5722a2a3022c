#!/bin/bash
# Makes a small server out of a Debian chroot and runs a command in it: its /usr, /boot and /var are file systems of
# their own, /home is one of a kind that no image takes in, and /tmp is in memory.
#
# Usage: server.sh LTSP CHROOT FOLDER COMMAND [ARGUMENT]...
#
# LTSP is the program to install, CHROOT a Debian that is only read, FOLDER an empty directory on a disk. The command
# runs outside of the server; $server is the server's root, $disks shows its disks alone. All of it ends with the
# command.

set -euo pipefail

if [ "$1" != inside ]; then
    exec unshare --mount --pid --fork --kill-child --mount-proc "$0" inside "$@"
fi
shift

program=$1 chroot=$2 folder=$3
shift 3
umask 022
export server=$folder/server disks=$folder/disks
tree=$folder/tree

cp -a "$chroot" "$tree"
cd "$tree"
install -m 0755 "$program" usr/local/sbin/ltsp
mkdir -p srv/ltsp srv/tftp etc/ssh etc/NetworkManager/system-connections home/alice boot var/log/site
echo 'alice:x:1000:1000::/home/alice:/bin/bash' >>etc/passwd
echo 'alice:x:1000:' >>etc/group
echo 'alice:hash:19000:0:99999:7:::' >>etc/shadow
echo 'UUID=1234 / ext4 defaults 0 1' >etc/fstab
echo 0123456789abcdef0123456789abcdef >etc/machine-id
echo 'psk=secret' >etc/NetworkManager/system-connections/wlan
echo key >etc/ssh/ssh_host_ed25519_key
echo log >var/log/syslog
echo log >var/log/site/access.log
echo kernel >boot/vmlinuz-6.1.0-9-amd64
echo ramdisk >boot/initrd.img-6.1.0-9-amd64
echo letter >home/alice/letter

# A file system in a file, with a tree in it.
disk() {
    truncate -s 300M "$folder/$1.ext4"
    mkfs.ext4 -q -O '^has_journal' -d "$2" "$folder/$1.ext4"
}
for part in boot var usr; do
    mkdir "$folder/$part"
    cp -a "$part/." "$folder/$part"
    find "$part" -mindepth 1 -delete
    disk "$part" "$folder/$part"
done
disk root "$tree"
cd "$folder"
rm -rf "$tree" boot var usr

mkdir "$server" "$disks"
mount -o loop "$folder/root.ext4" "$server"
for part in boot var usr; do mount -o loop "$folder/$part.ext4" "$server/$part"; done
for part in '' boot var usr; do mount --bind "$server/$part" "$disks/$part"; done
mount -t tmpfs home "$server/home"
mkdir -p "$server/home/alice"
echo letter >"$server/home/alice/letter"
mount -t tmpfs tmp "$server/tmp"
mount -t tmpfs run "$server/run"
mount -t proc proc "$server/proc"
mount -t sysfs sys "$server/sys"
mount --rbind /dev "$server/dev"

"$@"
