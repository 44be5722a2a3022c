//! File systems that the root's own fstab adds from the same disk (U3).

use std::path::Path;

use crate::world::{World, privately};

const TABLE: &str = "label: gpt\nstart=2048, size=16384, name=boot\nstart=18432, size=16384\n\
                     start=34816, size=16384, uuid=01234567-89AB-CDEF-0123-456789ABCDEF\nstart=51200, size=16384\n";

/// A disk with /boot, the root, /usr and /var, in this order; the root has this fstab.
fn disk(world: &World, fstab: &str) {
    world.tree("boot", &["vmlinuz-1", "grub/grub.cfg"]);
    world.tree(
        "root",
        &[
            "etc/passwd",
            "bin -> usr/bin",
            "sbin -> usr/sbin",
            "boot/hidden",
            "usr/",
            "var/",
            "proc/",
            "opt -> /etc",
        ],
    );
    world.tree("usr", &["bin/true", "sbin/init", "lib/os-release", "local/"]);
    world.tree("var", &["lib/dpkg/status", "log/"]);
    std::fs::write(world.path("root/etc/fstab"), fstab).unwrap();
    let images = [
        world.ext4("boot", "-U 11111111-2222-3333-4444-555555555555"),
        world.ext4("root", "-L system"),
        world.ext4("usr", ""),
        world.ext4("var", "-L 'the var'"),
    ];
    let contents: Vec<(u64, &Path)> = [1, 9, 17, 25].into_iter().zip(images.iter().map(|p| &**p)).collect();
    world.disk("disk", 40, TABLE, &contents);
}

#[test]
fn separate_file_systems_are_put_in_their_places_however_they_are_named() {
    privately(|world| {
        for fstab in [
            "LABEL=system / ext4 defaults 0 1\nUUID=11111111-2222-3333-4444-555555555555 /boot ext4 ro 0 2\n\
             PARTUUID=01234567-89ab-cdef-0123-456789abcdef /usr ext4\nLABEL=\"the\\040var\" /var ext4\n",
            "/dev/sda4 /var ext4\n/dev/sda3 /usr ext4\n/dev/sda2 / ext4\n/dev/sda1 /boot ext4\n/dev/sr0 /cd udf\n",
            "/dev/vdb2 / ext4\n/dev/vdb3 /usr ext4\nPARTLABEL=boot /boot ext4\n/dev/vdb4 /var ext4\n\
             UUID=0 none swap\ntmpfs /tmp tmpfs\nserver:/home /home nfs\n",
        ] {
            disk(world, fstab);
            let expected = world.expected(&[("root", ""), ("boot", "boot"), ("usr", "usr"), ("var", "var")]);
            assert_eq!(world.seen("@/disk"), expected, "{fstab}");
            assert_eq!(world.seen("@/disk,partition=2"), expected, "{fstab}");
        }
    });
}

// What is not there is told; without /usr there is no system.
#[test]
fn what_lies_on_another_disk_is_left_out_and_usr_cannot_be() {
    privately(|world| {
        disk(
            world,
            "LABEL=system / ext4\nUUID=0000-0000 /boot ext4\nLABEL=x /var xfs nofail\n/dev/sda3 /usr ext4\n",
        );
        assert_eq!(world.seen("@/disk"), world.expected(&[("root", ""), ("usr", "usr")]));
        disk(world, "UUID=99999999-2222-3333-4444-555555555555 /usr ext4\n");
        let error = world.refused("@/disk");
        assert!(error.contains("the programs of the root are elsewhere"), "{error}");
        assert!(error.contains("UUID=9999") && error.contains("subdir=usr"), "{error}");
        // A later element may bring it.
        let expected = world.expected(&[("root", ""), ("usr", "usr")]);
        assert_eq!(world.seen("@/disk,,@/usr.ext4,subdir=usr"), expected);
    });
}

// The list's own elements go over what fstab asks for (S4).
#[test]
fn elements_of_the_list_replace_those_of_fstab() {
    privately(|world| {
        disk(world, "LABEL=system / ext4\n/dev/sda1 /boot ext4\n/dev/sda3 /usr ext4\n");
        world.tree("other", &["kernel"]);
        let usual = world.expected(&[("root", ""), ("boot", "boot"), ("usr", "usr")]);
        assert_eq!(world.seen("@/disk,partition=2,,@/disk,partition=1,subdir=boot"), usual);
        let expected = world.expected(&[("root", ""), ("usr", "usr"), ("other", "boot")]);
        assert_eq!(world.seen("@/disk,,@/other,subdir=/boot/"), expected);
    });
}

#[test]
fn a_hostile_fstab_reaches_nothing_outside_of_its_root() {
    privately(|world| {
        disk(
            world,
            "LABEL=system / ext4\nUUID=11111111-2222-3333-4444-555555555555 /../../../../boot ext4\n\
             /dev/sda4 /opt ext4\n/dev/sda4 /opt/../../etc ext4\n/dev/sda3 /usr ext4 subvol=/../..,suid,dev\n\
             LABEL=system /proc/self/root ext4\n/dev/sda2 /var ext4\n/etc/passwd /var ext4 loop\n",
        );
        // ext4 has no subvolumes: the option is refused by the kernel, not by whatever it names.
        let error = world.refused("@/disk");
        assert!(error.contains("subvol=/../.."), "{error}");
        disk(
            world,
            "LABEL=system / ext4\nUUID=11111111-2222-3333-4444-555555555555 /../../../../boot ext4\n\
             /dev/sda4 /opt ext4\n/dev/sda4 /opt/../../etc ext4\n/dev/sda3 /usr ext4 suid,dev\n\
             LABEL=system /proc/self/root ext4\n/dev/sda2 /var ext4\n/etc/passwd /var ext4 loop\n",
        );
        let mounted = world.mount("@/disk").unwrap();
        let root = mounted.root().to_owned();
        let targets: Vec<_> = mounted.layers().iter().map(|layer| layer.target.clone()).collect();
        // /opt leads to /etc, in the root; nothing says that this must not be.
        assert_eq!(targets, ["", "boot", "etc", "usr"].map(Path::new));
        assert!(mounted.layers().iter().all(|layer| layer.lower.starts_with(root.parent().unwrap())));
    });
}
