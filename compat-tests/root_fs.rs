//! The small Debian root file system that every case starts from, built once and cached.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ltsp_core::error::{During, Error, Result};
use rustix::fs::{FlockOperation, flock};
use sha2::{Digest, Sha256};

/// What the recorded cases need: the tools that the programs under test may start, and for the
/// runner itself `mkfs.ext4`, `mksquashfs` and a static busybox.
const LTSP5_PACKAGES: &[&str] =
    &["busybox-static", "e2fsprogs", "kmod", "lsof", "mount", "procps", "squashfs-tools", "util-linux"];

/// What the recorded cases of the modern LTSP were recorded with, and for the runner itself `mkfs.ext4`,
/// `sfdisk` and a static busybox.
const LTSP19_PACKAGES: &[&str] = &[
    "busybox-static",
    "e2fsprogs",
    "fdisk",
    "iproute2",
    "kmod",
    "ltsp",
    "openssh-client",
    "openssl",
    "passwd",
    "squashfs-tools",
    "util-linux",
];

/// How a root is made. Roots with other contents (the one with Debian's `ltsp`, for live comparisons) are
/// other recipes; the cache keeps them apart by their hash.
pub struct Recipe {
    suite: String,
    packages: &'static [&'static str],
}

impl Recipe {
    /// The root for the cases recorded from LTSP 5: of the machine's own suite, so that its C library is as new as the
    /// one that the program under test was linked with.
    ///
    /// # Errors
    /// The machine does not say which Debian suite it is.
    pub fn ltsp5() -> Result<Self> {
        Self::of_this_suite(LTSP5_PACKAGES)
    }

    /// The root for the cases recorded from the modern LTSP, with Debian's package of it.
    ///
    /// # Errors
    /// As for [`Recipe::ltsp5`].
    pub fn ltsp19() -> Result<Self> {
        Self::of_this_suite(LTSP19_PACKAGES)
    }

    fn of_this_suite(packages: &'static [&'static str]) -> Result<Self> {
        let path = Path::new("/etc/os-release");
        let text = fs::read_to_string(path).during("read", path)?;
        let suite = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        match suite {
            Some(suite) => Ok(Self { suite: suite.trim_matches('"').to_owned(), packages }),
            None => Err(Error::new("tell the Debian suite from", path, "it has no VERSION_CODENAME")),
        }
    }

    /// The root made by this recipe, from the cache or built now.
    ///
    /// # Errors
    /// mmdebstrap is missing or fails, or the cache cannot be written.
    pub fn root(&self, cache: &Path) -> Result<PathBuf> {
        let name = format!("root-{}-{}", self.suite, self.hash());
        let root = cache.join(&name);
        fs::create_dir_all(cache).during("create", cache)?;

        // Two test runs at once build it once: the second one waits here.
        let lock_path = cache.join(format!("{name}.lock"));
        let lock = fs::File::create(&lock_path).during("create", &lock_path)?;
        flock(&lock, FlockOperation::LockExclusive).during("lock", &lock_path)?;
        if !root.is_dir() {
            self.build(&root, &cache.join(format!("{name}.partial")))?;
        }
        if !root.join("usr/bin/mksquashfs").exists() {
            return Err(Error::new("use", &root, "it lacks mksquashfs (package squashfs-tools)")
                .hint("remove it; the next run makes it again"));
        }
        Ok(root)
    }

    fn build(&self, root: &Path, partial: &Path) -> Result<()> {
        println!("building the root file system of the cases in {} (once)", root.display());
        match fs::remove_dir_all(partial) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).during("remove", partial),
            _ => {}
        }
        let output = Command::new("mmdebstrap")
            .args(self.arguments())
            .arg(partial)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                Error::io("start", "mmdebstrap", error)
                    .hint("it comes with the package of that name: apt-get install mmdebstrap")
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let end: Vec<&str> = said.lines().rev().take(15).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            return Err(Error::new("build", root, format!("mmdebstrap failed:\n{}", end.join("\n"))));
        }
        fs::rename(partial, root).during("move into place", root)
    }

    fn arguments(&self) -> Vec<String> {
        vec![
            "--mode=root".to_owned(),
            "--format=directory".to_owned(),
            "--variant=minbase".to_owned(),
            format!("--include={}", self.packages.join(",")),
            self.suite.clone(),
        ]
    }

    fn hash(&self) -> String {
        let digest = Sha256::digest(self.arguments().join("\n"));
        digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }
}
