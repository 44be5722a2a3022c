//! Privileged effects, each owned by a value that undoes it when dropped; the only room with `unsafe`.
//!
//! The rules of this room: a guard exists before the next step that can fail; `Drop` undoes exactly
//! what the constructor did, logs what it cannot undo and never panics; what the kernel can undo by
//! itself (a private mount namespace, an autoclear loop device, a lock that dies with its process) is
//! preferred to what we have to.

pub mod clock;
pub mod command;
pub mod confined;
pub mod coprocess;
pub mod daemon;
pub mod detach;
pub mod device_mapper;
pub mod fnmatch;
pub mod lock;
pub mod loop_device;
pub mod mount;
pub mod mount_table;
pub mod namespace;
pub mod range_lock;
pub mod signals;
pub mod supervise;
pub mod temp_dir;
