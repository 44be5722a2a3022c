//! Views of chroots and their cleanup, with real mounts, real programs of a chroot, and the real
//! `userdel` and `groupdel`, and the real account step of the modern LTSP, to compare with. To be run as root.
//!
//! Every test has a mount namespace of its own; nothing stays behind on the machine.

mod accounts;
mod cleanup;
mod listing;
mod lock;
mod numbers;
mod system_accounts;
mod view;
mod world;
