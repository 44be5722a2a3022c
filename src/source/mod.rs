//! From the name an admin typed to a chroot that can be read.

pub mod architecture;
pub mod disk;
pub mod fstab;
pub mod layers;
pub mod list;
pub mod listing;
pub mod live;
pub mod locate;
pub mod lookup;
pub mod lvm;
pub mod mount_options;
pub mod mounted;
pub mod name;
pub mod partition_table;
pub mod probe;
pub mod region;
pub mod root_partition;
pub mod vm_disk;
pub mod workspace;
