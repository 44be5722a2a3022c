//! `ltsp-config nbd-server`: an export for each image, and one for swap.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::settings::NbdSettings;
use crate::error::{During, Result, shown};
use crate::nbd::conf_d::{self, Put};
use crate::nbd::configuration;
use crate::nbd::process::MAIN;
use crate::nbd::sections::{ALLOW, Section};
use crate::nbd::server::{self, Changes};
use crate::source::listing;

/// Where clients look for their chroots if DHCP does not say (B3).
const USUAL_BASE: &str = "/opt/ltsp";

/// Writes the missing exports of all images in the base directory, and makes nbd-server serve them
/// (N3).
///
/// Sections of images that are gone are told, and never removed (N10, D34).
///
/// # Errors
/// When the folder or a file cannot be written (N13), or a signal came.
pub fn configure(settings: &NbdSettings) -> Result<()> {
    let places = Places::below(Path::new("/"));
    fs::create_dir_all(&places.conf_d).during("make", &places.conf_d)?;
    let _turn = conf_d::turn(&places.conf_d)?;
    let changes = places.write(settings)?;
    places.check()?;
    server::tell(&places.conf_d, &changes)
}

/// The files of nbd-server on this machine.
struct Places {
    main: PathBuf,
    conf_d: PathBuf,
    allow: PathBuf,
}

impl Places {
    fn below(root: &Path) -> Self {
        let place = |path: &str| configuration::below(root, Path::new(path));
        Self { main: place(MAIN), conf_d: place("/etc/nbd-server/conf.d"), allow: place(ALLOW) }
    }

    /// Swap first, then the images (N3).
    fn write(&self, settings: &NbdSettings) -> Result<Changes> {
        let mut changes = Changes::default();
        self.put(&Section::swap(), None, settings, &mut changes)?;
        for image in listing::images(&settings.base)? {
            match Section::image(&settings.base, &image) {
                Ok(section) => self.put(&section, Some(&image), settings, &mut changes)?,
                // D23
                Err(reason) => log::warn!(
                    "{} gets no export: its name {reason}, which nbd-server would misread",
                    shown(settings.base.join("images").join(&image))
                ),
            }
        }
        Ok(changes)
    }

    fn put(
        &self,
        section: &Section,
        image: Option<&OsStr>,
        settings: &NbdSettings,
        changes: &mut Changes,
    ) -> Result<()> {
        let path = self.conf_d.join(&section.file);
        match conf_d::put(&self.conf_d, section, image, settings.overwrite)? {
            Put::Kept { sections } => {
                self.tell_kept(&path, section, &sections, settings.quiet);
                return Ok(());
            }
            Put::Written => changes.added.push(section.name.clone()),
            Put::Changed => changes.changed.push(path.clone()),
        }
        log::info!("Created {}", path.display()); // N5, whatever QUIET says
        if path.is_symlink() {
            log::info!("{} is a link, and nbd-server reads no links there", path.display());
        }
        if image.is_some() && settings.base != Path::new(USUAL_BASE) {
            // D43
            log::info!("Clients of this image need the DHCP root path {}", shown(&section.name));
        }
        Ok(())
    }

    fn tell_kept(&self, path: &Path, section: &Section, sections: &[(Vec<u8>, Option<String>)], quiet: bool) {
        if !quiet {
            // N4
            log::warn!("{} exists and is kept; --overwrite would replace it", path.display());
        }
        // The export of another base directory, or of LTSP 5's older releases: this image has none.
        if let [(other, _), ..] = sections {
            if !sections.iter().any(|(name, _)| name == section.name.as_bytes()) {
                log::info!(
                    "{} exports {}, not {}",
                    path.display(),
                    shown(OsStr::from_bytes(other)),
                    shown(&section.name)
                );
            }
        }
    }

    /// What would keep the exports from being served, or serve them to everybody.
    fn check(&self) -> Result<()> {
        for path in configuration::included(&self.conf_d)? {
            tell_stale(&path);
        }
        // Without its main file nbd-server does not start at all: nothing is served to anybody.
        let Ok(groups) = configuration::groups(&self.main) else { return Ok(()) };
        let include = groups.first().and_then(|generic| generic.string("includedir"));
        let includes = include.is_some_and(|include| {
            fs::canonicalize(include).ok() == fs::canonicalize(&self.conf_d).ok() && self.conf_d.is_dir()
        });
        if !includes {
            // H28
            log::warn!(
                "{main} does not include {dir}, so nbd-server does not read the exports there\n\
                 hint: add this line to its section [generic]: includedir = {dir}",
                main = self.main.display(),
                dir = self.conf_d.display()
            );
        }
        if !self.allow.exists() {
            // D26
            log::warn!(
                "{} is missing, so nbd-server lets everybody in\n\
                 hint: write the networks of the clients there, one a line, such as 192.168.0.0/16",
                self.allow.display()
            );
        }
        Ok(())
    }
}

/// Tells of an export whose image is gone (D34). Only in files that LTSP makes.
fn tell_stale(path: &Path) {
    if !path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"ltsp_")) {
        return;
    }
    // A file that cannot be read is nbd-server's to complain about; what keeps a running one from
    // reloading is told then.
    for group in configuration::groups(path).unwrap_or_default() {
        let Some(image) = group.string("exportname").filter(|image| !image.contains('%')) else { continue };
        if Path::new(&image).is_absolute() && !Path::new(&image).exists() {
            log::info!("{} exports {}, which is gone; remove that file if it is not to come back", path.display(), shown(&image));
        }
    }
}
