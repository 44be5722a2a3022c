//! One run of `ltsp-update-image`, from settings to published images: the walk itself.
//!
//! [`images`] and [`kernels`] are those of `ltsp image` and `ltsp kernel`.

pub mod images;
pub mod kernels;
pub mod outcome;

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use crate::cleanup;
use crate::config::settings::{Action, Settings};
use crate::engine::{self, Program};
use crate::error::{Error, Result, shown};
use crate::excludes::{self, Excludes, Pattern};
use crate::nbd::guard;
use crate::overlay::View;
use crate::publish::{Image, ImageFolder};
use crate::report::{self, size};
use crate::source::locate::{Locator, Source};
use crate::space::Estimate;
use crate::sys::command::{self, Command};
use crate::sys::confined::Root;
use crate::sys::lock::PackageLock;
use crate::sys::namespace::{self, Outside};
use crate::sys::{mount_table, signals};

/// Names the root that the kernel step is to take kernels from, to the program that does it (D7 c). Empty
/// if it is to look for the root itself: it then only tells who calls.
pub const KERNEL_ROOT: &str = "LTSP_UPDATE_KERNELS_ROOT";

/// Makes, or reverts, the images that the settings ask for; publishes them, their kernels and their
/// exports.
///
/// Everything that can be checked is checked before the first image is touched. To be called while the
/// process has one thread.
///
/// # Errors
/// The first failure ends the run. Images published before it stay, and get their exports (D19).
pub fn run(settings: &Settings) -> Result<()> {
    let reverting = settings.action == Action::Revert;
    let locator = Locator::new(&settings.base, reverting)?;
    guard::check(settings)?;
    let sources = locator.sources(&settings.operands)?;
    let words = engine::of_compression(&settings.compression);
    // Where nothing is written it does not matter what could not be.
    let builds = !reverting && settings.steps.image;
    let program = if builds { engine::choose(settings.engine, &words)? } else { Program::BuiltIn };
    // Read here so that a mistake in it is told at once, and once.
    let listed = match &settings.exclude_file {
        Some(file) if builds => {
            excludes::doubt(file)?.iter().for_each(|doubt| log::warn!("{doubt}"));
            excludes::read_file(file)?
        }
        _ => Vec::new(),
    };
    signals::catch()?;
    // In a container that forbids it an image can still be made, only not of a view.
    let outside = match namespace::private_mounts() {
        Ok(outside) => Some(outside),
        Err(error) if settings.cleanup => return Err(error),
        Err(_) => None,
    };

    let folder = ImageFolder::open(&settings.base)?;
    if reverting {
        sources.iter().try_for_each(|source| folder.image(&source.name).check_revert(NonZeroU32::MIN))?;
    }
    let run = Run { settings, folder: &folder, words, program, listed, outside };
    let mut published = false;
    let done = sources.iter().try_for_each(|source| run.one(source, &mut published));
    // What was published must not lack its export because a later step failed.
    let exported = if published || done.is_ok() { run.exports() } else { Ok(()) };
    done.and(exported)
}

struct Run<'a> {
    settings: &'a Settings,
    folder: &'a ImageFolder,
    /// What is asked of the writer, in mksquashfs's words.
    words: Vec<OsString>,
    program: Program,
    /// What the exclude file leaves out.
    listed: Vec<Pattern>,
    outside: Option<Outside>,
}

/// A cleaned view, and the lock that keeps packages from changing below it. The view goes first.
struct Cleaned {
    view: View,
    _packages: Option<PackageLock>,
}

