//! Kernels and ramdisks, copied from chroots and images to the directories that TFTP serves: all of
//! `ltsp-update-kernels` behind its command line.
//!
//! For each TFTP directory and name: [`origin`] finds the root, [`image`] mounts it if it is an image,
//! [`target`] opens the directory of the name, [`copy`] fills it, [`boot_loaders`] and [`permissions`]
//! make it usable, [`stale`] finds kernels that are of no use any more, and [`flavours`] gives the
//! newest ones their stable names by the [`naming`] of the root.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat, syncfs};

use crate::config::settings::KernelSettings;
use crate::error::{During, Error, Result, shown};
use crate::kernel_names::{assignments, naming};
use crate::source::listing;
use crate::sys::command::{self, Command};
use crate::sys::confined::Root;
use crate::sys::signals;

pub mod origin;

pub mod image;

pub mod target;

pub mod copy;
pub mod replace;

pub mod boot_loaders;
pub mod permissions;

pub mod stale;

pub mod flavours;

pub mod modern;
pub mod raspberry_pi;
pub mod search;

use image::MountedImage;
use origin::{Origin, Place};

/// Publishes the kernels of the names that the settings ask for in every TFTP directory.
///
/// Images are mounted: to be called in a private mount namespace
/// ([`crate::sys::namespace::private_mounts`]).
///
/// # Errors
/// When there is nothing to publish (K2). When a step fails: what was published before stays usable,
/// and the run ends (K5); only a root that cannot be opened, an image above all, is left out, and is an
/// error at the end (D22).
pub fn update(settings: &KernelSettings) -> Result<()> {
    let origins = origins(settings)?;
    let tftp_dirs: Vec<&PathBuf> = settings.tftp_dirs.iter().filter(|dir| dir.is_dir()).collect();
    if tftp_dirs.is_empty() {
        log::warn!(
            "no kernels are published: {}\n\
             hint: install a TFTP server, or name its directory with TFTP_DIRS in /etc/ltsp/ltsp-server.conf",
            match &*settings.tftp_dirs {
                [] => "TFTP_DIRS is empty".to_owned(),
                dirs => format!("none of the TFTP directories exists ({})", list(dirs)),
            }
        );
        return Ok(());
    }
    let mut unreadable: BTreeSet<&OsStr> = BTreeSet::new();
    for tftp in &tftp_dirs {
        for origin in &origins {
            if unreadable.contains(&*origin.name) {
                continue;
            }
            match OpenRoot::new(origin, settings) {
                Ok(open) => publish(&open.root, origin, tftp, settings)?,
                Err(error) => {
                    signals::check()?;
                    if origins.len() == 1 {
                        return Err(error);
                    }
                    log::error!("{error}");
                    unreadable.insert(&origin.name);
                }
            }
        }
        relabel(tftp)?;
    }
    if unreadable.is_empty() {
        return Ok(());
    }
    Err(Error::action("publish the kernels of all names", format!("left out: {}", list(unreadable))))
}

/// A root that can be read; let go before its image is unmounted, in the order of the fields.
struct OpenRoot {
    root: Root,
    _image: Option<MountedImage>,
}

impl OpenRoot {
    fn new(origin: &Origin, settings: &KernelSettings) -> Result<Self> {
        match &origin.place {
            // A view that was made to be imaged has a temporary path, which would tell the admin nothing.
            Place::Directory(path) if settings.root_override.is_some() => {
                Ok(Self { root: Root::open(path)?.known_as(Path::new(&origin.name)), _image: None })
            }
            Place::Directory(path) => Ok(Self { root: Root::open(path)?, _image: None }),
            Place::Image(path) => {
                let image = MountedImage::mount(path)?;
                Ok(Self { root: Root::open(image.path())?.known_as(path), _image: Some(image) })
            }
        }
    }
}

/// The roots to publish from. Names without one are told and left out, and are no failure (K12, D5).
fn origins(settings: &KernelSettings) -> Result<Vec<Origin>> {
    if settings.root_override.is_some() && settings.names.len() != 1 {
        return Err(Error::said("LTSP_UPDATE_KERNELS_ROOT is the root of one name, and needs exactly one"));
    }
    let names = if settings.names.is_empty() { every_name(&settings.base)? } else { settings.names.clone() };
    let mut origins = Vec::new();
    for name in names {
        match origin::find(settings, &name)? {
            Some(origin) => origins.push(origin),
            None if name == "mock" => {} // an empty chroot of package builds (H39)
            None => {
                log::info!("Skipping {}", shown(&name));
                log::warn!("{}", missing(settings, &name));
            }
        }
    }
    Ok(origins)
}

/// Every chroot and image in the base directory (K2, A6).
fn every_name(base: &Path) -> Result<Vec<OsString>> {
    let mut names = listing::chroots(base)?;
    names.extend(listing::images(base)?);
    names.sort();
    names.dedup();
    if names.is_empty() {
        return Err(Error::new("find a chroot or image in", base, "there is none")
            .hint("make a chroot there, or name another base directory with --base"));
    }
    Ok(names)
}

fn missing(settings: &KernelSettings, name: &OsStr) -> String {
    let plain =
        Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    if !plain || Path::new(name).file_name().is_none() {
        return format!("{} is skipped: it is not the name of a chroot or image", command::quoted(name));
    }
    let image = settings.base.join("images").join([name, OsStr::new(".img")].join(OsStr::new("")));
    if settings.prefer_image {
        return format!("{} is skipped: there is no image {}", shown(name), shown(image));
    }
    format!(
        "{} is skipped: {} has no executable bin/true, and there is no image {}",
        shown(name),
        shown(settings.base.join(name)),
        shown(image)
    )
}

/// All steps for one root and TFTP directory (K5). What is new is there in full before a link leads to
/// it, and what is old goes last.
fn publish(root: &Root, origin: &Origin, tftp: &Path, settings: &KernelSettings) -> Result<()> {
    let path = target::path(&settings.tftp_boot_dir, &origin.name)?;
    log::info!("Copying the kernels of {} to {}", shown(root.name()), shown(tftp.join(&path)));
    let naming = naming::Naming::new(assignments::read(root)?);
    let target = target::open(tftp, &path)?;
    let Some(boot) = root.dir("boot")? else {
        return Err(Error::new("publish the kernels of", root.name(), "it has no directory boot")
            .hint("install a kernel in it"));
    };
    copy::copy(&boot, &target)?;
    flush(&target)?;
    boot_loaders::default_entry(&target)?;
    permissions::open_up(&target)?;
    boot_loaders::yaboot(&Root::open(tftp)?, &target, &path)?;
    signals::check()?;
    let stale = stale::find(root, &target)?;
    let leading_nowhere = flavours::link(&target, &naming, &stale)?;
    stale::remove(&target, stale.into_iter().chain(leading_nowhere))
}

/// Has the file system of a directory write what it still holds in memory, so that a power failure
/// never finds the old kernels gone and the new ones empty.
fn flush(folder: &Root) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(folder, ".", flags, Mode::empty());
    opened.and_then(syncfs).during("write to disk", folder.path())
}

/// SELinux's labels by its policy, where there is SELinux; its failures do not count (K3).
fn relabel(tftp: &Path) -> Result<()> {
    if command::exists("restorecon") {
        if let Err(error) = Command::new("restorecon").arg("-R").arg(tftp).output() {
            signals::check()?;
            log::debug!("{error}");
        }
    }
    Ok(())
}

fn list(names: impl IntoIterator<Item = impl AsRef<Path>>) -> String {
    names.into_iter().map(shown).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
