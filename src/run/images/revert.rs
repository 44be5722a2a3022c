//! Back to an older image (I41).

use std::ffi::OsString;
use std::num::NonZeroU32;
use std::time::Instant;

use super::existing_folder;
use crate::config::settings::{ImageSettings, Step};
use crate::error::{Result, shown};
use crate::publish::Image;
use crate::report;
use crate::report::json::Json;
use crate::run::kernels::KernelApplet;
use crate::run::outcome::Outcome;
use crate::source::lookup::Lookup;

/// Reverts the images that the settings name to their backups of this number.
///
/// # Errors
/// The first failure ends the run.
pub(super) fn revert(
    settings: &ImageSettings,
    lookup: &Lookup<'_>,
    number: NonZeroU32,
    kernels: &mut KernelApplet,
) -> Result<()> {
    let names: Vec<Result<OsString>> = if settings.sources.is_empty() {
        let sources = lookup.sources(&[], settings.all_images)?;
        sources.found.into_iter().map(|source| Ok(source.name)).collect()
    } else {
        settings.sources.iter().map(|list| lookup.name_to_revert(list)).collect()
    };
    // Another run must not be at work there meanwhile.
    let _folder = if settings.dry_run { None } else { existing_folder(&settings.base_dir)? };
    for name in names {
        let name = name?;
        let image = Image::new(&settings.base_dir.join("images"), &name);
        if settings.omitted.contains(&Step::Revert) {
            log::info!("Omitting revert");
            continue;
        }
        if settings.dry_run {
            tell(settings, &image, number)?;
            continue;
        }
        let start = Instant::now();
        image.revert(number)?;
        log::info!("Reverted {}; reboot the clients that use it", shown(&image.current));
        kernels.run(image.current.as_os_str(), None)?;
        if settings.json {
            report::result(&Outcome::of(name, &image, start.elapsed())?.json())?;
        }
    }
    Ok(())
}

/// What would be done with one image.
fn tell(settings: &ImageSettings, image: &Image, number: NonZeroU32) -> Result<()> {
    image.check_revert(number)?;
    let backup = image.generation(number);
    let both = image.current.exists();
    if settings.json {
        let renamed = |from, to| Json::Object(vec![("from", Json::path(from)), ("to", Json::path(to))]);
        let back = both.then(|| renamed(&image.current, &backup));
        let renamed = std::iter::once(renamed(&backup, &image.current)).chain(back).collect();
        return report::result(&Json::Object(vec![
            ("dry_run", Json::Bool(true)),
            ("path", Json::path(&image.current)),
            ("renamed", Json::List(renamed)),
        ]));
    }
    let (current, backup) = (shown(&image.current), shown(&backup));
    if both {
        log::info!("{current} and {backup} would be exchanged, and the kernel of the image copied");
    } else {
        log::info!("{backup} would become {current}, and its kernel be copied");
    }
    Ok(())
}
