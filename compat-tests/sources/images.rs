//! Every kind of source as a finished image: made by the program, mounted, and compared in all metadata and bytes
//! with what the source was filled with.

use std::path::{Path, PathBuf};

use crate::world::{World, esp, privately};

// Must show 2 of the third capability, one test a kind of source.

/// An ext4 with a rich tree. The blocks are large enough for its longest extended attribute.
fn ext4(world: &World, tree: &str, options: &str) -> PathBuf {
    world.filled(tree, &format!("mkfs.ext4 -q -b 4096 -N 2048 {options}"), 24)
}

/// A disk of which this table's partition 3, from 3 MiB on, holds a rich root called `a`; before it an EFI system
/// partition and swap space. The swap space is called a file system, as careless installers do.
fn disk(world: &World, name: &str, table: &str) {
    world.rich_root("a");
    let root = ext4(world, "a", "");
    world.sh("truncate -s 1M swap; mkswap -q swap");
    world.disk(name, 32, table, &[(1, &esp(world)), (2, &world.path("swap")), (3, &root)]);
}

const GPT: &str = "label: gpt\nstart=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n\
                   start=4096, size=2048\nstart=6144, size=49152\n";
const DOS: &str = "label: dos\nstart=2048, size=2048, type=ef\nstart=4096, size=2048, type=83\n\
                   start=6144, size=49152, type=83\n";

#[test]
fn a_raw_ext4() {
    privately(|world| {
        world.rich_root("a");
        ext4(world, "a", "");
        world.check_image("@/a.mkfs.ext4", &[("a", "")]);
        world.check_image("@/a.mkfs.ext4,noatime", &[("a", "")]);
    });
}

#[test]
fn a_raw_xfs() {
    privately(|world| {
        world.rich_root("a");
        world.filled("a", "mkfs.xfs", 300);
        world.check_image("@/a.mkfs.xfs", &[("a", "")]);
    });
}

// Its log is not replayed, and whether it needs to be only the kernel tells.
#[test]
fn an_unclean_xfs() {
    privately(|world| {
        world.rich_root("a");
        world.filled("a", "mkfs.xfs", 300);
        let unclean = |copy: &str, change: &str| {
            world.sh(&format!(
                "mkdir at; mount -o loop a.mkfs.xfs at; {change}; sync -f at; cp a.mkfs.xfs {copy}; umount at; rmdir at"
            ));
            std::fs::read(world.path(copy)).unwrap()
        };
        let before = unclean("unclean", "touch at/new");
        let errors = world.check_image_with(&[], "@/unclean", &[("a", "")]);
        assert!(errors.contains("unclean was not unmounted"), "{errors}");
        assert!(std::fs::read(world.path("unclean")).unwrap() == before);
        // All that it holds is in the log.
        world.sh("rm -r base; rm a.mkfs.xfs; truncate -s 300M a.mkfs.xfs; mkfs.xfs -q a.mkfs.xfs");
        unclean("unclean", "cp -a a/. at");
        let errors = world.no_image("@/unclean");
        assert!(errors.contains("was not unmounted") && errors.contains("holds no system"), "{errors}");
    });
}

#[test]
fn a_raw_btrfs() {
    privately(|world| {
        world.rich_root("a");
        world.filled("a", "mkfs.btrfs", 128);
        world.check_image("@/a.mkfs.btrfs", &[("a", "")]);
    });
}

#[test]
fn a_squashfs() {
    privately(|world| {
        world.rich_root("a");
        world.for_mksquashfs("a/usr/odd");
        world.squashfs("a");
        world.check_image("@/a.squashfs", &[("a", "")]);
    });
}

#[test]
fn a_dos_disk_with_logical_partitions() {
    privately(|world| {
        world.rich_root("a");
        let root = ext4(world, "a", "");
        let table = "label: dos\nstart=2048, size=2048, type=82\nstart=4096, size=57344, type=5\n\
                     5: start=6144, size=2048\n6: start=10240, size=49152\n";
        world.disk("disk", 32, table, &[(5, &root)]);
        world.check_image("@/disk", &[("a", "")]);
    });
}

#[test]
fn a_gpt_disk_with_the_efi_system_partition_first() {
    privately(|world| {
        disk(world, "disk.img", GPT);
        world.check_image("@/disk.img", &[("a", "")]);
    });
}

#[test]
fn a_dos_disk_with_the_efi_system_partition_first() {
    privately(|world| {
        disk(world, "disk.img", DOS);
        world.check_image("@/disk.img", &[("a", "")]);
    });
}

