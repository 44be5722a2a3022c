#!/bin/bash
# Runs a command in a world of its own: the program freshly installed on what looks like an LTSP server, on
# this machine's own system, and nothing done there reaches the machine.
#
# Usage: world.sh PROGRAM FOLDER COMMAND [ARGUMENT]...
#
# PROGRAM is the ltsp-update-image to install. FOLDER, on a disk, takes up /opt/ltsp, where images get large;
# whatever else is written goes to memory. Mounts, processes and network are private, and all end with the command.

set -euo pipefail

if [ "$1" != inside ]; then
    exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" inside "$@"
fi
shift

program=$(realpath "$1")
folder=$(realpath "$2")
shift 2
project=$(cd "$(dirname "$0")/.." && pwd)

ip link set lo up

# Over a fresh /run, the files that servers and other programs of this machine keep there are out of sight:
# also the sign of a running systemd, so that services are started by their init scripts, here inside.
mount -t tmpfs -o mode=0755 world /run
make --silent -C "$project" install DESTDIR=/run/world/installed PREFIX=/usr PROGRAM="$program"
# Before the overlays, which would take its contents into memory if it lies below one of them.
mkdir -p /run/world/folder "$folder/ltsp"
mount --bind "$folder/ltsp" /run/world/folder

for place in /etc /opt /srv /tmp /usr/sbin; do
    layer=/run/world/layers$place
    mkdir -p "$layer/upper" "$layer/work"
    chmod --reference="$place" "$layer/upper"
    mount -t overlay -o "lowerdir=$place,upperdir=$layer/upper,workdir=$layer/work" world "$place"
done
cp -a /run/world/installed/usr/sbin/. /usr/sbin

# A server as the packages leave it: what the administrator of this machine made of it does not count.
rm -rf /etc/ltsp /etc/nbd-server /etc/exports /etc/exports.d /opt/ltsp /srv/tftp /tmp/nbd-swap
cp -a /run/world/installed/etc/ltsp /etc/ltsp
mkdir -p /etc/nbd-server/conf.d /opt/ltsp /srv/tftp
# As Debian's package has it, but for IPv4 alone: up to 3.24 nbd-server takes an IPv4 client of a socket for both
# versions as admitted whatever the allow file says (https://github.com/NetworkBlockDevice/nbd/issues/137).
printf '%s\n' '[generic]' 'user = nbd' 'group = nbd' 'listenaddr = 0.0.0.0' 'includedir = /etc/nbd-server/conf.d' \
    >/etc/nbd-server/config
echo 'TFTP_DIRS=/srv/tftp' >>/etc/ltsp/ltsp-server.conf
mount --bind /run/world/folder /opt/ltsp

# Services can be started in here, also where this machine forbids it; and this is a running system.
rm -f /usr/sbin/policy-rc.d
printf '#!/bin/sh\nexit 0\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

export RUNLEVEL=2 PREVLEVEL=N
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
cd /
exec "$@"
