//! The settings of `ltsp image` and `ltsp kernel`, from variables: who wins, and what the values mean (F16
//! to F18, I1, I2, K1).

mod steps;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::engine::engine;
use super::settings::{ImageSettings, ModernKernelSettings, Step};
use super::variables::{Origin, Variables};
use crate::error::Result;
use crate::excludes::{self, ImageList, Lines};
use crate::sys::command::Changes;
use steps::{mounting_is_not_omitted, omitted};
use values::{audit, expanded, ionice, is_one, keep, revert, unless_zero};

pub use steps::{FUNCTIONS, functions_to_omit, skipped};
pub use values::{check_trust, directory, kernel_rules};

/// What counts when neither environment nor configuration sets it.
const DEFAULTS: [(&str, &str); 3] =
    [("BASE_DIR", "/srv/ltsp"), ("TFTP_DIR", "/srv/tftp"), ("HOME_DIR", "/home")];

/// The file of the admin's own excludes, in `/etc` (I27).
const EXCLUDES: &str = "ltsp/image.excludes";

/// The global options that were given, by the variables that they set (F3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Globals {
    /// Variable, option and value, in order.
    pub given: Vec<(&'static str, &'static str, OsString)>,
}

impl Globals {
    /// Before configuration is read, which can refer to them (F17).
    pub fn apply(&self, variables: &mut Variables) {
        for (name, option, value) in &self.given {
            variables.assign(name, value, Origin::Option(option));
        }
    }

    /// After it: they win, unless they are empty (F16, F17).
    pub fn win(&self, variables: &mut Variables) {
        for (at, (name, option, value)) in self.given.iter().enumerate() {
            let last = self.given[at + 1..].iter().all(|(other, ..)| other != name);
            if last && !value.is_empty() {
                variables.assign(name, value, Origin::Option(option));
            }
        }
    }
}

/// Sets what nothing else has set so far.
pub fn defaults(variables: &mut Variables) {
    for (name, value) in DEFAULTS {
        variables.set_default(name, value);
    }
}

/// Gives child programs a locale in which names are UTF-8, unless there is one (F9).
pub fn locale(variables: &mut Variables) {
    if variables.non_empty("LANG").is_none_or(|value| value == "C") {
        variables.assign("LANG", "C.UTF-8", Origin::Default);
        variables.export("LANG", Origin::Default);
    }
}

/// What the command line alone says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageRequest {
    /// The source lists.
    pub sources: Vec<OsString>,
    /// `--dry-run`
    pub dry_run: bool,
    /// `--json`
    pub json: bool,
}

/// The settings of `ltsp image`, and what there is to warn about. `owner` is whose files name programs to
/// be run: 0, outside tests.
///
/// # Errors
/// When a value has no meaning.
pub fn image_settings(
    variables: &Variables,
    request: ImageRequest,
    etc: &Path,
    owner: u32,
) -> Result<(ImageSettings, Vec<String>)> {
    let mut warnings = Vec::new();
    let mut unless_zero = |name| {
        let (on, doubt) = unless_zero(variables, name);
        warnings.extend(doubt);
        on
    };
    let (backup, cleanup) = (unless_zero("BACKUP"), unless_zero("CLEANUP"));
    let (revert, doubt) = revert(variables);
    warnings.extend(doubt);
    let omitted = omitted(variables);
    if revert.is_none() {
        mounting_is_not_omitted(variables)?;
    }
    let excludes = if omitted.contains(&Step::Excludes) {
        ImageList::default()
    } else {
        let lines = |name| Lines { value: variables.get(name).unwrap_or_default(), name };
        let (add, omit) = (lines("ADD_IMAGE_EXCLUDES"), lines("OMIT_IMAGE_EXCLUDES"));
        excludes::image_list(&etc.join(EXCLUDES), add, omit)?
    };
    let settings = ImageSettings {
        base_dir: directory(variables, "BASE_DIR")?,
        tftp_dir: directory(variables, "TFTP_DIR")?,
        sources: request.sources,
        all_images: is_one(variables, "ALL_IMAGES"),
        revert,
        backup,
        keep: keep(variables, backup)?,
        cleanup: cleanup && !omitted.contains(&Step::Cleanup),
        trust_backing_files: is_one(variables, "TRUST_BACKING_FILES"),
        overlay: variables.get("OVERLAY").is_none_or(|value| value != "0"),
        excludes,
        engine: engine(variables)?,
        ionice: ionice(variables, owner)?,
        mksquashfs_params: expanded(variables.get("MKSQUASHFS_PARAMS").unwrap_or_default()),
        verify: is_one(variables, "VERIFY"),
        audit: audit(variables)?,
        dry_run: request.dry_run,
        json: request.json,
        omitted,
        child_environment: child_environment(variables),
    };
    Ok((settings, warnings))
}

/// The settings of `ltsp kernel` for these source lists.
///
/// # Errors
/// When a value has no meaning.
pub fn kernel_settings(variables: &Variables, sources: Vec<OsString>) -> Result<ModernKernelSettings> {
    Ok(ModernKernelSettings {
        base_dir: directory(variables, "BASE_DIR")?,
        tftp_dir: directory(variables, "TFTP_DIR")?,
        sources,
        all_images: is_one(variables, "ALL_IMAGES"),
        trust_backing_files: is_one(variables, "TRUST_BACKING_FILES"),
        kernel_initrd: kernel_rules(variables.get("KERNEL_INITRD").unwrap_or_default()),
        rpi_image: variables.non_empty("RPI_IMAGE").map(OsStr::to_owned),
        omitted: omitted(variables),
        child_environment: child_environment(variables),
    })
}

/// What configuration has changed in the environment.
pub fn child_environment(variables: &Variables) -> Changes {
    let (set, removed) = variables.child_environment(std::env::vars_os());
    Changes { set, removed }
}

#[cfg(test)]
mod tests;