#[test]
fn a_disk_with_boot_usr_and_var_on_partitions_of_their_own() {
    privately(|world| {
        world.tree("root", &["etc/passwd", "bin -> usr/bin", "boot/hidden", "usr/hidden", "var/", "proc/"]);
        world.rich("root/odd");
        std::fs::write(
            world.path("root/etc/fstab"),
            "UUID=11111111-2222-3333-4444-555555555555 /boot ext4 ro 0 2\nLABEL=system / ext4 defaults 0 1\n\
             PARTUUID=01234567-89ab-cdef-0123-456789abcdef /usr ext4\n/dev/nvme0n1p4 /var ext4 nofail\n\
             UUID=0-0 none swap sw\n",
        )
        .unwrap();
        world.tree("boot", &["vmlinuz-1", "initrd.img-1"]);
        for tree in ["boot", "usr", "var"] {
            world.rich(&{
                std::fs::create_dir_all(world.path(tree)).unwrap();
                format!("{tree}/odd")
            });
        }
        let images = [
            ext4(world, "boot", "-U 11111111-2222-3333-4444-555555555555"),
            ext4(world, "root", "-L system"),
            ext4(world, "usr", ""),
            ext4(world, "var", ""),
        ];
        let table = "label: gpt\nstart=2048, size=49152\nstart=51200, size=49152\n\
                     start=100352, size=49152, uuid=01234567-89AB-CDEF-0123-456789ABCDEF\n\
                     start=149504, size=49152\n";
        let starts = [1, 25, 49, 73];
        let contents: Vec<(u64, &Path)> = starts.into_iter().zip(images.iter().map(|path| &**path)).collect();
        world.disk("disk", 100, table, &contents);
        world.check_image("@/disk", &[("root", ""), ("boot", "boot"), ("usr", "usr"), ("var", "var")]);
    });
}

#[test]
fn a_root_whose_fstab_binds_directories_and_has_a_fat_with_kernels() {
    privately(|world| {
        world.rich_root("a");
        let fstab = "LABEL=root / ext4\n/usr/app /opt none bind\nUUID=1234-5678 /boot vfat umask=0077\n\
                     UUID=1234-5678 /boot/efi vfat\nLABEL=none /var/lib/app ext4 nofail\n/swapfile none swap sw\n";
        std::fs::write(world.path("a/etc/fstab"), fstab).unwrap();
        let root = ext4(world, "a", "-L root");
        world.disk("disk", 32, GPT, &[(1, &esp(world)), (3, &root)]);
        let errors = world.check_image_with(&[], "@/disk", &[("a", "")]);
        let told: Vec<&str> = errors.lines().collect();
        assert_eq!(told.len(), 2, "{errors}");
        assert!(
            told[0].contains("/usr/app") && told[0].ends_with("add it as ,,usr/app,subdir=opt"),
            "{errors}"
        );
        assert!(told[1].contains("partition 1") && told[1].contains("belongs at /boot"), "{errors}");
        world.sh("cp -a a/usr/odd a/usr/app");
        std::fs::remove_file(world.path("a/etc/fstab")).unwrap();
        ext4(world, "a", "");
        world.check_image("@/a.mkfs.ext4,,usr/app,subdir=opt", &[("a", ""), ("a/usr/app", "opt")]);
    });
}

#[test]
fn a_root_in_a_btrfs_subvolume() {
    privately(|world| {
        let uuid = world.uuid();
        world.rich_root("a");
        std::fs::write(
            world.path("a/etc/fstab"),
            format!("UUID={uuid} / btrfs subvol=@ 0 0\nUUID={uuid} /var btrfs compress=zstd,subvol=@var\n"),
        )
        .unwrap();
        std::fs::create_dir(world.path("var")).unwrap();
        world.rich("var/odd");
        let content = world.btrfs(&uuid, &[("a", "@"), ("var", "@var")]);
        world.disk("whole", 132, "label: gpt\nstart=2048, size=264192\n", &[(1, &content)]);
        world.check_image("@/whole", &[("a", ""), ("var", "var")]);
    });
}

#[test]
fn a_logical_volume() {
    privately(|world| {
        world.rich_root("a");
        let root = ext4(world, "a", "");
        let disk = world.disk("disk", 40, "label: dos\nstart=2048, size=73728, type=8e\n", &[]);
        world.put(&disk, 1, &crate::lvm::physical_volume(&[("root", &[(1, 24)])]));
        world.put(&disk, 3, &std::fs::read(root).unwrap());
        world.check_image("@/disk", &[("a", "")]);
    });
}

