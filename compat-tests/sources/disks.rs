//! Raw file systems and partitioned disks (S28 to S33, U2).

use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::lvm::physical_volume;
use crate::world::{esp, privately};

// S28, S30
#[test]
fn a_raw_file_system_is_mounted_as_it_is() {
    privately(|world| {
        let expected = {
            world.ext4_root("a");
            world.expected(&[("a", "")])
        };
        assert_eq!(world.seen("@/a.ext4"), expected);
        world.squashfs("a");
        assert_eq!(world.seen("@/a.squashfs"), expected);
        world.filled("a", "mkfs.xfs", 300);
        assert_eq!(world.seen("@/a.mkfs.xfs"), expected);
        world.filled("a", "mkfs.btrfs", 128);
        assert_eq!(world.seen("@/a.mkfs.btrfs"), expected);
        for options in ["ro,noload", "noatime", "fstype=ext4", "fstype=ext4,loop,ro", "partition=7"] {
            assert_eq!(world.seen(&format!("@/a.ext4,{options}")), expected, "{options}");
        }
    });
}

// S7: what is named is taken, root or not.
#[test]
fn a_raw_file_system_need_not_hold_a_root() {
    privately(|world| {
        world.tree("data", &["file", "dir/file"]);
        world.ext4("data", "");
        assert_eq!(world.seen("@/data.ext4"), world.expected(&[("data", "")]));
    });
}

// S30: a journal is not replayed, and the file is not written to.
#[test]
fn an_unclean_ext4_is_read_without_changing_it() {
    privately(|world| {
        world.ext4_root("a");
        world.sh("debugfs -w -R 'feature needs_recovery' a.ext4 2>/dev/null");
        let before = std::fs::read(world.path("a.ext4")).unwrap();
        assert_eq!(world.seen("@/a.ext4"), world.expected(&[("a", "")]));
        let error = world.refused("@/a.ext4,ro");
        assert!(error.contains("not unmounted") && error.contains("noload"), "{error}");
        assert!(std::fs::read(world.path("a.ext4")).unwrap() == before);
    });
}

// S31, S32, U2
#[test]
fn the_root_of_a_disk_is_found_by_what_it_holds() {
    privately(|world| {
        let root = world.ext4_root("a");
        let esp = esp(world);
        world.tree("data", &["file"]);
        let data = world.ext4("data", "");
        world.tree("efi", &["EFI/BOOT/BOOTX64.EFI"]);
        let fake_esp = world.ext4("efi", "");
        world.sh("truncate -s 1M swap; mkswap -q swap");
        let swap = world.path("swap");
        let gpt = "label: gpt\nstart=2048, size=18432, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n\
                   start=20480, size=2048\nstart=22528, size=16384\nstart=38912, size=16384\n";
        let mbr = "label: dos\nstart=2048, size=18432, type=ef\nstart=20480, size=2048, type=83\n\
                   start=22528, size=16384, type=83\nstart=38912, size=16384, type=83\n";
        let expected = world.expected(&[("a", "")]);
        for (name, script) in [("gpt", gpt), ("mbr", mbr)] {
            for first in [&esp, &fake_esp] {
                let contents: [(u64, &Path); 4] = [(1, first), (10, &swap), (11, &data), (19, &root)];
                world.disk(name, 32, script, &contents);
                assert_eq!(world.seen(&format!("@/{name}")), expected);
                assert_eq!(world.seen(&format!("@/{name},fstype=gpt")), expected);
                assert_eq!(world.seen(&format!("@/{name},partition=4")), expected);
            }
        }
        assert_eq!(world.seen("@/mbr,partition=3"), world.expected(&[("data", "")]));
    });
}

// The table is where it is on a disk with such sectors, and counts in them.
#[test]
fn a_disk_with_sectors_of_4096_bytes_is_read() {
    privately(|world| {
        let root = world.ext4_root("a");
        let table = "label: gpt\nstart=256, size=256, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\nstart=512, size=2048\n";
        std::fs::write(world.path("table"), table).unwrap();
        let device = world.sh("truncate -s 16M disk; losetup -f --show -b 4096 disk");
        world.sh(&format!("sfdisk -q --no-reread --no-tell-kernel {device} <table; losetup -d {device}"));
        world.put(&world.path("disk"), 2, &std::fs::read(root).unwrap());
        assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
        assert_eq!(world.seen("@/disk,partition=2"), world.expected(&[("a", "")]));
    });
}

// Its boot record lists some of the partitions again, for systems that know no GPT.
#[test]
fn a_hybrid_disk_has_the_partitions_of_its_gpt() {
    privately(|world| {
        let root = world.ext4_root("a");
        let table = "label: gpt\nstart=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n\
                     start=4096, size=2048\nstart=6144, size=16384\n";
        let disk = world.disk("disk", 16, table, &[(1, &esp(world)), (3, &root)]);
        let entry = |kind: u8, start: u32, size: u32| {
            [&[0, 0, 2, 0, kind, 0xff, 0xff, 0xff][..], &start.to_le_bytes(), &size.to_le_bytes()].concat()
        };
        let record = [entry(0x83, 6144, 16384), entry(0xee, 1, 2047)].concat();
        std::fs::File::options().write(true).open(disk).unwrap().write_all_at(&record, 446).unwrap();
        assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
        assert_eq!(world.seen("@/disk,partition=3"), world.expected(&[("a", "")]));
        assert!(world.refused("@/disk,partition=4").contains("there is none"));
    });
}

