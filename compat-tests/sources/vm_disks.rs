//! Disks of virtual machines (U1).

use ltsp_core::source::vm_disk::BackingFiles;

use crate::world::{World, privately};

/// A raw disk with an EFI system partition, swap space and a root, and what it shows.
fn disk(world: &World) -> crate::world::Listing {
    let root = world.ext4_root("a");
    world.sh("truncate -s 1M swap; mkswap -q swap");
    let script = "label: gpt\nstart=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\n\
                  start=4096, size=2048\nstart=6144, size=16384\n";
    world.disk("raw", 32, script, &[(2, &world.path("swap")), (3, &root)]);
    world.expected(&[("a", "")])
}

#[test]
fn every_format_shows_the_same_disk() {
    privately(|world| {
        let expected = disk(world);
        for (name, command) in [
            ("qcow2", "qemu-img convert -O qcow2 raw qcow2"),
            ("two.qcow2", "qemu-img convert -O qcow2 -o compat=0.10 raw two.qcow2"),
            ("packed.qcow2", "qemu-img convert -c -O qcow2 raw packed.qcow2"),
            ("external.qcow2", "qemu-img convert -O qcow2 -o data_file=external.data raw external.qcow2"),
            ("vdi", "qemu-img convert -O vdi raw vdi"),
            ("static.vdi", "qemu-img convert -O vdi -o static=on raw static.vdi"),
            ("vmdk", "qemu-img convert -O vmdk raw vmdk"),
            ("stream.vmdk", "qemu-img convert -O vmdk -o subformat=streamOptimized raw stream.vmdk"),
            ("flat.vmdk", "qemu-img convert -O vmdk -o subformat=monolithicFlat raw flat.vmdk"),
            ("split.vmdk", "qemu-img convert -O vmdk -o subformat=twoGbMaxExtentSparse raw split.vmdk"),
            (
                "with blank/flat.vmdk",
                "mkdir 'with blank'; \
                 qemu-img convert -O vmdk -o subformat=twoGbMaxExtentFlat raw 'with blank/flat.vmdk'",
            ),
            ("vhdx", "qemu-img convert -O vhdx raw vhdx"),
            ("vhd", "qemu-img convert -O vpc raw vhd"),
            ("fixed.vhd", "qemu-img convert -O vpc -o subformat=fixed raw fixed.vhd"),
            ("qed", "qemu-img convert -O qed raw qed"),
            // Names say nothing.
            ("raw.qcow2", "cp raw raw.qcow2"),
            ("qcow2.raw", "qemu-img convert -O qcow2 raw qcow2.raw"),
        ] {
            world.sh(command);
            assert_eq!(world.seen(&format!("@/{name}")), expected, "{name}");
        }
        // S13: the name that VirtualBox gives to the data of a flat disk
        assert_eq!(world.seen("@/flat-flat.vmdk"), expected);
    });
}

#[test]
fn a_file_system_without_partitions_may_be_in_a_virtual_disk_too() {
    privately(|world| {
        world.ext4_root("a");
        world.sh(
            "qemu-img convert -O qcow2 a.ext4 disk.qcow2; mkdir links; ln -s ../disk.qcow2 links/class.img",
        );
        assert_eq!(world.seen("@/links/class.img"), world.expected(&[("a", "")]));
    });
}

#[test]
fn a_disk_in_several_extents_is_put_together() {
    privately(|world| {
        let expected = disk(world);
        world.sh(
            "head -c 2097152 raw >one.raw; tail -c +2097153 raw >two.raw
             qemu-img convert -O vmdk one.raw one.vmdk
             printf '# Disk DescriptorFile\\nversion=1\\nCID=fffffffe\\nparentCID=ffffffff\\n\
                     createType=\"custom\"\\nRW 4096 SPARSE \"one.vmdk\"\\nRW 61440 FLAT \"two.raw\" 0\\n' >all.vmdk",
        );
        assert_eq!(world.seen("@/all.vmdk"), expected);
        // The first bytes of a flat extent are the guest's to write.
        world.sh("truncate -s 30M two.raw; head -c 100 one.vmdk | dd of=two.raw conv=notrunc status=none");
        assert_eq!(world.seen("@/all.vmdk").len(), expected.len());
    });
}

