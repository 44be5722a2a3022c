//! Roots in btrfs, at the top and in subvolumes (U3).

use crate::world::privately;

const FSTAB: &str = "UUID=ID / btrfs defaults,subvol=@ 0 0\n\
    UUID=ID /var btrfs compress=zstd,subvol=@var 0 0\n\
    UUID=ID /opt btrfs subvol=/@/inner,nofail 0 0\n\
    UUID=ID /home btrfs subvol=@home 0 0\n";

#[test]
fn a_root_in_a_subvolume_is_found_with_the_others_that_it_mounts() {
    privately(|world| {
        world.root("a");
        world.tree("v", &["lib/status"]);
        world.tree("i", &["inner file"]);
        world.tree("h", &["user/.bashrc"]);
        for name in ["@", "@rootfs", "root", "system"] {
            let uuid = world.uuid();
            let fstab = FSTAB.replace("@/", &format!("{name}/")).replace("UUID=ID", &format!("UUID={uuid}"));
            std::fs::write(world.path("a/etc/fstab"), fstab).unwrap();
            world
                .btrfs(&uuid, &[("a", name), ("v", "@var"), ("h", "@home"), ("i", &format!("{name}/inner"))]);
            let mut expected = world.expected(&[("a", ""), ("v", "var"), ("i", "opt")]);
            // The subvolume of /opt lies in the root's own, and is seen there too.
            for (path, what) in world.expected(&[("i", "inner")]) {
                expected.insert(path, what);
            }
            assert_eq!(world.seen("@/disk"), expected, "{name}");
        }
    });
}

#[test]
fn a_root_in_a_subvolume_of_a_partition_of_a_virtual_disk_is_found() {
    privately(|world| {
        world.root("a");
        world.btrfs(&world.uuid(), &[("a", "@rootfs")]);
        world.sh("mv disk content");
        world.disk("raw", 136, "label: gpt\nstart=2048, size=262144\n", &[(1, &world.path("content"))]);
        world.sh("qemu-img convert -O qcow2 raw disk.qcow2");
        assert_eq!(world.seen("@/disk.qcow2"), world.expected(&[("a", "")]));
    });
}

#[test]
fn the_default_subvolume_goes_first_and_the_users_choice_before_it() {
    privately(|world| {
        world.root("a");
        world.root("b");
        world.btrfs(&world.uuid(), &[("a", "@"), ("b", "@old")]);
        assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
        assert_eq!(world.seen("@/disk,subvol=@old"), world.expected(&[("b", "")]));
        world.sh("mkdir at; mount -o loop disk at; btrfs subvolume set-default at/@old; umount at; rmdir at");
        assert_eq!(world.seen("@/disk"), world.expected(&[("b", "")]));
        let error = world.refused("@/disk,subvol=none");
        assert!(error.contains("no such subvolume: subvol=none"), "{error}");
    });
}

#[test]
fn roots_in_several_subvolumes_of_unusual_names_are_listed() {
    privately(|world| {
        world.root("a");
        world.root("b");
        world.tree("c", &["file"]);
        world.btrfs(&world.uuid(), &[("a", "one"), ("b", "two"), ("c", "three")]);
        let error = world.refused("@/disk");
        assert!(error.contains("subvolumes one and two") && error.contains("subvol=one"), "{error}");
        assert_eq!(world.seen("@/disk,subvol=two"), world.expected(&[("b", "")]));
        // An usual one goes before them.
        world.btrfs(&world.uuid(), &[("a", "one"), ("b", "@"), ("c", "three")]);
        assert_eq!(world.seen("@/disk"), world.expected(&[("b", "")]));
    });
}
