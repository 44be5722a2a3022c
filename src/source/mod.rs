//! From the name an admin typed to a chroot and the name of its image.

pub mod listing;