#[test]
fn images_on_top_of_others_are_read_with_them() {
    privately(|world| {
        let expected = disk(world);
        world.sh("mkdir pool; qemu-img convert -O qcow2 raw pool/base; cp raw pool/base.raw; cd pool
             qemu-img create -q -f qcow2 -F qcow2 -b base one; qemu-img create -q -f qcow2 -F qcow2 -b one two
             qemu-img create -q -f qcow2 -F raw -b \"$PWD/base.raw\" absolute
             qemu-img create -q -f qed -F raw -b base.raw qed; qemu-img convert -O vmdk ../raw base.vmdk
             qemu-img create -q -f vmdk -F vmdk -b base.vmdk snapshot.vmdk; cd ..; ln -s pool/two disk.img");
        for name in ["pool/two", "disk.img", "pool/absolute", "pool/qed", "pool/snapshot.vmdk"] {
            assert_eq!(world.seen(&format!("@/{name}")), expected, "{name}");
        }
    });
}

#[test]
fn backing_files_are_read_only_where_they_may_lie() {
    privately(|world| {
        let expected = disk(world);
        world.sh("mkdir pool; qemu-img create -q -f qcow2 -F raw -b ../raw pool/disk; ln -s ../raw pool/link
             qemu-img create -q -f qcow2 -F raw -b link pool/linked; cp raw pool/gone
             qemu-img create -q -f qcow2 -F raw -b gone pool/lost; rm pool/gone");
        for name in ["pool/disk", "pool/linked"] {
            let error = world.refused(&format!("@/{name}"));
            assert!(error.contains("lies outside of") && error.contains("/raw"), "{error}");
            let operand = format!("{},ro", world.path(name).display());
            let mounted = world.mount_with(&operand, BackingFiles::Anywhere).unwrap();
            assert_eq!(world.look(&mounted), expected);
        }
        let error = world.refused("@/pool/lost");
        assert!(error.contains("pool/gone is missing") && error.contains("pool/lost"), "{error}");
    });
}

#[test]
fn a_disk_that_a_virtual_machine_uses_is_refused_in_every_format() {
    privately(|world| {
        disk(world);
        world.sh("qemu-img convert -O qcow2 raw used.qcow2; cp raw used.raw");
        for format in ["qcow2", "raw"] {
            // What a running virtual machine does: it has the image open for writing.
            world.sh(&format!(
                "qemu-nbd --fork --persistent --pid-file=pid -f {format} -k $PWD/socket used.{format}"
            ));
            let error = world.refused(&format!("@/used.{format}"));
            world.sh("kill $(cat pid); while [ -e socket ]; do sleep 0.01; done");
            assert!(error.contains("a virtual machine is using it"), "{error}");
        }
    });
}

#[test]
fn images_that_are_damaged_or_not_read_here_say_so() {
    privately(|world| {
        disk(world);
        world.sh("for format in qcow2 vdi vmdk vhdx; do
                 qemu-img convert -O $format raw whole
                 head -c $(($(stat -c %s whole) * 2 / 3)) whole >part.$format
             done
             qemu-img convert -O vmdk -o subformat=monolithicFlat raw flat.vmdk; truncate -s 9M flat-flat.vmdk
             qemu-img create -q -f parallels parallels 1M; qemu-img convert -O qcow raw old.qcow");
        for (name, reason) in [
            ("part.qcow2", "truncated"),
            ("part.vdi", "truncated"),
            ("part.vmdk", "truncated"),
            ("part.vhdx", "truncated"),
            ("flat.vmdk", "truncated"),
            ("parallels", "Parallels images cannot be read"),
            ("old.qcow", "qcow (version 1) images cannot be read"),
        ] {
            let error = world.refused(&format!("@/{name}"));
            assert!(error.contains(reason) && error.contains(name), "{name}: {error}");
        }
        assert!(world.refused("@/old.qcow").contains("qemu-img convert -O raw old.qcow old.qcow.raw"));
    });
}

#[test]
fn what_is_missing_on_the_server_is_named_with_its_package() {
    privately(|world| {
        disk(world);
        world.sh("qemu-img convert -O qcow2 raw disk.qcow2");
        let program = world.sh("command -v qemu-storage-daemon");
        // In this thread's namespace alone: no nbd, and a program that cannot be run, or no devices.
        for (hide, place, reason, remedy) in [
            ("mount --bind /dev/null", &*program, "no program qemu-storage-daemon", "qemu-utils"),
            ("mount -t tmpfs none", "/dev", "no /dev/fuse", "modprobe fuse"),
        ] {
            world.sh(&format!(
                "mount -t tmpfs none /sys; {hide} {place}; [ -e /dev/null ] || mknod /dev/null c 1 3"
            ));
            let error = world.refused("@/disk.qcow2");
            world.sh(&format!("umount -l {place} /sys"));
            assert!(
                error.contains(reason) && error.contains(remedy) && error.contains("disk.qcow2"),
                "{error}"
            );
        }
    });
}
