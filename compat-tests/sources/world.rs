//! What the tests start from: trees, file systems and disks; and how they look at what was mounted.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ltsp_core::error::Error;
use ltsp_core::source::lookup::Lookup;
use ltsp_core::source::mounted::Mounted;
use ltsp_core::source::vm_disk::BackingFiles;
use ltsp_core::sys::mount::Mount;
use ltsp_core::sys::namespace;

/// A temporary directory with the images of one test.
pub struct World {
    dir: tempfile::TempDir,
}

/// Path, and what is there: type and mode, owner, content or link target.
pub type Listing = BTreeMap<PathBuf, (u32, u32, Vec<u8>)>;

/// Runs a test in a thread whose mounts nobody else sees, and looks for what it left behind.
pub fn privately(test: impl FnOnce(&World) + Send) {
    std::thread::scope(|scope| {
        let run = || {
            namespace::private_mounts().unwrap();
            // The configuration of the machine's own LTSP does not count.
            let _without =
                Path::new("/etc/ltsp").is_dir().then(|| Mount::tmpfs(Path::new("/etc/ltsp")).unwrap());
            let world = World { dir: tempfile::tempdir().unwrap() };
            let before = mounts();
            test(&world);
            assert_eq!(mounts(), before, "mounts are left");
            // A child of another thread holds our descriptors from its fork to its exec.
            let until = Instant::now() + Duration::from_secs(60);
            while !world.loops().is_empty() {
                assert!(Instant::now() < until, "loop devices are left: {:?}", world.loops());
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        scope.spawn(run).join().unwrap();
    });
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/thread-self/mountinfo").unwrap();
    table.lines().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect()
}

/// The first sector of a vfat, as mkfs.vfat makes it, as far as it is looked at.
pub fn esp(world: &World) -> PathBuf {
    let mut sector = vec![0; 512];
    sector[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
    sector[11..17].copy_from_slice(&[0x00, 0x02, 0x08, 0x20, 0x00, 0x02]);
    sector[21] = 0xf8;
    sector[67..90].copy_from_slice(b"\x78\x56\x34\x12EFI        FAT32   ");
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    let path = world.path("esp");
    fs::write(&path, sector).unwrap();
    path
}

impl World {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Loop devices whose file is one of this world's.
    fn loops(&self) -> Vec<String> {
        let devices = fs::read_dir("/sys/block").unwrap();
        let files = devices
            .filter_map(|device| fs::read_to_string(device.unwrap().path().join("loop/backing_file")).ok());
        files.filter(|file| Path::new(file.trim_end()).starts_with(self.dir.path())).collect()
    }

    /// Makes the files of a tree: names that end in `/` are directories, `name -> target` is a link; other
    /// files hold their own name and the tree's.
    pub fn tree(&self, name: &str, entries: &[&str]) -> PathBuf {
        let root = self.path(name);
        fs::create_dir_all(&root).unwrap();
        for entry in entries {
            if let Some((link, target)) = entry.split_once(" -> ") {
                fs::create_dir_all(root.join(link).parent().unwrap()).unwrap();
                if fs::symlink_metadata(root.join(link)).is_err() {
                    symlink(target, root.join(link)).unwrap();
                }
                continue;
            }
            let path = root.join(entry.trim_end_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            if entry.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::write(&path, format!("{entry} in {name}\n")).unwrap();
            }
        }
        root
    }

    /// The tree of a small system.
    pub fn root(&self, name: &str) -> PathBuf {
        self.tree(
            name,
            &[
                "bin -> usr/bin",
                "usr/bin/true",
                "usr/lib/os-release",
                "etc/os-release -> ../usr/lib/os-release",
                "etc/passwd",
                "boot/",
                "var/lib/dpkg/status",
                "proc/",
                "home/",
                "opt/",
                "vmlinuz -> boot/vmlinuz-1",
            ],
        )
    }

    /// A tree of a system, and an ext4 with it; its UUID is this one or a random one.
    pub fn ext4_root(&self, name: &str) -> PathBuf {
        self.root(name);
        self.ext4(name, "")
    }

    /// An ext4 of 8 MiB with the tree of this name.
    pub fn ext4(&self, tree: &str, options: &str) -> PathBuf {
        let image = self.path(&format!("{tree}.ext4"));
        self.sh(&format!("mkfs.ext4 -q {options} -d {tree} {} 8M", image.display()));
        image
    }

    pub fn squashfs(&self, tree: &str) -> PathBuf {
        let image = self.path(&format!("{tree}.squashfs"));
        self.sh(&format!("mksquashfs {tree} {} -quiet -no-progress", image.display()));
        image
    }

    /// A file of this many MiB with a file system that `mkfs` makes, into which the tree is copied.
    pub fn filled(&self, tree: &str, mkfs: &str, mib: u64) -> PathBuf {
        let image = self.path(&format!("{tree}.{}", mkfs.split(' ').next().unwrap()));
        let shown = image.display();
        self.sh(&format!(
            "truncate -s {mib}M {shown}; {mkfs} {shown} >/dev/null; mkdir at; mount -o loop {shown} at; \
             rm -rf at/lost+found; cp -a {tree}/. at; umount at; rmdir at"
        ));
        image
    }

    /// A btrfs, `disk`, with trees in subvolumes of these names.
    pub fn btrfs(&self, uuid: &str, subvolumes: &[(&str, &str)]) -> PathBuf {
        let mut script = format!(
            "rm -f disk; truncate -s 128M disk; mkfs.btrfs -q -U {uuid} disk; mkdir at; mount -o loop disk at\n"
        );
        for (tree, name) in subvolumes {
            script += &format!("btrfs -q subvolume create 'at/{name}'; cp -a {tree}/. 'at/{name}'\n");
        }
        self.sh(&format!("{script}umount at; rmdir at"));
        self.path("disk")
    }

    /// A disk of this many MiB with the partitions of an sfdisk script, into which files are put: each to a
    /// start in MiB.
    pub fn disk(&self, name: &str, mib: u64, script: &str, contents: &[(u64, &Path)]) -> PathBuf {
        let disk = self.path(name);
        fs::File::create(&disk).unwrap().set_len(mib << 20).unwrap();
        let mut sfdisk = Command::new("sfdisk").arg("-q").arg(&disk).stdin(Stdio::piped()).spawn().unwrap();
        sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(sfdisk.wait().unwrap().success());
        for (start, content) in contents {
            self.put(&disk, *start, &fs::read(content).unwrap());
        }
        disk
    }

    pub fn put(&self, disk: &Path, mib: u64, bytes: &[u8]) {
        fs::File::options().write(true).open(disk).unwrap().write_all_at(bytes, mib << 20).unwrap();
    }

    /// A new UUID.
    pub fn uuid(&self) -> String {
        fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap().trim().to_owned()
    }

    /// Runs a shell command in the world's directory; its last line of output.
    pub fn sh(&self, line: &str) -> String {
        let done = Command::new("sh").args(["-ec", line]).current_dir(self.dir.path()).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
        let out = String::from_utf8(done.stdout).unwrap();
        out.lines().last().unwrap_or_default().to_owned()
    }

    /// Mounts an operand in which `@/` stands for the world's directory.
    pub fn mount(&self, operand: &str) -> Result<Mounted, Error> {
        self.mount_with(operand, BackingFiles::InFolder)
    }

    pub fn mount_with(&self, operand: &str, backing: BackingFiles) -> Result<Mounted, Error> {
        let base = self.path("base");
        let operand = self.operand(operand);
        Mounted::new(&Lookup::new(&base).source(OsStr::new(&operand))?, backing)
    }

    /// An operand in which `@/` stands for the world's directory.
    pub fn operand(&self, operand: &str) -> String {
        operand.replace("@/", &format!("{}/", self.dir.path().display()))
    }

    /// The error of an operand that cannot be mounted.
    pub fn refused(&self, operand: &str) -> String {
        self.mount(operand).expect_err(operand).to_string()
    }

    /// What an operand shows, all its layers in their places. Nothing of it is left afterwards.
    pub fn seen(&self, operand: &str) -> Listing {
        let mounted = self.mount(operand).unwrap();
        let listing = self.look(&mounted);
        let root = mounted.root().to_owned();
        let is_mount = !mounted.layers()[0].is_directory;
        drop(mounted);
        assert!(!is_mount || !root.exists(), "{} is left", root.display());
        listing
    }

    pub fn look(&self, mounted: &Mounted) -> Listing {
        let place = self.path("seen");
        fs::create_dir(&place).unwrap();
        let mut mounts = Vec::new();
        for layer in mounted.layers() {
            mounts.push(Mount::bind_read_only(&layer.lower, &place.join(&layer.target)).unwrap());
        }
        assert!(fs::write(place.join("new"), "").is_err(), "a source can be written to");
        let listing = listing(&place);
        while let Some(mount) = mounts.pop() {
            drop(mount);
        }
        fs::remove_dir(place).unwrap();
        listing
    }

    /// What is in these trees, each put into the first one at a place; its own directory's mode counts.
    pub fn expected(&self, trees: &[(&str, &str)]) -> Listing {
        let mut expected = Listing::new();
        for (tree, place) in trees {
            expected.retain(|path, _| !path.starts_with(place));
            for (path, what) in listing(&self.path(tree)) {
                expected.insert(Path::new(place).join(path), what);
            }
        }
        expected
    }
}

/// Everything in a directory but `lost+found`.
pub fn listing(root: &Path) -> Listing {
    let mut found = Listing::new();
    let mut open = vec![root.to_owned()];
    while let Some(path) = open.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if metadata.is_file() {
            fs::read(&path).unwrap()
        } else {
            let entries = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
            open.extend(entries.filter(|entry| entry.file_name() != Some(OsStr::new("lost+found"))));
            Vec::new()
        };
        let relative = path.strip_prefix(root).unwrap().to_owned();
        found.insert(relative, (metadata.mode(), metadata.uid(), content));
    }
    found
}
