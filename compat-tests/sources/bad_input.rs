//! What cannot be mounted: each with the file's name, the reason and what to do, and nothing left.

use crate::world::privately;

const PARTITION: &str =
    "label: gpt\nstart=2048, size=16384\nstart=18432, size=16384\nstart=34816, size=2048\n";

#[test]
fn files_that_hold_no_file_system_say_what_they_hold() {
    privately(|world| {
        world.sh(
            ": >empty; truncate -s 3M zeros; printf 'QFI?\\n' >unknown; truncate -s 1M swap; mkswap -q swap
             echo x | gzip >x.gz; echo x | xz >x.xz; echo x | zstd -q >x.zst; tar cf x.ova x.gz; mkfifo fifo
             printf 'LUKS\\272\\276' >luks; truncate -s 1M luks; ln -s none dangling; printf 'label: dos\\n' >script
             head -c 82 /dev/zero >vfat; printf 'FAT32   ' >>vfat; truncate -s 510 vfat; printf '\\125\\252' >>vfat
             printf '\\002\\010\\040\\000\\002' | dd of=vfat bs=1 seek=12 conv=notrunc status=none
             printf '\\370' | dd of=vfat bs=1 seek=21 conv=notrunc status=none; truncate -s 1M vfat
             truncate -s 2M table; sfdisk -q table <script",
        );
        for (name, reason, hint) in [
            ("empty", "nothing but zeros", ""),
            ("zeros", "nothing but zeros", ""),
            ("unknown", "no file system that is known", ""),
            ("swap", "swap space", ""),
            ("x.gz", "packed (gzip)", "gunzip -k "),
            ("x.xz", "packed (xz)", "unxz -k "),
            ("x.zst", "packed (zstd)", "unzstd "),
            ("x.ova", "packed (tar)", "tar xf "),
            ("fifo", "neither a file nor a block device", ""),
            ("luks", "encrypted (LUKS)", ""),
            ("vfat", "no owners and modes", ""),
            ("dangling", "no such file", ""),
            ("table", "its partition table is empty", ""),
        ] {
            let error = world.refused(&format!("@/{name}"));
            assert!(error.contains(reason) && error.contains(name) && error.contains(hint), "{error}");
        }
        let error = world.refused("/dev/null");
        assert!(error.contains("neither a file nor a block device"), "{error}");
    });
}

// S29, S32
#[test]
fn a_partition_that_cannot_be_mounted_is_refused_with_a_list() {
    privately(|world| {
        let root = world.ext4_root("a");
        world.sh("truncate -s 1M swap; mkswap -q swap; truncate -s 8M luks; printf 'LUKS\\272\\276' |
                  dd of=luks conv=notrunc status=none");
        world.disk("disk", 20, PARTITION, &[(1, &root), (9, &world.path("luks")), (17, &world.path("swap"))]);
        assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
        for (part, reason) in
            [("2", "encrypted (LUKS)"), ("3", "swap"), ("4", "there is none"), ("vg/x", "there is none")]
        {
            let error = world.refused(&format!("@/disk,partition={part}"));
            for expected in
                [reason, "partition 1: ext4, 8.3 MB", "partition 3: swap, 1.0 MB", "partition=NUMBER"]
            {
                assert!(error.contains(expected), "{expected} in {error}");
            }
        }
        let error = world.refused("@/disk,fstype=ext4");
        assert!(error.contains("no sound ext4 file system"), "{error}");
        let error = world.refused("@/a.ext4,fstype=gpt");
        assert!(error.contains("no partition table"), "{error}");
    });
}

// What may be the root, but cannot be looked into, is told with the way out.
#[test]
fn a_disk_whose_root_may_be_hidden_says_where() {
    privately(|world| {
        world.sh("truncate -s 8M luks raid; printf 'LUKS\\272\\276' | dd of=luks conv=notrunc status=none
             printf '\\374\\116\\053\\251' | dd of=raid bs=4096 seek=1 conv=notrunc status=none");
        for (content, reason) in
            [("luks", "it is encrypted (LUKS); open"), ("raid", "it is a member of a Linux RAID array; put")]
        {
            world.disk("disk", 20, PARTITION, &[(9, &world.path(content))]);
            let error = world.refused("@/disk");
            assert!(error.contains(&format!("partition 2 may hold it, but {reason}")), "{error}");
        }
    });
}

#[test]
fn truncated_file_systems_and_partitions_are_told_before_the_kernel_sees_them() {
    privately(|world| {
        let root = world.ext4_root("a");
        world.disk("disk", 20, PARTITION, &[(1, &root), (9, &root)]);
        world.squashfs("a");
        world.sh("truncate -s 5M a.ext4; truncate -s 12M disk; truncate -s 200 a.squashfs");
        for name in ["a.ext4", "a.squashfs"] {
            let error = world.refused(&format!("@/{name}"));
            assert!(error.contains("truncated") && error.contains(name), "{error}");
        }
        let error = world.refused("@/disk,partition=2");
        assert!(error.contains("it is truncated: the disk has 12582912 bytes"), "{error}");
        // The first one is whole.
        assert_eq!(world.seen("@/disk"), world.expected(&[("a", "")]));
    });
}

#[test]
fn damaged_file_systems_and_wrong_options_are_the_kernels_to_refuse() {
    privately(|world| {
        world.ext4_root("a");
        let error = world.refused("@/a.ext4,nonsense=1");
        assert!(error.contains("nonsense=1") && error.contains("dmesg"), "{error}");
        let error = world.refused("@/a.ext4,fstype=nosuchfs");
        assert!(error.contains("no nosuchfs file system") && error.contains("modprobe"), "{error}");
        world.sh("dd if=/dev/zero of=a.ext4 bs=1k seek=2 count=60 conv=notrunc status=none");
        let error = world.refused("@/a.ext4");
        assert!(error.contains("a.ext4"), "{error}");
    });
}

// The kernel may lack the driver for what a disk holds.
#[test]
fn a_file_system_that_the_kernel_lacks_is_named() {
    privately(|world| {
        let mut volume = vec![0u8; 2048];
        volume[..7].copy_from_slice(b"\x01CD001\x01");
        volume[80..84].copy_from_slice(&32u32.to_le_bytes());
        volume[128..130].copy_from_slice(&2048u16.to_le_bytes());
        std::fs::write(world.path("disc.iso"), [vec![0; 0x8000], volume, vec![0; 0x8000]].concat()).unwrap();
        for table in ["", "label: dos\nstart=32, size=64, type=17\n", "label: gpt\nfirst-lba: 34\n"] {
            // As hybrid discs have it, which start from USB sticks too.
            if !table.is_empty() {
                std::fs::write(world.path("table"), table).unwrap();
                world.sh("sfdisk -q --wipe never disc.iso <table");
            }
            let error = world.refused("@/disc.iso");
            assert!(error.contains("iso9660") && error.contains("disc.iso"), "{error}");
        }
    });
}
