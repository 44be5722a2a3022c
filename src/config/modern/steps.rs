//! Steps that are left out by the names of functions and scripts of the original (F36, F37).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use crate::config::settings::Step;
use crate::config::variables::{Variables, is_name, words};
use crate::error::{Error, Result};

/// The steps by the names that OMIT_FUNCTIONS has for them (F36), and those that only we have.
pub const FUNCTIONS: [(&str, Step); 17] = [
    ("lock_package_management", Step::Lock),
    ("cleanup_main", Step::Cleanup),
    ("remove_printers", Step::Printers),
    ("remove_users", Step::Users),
    ("resolv_conf", Step::ResolvConf),
    ("ssh_host_keys", Step::SshHostKeys),
    ("ssl_cert", Step::SslCert),
    ("truncate_files", Step::TruncateFiles),
    ("machine_id", Step::MachineId),
    ("network_secrets", Step::NetworkSecrets),
    ("shell_histories", Step::Histories),
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

/// The steps that are left out.
pub(super) fn omitted(variables: &Variables) -> BTreeSet<Step> {
    let functions = words(variables.get("OMIT_FUNCTIONS").unwrap_or_default());
    let scripts = skipped(variables);
    let known = |names: &[OsString], table: &[(&str, Step)]| -> Vec<Step> {
        let listed = table.iter().filter(|(name, _)| names.iter().any(|other| other == name));
        listed.map(|(_, step)| *step).collect()
    };
    known(&functions, &FUNCTIONS).into_iter().chain(known(&scripts, &SCRIPTS)).collect()
}

/// The names in OMIT_FUNCTIONS that can be names of functions (F36).
pub fn functions_to_omit(variables: &Variables) -> Vec<String> {
    let names = words(variables.get("OMIT_FUNCTIONS").unwrap_or_default());
    names.into_iter().filter_map(|name| name.into_string().ok()).filter(|name| is_name(name)).collect()
}

/// The names in LTSP_SKIP_SCRIPTS (F37).
pub fn skipped(variables: &Variables) -> Vec<OsString> {
    let value = variables.get("LTSP_SKIP_SCRIPTS").unwrap_or_default();
    value.as_bytes().split(|&byte| byte == b',').map(|name| OsStr::from_bytes(name).to_owned()).collect()
}

/// Refuses to leave out what everything else builds on.
///
/// # Errors
/// When that is asked for.
pub(super) fn mounting_is_not_omitted(variables: &Variables) -> Result<()> {
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
