#!/bin/bash
# Makes DIRECTORY with every kind of entry that a file system can hold.
#
# Usage: odd.sh DIRECTORY [common]
#
# With "common" as far as small file systems of every type can hold it.

set -euo pipefail
umask 022
case ${2:-} in
common) link=1000 files=300 major=511 minor=262143 ;; # the limits of XFS
*) link=4000 files=5000 major=4095 minor=1048575 ;;
esac

mkdir "$1"
cd "$1"
# Names of any bytes.
touch 'two words' $'line\nbreak' $'\xff\xfe' -- -dash '*' '[a]' \\ "'" '"' .hidden "$(printf 'n%.0s' $(seq 255))"
# Modes, owners and times at their ends.
touch mode0 mode7777 owner time0 time1 time-last
chmod 0 mode0
chmod 7777 mode7777
chown 70000:4000000000 owner
touch -d @0 time0
touch -d @1 time1
touch -d @4294967295 time-last
install -d -m 1777 sticky
install -d -m 0 closed
# Links.
ln -s "$(printf 'x%.0s' $(seq "$link"))" link-long
ln -s nowhere link-dangling
ln -s link-loop link-loop
ln -s /etc/passwd link-absolute
echo linked >linked
mkdir other
ln linked other/linked
# Devices, pipes and sockets.
mkfifo -m 600 pipe
mknod -m 640 char c "$major" "$minor"
mknod -m 660 block b 259 65536
perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0) && bind(S, pack_sockaddr_un("socket")) || die "socket: $!\n"'
ln link-dangling other/link-dangling
ln char other/char
# Contents around the size of a block, duplicates, holes.
for size in 1 131071 131072 131073 1000000; do head -c "$size" /dev/urandom >"size-$size"; done
cp size-1000000 duplicate
truncate -s 20M hole
echo end >>hole
truncate -s 131072 zeroes
# A directory too large for one block of names.
mkdir many
seq -f 'many/a name of some length, %05g' "$files" | tr '\n' '\0' | xargs -0 touch --
# Extended attributes, shared and large.
for file in size-1 duplicate linked many; do setfattr -n user.shared -v same "$file"; done
setfattr -n user.large -v "$(printf 'v%.0s' $(seq 3000))" size-1
setfattr -n trusted.odd -v 0x0001feff size-1
setcap cap_net_raw=ep duplicate
setfattr -h -n trusted.on-link -v link link-absolute
