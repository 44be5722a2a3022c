//! The image of a real chroot holds the chroot, whole and exact, less what the exclude list names.

// A test's figures go to its output.
#![allow(clippy::print_stdout)]

mod rigs;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use rigs::world::{World, succeeds};
use rigs::{chroot, excludes, tree};

/// Adds to the Debian in $1 what a fresh one lacks: things that the exclude list names, names that it just
/// does not, and every kind of entry that a file system can hold.
const PLANT: &str = r#"
set -eu
cd "$1"
umask 022
# Excluded, or nearly: wildcards do not match a leading dot (X3).
mkdir -p home/alice/Documents var/log/site/deeper srv/tftp etc/.git etc/udev/rules.d root/.ssh var/log/journal/0 \
    snap/core/1 opt/ltsp-old/images opt/lts media/cdrom
touch home/alice/.profile home/.kept swapfile root/.ssh/id_ed25519 tmp/.lock tmp/left var/log/syslog.1 \
    var/log/syslog.kept var/log/site/deep.1 var/log/journal/0/system.journal etc/.git/config \
    etc/udev/rules.d/70-persistent-net.rules etc/udev/rules.d/7-persistent-net.rules \
    var/cache/apt/archives/a.deb var/cache/apt/archives/a.txt swapfile2 media/.kept
# Names of any bytes.
mkdir usr/odd
cd usr/odd
touch 'two words' $'line\nbreak' $'\xff\xfe' -- -dash '*' '[a]' '\' "'" '"' .hidden "$(printf 'n%.0s' $(seq 255))"
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
ln -s "$(printf 'x%.0s' $(seq 4000))" link-long
ln -s nowhere link-dangling
ln -s link-loop link-loop
ln -s /etc/passwd link-absolute
echo linked >linked
mkdir other
ln linked other/linked
ln linked ../../home/alice/linked
# Devices and pipes.
mkfifo -m 600 pipe
mknod -m 640 char c 4095 1048575
mknod -m 660 block b 259 65536
ln link-dangling other/link-dangling
ln char other/char
# Contents around the size of a block, duplicates, holes.
for size in 1 131071 131072 131073 1000000; do head -c $size /dev/urandom >size-$size; done
cp size-1000000 duplicate
truncate -s 20M hole
echo end >>hole
truncate -s 131072 zeroes
# A directory too large for one block of names.
mkdir many
seq -f 'many/a name of some length, %05g' 5000 | tr '\n' '\0' | xargs -0 touch --
# Extended attributes, shared and large.
for file in size-1 duplicate linked many; do setfattr -n user.shared -v same $file; done
setfattr -n user.large -v "$(printf 'v%.0s' $(seq 3000))" size-1
setfattr -n trusted.odd -v 0x0001feff size-1
setcap cap_net_raw=ep duplicate
setfattr -h -n trusted.on-link -v link link-absolute
"#;

// Must show 5 of the first capability.
#[test]
fn the_image_of_a_real_chroot_equals_the_chroot_less_the_excludes() {
    let world = World::new();
    succeeds(world.command("cp").arg("-a").arg(chroot::netboot()).arg("/opt/ltsp/lab"));
    succeeds(world.command("bash").args(["-c", PLANT, "bash", "/opt/ltsp/lab"]));
    let lab = world.path("/opt/ltsp/lab");
    UnixListener::bind(lab.join("usr/odd/socket")).expect("a socket in the chroot");

    world.run("ltsp-update-image lab");

    let image = world.mount("/opt/ltsp/images/lab.img", "/run/image");
    let left_out = excludes::left_out(&world.path("/etc/ltsp/ltsp-update-image.excludes"), &lab);
    for (path, excluded) in [
        ("home/alice", true),
        ("home/.kept", false),
        ("swapfile", true),
        ("swapfile2", false),
        ("tmp/.lock", true),
        ("var/log/syslog.1", true),
        ("var/log/site/deep.1", true),
        ("var/log/site/deeper/deep.1", false),
        ("etc/passwd-", true),
        ("etc/.git", true),
        ("etc/udev/rules.d/70-persistent-net.rules", true),
        ("etc/udev/rules.d/7-persistent-net.rules", false),
        ("opt/ltsp-old", true),
        ("opt/lts", false),
    ] {
        assert_eq!(left_out.contains(Path::new(path)), excluded, "{path}");
    }
    let comparison = tree::compare(&lab, &image, &left_out);
    println!("image of a real chroot: {comparison}; {} paths excluded", left_out.len());
    assert!(comparison.differences.is_empty(), "{:#?}", comparison.differences);
    assert!(comparison.entries > 15_000 && comparison.xattrs >= 9 && comparison.devices > 8, "{comparison}");
}

/// A comparison that cannot fail proves nothing.
#[test]
fn the_comparison_notices_every_kind_of_difference() {
    let change = |what: &str| {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let script = r#"
            set -eu
            cd "$1"
            mkdir one one/dir
            echo text >one/file
            truncate -s 200000 one/large
            ln one/file one/linked
            ln -s file one/link
            mknod one/device c 1 3
            mkfifo one/pipe
            setfattr -n user.x -v y one/file
            cp -a one two
            cd two
        "#;
        succeeds(Command::new("bash").args(["-c", &format!("{script}\n{what}"), "bash"]).arg(folder.path()));
        tree::compare(&folder.path().join("one"), &folder.path().join("two"), &BTreeSet::new()).differences
    };
    assert_eq!(change(":"), Vec::<String>::new());
    for what in [
        "rm link",
        "touch more",
        "touch -r dir/. dir/more",
        "chmod 600 file",
        "chown 1 file",
        "chgrp 1 link -h",
        "chmod 700 .",
        "touch -d @5 dir",
        "touch -h -d @5 link",
        "ln -sf elsewhere link && touch -h -r ../one/link link",
        "cp -a --remove-destination ../one/file linked",
        "rm device && mknod device c 1 5 && touch -r ../one/device device",
        "rm device && mknod device b 1 3 && touch -r ../one/device device",
        "rm pipe && touch -r ../one/pipe pipe",
        "setfattr -x user.x file",
        "setfattr -n user.x -v z file",
        "setfattr -n trusted.y -v z dir",
        "echo tExt >file && touch -r ../one/file file",
        "printf x | dd of=large seek=199999 bs=1 conv=notrunc status=none && touch -r ../one/large large",
        "truncate -s 200001 large && touch -r ../one/large large",
    ] {
        assert_ne!(change(what), Vec::<String>::new(), "not noticed: {what}");
    }
}

/// The exclude list's wildcards, as the reference for the tests above has them.
#[test]
fn the_reference_for_excludes_knows_the_rule_of_the_leading_dot() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
    let place = |path: &str| folder.path().join(path);
    fs::create_dir_all(place("tree/a b/.c")).expect("a tree");
    fs::create_dir_all(place("tree/x")).expect("a tree");
    fs::write(place("list"), "# comment\n\na b/*\nx/\n").expect("a list");
    let found = excludes::left_out(&place("list"), &place("tree"));
    assert_eq!(found, BTreeSet::from([PathBuf::from("x")]));
    fs::write(place("list"), "a b/.*").expect("a list");
    let found = excludes::left_out(&place("list"), &place("tree"));
    assert_eq!(found, BTreeSet::from([PathBuf::from("a b/.c")]));
}
