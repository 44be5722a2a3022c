//! The built-in squashfs writer against the kernel, squashfs-tools, squashfs-tools-ng and backhand: what they
//! read from our images is what the source holds. To be run as root.
//!
//! Every test has a mount namespace of its own; nothing stays behind on the machine.

mod census;
mod changes;
mod damage;
mod equality;
mod forest;
mod handles;
mod image;
mod independent;
mod program;
mod random;
mod record;
mod special;
