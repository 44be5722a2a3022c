//! The image of a real chroot holds the chroot, whole and exact, less what the exclude list names.

// A test's figures go to its output.
#![allow(clippy::print_stdout)]

mod rigs;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rigs::world::{World, succeeds};
use rigs::{chroot, excludes, tree};

/// Adds to the Debian in $1 what a fresh one lacks: things that the exclude list names, names that it just
/// does not, and by the script $2 every kind of entry that a file system can hold.
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
"$2" usr/odd
ln usr/odd/linked home/alice/linked
"#;

// Must show 5 of the first capability.
#[test]
fn the_image_of_a_real_chroot_equals_the_chroot_less_the_excludes() {
    let world = World::new();
    succeeds(world.command("cp").arg("-a").arg(chroot::netboot()).arg("/opt/ltsp/lab"));
    succeeds(world.command("bash").args(["-c", PLANT, "bash", "/opt/ltsp/lab", tree::ODD]));
    let lab = world.path("/opt/ltsp/lab");

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
