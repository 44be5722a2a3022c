//! What will be done with one source. A run does what its plan says; `--dry-run` only tells it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::opened::Opened;
use super::writing::Writing;
use crate::cleanup::modern::Cleanup;
use crate::config::settings::{ImageSettings, ModernKernelSettings, Step};
use crate::error::{Result, shown};
use crate::kernel::modern as kernel;
use crate::kernel::raspberry_pi;
use crate::kernel::search::Pair;
use crate::overlay::Submount;
use crate::publish::{Image, Succession};
use crate::source::layers::Layer;
use crate::source::lookup::Found;
use crate::sys::confined::Root;
use crate::sys::mount_table;

/// The plan.
#[derive(Debug)]
pub(super) struct Plan {
    pub source: PathBuf,
    pub name: OsString,
    pub image: Image,
    /// What makes up the root, lower ones first.
    pub parts: Vec<Part>,
    /// File systems of a directory source that are not among them.
    pub left_out: Vec<Submount>,
    /// Where package managers are kept out.
    pub lock: Option<PathBuf>,
    /// What is written in the root stays in memory; otherwise it changes the source.
    pub overlay: bool,
    pub cleanup: Option<Cleanup>,
    /// None if nothing is to be written.
    pub writing: Option<Writing>,
    pub kernel: Kernel,
}

/// A file system or directory at its place in the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Relative to the root.
    pub place: PathBuf,
    /// What it is.
    pub what: String,
    /// How it is mounted, if we have mounted it: its options as the kernel tells them.
    pub options: Option<String>,
    /// Who wants it there, unless it is the admin.
    pub by: Option<&'static str>,
}

/// What becomes of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kernel {
    /// It is not looked for.
    Omitted,
    /// The chroot's boot directory is linked into this directory.
    Linked(PathBuf),
    /// It is copied into this directory.
    Copied(Pair, PathBuf),
    /// There is none that clients could boot, which is told like this.
    Missing(String),
}

impl Plan {
    /// For a source that is mounted already, by settings that scripts may yet change.
    ///
    /// # Errors
    /// When something cannot be done as it should.
    pub fn new(
        source: &Found,
        image: &Image,
        opened: &Opened,
        settings: &ImageSettings,
        kernels: &ModernKernelSettings,
    ) -> Result<Self> {
        let mut plan = Self {
            source: source.path.clone(),
            name: source.name.clone(),
            image: image.clone(),
            parts: parts(opened)?,
            left_out: opened.view.left_out().to_vec(),
            lock: opened.lock.clone(),
            overlay: settings.overlay,
            cleanup: None,
            writing: None,
            kernel: Kernel::Omitted,
        };
        plan.settle(settings, opened)?;
        if plan.writing.is_some() {
            plan.kernel = plan.find_kernel(opened, kernels)?;
        }
        Ok(plan)
    }

    /// Decides anew what scripts can change.
    ///
    /// # Errors
    /// As for [`Plan::new`].
    pub fn settle(&mut self, settings: &ImageSettings, opened: &Opened) -> Result<()> {
        self.cleanup = settings.cleanup.then(|| Cleanup::without(&settings.omitted));
        self.writing = if settings.omitted.contains(&Step::Write) {
            None
        } else {
            Some(Writing::new(settings, &self.source, &opened.view)?)
        };
        Ok(())
    }

    /// What becomes of older images.
    ///
    /// # Errors
    /// When their folder cannot be read.
    pub fn succession(&self) -> Result<Succession> {
        self.writing.as_ref().map_or(Ok(Succession::default()), |writing| self.image.succession(writing.keep))
    }

    /// As it will be looked for in the image.
    fn find_kernel(&self, opened: &Opened, settings: &ModernKernelSettings) -> Result<Kernel> {
        if settings.omitted.contains(&Step::Kernel) {
            return Ok(Kernel::Omitted);
        }
        if raspberry_pi::is_meant(&self.name, settings)? {
            let is_omitted = settings.omitted.contains(&Step::RaspberryPi);
            return Ok(if is_omitted { Kernel::Omitted } else { Kernel::Linked(settings.tftp_dir.clone()) });
        }
        let root = Root::open(opened.view.root())?.known_as(&self.source);
        let Some(pair) = kernel::find(&root, settings)? else {
            return Ok(Kernel::Missing(kernel::no_kernel(&root, self.source.as_os_str())?));
        };
        let excludes = self.writing.as_ref().map(Writing::excludes).unwrap_or_default();
        let inside = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
        let left_out = [&pair.kernel, &pair.initrd].into_iter().find(|path| excludes.matches(&inside(path)));
        if let Some(path) = left_out {
            let (source, path) = (shown(&self.source), shown(path));
            return Ok(Kernel::Missing(format!(
                "clients cannot boot the image of {source}: an exclude pattern leaves {path} out of it"
            )));
        }
        Ok(Kernel::Copied(pair, kernel::folder(&self.name, settings)))
    }
}

/// The layers, and what is mounted in those that are directories.
fn parts(opened: &Opened) -> Result<Vec<Part>> {
    let mounts = mount_table::read()?;
    let part = |layer: &Layer| {
        let mount = mounts.iter().rev().find(|mount| !layer.is_directory && mount.path == layer.lower);
        Part {
            place: layer.target.clone(),
            what: if layer.is_directory {
                format!("the directory {}", layer.what)
            } else {
                layer.what.clone()
            },
            options: mount.map(|mount| shown(&mount.options)),
            by: layer.by_fstab.then_some("by its etc/fstab"),
        }
    };
    let mut parts: Vec<Part> = opened.mounted.layers().iter().map(part).collect();
    let submount = |mount: &Submount| Part {
        place: mount.place.clone(),
        what: format!("{} ({})", shown(&mount.path), shown(&mount.fstype)),
        options: None,
        by: Some("mounted there"),
    };
    parts.extend(opened.view.submounts().iter().map(submount));
    Ok(parts)
}

/// A place in the root, as an absolute path in it.
pub(super) fn place(path: &Path) -> String {
    shown(Path::new("/").join(path))
}

/// Words as they would be typed.
pub(super) fn words<'a>(words: impl Iterator<Item = &'a (impl AsRef<OsStr> + 'a)>) -> String {
    words.map(|word| crate::sys::command::quoted(word.as_ref())).collect::<Vec<_>>().join(" ")
}
