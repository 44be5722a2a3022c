//! One run of `ltsp kernel`, from settings to kernels in the TFTP directory (section 4 of its
//! specification).

use std::ffi::OsStr;

use crate::config::settings::{ModernKernelSettings, Step};
use crate::error::Result;
use crate::kernel::modern::{self, MENU, Published};
use crate::kernel::raspberry_pi;
use crate::overlay::View;
use crate::source::lookup::{Found, Lookup};
use crate::source::mounted::Mounted;
use crate::source::vm_disk::BackingFiles;
use crate::sys::confined::Root;
use crate::sys::signals;

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
    Ok(matches!(published, Published::Copied { first: true, .. }))
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
    whole_view(mounted).map(Some)
}

/// A writable view of all layers.
pub(super) fn whole_view(mounted: &Mounted) -> Result<View> {
    let mut view = View::new(mounted.root(), &[])?;
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
