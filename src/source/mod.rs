//! From the name an admin typed to a root that can be read.
//!
//! LTSP 5 builds from chroots alone: [`locate`] finds them, [`listing`] lists them. The modern front end's
//! operands are source lists; their way is
//!
//! 1. [`list`]: `img1,option…,,img2,option…` becomes a value;
//! 2. [`lookup`]: its first word becomes a path, and that the [`name`] of the image;
//! 3. [`mounted`]: its elements are mounted, as [`layers`] of one root.
//!
//! A file among them is looked into without being mounted ([`region`], [`probe`]): it may be the disk of a
//! virtual machine ([`vm_disk`]), have a [`partition_table`] or logical volumes, and it is to be found which
//! part of it is the root ([`root_partition`]).
//!
//! Rules that [`locate`], [`listing`] and [`architecture`] cite are those of LTSP 5; those that the other files
//! cite (S…, O6, U1 to U3, I42) are those of `ltsp image` in LTSP 23.02.

pub mod architecture;
pub mod listing;
pub mod locate;
pub mod os_release;

pub mod list;
pub mod lookup;
pub mod name;

pub mod layers;
pub mod mounted;

mod disk;
mod fstab;
mod live;
mod missing;
pub mod mount_options;
pub mod root_partition;
mod volume;
mod workspace;

mod lvm;
pub mod partition_table;
pub mod probe;
pub mod region;
pub mod vm_disk;
