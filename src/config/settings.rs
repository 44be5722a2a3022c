//! Everything that one run needs to know, complete and typed before anything is touched.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::sys::command::Changes;

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

/// Which program writes the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Engine {
    /// The built-in writer, if it knows everything that is asked of it; else mksquashfs.
    #[default]
    Automatic,
    /// The built-in writer or none.
    BuiltIn,
    /// mksquashfs or none.
    Mksquashfs,
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
    /// Which program writes it.
    pub engine: Engine,
    /// Compare every file in the image with its source before it is published.
    pub verify: bool,
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
    /// The TFTP directories that this tool's own configuration names, to keep them out of an image of
    /// `/` (D25). Words of `TFTP_DIRS`, wildcards expanded; they need not exist.
    pub known_tftp_dirs: Vec<PathBuf>,
    /// Which steps to take.
    pub steps: Steps,
    /// The name the program was called by, to repeat in the guard's advice (U15).
    pub called_as: OsString,
    /// What configuration files have exported, changed or unset in the environment (S8); for every child
    /// program.
    pub child_environment: Changes,
}

/// What one run of `ltsp-update-kernels` works from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSettings {
    /// The base directory: absolute or relative as given, without a trailing slash, never `/` (D24).
    pub base: PathBuf,
    /// Names or paths of chroots and images as the admin gave them (D6); empty: all of them (K2).
    pub names: Vec<OsString>,
    /// The words of `TFTP_DIRS` in order, wildcards expanded; they need not exist (K3).
    pub tftp_dirs: Vec<PathBuf>,
    /// The path below each TFTP directory; empty: the names lie directly in it (S3, K4).
    pub tftp_boot_dir: OsString,
    /// Only take kernels from images, never from chroot directories (K10).
    pub prefer_image: bool,
    /// Take the kernels of the one name in `names` from below this directory, instead of looking for
    /// a chroot or image of that name (D7 c).
    pub root_override: Option<PathBuf>,
}

/// What one run of `ltsp-config nbd-server` works from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NbdSettings {
    /// The base directory: without a trailing slash, never `/` (D24).
    pub base: PathBuf,
    /// Rewrite existing files (N4).
    pub overwrite: bool,
    /// Do not warn about existing files that are kept (N4).
    pub quiet: bool,
}

/// What one run of `nbdswapd` works from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwapSettings {
    /// The size of the swap file, in MiB (N30).
    pub size: u64,
    /// Run `mkswap` on the file (N30).
    pub run_mkswap: bool,
    /// Who called.
    pub service: SwapService,
}

/// Who called `nbdswapd`, and where the swap file goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwapService {
    /// nbd-server, before it opens this file (N32).
    NbdServer(PathBuf),
    /// inetd: the file is served on standard input (N33).
    Inetd {
        /// The directory for the file (`SWAPDIR`); must be a writable directory.
        dir: Option<PathBuf>,
        /// The file (`SWAP`); none: a new temporary one, in `dir` if there is one.
        file: Option<PathBuf>,
        /// More words for nbd-server (`NBD_SERVER_OPTS`).
        server_options: Vec<OsString>,
    },
}
