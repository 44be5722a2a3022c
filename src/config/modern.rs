//! The settings of `ltsp image` and `ltsp kernel`, from variables: who wins, and what the values mean (F16
//! to F18, I1, I2, K1).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::engine::engine;
use super::legacy::absolute;
use super::settings::{Audit, ImageSettings, KernelRule, ModernKernelSettings, Step};
use super::shell::trust;
use super::variables::{Origin, Variables, expanded_words, is_name, words};
use crate::error::{Error, Result, shown};
use crate::excludes::{self, Lines};
use crate::sys::command::Changes;

/// What counts when neither environment nor configuration sets it.
const DEFAULTS: [(&str, &str); 3] =
    [("BASE_DIR", "/srv/ltsp"), ("TFTP_DIR", "/srv/tftp"), ("HOME_DIR", "/home")];

/// The file of the admin's own excludes, in `/etc` (I27).
const EXCLUDES: &str = "ltsp/image.excludes";

/// The steps by the names that OMIT_FUNCTIONS has for them (F36).
pub const FUNCTIONS: [(&str, Step); 14] = [
    ("lock_package_management", Step::Lock),
    ("cleanup_main", Step::Cleanup),
    ("remove_printers", Step::Printers),
    ("remove_users", Step::Users),
    ("resolv_conf", Step::ResolvConf),
    ("ssh_host_keys", Step::SshHostKeys),
    ("ssl_cert", Step::SslCert),
    ("truncate_files", Step::TruncateFiles),
    ("mksquashfs_main", Step::Write),
    ("image_excludes", Step::Excludes),
    ("revert", Step::Revert),
    ("kernel_main", Step::Kernel),
    ("search_kernel", Step::KernelSearch),
    ("rpi_image", Step::RaspberryPi),
];

/// The steps by the names that LTSP_SKIP_SCRIPTS has for them (F37).
const SCRIPTS: [(&str, Step); 3] =
    [("cleanup", Step::Cleanup), ("mksquashfs", Step::Write), ("kernel", Step::Kernel)];

/// Mounting the source: nothing of the rest makes sense without it.
const MOUNTING: [&str; 2] = ["image_main", "image"];

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
        Vec::new()
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

/// Refuses to run what a variable holds if it is from a file that others than `owner` can have written.
///
/// # Errors
/// When it is, or the file is gone.
pub fn check_trust(variables: &Variables, name: &str, owner: u32) -> Result<()> {
    let Some(Origin::File(path, _)) = variables.origin(name) else { return Ok(()) };
    match trust::distrust(path, owner)? {
        None => Ok(()),
        Some(reason) => Err(Error::said(format!("root must not run {name} from {}: {reason}", shown(path)))
            .hint("make the file and its folder root's own (chown root, chmod go-w)")),
    }
}

/// The names in OMIT_FUNCTIONS that can be names of functions (F36).
pub fn functions_to_omit(variables: &Variables) -> Vec<String> {
    let names = words(variables.get("OMIT_FUNCTIONS").unwrap_or_default());
    names.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| is_name(name)).collect()
}

/// The directory that a variable names, absolute.
///
/// # Errors
/// When it is empty.
pub fn directory(variables: &Variables, name: &str) -> Result<PathBuf> {
    let value = variables.get(name).unwrap_or_default();
    if value.is_empty() {
        return Err(Error::said(format!("{name} is empty{}", from(variables, name)))
            .hint("name a directory, or leave it out for the usual one"));
    }
    absolute(PathBuf::from(value))
}

fn is_one(variables: &Variables, name: &str) -> bool {
    variables.get(name).is_some_and(|value| value == "1")
}

/// Only `0` switches it off (I2); and what to say about a value that somebody may have meant so.
fn unless_zero(variables: &Variables, name: &str) -> (bool, Option<String>) {
    let value = variables.get(name).unwrap_or_default();
    let doubtful = !value.is_empty() && value != "0" && value != "1";
    let doubt = || {
        let (value, from) = (shown(value), from(variables, name));
        format!("{name}={value}{from} is read as on: only the value 0 turns it off")
    };
    (value != "0", doubtful.then(doubt))
}

