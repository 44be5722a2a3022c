//! What the values of single variables mean.

use std::ffi::{OsStr, OsString};
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::config::legacy::absolute;
use crate::config::settings::{Audit, KernelRule};
use crate::config::shell::trust;
use crate::config::variables::{Origin, Variables, expanded_words};
use crate::error::{Error, Result, shown};

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

pub(super) fn is_one(variables: &Variables, name: &str) -> bool {
    variables.get(name).is_some_and(|value| value == "1")
}

/// Only `0` switches it off (I2); and what to say about a value that somebody may have meant so.
pub(super) fn unless_zero(variables: &Variables, name: &str) -> (bool, Option<String>) {
    let value = variables.get(name).unwrap_or_default();
    let doubtful = !value.is_empty() && value != "0" && value != "1";
    let doubt = || {
        let (value, from) = (shown(value), from(variables, name));
        format!("{name}={value}{from} is read as on: only the value 0 turns it off")
    };
    (value != "0", doubtful.then(doubt))
}

/// Any number but 0 (I2; numbers above 1 are ours); and what to say about other values.
pub(super) fn revert(variables: &Variables) -> (Option<NonZeroU32>, Option<String>) {
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
pub(super) fn keep(variables: &Variables, backup: bool) -> Result<u32> {
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

pub(super) fn ionice(variables: &Variables, owner: u32) -> Result<Option<Vec<OsString>>> {
    check_trust(variables, "IONICE", owner)?;
    Ok(variables.get("IONICE").map(expanded))
}

pub(super) fn audit(variables: &Variables) -> Result<Audit> {
    let value = variables.get("AUDIT").unwrap_or_default();
    match value.to_str() {
        Some("" | "warn") => Ok(Audit::Warn),
        Some("off") => Ok(Audit::Off),
        Some("strict") => Ok(Audit::Strict),
        _ => Err(Error::said(format!("there is no audit `{}`{}", shown(value), from(variables, "AUDIT")))
            .hint("use off, warn or strict")),
    }
}

/// The lines of KERNEL_INITRD that are no comments: a pattern up to the first blank, and the rest (K14).
pub fn kernel_rules(value: &OsStr) -> Vec<KernelRule> {
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
pub(super) fn expanded(value: &OsStr) -> Vec<OsString> {
    expanded_words(value).into_iter().map(PathBuf::into_os_string).collect()
}

fn from(variables: &Variables, name: &str) -> String {
    variables.origin(name).map_or_else(String::new, |origin| format!(" (from {origin})"))
}
