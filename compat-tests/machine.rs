//! The throw-away machine of one case: a writable layer over the root file system, entered for good.
//!
//! Runs as the first process of fresh namespaces, so the kernel undoes all of it when this process ends.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use ltsp_core::error::{During, Error, Result};
use rustix::fs::{CWD, FileType, Mode, XattrFlags, makedev, mknodat, setxattr};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};

/// Where the runner keeps its own things on the machine. `/dev` is a file system of its own that is not
/// compared, and no image holds what is in it.
pub const STAGE: &str = "/dev/compat-tests";

/// Absent at the start unless a case keeps them.
const REMOVED: [&str; 9] = [
    "/opt/ltsp",
    "/srv/ltsp",
    "/srv/tftp",
    "/var/lib/tftpboot",
    "/tftpboot",
    "/etc/ltsp",
    "/etc/nbd-server",
    "/etc/exports",
    "/etc/exports.d",
];

/// The names that the binary is called by.
const LINKS: [&str; 3] = ["ltsp-update-kernels", "ltsp-config", "nbdswapd"];

/// Loop devices that the machine has nodes for; the kernel makes the devices when they are opened.
const LOOP_DEVICES: u32 = 128;

/// The program under test.
#[derive(Clone)]
pub enum Programs {
    /// The binary of this package, as `/usr/sbin/ltsp-update-image`, and links to it.
    Binary(PathBuf),
    /// The binary of this package that is called `ltsp`, over the one of the package of that name.
    Ltsp(PathBuf),
    /// What the root has.
    Stock,
    /// A directory laid over the root, with programs of any origin.
    Directory(PathBuf),
}

impl Programs {
    /// As two words, for the program that is started inside the namespaces.
    pub fn words(&self) -> [&OsStr; 2] {
        match self {
            Self::Binary(path) => ["binary".as_ref(), path.as_os_str()],
            Self::Ltsp(path) => ["ltsp".as_ref(), path.as_os_str()],
            Self::Directory(path) => ["directory".as_ref(), path.as_os_str()],
            Self::Stock => ["stock".as_ref(), "".as_ref()],
        }
    }

    /// The programs that [`Programs::words`] speaks of.
    pub fn from_words(kind: &OsStr, path: &OsStr) -> Option<Self> {
        let path = PathBuf::from(path);
        match kind.to_str()? {
            "binary" => Some(Self::Binary(path)),
            "ltsp" => Some(Self::Ltsp(path)),
            "directory" => Some(Self::Directory(path)),
            "stock" => Some(Self::Stock),
            _ => None,
        }
    }
}

/// What a machine is made from.
pub struct Plan {
    pub root: PathBuf,
    /// An existing directory that this process may mount things on.
    pub mount_point: PathBuf,
    pub programs: Programs,
}

impl Plan {
    /// The same machine with the programs of its package.
    pub fn of_original(&self) -> Self {
        Self { root: self.root.clone(), mount_point: self.mount_point.clone(), programs: Programs::Stock }
    }
}

/// The untouched directories below the machine's writable layer, topmost first.
pub type LowerDirectories = Vec<fs::File>;

/// Makes the machine and moves into it: afterwards `/` is the machine's root.
///
/// # Errors
/// Something cannot be mounted or made.
pub fn enter(plan: &Plan, keep: &[String]) -> Result<LowerDirectories> {
    let layer = plan.mount_point.as_path();
    mount_kind("tmpfs", layer, c"mode=0755")?;
    if !takes_user_attributes(layer) {
        ext4_instead(layer)?;
    }
    let place = |name: &str| layer.join(name);
    for name in ["upper", "work", "lower", "programs", "root"] {
        fs::create_dir(place(name)).during("create", place(name))?;
    }
    // The mode of the machine's `/`.
    let upper = place("upper");
    fs::set_permissions(&upper, fs::Permissions::from_mode(0o755)).during("chmod", &upper)?;

    // Relative names of bind mounts: the option string has no room for colons and commas in paths.
    // `xino` gives files of both layers the device number of the overlay and inode numbers that stay, by which
    // loop devices are recognised and files are told apart.
    mount_bind(&plan.root, place("lower")).during("bind", &plan.root)?;
    let mut lower = vec![open_directory(&plan.root)?];
    let mut layers = c"xino=on,lowerdir=lower,upperdir=upper,workdir=work";
    if let Programs::Directory(directory) = &plan.programs {
        mount_bind(directory, place("programs")).during("bind", directory)?;
        lower.insert(0, open_directory(directory)?);
        layers = c"xino=on,lowerdir=programs:lower,upperdir=upper,workdir=work";
    }
    std::env::set_current_dir(layer).during("enter", layer)?;
    mount("overlay", "root", "overlay", MountFlags::empty(), Some(layers))
        .during("mount an overlay on", layer)?;

    let root = place("root");
    let programs = root.join("usr/sbin");
    match &plan.programs {
        Programs::Binary(binary) => {
            install(binary, &programs.join("ltsp-update-image"))?;
            for name in LINKS {
                let link = programs.join(name);
                symlink("ltsp-update-image", &link).during("create", &link)?;
            }
        }
        Programs::Ltsp(binary) => install(binary, &programs.join("ltsp"))?,
        Programs::Directory(_) | Programs::Stock => {}
    }
    mount_kind("proc", &root.join("proc"), c"")?;
    mount_kind("sysfs", &root.join("sys"), c"")?;
    mount_kind("tmpfs", &root.join("run"), c"mode=0755")?;
    mount_kind("tmpfs", &root.join("tmp"), c"mode=1777")?;
    make_devices(&root.join("dev"))?;

    std::env::set_current_dir(&root).during("enter", &root)?;
    rustix::process::pivot_root(".", ".").during("pivot into", &root)?;
    unmount(".", UnmountFlags::DETACH).during("leave the old root of", &root)?;
    std::env::set_current_dir("/").during("enter", "/")?;
    rustix::system::sethostname(b"oracle").during("set", "the host name")?;

    for path in REMOVED.iter().filter(|path| !keep.iter().any(|kept| kept == *path)) {
        remove(Path::new(path))?;
    }
    fs::create_dir(STAGE).during("create", STAGE)?;
    Ok(lower)
}

