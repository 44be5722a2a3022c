//! Everything that one run needs to know, complete and typed before anything is touched.

use std::ffi::OsString;
use std::path::PathBuf;

/// What the run is to do with each image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Make a new image.
    Build,
    /// Exchange the image with its backup.
    Revert,
}

/// How the image is compressed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compression {
    /// Leave data, fragments and inodes uncompressed, and leave out the NFS export table (U42 row 9).
    pub none: bool,
    /// The compressor and what follows it, as words for `mksquashfs -comp` (U44); empty: the default.
    pub compressor: Vec<OsString>,
}

/// Which steps the run takes; all of them unless an old option says otherwise (H7, H11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Make the image (or revert it).
    pub image: bool,
    /// Copy kernels to the TFTP directories.
    pub kernels: bool,
    /// Write the exports of nbd-server.
    pub exports: bool,
}

/// The one type that everything behind the command line works from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Build or revert.
    pub action: Action,
    /// The base directory: absolute, without a trailing slash, never `/` (D24).
    pub base: PathBuf,
    /// The chroots as the admin named them; empty: every chroot in `base` (U17).
    pub operands: Vec<OsString>,
    /// Clean a copy-on-write view of the chroot and image that (3.5 of the specification).
    pub cleanup: bool,
    /// Mount points that the cleaned view leaves out (D12).
    pub excluded_mounts: Vec<PathBuf>,
    /// Keep the previous image as `NAME.img.old`.
    pub backup: bool,
    /// How to compress.
    pub compression: Compression,
    /// The file of exclude patterns, if there is one (U43).
    pub exclude_file: Option<PathBuf>,
    /// The values of `--exclude` as given, before D3's splitting.
    pub excludes: Vec<OsString>,
    /// Pass the NFS guard (U13).
    pub config_nbd: bool,
    /// The options as given, to repeat in the guard's advice (D14).
    pub given_options: Vec<OsString>,
    /// TFTP directories for the kernel step, when an old option names them (H13).
    pub tftp_dirs: Option<OsString>,
    /// The directory in each of them, when an old option names it (H5, H13).
    pub tftp_boot_dir: Option<OsString>,
    /// Which steps to take.
    pub steps: Steps,
}