impl Run<'_> {
    fn one(&self, source: &Source, published: &mut bool) -> Result<()> {
        let image = self.folder.image(&source.name);
        if !self.settings.steps.image {
            return self.kernels(source, None);
        }
        match self.settings.action {
            Action::Build => self.build(source, &image, published),
            Action::Revert => {
                image.revert(NonZeroU32::MIN)?;
                *published = true;
                log::info!("Reverted {}; reboot the clients that use it", shown(&image.current));
                self.kernels(source, None)
            }
        }
    }

    fn build(&self, source: &Source, image: &Image, published: &mut bool) -> Result<()> {
        let cleaned = if self.settings.cleanup { Some(self.cleaned(source)?) } else { None };
        let root = cleaned.as_ref().map_or(&*source.chroot, |cleaned| cleaned.view.root());
        if cleaned.is_none() && source.chroot == Path::new("/") {
            log::warn!(
                "the image will hold this server's accounts, passwords and keys; --cleanup keeps them out of it"
            );
        }
        self.write(source, root, image)?;
        *published = true;
        self.kernels(source, Some(root))
    }

    /// A cleaned view of the chroot. Of the running system the packages are kept as they are until the
    /// image is done (U60, D21).
    fn cleaned(&self, source: &Source) -> Result<Cleaned> {
        let running = source.chroot == Path::new("/");
        let packages = if running { Some(PackageLock::acquire(&Root::open(Path::new("/"))?)?) } else { None };
        let view = View::new(&source.chroot, &self.settings.excluded_mounts)?;
        let root = Root::open(view.root())?.known_as(&source.chroot);
        let cleaned = cleanup::clean(&root, &self.settings.child_environment);
        if let Some(outside) = &self.outside {
            namespace::end_others(outside);
        }
        cleaned?;
        Ok(Cleaned { view, _packages: packages })
    }

    fn write(&self, source: &Source, root: &Path, image: &Image) -> Result<()> {
        let more = self.excludes(source, root)?;
        let all = Excludes::new(self.listed.iter().chain(&more).cloned().collect());
        let estimate = Estimate::of(root, &all, !self.settings.compression.none)?;
        estimate.check(&image.temporary)?;

        let new = image.begin(u32::from(self.settings.backup))?;
        log::debug!("Making an image of {}", shown(&source.chroot));
        let job = engine::Job {
            source: root,
            destination: &image.temporary,
            exclude_file: self.settings.exclude_file.as_deref(),
            listed: &self.listed,
            excludes: &more,
            words: &self.words,
            prefix: None,
            program: self.program,
            estimate: &estimate,
            environment: &self.settings.child_environment,
        };
        engine::write(&job)?;
        if self.settings.verify {
            engine::verify(&job)?;
        }
        let bytes = new.publish()?;
        log::debug!("Created {} ({})", shown(&image.current), size(bytes));
        Ok(())
    }

    /// What is left out beyond the exclude file: what the admin asked for, and what must never be in
    /// an image.
    fn excludes(&self, source: &Source, root: &Path) -> Result<Vec<Pattern>> {
        let mut patterns = Vec::new();
        let inside = Root::open(root)?;
        for value in &self.settings.excludes {
            patterns.extend(excludes::split(value, &inside)?);
        }
        // The image must not hold itself, other chroots, or kernels served from this machine (D25).
        let own = [&self.settings.base].into_iter().chain(&self.settings.known_tftp_dirs);
        for path in own.filter_map(|path| std::fs::canonicalize(path).ok()) {
            patterns.extend(contents(&path, &source.chroot)?);
        }
        if source.chroot == Path::new("/") && !self.settings.cleanup {
            for path in kernel_file_systems()? {
                patterns.extend(contents(&path, &source.chroot)?);
            }
        }
        Ok(patterns)
    }

    /// `ltsp-update-kernels` for one image (U76). Its kernels come from the very root that was imaged.
    fn kernels(&self, source: &Source, root: Option<&Path>) -> Result<()> {
        if !self.settings.steps.kernels {
            return Ok(());
        }
        let reverting = self.settings.action == Action::Revert;
        let mut command = tool("ltsp-update-kernels")
            .changes(&self.settings.child_environment)
            .env("PREFER_NBD_IMAGE", if reverting { "true" } else { "" })
            .env(KERNEL_ROOT, root.unwrap_or(Path::new("")));
        if let Some(list) = &self.settings.tftp_dirs {
            command = command.arg("--tftpdirs").arg(list);
        }
        if let Some(dir) = &self.settings.tftp_boot_dir {
            command = command.arg("--tftpbootdir").arg(dir);
        }
        command = command.arg("-b").arg(&self.settings.base);
        if source.name.as_encoded_bytes().starts_with(b"-") {
            command = command.arg("--");
        }
        told(command.arg(&source.name), "the kernels of this image are not published")
    }

    /// `ltsp-config nbd-server` for the images of this base directory (U75, D4).
    fn exports(&self) -> Result<()> {
        if !self.settings.steps.exports {
            return Ok(());
        }
        let mut command = tool("ltsp-config").changes(&self.settings.child_environment);
        if let Some(outside) = &self.outside {
            // It may start nbd-server, which must not stay in our private mount namespace.
            command = command.outside(outside);
        }
        let command = command.arg("--quiet").arg("-b").arg(&self.settings.base).arg("nbd-server");
        told(command, "the exports of nbd-server are not up to date")
    }
}

/// One of the other tools: the program of that name in `PATH`, so that local wrappers go on working
/// (D45); this very program where none is installed.
fn tool(name: &str) -> Command {
    if command::exists(name) { Command::new(name) } else { Command::new("/proc/self/exe").called(name) }
}

/// Runs one of them; what it tells of its progress is for a terminal only, as our own. It tells itself what
/// has failed: we say what follows from that.
fn told(command: Command, without_it: &str) -> Result<()> {
    let finished = if report::on_terminal() { command.status()? } else { command.quiet()? };
    finished.check().map(drop).map_err(|error| {
        let status = error.status();
        Error::said(format!("{without_it}: {error}")).with_status(status)
    })
}

/// Patterns for everything in `directory`, if it lies inside the source; itself it stays, empty.
fn contents(directory: &Path, source: &Path) -> Result<Vec<Pattern>> {
    match directory.strip_prefix(source) {
        Ok(inside) if !inside.as_os_str().is_empty() => {
            ["*", ".*"].map(|all| Pattern::literal_then(inside, all)).into_iter().collect()
        }
        _ => Ok(Vec::new()),
    }
}

/// Where the running system shows its kernel, and what is mounted on or below `/dev` (D38): reading
/// these never ends, or reads whole disks.
fn kernel_file_systems() -> Result<Vec<PathBuf>> {
    let mut paths = vec!["/proc".into(), "/sys".into()];
    let mounts = mount_table::read()?.into_iter().map(|mount| mount.path);
    paths.extend(mounts.filter(|path| path.starts_with("/dev")));
    Ok(paths)
}
