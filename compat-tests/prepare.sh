#!/bin/bash
# Sees to it that what a command needs is installed, then runs the command. Needs root.
#
# Usage: prepare.sh demo|check|bench COMMAND [ARGUMENT]...
#
# Only what is missing is installed, with apt-get, and nothing is ever removed for it.

set -euo pipefail

project=$(cd "$(dirname "$0")/.." && pwd)
needed=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$project/Cargo.toml")

# One line for each group of packages that belong together: apt resolves a group in one call.
packages() {
    echo gcc libc6-dev make
    echo nbd-server libnbd-bin mmdebstrap debian-archive-keyring iproute2 attr procps
    [ "$1" != bench ] || echo hyperfine squashfs-tools
    [ "$1" = check ] || return 0
    echo btrfs-progs busybox-static e2fsprogs fdisk libcap2-bin lsof shellcheck squashfs-tools squashfs-tools-ng xfsprogs xz-utils zstd
    echo qemu-system-x86 qemu-utils
    echo ltsp openssh-client openssl passwd
}

fail() {
    printf 'prepare.sh: %s\n' "$*" >&2
    exit 1
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get --quiet=2 --assume-yes --no-remove --no-install-recommends "$@" </dev/null
}

# Fetches the package lists, once and only if they are needed.
update() {
    [ -n "${updated:-}" ] || apt update
    updated=yes
}

installed() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# Whether cargo and rustc in folder $1 are both there and new enough.
recent() {
    local tool version
    for tool in cargo rustc; do
        version=$("$1/$tool" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
        [ -n "$version" ] && dpkg --compare-versions "$version" ge "$needed" || return 1
    done
}

# Puts a recent cargo into PATH: that of root, of the user behind sudo, or else Debian's.
find_cargo() {
    local home
    ! recent "$(dirname "$(command -v cargo || echo /nowhere/cargo)")" || return 0
    ! recent ~/.cargo/bin || { PATH=~/.cargo/bin:$PATH; return 0; }
    if [ -n "${SUDO_USER:-}" ]; then
        home=$(getent passwd "$SUDO_USER" | cut -d : -f 6)
        # What is in bin is rustup, which looks for the toolchains of its user; what it downloads stays root's.
        if RUSTUP_HOME=$home/.rustup recent "$home/.cargo/bin"; then
            export RUSTUP_HOME=$home/.rustup
            PATH=$home/.cargo/bin:$PATH
            return 0
        fi
    fi
    update
    # Debian 12 has a new one under another name, for its web browsers.
    local package version
    for package in cargo cargo-web; do
        version=$(LC_ALL=C apt-cache policy "$package" | sed -n 's/^  Candidate: \(.*:\)\?//p')
        # Up to Debian 12 the package cargo counts in versions of its own, all below those of Rust.
        if [ "${version:-(none)}" != '(none)' ] && dpkg --compare-versions "$version" ge "$needed"; then
            echo "Installing $package $version"
            apt install "$package" && recent /usr/bin && return 0
        fi
    done
    fail "cargo $needed or newer is needed, and neither this machine nor its Debian has it;" \
        "https://rustup.rs says how to get it, as root or as the user who calls sudo"
}

[ "$(id -u)" = 0 ] || fail "this needs root (mounts and namespaces): sudo make $1"
command -v apt-get >/dev/null || fail "this needs Debian: there is no apt-get here"

while read -ra group; do
    missing=()
    for package in "${group[@]}"; do
        installed "$package" || missing+=("$package")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        echo "Installing ${missing[*]}"
        update
        apt install "${missing[@]}"
    fi
done < <(packages "$1")
# The chroots come from the mirrors that the package lists name.
[ -n "$(apt-get indextargets 'Created-By: Packages' 'Origin: Debian')" ] || update

find_cargo
export PATH
shift
exec "$@"
