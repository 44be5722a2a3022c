//! From the name an admin typed to a chroot that can be read.

pub mod architecture;
pub mod list;
pub mod listing;
pub mod locate;
pub mod lookup;
pub mod lvm;
pub mod name;
pub mod partition_table;
pub mod probe;
pub mod region;
pub mod vm_disk;
