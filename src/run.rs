//! One run of `ltsp-update-image`, from settings to published images: the walk itself.
//!
//! [`images`] and [`kernels`] are those of `ltsp image` and `ltsp kernel`.

pub mod images;
pub mod kernels;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::cleanup;
use crate::config::settings::{Action, Settings};
use crate::engine::{self, Program};
use crate::error::{Result, shown};
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

/// Where dpkg keeps its locks and its database.
const DPKG: &str = "/var/lib/dpkg";

/// Names the root that the kernel step is to take kernels from, to the program that does it (D7 c).
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
    signals::catch()?;
    let outside = namespace::private_mounts()?;

    let folder = ImageFolder::open(&settings.base)?;
    if reverting {
        sources.iter().try_for_each(|source| folder.image(&source.name).check_revert())?;
    }
    let run = Run { settings, folder: &folder, words, program, outside };
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
    outside: Outside,
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
                image.revert()?;
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
        let packages = running.then(|| PackageLock::acquire(Path::new(DPKG))).transpose()?;
        let view = View::new(&source.chroot, &self.settings.excluded_mounts)?;
        let root = Root::open(view.root())?.known_as(&source.chroot);
        cleanup::clean(&root, &self.settings.child_environment)?;
        Ok(Cleaned { view, _packages: packages })
    }

    fn write(&self, source: &Source, root: &Path, image: &Image) -> Result<()> {
        let exclude_file = self.settings.exclude_file.as_deref();
        let listed = exclude_file.map(excludes::read_file).transpose()?.unwrap_or_default();
        let more = self.excludes(source, root)?;
        let all = Excludes::new(listed.into_iter().chain(more.iter().cloned()).collect());
        let estimate = Estimate::of(root, &all, !self.settings.compression.none)?;
        estimate.check(&image.temporary)?;

        let new = image.begin()?;
        log::debug!("Making an image of {}", shown(&source.chroot));
        let job = engine::Job {
            source: root,
            destination: &image.temporary,
            exclude_file,
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
        let bytes = new.publish(self.settings.backup)?;
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
            .env("PREFER_NBD_IMAGE", if reverting { "true" } else { "" });
        if let Some(root) = root {
            command = command.env(KERNEL_ROOT, root);
        }
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
        told(command.arg(&source.name))
    }

    /// `ltsp-config nbd-server` for the images of this base directory (U75, D4).
    fn exports(&self) -> Result<()> {
        if !self.settings.steps.exports {
            return Ok(());
        }
        // It may start nbd-server, which must not stay in our private mount namespace.
        let command = tool("ltsp-config").changes(&self.settings.child_environment).outside(&self.outside);
        told(command.arg("--quiet").arg("-b").arg(&self.settings.base).arg("nbd-server"))
    }
}

/// One of the other tools: the program of that name in `PATH`, so that local wrappers go on working
/// (D45); this very program where none is installed.
fn tool(name: &str) -> Command {
    if command::exists(name) { Command::new(name) } else { Command::new("/proc/self/exe").called(name) }
}

/// Runs one of them; what it tells of its progress is for a terminal only, as our own.
fn told(command: Command) -> Result<()> {
    let finished = if report::on_terminal() { command.status()? } else { command.quiet()? };
    finished.check().map(drop)
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