#[test]
fn a_qcow2_disk() {
    privately(|world| {
        disk(world, "raw", GPT);
        // A name says nothing, and a snapshot of an earlier state is not shown.
        world.sh("qemu-img convert -c -O qcow2 raw disk.raw; qemu-img snapshot -c before disk.raw
             qemu-img create -q -f qcow2 -F qcow2 -b disk.raw top.qcow2");
        world.check_image("@/disk.raw", &[("a", "")]);
        world.check_image("@/top.qcow2", &[("a", "")]);
        // What it is based on lies outside of its folder.
        world.sh("rm -r base; mkdir other; mv top.qcow2 other; qemu-img rebase -u -F qcow2 -b ../disk.raw other/top.qcow2");
        let errors = world.no_image("@/other/top.qcow2");
        assert!(errors.contains("lies outside of") && errors.contains("/disk.raw"), "{errors}");
        assert!(errors.contains("give --trust-backing-files"), "{errors}");
        let errors = world.check_image_with(&["--trust-backing-files"], "@/other/top.qcow2", &[("a", "")]);
        assert_eq!(errors, "");
    });
}

#[test]
fn a_vdi_disk() {
    privately(|world| {
        disk(world, "raw", DOS);
        world.sh("qemu-img convert -O vdi raw disk.vdi");
        world.check_image("@/disk.vdi", &[("a", "")]);
    });
}

#[test]
fn a_growing_vmdk_disk() {
    privately(|world| {
        disk(world, "raw", GPT);
        world.sh("qemu-img convert -O vmdk raw disk.vmdk
             qemu-img convert -O vmdk -o subformat=streamOptimized raw stream.vmdk");
        world.check_image("@/disk.vmdk", &[("a", "")]);
        world.check_image("@/stream.vmdk", &[("a", "")]);
    });
}

#[test]
fn a_growing_vhdx_disk() {
    privately(|world| {
        disk(world, "raw", GPT);
        world.sh("qemu-img convert -O vhdx -o subformat=dynamic raw disk.vhdx");
        world.check_image("@/disk.vhdx", &[("a", "")]);
    });
}

#[test]
fn a_live_system_on_its_medium() {
    privately(|world| {
        world.rich_root("a");
        world.for_mksquashfs("a/usr/odd");
        for place in ["casper", "live"] {
            world.sh(&format!(
                "mkdir -p medium/{place}; mksquashfs a medium/{place}/filesystem.squashfs -quiet -no-progress"
            ));
            world.filled("medium", "mkfs.ext4 -q", 24);
            world.check_image("@/medium.mkfs.ext4", &[("a", "")]);
            world.check_image("@/medium", &[("a", "")]);
            world.check_image(&format!("@/medium,,{place}/filesystem.squashfs"), &[("a", "")]);
            world.sh("rm -r medium");
        }
    });
}

// Ubuntu's, with what one image removes of the one under it.
#[test]
fn a_live_system_in_layers() {
    privately(|world| {
        world.rich_root("a");
        world.for_mksquashfs("a/usr/odd");
        world.sh(
            "mkdir -p medium/casper at top; mksquashfs a medium/casper/minimal.squashfs -quiet -no-progress
             mount -t tmpfs none top; mkdir top/up top/work
             mount -t overlay none -o lowerdir=a,upperdir=top/up,workdir=top/work at
             rm at/usr/odd/zeroes; rm -r at/usr/odd/closed at/usr/lib; mkdir at/usr/lib; touch at/usr/lib/new
             echo more >>at/etc/passwd; cp -a at/. whole; umount at
             mksquashfs top/up medium/casper/minimal.standard.squashfs -quiet -no-progress; umount top; rmdir at",
        );
        world.filled("medium", "mkfs.ext4 -q", 24);
        for medium in ["medium", "medium.mkfs.ext4"] {
            world.check_image(&format!("@/{medium},,casper/minimal.standard.squashfs"), &[("whole", "")]);
            world.check_image(&format!("@/{medium},,casper/minimal.squashfs"), &[("a", "")]);
            let error = world.refused(&format!("@/{medium}"));
            assert!(error.contains("several images") && error.contains(",,casper/minimal"), "{error}");
        }
    });
}

#[test]
fn several_sources_with_options() {
    privately(|world| {
        disk(world, "disk", DOS);
        std::fs::create_dir(world.path("extra")).unwrap();
        world.rich("extra/odd");
        world.for_mksquashfs("extra/odd");
        world.squashfs("extra");
        world.check_image(
            "@/disk,fstype=gpt,partition=3,noload,noatime,,@/extra.squashfs,fstype=squashfs,subdir=/opt/,ro,\
             ,@/extra/odd,subdir=opt/odd/other,",
            &[("a", ""), ("extra", "opt"), ("extra/odd", "opt/odd/other")],
        );
    });
}

#[test]
fn a_directory() {
    privately(|world| {
        world.rich_root("a");
        world.sh("mkdir -p a/var/lib/dpkg; : >a/var/lib/dpkg/lock");
        world.check_image("@/a", &[("a", "")]);
    });
}
