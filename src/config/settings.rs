//! Everything that one run needs to know, complete and typed before anything is touched.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::excludes::ImageList;
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

/// What one run of `ltsp image` works from (I1, I2 of its specification).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSettings {
    /// BASE_DIR: absolute.
    pub base_dir: PathBuf,
    /// TFTP_DIR, whose content stays out of an image of this server: absolute.
    pub tftp_dir: PathBuf,
    /// The source lists as the admin typed them (S1); empty: everything in the base directory (S18).
    pub sources: Vec<OsString>,
    /// Without sources, more than three are meant (S19).
    pub all_images: bool,
    /// Instead of building, make the image the current one again that was so many builds before it:
    /// 1 is `NAME.img.old` (I41).
    pub revert: Option<NonZeroU32>,
    /// Keep the image that is replaced as `NAME.img.old` (I37).
    pub backup: bool,
    /// How many replaced images survive, `NAME.img.old` among them; those before it under names that no
    /// LTSP tool lists (O1, U4).
    pub keep: u32,
    /// Clean the writable view before it is compressed (I9).
    pub cleanup: bool,
    /// Work on a writable view. Otherwise the source itself is mounted, and cleanup changes it for good,
    /// which is for systems that are thrown away afterwards (S27).
    pub overlay: bool,
    /// Read files outside of its folder that a disk image refers to.
    pub trust_backing_files: bool,
    /// What stays out of the image (I27, I28).
    pub excludes: ImageList,
    /// Which program writes the image.
    pub engine: Engine,
    /// What goes before that program. None: nice and ionice as far as there are such (I32). Empty:
    /// nothing.
    pub ionice: Option<Vec<OsString>>,
    /// More words for mksquashfs (I34), which the built-in writer understands, too, if it can.
    pub mksquashfs_params: Vec<OsString>,
    /// Compare every file in the image with its source before it is published.
    pub verify: bool,
    /// What to do about secrets in a finished image.
    pub audit: Audit,
    /// Tell what would be done, and change nothing.
    pub dry_run: bool,
    /// Print one JSON object an image on standard output.
    pub json: bool,
    /// Steps that are left out (F36, F37).
    pub omitted: BTreeSet<Step>,
    /// What configuration has exported, changed or unset in the environment; for every child program.
    pub child_environment: Changes,
}

/// What to do about secrets in a finished image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Audit {
    /// Do not look.
    Off,
    /// List them.
    #[default]
    Warn,
    /// List them, and do not publish the image.
    Strict,
}

/// A step of `ltsp image` or `ltsp kernel` that can be left out. The names are those of the original's
/// functions, which `OMIT_FUNCTIONS` lists (F36).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// `lock_package_management`: no package manager is kept out (I5).
    Lock,
    /// `cleanup_main`: all of the cleanup.
    Cleanup,
    /// `remove_printers` (I10)
    Printers,
    /// `remove_users` (I11 to I21)
    Users,
    /// `resolv_conf` (I22)
    ResolvConf,
    /// `ssh_host_keys` (I23)
    SshHostKeys,
    /// `ssl_cert` (I24)
    SslCert,
    /// `truncate_files` (I25)
    TruncateFiles,
    /// `machine_id`: the image keeps the machine's id. This step and the next two are ours.
    MachineId,
    /// `network_secrets`: connections of NetworkManager keep their passwords.
    NetworkSecrets,
    /// `shell_histories`: what was typed into shells stays.
    Histories,
    /// `mksquashfs_main`: nothing is written, and so no kernel is copied.
    Write,
    /// `image_excludes`: nothing is excluded.
    Excludes,
    /// `revert`: nothing is exchanged, and no kernel is copied.
    Revert,
    /// `kernel_main`: all of `ltsp kernel`.
    Kernel,
    /// `search_kernel`: no kernel is found.
    KernelSearch,
    /// `rpi_image`: no links are made (K16).
    RaspberryPi,
}

/// What one run of `ltsp kernel` works from, by itself or for one image of `ltsp image` (section 4 of its
/// specification).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModernKernelSettings {
    /// BASE_DIR: absolute.
    pub base_dir: PathBuf,
    /// TFTP_DIR: absolute. Kernels go to `ltsp/NAME` in it.
    pub tftp_dir: PathBuf,
    /// The source lists as the admin typed them (K2); empty: everything in the base directory.
    pub sources: Vec<OsString>,
    /// Without sources, more than three are meant (S19).
    pub all_images: bool,
    /// Read files outside of its folder that a disk image refers to.
    pub trust_backing_files: bool,
    /// Where to look for kernels before the usual places (K14).
    pub kernel_initrd: Vec<KernelRule>,
    /// The image whose `boot` directory is linked into the TFTP directory (K16); never empty.
    pub rpi_image: Option<OsString>,
    /// Steps that are left out (F36, F37).
    pub omitted: BTreeSet<Step>,
    /// What configuration has exported, changed or unset in the environment; for every child program.
    pub child_environment: Changes,
}

/// One line of KERNEL_INITRD (K14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelRule {
    /// The kernel, as a pattern of file names relative to the root and to `boot`.
    pub glob: OsString,
    /// The sed expression that makes the kernel's path its initial ramdisk's; empty finds nothing.
    pub expression: OsString,
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
