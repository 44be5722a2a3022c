//! The sources of `ltsp image` that are files, each made on the spot, mounted, and compared with what was
//! put into it; in `images` by way of the finished image.
//!
//! They need root, loop devices, FUSE and the file systems ext4, xfs, btrfs and squashfs; the programs are those
//! of e2fsprogs, xfsprogs, btrfs-progs, squashfs-tools, fdisk and QEMU's disk tools. Every mount is made in a
//! namespace of the test's own thread.

mod bad_input;
mod btrfs;
mod disks;
mod fstab;
mod images;
mod lists;
mod lvm;
mod program;
#[path = "../rigs/mod.rs"]
mod rigs;
mod vm_disks;
mod world;