// S33
#[test]
fn logical_partitions_have_the_kernels_numbers() {
    privately(|world| {
        let root = world.ext4_root("a");
        world.tree("data", &["file"]);
        let data = world.ext4("data", "");
        let script = "label: dos\nstart=2048, size=2048, type=82\nstart=4096, size=57344, type=5\n\
                      5: start=6144, size=16384\n6: start=24576, size=16384\n";
        world.disk("disk", 32, script, &[(3, &data), (12, &root)]);
        assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
        assert_eq!(world.seen("@/disk,partition=6"), world.expected(&[("a", "")]));
        assert_eq!(world.seen("@/disk,partition=5"), world.expected(&[("data", "")]));
    });
}

// U2
#[test]
fn two_roots_or_none_are_listed_with_the_way_to_choose() {
    privately(|world| {
        let one = world.ext4_root("one");
        world.root("two");
        let two = world.ext4("two", "-L second");
        world.tree("data", &["file"]);
        let data = world.ext4("data", "-L data");
        let script = "label: gpt\nstart=2048, size=16384, name=system\nstart=18432, size=16384\n\
                      start=34816, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n";
        world.disk("both", 32, script, &[(1, &one), (9, &two)]);
        let error = world.refused("@/both");
        for part in [
            "partition 1 and partition 2 are roots of systems",
            "partition 1: ext4, named system, 8.3 MB",
            "partition 2: ext4 labelled second, 8.3 MB",
            "partition 3: EFI system partition, 1.0 MB",
            "both,partition=NUMBER",
        ] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert_eq!(world.seen("@/both,partition=2"), world.expected(&[("two", "")]));
        world.disk("none", 32, script, &[(1, &data)]);
        let error = world.refused("@/none");
        assert!(error.contains("nothing on it is the root") && error.contains("labelled data"), "{error}");
        assert_eq!(world.seen("@/none,partition=1"), world.expected(&[("data", "")]));
    });
}

// A block device is as good as a file (S12).
#[test]
fn a_block_device_is_read_like_a_file() {
    privately(|world| {
        let root = world.ext4_root("a");
        world.disk("disk", 16, "label: gpt\nstart=2048, size=16384\n", &[(1, &root)]);
        let device = world.sh("losetup -f --show -r disk");
        let seen = world.seen(&device);
        world.sh(&format!("losetup -d {device}"));
        assert_eq!(seen, world.expected(&[("a", "")]));
        let device = world.sh("losetup -f --show -r a.ext4; mkdir at");
        world.sh(&format!("mount -o ro,noload {device} at"));
        let error = world.refused(&device);
        world.sh(&format!("umount at; losetup -d {device}"));
        assert!(error.contains("in use on this server"), "{error}");
    });
}

// LVM without activating anything
#[test]
fn logical_volumes_are_roots_and_parts_of_them_too() {
    privately(|world| {
        world.root("a");
        std::fs::write(
            world.path("a/etc/fstab"),
            "/dev/mapper/my--vg-root / ext4 defaults 0 1\n/dev/mapper/my--vg-var /var ext4 defaults 0 2\n",
        )
        .unwrap();
        world.tree("v", &["lib/status", "log/"]);
        let (root, var) = (world.ext4("a", ""), world.ext4("v", ""));
        let script = "label: dos\nstart=2048, size=65536, type=8e\n";
        let disk = world.disk("disk", 40, script, &[]);
        world.put(&disk, 1, &physical_volume(&[("root", &[(1, 8)]), ("var", &[(10, 8)])]));
        world.put(&disk, 3, &std::fs::read(root).unwrap());
        world.put(&disk, 12, &std::fs::read(var).unwrap());
        let expected = world.expected(&[("a", ""), ("v", "var")]);
        assert_eq!(world.seen("@/disk"), expected);
        assert_eq!(world.seen("@/disk,partition=my-vg/root"), expected);
        assert_eq!(world.seen("@/disk,partition=my-vg/var"), world.expected(&[("v", "")]));
        let error = world.refused("@/disk,partition=1");
        assert!(error.contains("physical volume of LVM") && error.contains("my-vg/root: ext4"), "{error}");
        let error = world.refused("@/disk,partition=my-vg/none");
        assert!(error.contains("there is none"), "{error}");
    });
}

// A volume in several pieces needs the kernel's device mapper.
#[test]
fn a_logical_volume_in_two_pieces_is_put_together_where_the_kernel_can() {
    privately(|world| {
        let root = std::fs::read(world.ext4_root("a")).unwrap();
        let disk = world.disk("disk", 40, "label: dos\nstart=2048, size=65536, type=8e\n", &[]);
        world.put(&disk, 1, &physical_volume(&[("root", &[(18, 4), (10, 4)])]));
        world.put(&disk, 20, &root[..4 << 20]);
        world.put(&disk, 12, &root[4 << 20..]);
        let drivers = std::fs::read_to_string("/proc/misc").unwrap();
        if drivers.contains(" device-mapper") {
            assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
            // There should be none, for which grep has a status of its own.
            assert_eq!(world.sh("dmsetup ls --exec echo 2>/dev/null | grep ltsp- || true"), "");
        } else {
            let error = world.refused("@/disk,partition=my-vg/root");
            assert!(
                error.contains("several pieces") && error.contains("logical volume my-vg/root"),
                "{error}"
            );
        }
    });
}
