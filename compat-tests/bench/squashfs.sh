#!/bin/sh
# Compares the built-in squashfs writer with mksquashfs: time, size, memory, and the bound.
#
#   compat-tests/bench/squashfs.sh [minimal|desktop|million]...
#
# Environment: ROUNDS (3), COMP (gzip; zstd, xz, lz4), LTSP_TEST_CACHE (where the trees are kept; about
# 3 GB). To be run as root, on an idle machine. Both write into /dev/shm, so that no disk is measured.
set -eu

rounds=${ROUNDS:-3}
comp=${COMP:-gzip}
cache=${LTSP_TEST_CACHE:-/var/cache/ltsp-image-tools-tests}
here=$(dirname "$0")/../..
work=$(mktemp -d /dev/shm/squashfs-bench.XXXXXX)
trap 'rm -rf "$work"' EXIT INT TERM

# make_tree NAME: makes the tree unless an earlier run did.
make_tree() {
    [ -d "$cache/$1" ] && return
    mkdir -p "$cache"
    rm -rf "$cache/$1.tmp"
    case $1 in
        minimal) set -- "$1" linux-image-cloud-amd64 ;;
        desktop) set -- "$1" linux-image-cloud-amd64,task-xfce-desktop ;;
        million)
            # 1,000 directories of 1,000 files with 40 to 1,000 bytes, each different.
            mkdir "$cache/$1.tmp"
            awk -v root="$cache/$1.tmp" 'BEGIN {
                for (d = 0; d < 1000; d++) {
                    directory = root "/" d; system("mkdir " directory)
                    for (f = 0; f < 1000; f++) {
                        file = directory "/file" f; text = d " " f
                        for (n = 0; n < f % 25; n++) text = text " some words for " d * f + n
                        print text > file; close(file)
                    }
                }
            }'
            mv "$cache/$1.tmp" "$cache/$1"
            return ;;
        *) echo "no tree is called $1" >&2; exit 2 ;;
    esac
    # With what the packages recommend, as an admin's desktop has it: 2.1 GB.
    mmdebstrap --variant=apt --aptopt='APT::Install-Recommends "true"' --include="$2" bookworm "$cache/$1.tmp"
    mv "$cache/$1.tmp" "$cache/$1"
}

# measured NAME COMMAND...: adds "seconds KiB processor-seconds" of one run to the file NAME.
measured() {
    out=$1
    shift
    /usr/bin/time -a -o "$work/$out" -f '%e %M %U %S' "$@" >/dev/null
}

# median FILE COLUMN
median() {
    sort -n -k "$2" "$work/$1" | awk -v c="$2" '{ $3 += $4; v[NR] = $c } END { print v[int((NR + 1) / 2)] }'
}

compare() {
    tree=$cache/$1
    rm -f "$work"/*
    find "$tree" -type f -exec cat {} + >/dev/null # Both find the tree in the page cache.
    for _ in $(seq "$rounds"); do
        rm -f "$work/ours.img"
        measured ours "$program" "$tree" "$work/ours.img" "comp=$comp"
        rm -f "$work/theirs.img"
        measured theirs mksquashfs "$tree" "$work/theirs.img" -comp "$comp" -no-progress
        "$program" "$tree" "$work/ours.img" "comp=$comp" bound >>"$work/bound"
    done
    ours=$(median ours 1) theirs=$(median theirs 1) bound=$(median bound 1)
    our_size=$(stat -c %s "$work/ours.img") their_size=$(stat -c %s "$work/theirs.img")
    awk -v tree="$1" -v comp="$comp" -v o="$ours" -v t="$theirs" -v b="$bound" -v os="$our_size" -v ts="$their_size" \
        -v om="$(median ours 2)" -v tm="$(median theirs 2)" -v oc="$(median ours 3)" -v tc="$(median theirs 3)" 'BEGIN {
        printf "%s, %s\n", tree, comp
        printf "  time    ours %8.2f s    mksquashfs %8.2f s    ratio %.2f\n", o, t, t / o
        printf "  CPU     ours %8.2f s    mksquashfs %8.2f s    ratio %.2f\n", oc, tc, tc / oc
        printf "  size    ours %10d    mksquashfs %10d    ratio %.4f\n", os, ts, os / ts
        printf "  memory  ours %6d MiB    mksquashfs %6d MiB\n", om / 1024, tm / 1024
        printf "  bound   %8.2f s    ours / bound %.2f\n", b, o / b
    }'
}

cargo build --quiet --release --manifest-path "$here/Cargo.toml" --example squashfs
program=$here/target/release/examples/squashfs
[ $# -gt 0 ] || set -- minimal desktop
echo "$(nproc) processors, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(mksquashfs -version | head -n 1)"
for name; do
    make_tree "$name"
    compare "$name"
done