/// Any number but 0 (I2; numbers above 1 are ours); and what to say about other values.
fn revert(variables: &Variables) -> (Option<NonZeroU32>, Option<String>) {
    let value = variables.get("REVERT").unwrap_or_default();
    let number = value.to_str().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    if let Some(number) = number.and_then(|text| text.parse().ok()) {
        return (NonZeroU32::new(number), None);
    }
    let doubt = || {
        let (value, from) = (shown(value), from(variables, "REVERT"));
        format!("REVERT={value}{from} is read as off: only a number turns it on")
    };
    (None, (!value.is_empty()).then(doubt))
}

/// Without a number of its own, what BACKUP means.
fn keep(variables: &Variables, backup: bool) -> Result<u32> {
    let Some(value) = variables.non_empty("KEEP_BACKUPS") else { return Ok(u32::from(backup)) };
    let number = value.to_str().and_then(|text| text.parse().ok());
    let number: u32 = number.ok_or_else(|| {
        let (value, from) = (shown(value), from(variables, "KEEP_BACKUPS"));
        Error::said(format!("KEEP_BACKUPS={value}{from} is no number"))
            .hint("give the number of replaced images to keep, such as --keep=3")
    })?;
    // The backup is one of them.
    Ok(number.max(u32::from(backup)))
}

fn ionice(variables: &Variables, owner: u32) -> Result<Option<Vec<OsString>>> {
    check_trust(variables, "IONICE", owner)?;
    Ok(variables.get("IONICE").map(expanded))
}

fn audit(variables: &Variables) -> Result<Audit> {
    let value = variables.get("AUDIT").unwrap_or_default();
    match value.to_str() {
        Some("" | "warn") => Ok(Audit::Warn),
        Some("off") => Ok(Audit::Off),
        Some("strict") => Ok(Audit::Strict),
        _ => Err(Error::said(format!("there is no audit `{}`{}", shown(value), from(variables, "AUDIT")))
            .hint("use off, warn or strict")),
    }
}

fn omitted(variables: &Variables) -> BTreeSet<Step> {
    let functions = words(variables.get("OMIT_FUNCTIONS").unwrap_or_default());
    let scripts = skipped(variables);
    let known = |names: &[OsString], table: &[(&str, Step)]| -> Vec<Step> {
        let listed = table.iter().filter(|(name, _)| names.iter().any(|other| other == name));
        listed.map(|(_, step)| *step).collect()
    };
    known(&functions, &FUNCTIONS).into_iter().chain(known(&scripts, &SCRIPTS)).collect()
}

/// The names in LTSP_SKIP_SCRIPTS (F37).
pub fn skipped(variables: &Variables) -> Vec<OsString> {
    let value = variables.get("LTSP_SKIP_SCRIPTS").unwrap_or_default();
    value.as_bytes().split(|&byte| byte == b',').map(|name| OsStr::from_bytes(name).to_owned()).collect()
}

fn mounting_is_not_omitted(variables: &Variables) -> Result<()> {
    let functions = words(variables.get("OMIT_FUNCTIONS").unwrap_or_default());
    let scripts = skipped(variables);
    for (name, names) in MOUNTING.iter().zip([functions, scripts]) {
        if names.iter().any(|other| other == name) {
            return Err(Error::said(format!("{name} cannot be left out: there would be nothing to image"))
                .hint("correct OMIT_FUNCTIONS and LTSP_SKIP_SCRIPTS"));
        }
    }
    Ok(())
}

/// The lines of KERNEL_INITRD that are no comments: a pattern up to the first blank, and the rest (K14).
fn kernel_rules(value: &OsStr) -> Vec<KernelRule> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let rule = |line: &[u8]| {
        let line = line.trim_ascii();
        let end = line.iter().position(blank).unwrap_or(line.len());
        let (glob, expression) = line.split_at(end);
        let [glob, expression] =
            [glob, expression.trim_ascii()].map(|part| OsStr::from_bytes(part).to_owned());
        (!glob.is_empty() && glob != "#").then_some(KernelRule { glob, expression })
    };
    value.as_bytes().split(|&byte| byte == b'\n').filter_map(rule).collect()
}

