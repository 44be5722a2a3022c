//! One run of `ltsp kernel`, from settings to kernels in the TFTP directory (section 4 of its
//! specification): by itself, and as the last step of `ltsp image` (I40).

use std::ffi::{OsStr, OsString};

use crate::config::modern::{Globals, kernel_rules};
use crate::config::settings::{ModernKernelSettings, Step};
use crate::config::variables::Origin;
use crate::error::{Result, shown};
use crate::kernel::modern::{self, MENU, Published};
use crate::kernel::raspberry_pi;
use crate::overlay::View;
use crate::site::{Places, Site, Start, drop_ins::Stage, hooks::When};
use crate::source::lookup::{Found, Lookup};
use crate::source::mounted::Mounted;
use crate::source::vm_disk::BackingFiles;
use crate::sys::confined::Root;
use crate::sys::coprocess::Output;
use crate::sys::signals;

/// The applet with its surroundings.
#[derive(Debug)]
pub struct KernelApplet {
    site: Site,
}

impl KernelApplet {
    /// Reads its configuration and loads its drop-in scripts. What code prints goes to `output`; in a dry
    /// run there is none.
    ///
    /// # Errors
    /// As for [`Site::load`].
    pub fn load(
        globals: &Globals,
        places: Places<'_>,
        output: Output,
        dry_run: bool,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self> {
        let start = Start { applet: "kernel", globals, output, dry_run };
        Ok(Self { site: Site::load(start, places, environment)? })
    }

    /// The admin's code that it would run, and when.
    pub fn code(&self) -> Vec<(String, &'static str)> {
        self.site.code()
    }

    /// What it would work from for one image, with this KERNEL_INITRD in the place of its own.
    ///
    /// # Errors
    /// When a value has no meaning.
    pub fn settings(&self, kernel_initrd: Option<&OsStr>) -> Result<ModernKernelSettings> {
        let mut settings = self.site.kernel_settings(Vec::new())?;
        if let Some(value) = kernel_initrd.filter(|value| !value.is_empty()) {
            settings.kernel_initrd = kernel_rules(value);
        }
        Ok(settings)
    }

    /// One whole run for one image: hooks, drop-in scripts, copying (I40). `kernel_initrd` wins over
    /// configuration. To be called in a private mount namespace.
    ///
    /// # Errors
    /// As for [`KernelApplet::work`]. It is a program of its own in the original: whatever status it ends
    /// with, unless by a signal, that of the run around it is 1.
    pub fn run(&mut self, image: &OsStr, kernel_initrd: Option<&OsStr>) -> Result<()> {
        self.step(image, kernel_initrd)
            .map_err(|error| if error.status() < 128 { error.with_status(1) } else { error })
    }

    fn step(&mut self, image: &OsStr, kernel_initrd: Option<&OsStr>) -> Result<()> {
        self.before()?;
        if let Some(value) = kernel_initrd.filter(|value| !value.is_empty()) {
            self.use_kernel_initrd(value);
        }
        self.work(vec![image.to_owned()])
    }

    /// Runs the hooks that come before the applet parses its options.
    ///
    /// # Errors
    /// When one fails.
    pub fn before(&mut self) -> Result<()> {
        self.site.debug_messages();
        self.site.run_hooks(When::Before)
    }

    /// The option `--kernel-initrd`.
    pub fn use_kernel_initrd(&mut self, value: &OsStr) {
        self.site.variables.assign("KERNEL_INITRD", value, Origin::Option("kernel-initrd"));
    }

    /// Copies the kernels of these sources, and runs what comes after. To be called in a private mount
    /// namespace.
    ///
    /// # Errors
    /// The first failure ends the run.
    pub fn work(&mut self, sources: Vec<OsString>) -> Result<()> {
        let done = self.all_steps(sources);
        self.site.debugged(done)
    }

    fn all_steps(&mut self, sources: Vec<OsString>) -> Result<()> {
        let arguments: Vec<&OsStr> = sources.iter().map(OsString::as_os_str).collect();
        self.site.call(Stage::Start, &arguments, None)?;
        let settings = self.site.kernel_settings(sources.clone())?;
        if settings.omitted.contains(&Step::Kernel) {
            log::info!("Omitting kernel_main");
        } else {
            update(&settings)?;
        }
        self.site.call(Stage::End, &arguments, None)?;
        self.site.undo()?;
        self.site.finish()?;
        self.site.run_hooks(When::After)
    }
}

/// Copies the kernel of each source. To be called in a private mount namespace
/// ([`crate::sys::namespace::private_mounts`]).
///
/// # Errors
/// The first failure ends the run (K3). A source without a kernel is none (K5).
pub fn update(settings: &ModernKernelSettings) -> Result<()> {
    let sources = Lookup::new(&settings.base_dir).sources(&settings.sources, settings.all_images)?;
    let mut menu = false;
    for source in &sources.found {
        signals::check()?;
        menu |= one(source, settings)?;
    }
    if menu {
        log::info!("{MENU}");
    }
    sources.end()
}

/// Whether this image has a kernel for the first time (K6).
fn one(source: &Found, settings: &ModernKernelSettings) -> Result<bool> {
    if raspberry_pi::is_meant(&source.name, settings)? {
        if settings.omitted.contains(&Step::RaspberryPi) {
            log::info!("Omitting rpi_image");
        } else {
            raspberry_pi::link(&source.name, settings)?;
        }
        return Ok(false);
    }
    let mounted = Mounted::new(source, backing(settings.trust_backing_files))?;
    let view = whole(&mounted)?;
    let root = Root::open(view.as_ref().map_or(mounted.root(), View::root))?.known_as(&source.path);
    let published = publish(&root, &mounted, source, settings)?;
    // The view lies over what is mounted.
    drop(view);
    match published {
        Published::Copied { first, .. } => Ok(first),
        Published::Missing => {
            log::info!("Copied no kernel of {}", shown(&source.path));
            Ok(false)
        }
    }
}

/// Where the files may lie that a disk image refers to.
pub(super) fn backing(trusted: bool) -> BackingFiles {
    if trusted { BackingFiles::Anywhere } else { BackingFiles::InFolder }
}

/// What the layers make up together, if there is more than one.
fn whole(mounted: &Mounted) -> Result<Option<View>> {
    if mounted.layers().len() < 2 {
        return Ok(None);
    }
    whole_view(mounted, true).map(Some)
}

/// A view of all layers, in which what is written stays in memory with an overlay, and changes the layers
/// without one.
pub(super) fn whole_view(mounted: &Mounted, overlay: bool) -> Result<View> {
    let root = mounted.root();
    let mut view = if overlay { View::new(root, &[])? } else { View::direct(root)? };
    for layer in mounted.layers().iter().skip(1) {
        view.add(&layer.lower, &layer.target, layer.is_directory)?;
    }
    Ok(view)
}

/// A live system itself may lack the kernel that its medium boots.
fn publish(
    root: &Root,
    mounted: &Mounted,
    source: &Found,
    settings: &ModernKernelSettings,
) -> Result<Published> {
    let shown: &OsStr = source.path.as_os_str();
    if let Some(medium) = mounted.live_medium() {
        if modern::find(root, settings)?.is_none() {
            return modern::publish(&Root::open(medium)?, shown, &source.name, settings);
        }
    }
    modern::publish(root, shown, &source.name, settings)
}
