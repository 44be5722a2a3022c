//! The LTSP image tools as a library: many diskless PCs netboot from one squashfs image; this crate
//! makes that image from a chroot, publishes it, and tells TFTP and nbd-server about it.
//!
//! One run is one walk through these rooms, in this order:
//!
//! 1. [`cli`]: a command line becomes
//! 2. [`config`]: with the configuration files, a complete [`config::settings::Settings`]; for the
//!    modern front end [`site`] adds the admin's hooks and drop-in scripts;
//! 3. [`run`]: the walk itself, the only room that knows all the others;
//! 4. [`source`]: from the name an admin typed to a chroot and the name of its image;
//! 5. [`overlay`]: a writable view of that chroot, which
//! 6. [`cleanup`] clears of accounts, keys and logs;
//! 7. [`excludes`]: what stays out of the image;
//! 8. [`engine`]: writes the squashfs, if there is [`space`] for it;
//! 9. [`audit`]: what must not be in it;
//! 10. [`publish`]: from the temporary name to the final one, backups, revert;
//! 11. [`kernel`]: kernels and ramdisks into the TFTP directories;
//! 12. [`nbd`]: the exports of nbd-server.
//!
//! Beside the walk stands [`migrate`]: from the settings of LTSP 5 to those of the modern front end.
//!
//! Below them lie [`kernel_names`], [`sys`] (privileged effects, each owned by a value that undoes it),
//! [`report`] and [`error`].

pub mod cli;
pub mod config;
pub mod site;

pub mod run;
pub mod source;

pub mod overlay;

pub mod cleanup;
pub mod excludes;

pub mod space;

pub mod engine;
pub mod squashfs;

pub mod audit;
pub mod publish;

pub mod kernel;
pub mod nbd;

pub mod migrate;

pub mod kernel_names;
pub mod sys;

pub mod report;

pub mod error;

#[cfg(test)]
mod installed_files;