/// The words of a value, file name patterns expanded (I32, I34).
fn expanded(value: &OsStr) -> Vec<OsString> {
    expanded_words(value).into_iter().map(PathBuf::into_os_string).collect()
}

fn from(variables: &Variables, name: &str) -> String {
    variables.origin(name).map_or_else(String::new, |origin| format!(" (from {origin})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        let environment = pairs.iter().map(|(name, value)| (name.into(), value.into()));
        let mut variables = Variables::from_environment(environment);
        defaults(&mut variables);
        variables
    }

    fn image(pairs: &[(&str, &str)]) -> Result<(ImageSettings, Vec<String>)> {
        image_settings(&variables(pairs), ImageRequest::default(), "/nowhere".as_ref(), 0)
    }

    fn settings(pairs: &[(&str, &str)]) -> ImageSettings {
        image(pairs).unwrap().0
    }

    // I1, I2
    #[test]
    fn without_settings_an_image_is_cleaned_backed_up_and_looked_through() {
        let found = settings(&[]);
        assert_eq!((found.base_dir, found.tftp_dir), ("/srv/ltsp".into(), "/srv/tftp".into()));
        assert!(found.backup && found.cleanup && found.overlay && !found.verify && !found.all_images);
        assert_eq!((found.keep, found.revert, found.ionice), (1, None, None));
        assert_eq!((found.audit, found.engine), (Audit::Warn, crate::config::settings::Engine::Automatic));
        assert!(found.omitted.is_empty() && found.mksquashfs_params.is_empty());
        assert!(found.excludes.iter().any(|pattern| pattern.text() == "home/*"));
    }

    // I2, F16 (2)
    #[test]
    fn only_zero_switches_off_and_doubtful_values_are_told() {
        for (value, on, doubtful) in [
            ("0", false, false),
            ("1", true, false),
            ("", true, false),
            ("no", true, true),
            ("00", true, true),
        ] {
            let (found, warnings) = image(&[("BACKUP", value), ("CLEANUP", value)]).unwrap();
            assert_eq!((found.backup, found.cleanup), (on, on), "{value}");
            assert_eq!(warnings.len(), if doubtful { 2 } else { 0 }, "{warnings:?}");
        }
        for (value, revert, doubtful) in [
            ("1", Some(1), false),
            ("0", None, false),
            ("2", Some(2), false),
            ("yes", None, true),
            ("-1", None, true),
        ] {
            let (found, warnings) = image(&[("REVERT", value)]).unwrap();
            assert_eq!(found.revert.map(NonZeroU32::get), revert, "{value}");
            assert_eq!(!warnings.is_empty(), doubtful, "{warnings:?}");
        }
        assert!(
            settings(&[("ALL_IMAGES", "1")]).all_images && !settings(&[("ALL_IMAGES", "yes")]).all_images
        );
        assert!(!settings(&[("OVERLAY", "0")]).overlay && settings(&[("OVERLAY", "no")]).overlay);
        assert_eq!(settings(&[("BASE_DIR", ""), ("TFTP_DIR", "/t")]).base_dir, Path::new("/srv/ltsp"));
    }

    #[test]
    fn the_backup_is_one_of_the_images_that_are_kept() {
        for (keep, backup, expected) in
            [("", "1", 1), ("", "0", 0), ("0", "1", 1), ("3", "1", 3), ("3", "0", 3), ("0", "0", 0)]
        {
            assert_eq!(
                settings(&[("KEEP_BACKUPS", keep), ("BACKUP", backup)]).keep,
                expected,
                "{keep} {backup}"
            );
        }
        for (name, value) in [("KEEP_BACKUPS", "all"), ("AUDIT", "yes"), ("ENGINE", "fast")] {
            let error = image(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(value) && error.contains("hint: "), "{error}");
        }
    }

    // I32, I34
    #[test]
    fn an_empty_prefix_is_something_else_than_none() {
        assert_eq!(settings(&[("IONICE", "")]).ionice, Some(Vec::new()));
        assert_eq!(settings(&[("IONICE", " nice -n 5 ")]).ionice.unwrap(), ["nice", "-n", "5"]);
        let params =
            settings(&[("MKSQUASHFS_PARAMS", " -comp xz  -Xdict-size 50% \"a b\"")]).mksquashfs_params;
        assert_eq!(params, ["-comp", "xz", "-Xdict-size", "50%", "\"a", "b\""]);
    }

    // F36, F37
    #[test]
    fn steps_are_left_out_by_the_names_of_functions_and_scripts() {
        let found = settings(&[
            ("OMIT_FUNCTIONS", "remove_users no_such_thing  ssl_cert"),
            ("LTSP_SKIP_SCRIPTS", "x,cleanup"),
        ]);
        assert_eq!(found.omitted, BTreeSet::from([Step::Users, Step::SslCert, Step::Cleanup]));
        assert!(!found.cleanup);
        assert!(settings(&[("OMIT_FUNCTIONS", "image_excludes")]).excludes.is_empty());
        for (name, value) in [("OMIT_FUNCTIONS", "image_main"), ("LTSP_SKIP_SCRIPTS", "image")] {
            assert!(image(&[(name, value)]).is_err());
            image(&[(name, value), ("REVERT", "1")]).unwrap();
        }
    }

    // K14
    #[test]
    fn each_line_of_kernel_initrd_is_a_rule_but_for_comments() {
        let value = "boot/Im*  s,Image, a b,\n# a comment\n\n#x y\n  Image \n";
        let found = kernel_settings(&variables(&[("KERNEL_INITRD", value)]), Vec::new()).unwrap();
        let rule =
            |glob: &str, expression: &str| KernelRule { glob: glob.into(), expression: expression.into() };
        let expected = [rule("boot/Im*", "s,Image, a b,"), rule("#x", "y"), rule("Image", "")];
        assert_eq!(found.kernel_initrd, expected);
        assert_eq!(kernel_settings(&variables(&[("RPI_IMAGE", "")]), Vec::new()).unwrap().rpi_image, None);
    }

    // F16, F17
    #[test]
    fn global_options_win_over_configuration_unless_they_are_empty() {
        let globals = Globals {
            given: vec![
                ("BASE_DIR", "base-dir", "/first".into()),
                ("BASE_DIR", "base-dir", "/option".into()),
                ("TFTP_DIR", "tftp-dir", "".into()),
            ],
        };
        let mut variables = variables(&[("BASE_DIR", "/environment"), ("TFTP_DIR", "/environment")]);
        globals.apply(&mut variables);
        assert_eq!(variables.get("BASE_DIR").unwrap(), "/option");
        assert_eq!(variables.get("TFTP_DIR").unwrap(), "");
        assert!(kernel_settings(&variables, Vec::new()).is_err());
        for name in ["BASE_DIR", "TFTP_DIR"] {
            variables.assign(name, "/file", Origin::Default);
        }
        globals.win(&mut variables);
        assert_eq!(variables.get("BASE_DIR").unwrap(), "/option");
        assert_eq!(variables.get("TFTP_DIR").unwrap(), "/file");
    }

    #[test]
    fn a_command_from_a_file_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ltsp.conf");
        std::fs::write(&path, "").unwrap();
        let owner = rustix::process::geteuid().as_raw();
        let mut variables = variables(&[]);
        variables.assign("IONICE", "evil", Origin::File(path.clone(), Some(1)));
        image_settings(&variables, ImageRequest::default(), "/nowhere".as_ref(), owner).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let refused = image_settings(&variables, ImageRequest::default(), "/nowhere".as_ref(), owner);
        assert!(refused.unwrap_err().to_string().contains("root must not run IONICE"));
    }

    // F9
    #[test]
    fn child_programs_get_a_locale() {
        for (value, expected) in [("C", "C.UTF-8"), ("", "C.UTF-8"), ("de_DE", "de_DE"), ("POSIX", "POSIX")] {
            let mut variables = variables(&[("LANG", value)]);
            locale(&mut variables);
            assert_eq!(variables.get("LANG").unwrap(), expected);
            assert!(variables.is_exported("LANG"));
        }
    }
}