/// Removes a path with everything below; nothing there is fine.
///
/// # Errors
/// It is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).during("remove", path),
        Ok(_) => fs::remove_file(path).during("remove", path),
        Err(_) => Ok(()),
    }
}

fn open_directory(path: &Path) -> Result<fs::File> {
    fs::File::open(path).during("open", path)
}

fn mount_kind(kind: &str, target: &Path, options: &std::ffi::CStr) -> Result<()> {
    mount(kind, target, kind, MountFlags::empty(), Some(options)).during(&format!("mount {kind} on"), target)
}

/// tmpfs has no `user.` attributes before Linux 6.6; the cases have files with such.
fn takes_user_attributes(directory: &Path) -> bool {
    setxattr(directory, "user.probe", b"", XattrFlags::empty()).is_ok()
}

/// Mounts a fresh ext4 file system, in a file on the tmpfs, over `layer`.
fn ext4_instead(layer: &Path) -> Result<()> {
    let image = layer.join("layer.ext4");
    let file = fs::File::create(&image).during("create", &image)?;
    file.set_len(8 << 30).during("extend", &image)?;
    let features = ["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1"];
    host_tool(Command::new("mkfs.ext4").args(features).arg(&image))?;
    host_tool(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(layer))
}

fn host_tool(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let output = command.output().during("start", &name)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new("run", &name, String::from_utf8_lossy(&output.stderr)))
}

fn install(binary: &Path, program: &Path) -> Result<()> {
    // What the package has there is a link to its own program.
    remove(program)?;
    fs::copy(binary, program).during("copy", binary)?;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755)).during("chmod", program)
}

fn make_devices(dev: &Path) -> Result<()> {
    mount_kind("tmpfs", dev, c"mode=0755")?;
    let characters: [(&str, u32, u32); 8] = [
        ("null", 1, 3),
        ("zero", 1, 5),
        ("full", 1, 7),
        ("random", 1, 8),
        ("urandom", 1, 9),
        ("tty", 5, 0),
        ("fuse", 10, 229),
        ("loop-control", 10, 237),
    ];
    for (name, major, minor) in characters {
        make_node(&dev.join(name), FileType::CharacterDevice, 0o666, major, minor)?;
    }
    for minor in 0..LOOP_DEVICES {
        make_node(&dev.join(format!("loop{minor}")), FileType::BlockDevice, 0o660, 7, minor)?;
    }
    for directory in ["pts", "shm"] {
        fs::create_dir(dev.join(directory)).during("create", dev.join(directory))?;
    }
    mount_kind("devpts", &dev.join("pts"), c"newinstance,ptmxmode=0666,mode=0620")?;
    mount_kind("tmpfs", &dev.join("shm"), c"mode=1777")?;
    let links = [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ];
    for (name, target) in links {
        symlink(target, dev.join(name)).during("create", dev.join(name))?;
    }
    Ok(())
}

fn make_node(path: &Path, kind: FileType, mode: u32, major: u32, minor: u32) -> Result<()> {
    mknodat(CWD, path, kind, Mode::from_raw_mode(mode), makedev(major, minor)).during("create", path)
}
