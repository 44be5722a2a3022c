//! The account databases with the accounts of the system alone (I11-I21): the modern LTSP gives clients
//! their users when they boot, and every password that is left in the image is locked.
//!
//! The result is that of the original, file for file; so are modes and owners. What it fails on is
//! tolerated where no account can leak by it (U5): see `entries`.

use rustix::fs::{Mode, mkdirat};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::confined::{Attributes, Root};

use super::login_defs::Ranges;

mod entries;
mod reduce;

use entries::{Group, User};
use reduce::Databases;

const PASSWD: &str = "etc/passwd";
const GROUP: &str = "etc/group";
const SHADOW: &str = "etc/shadow";
const GSHADOW: &str = "etc/gshadow";

/// Makes new databases from `etc/passwd` and `etc/group` of the root, without the users and groups in
/// `ranges`, and removes the copies that tools made of the old ones. `subuid` and `subgid` stay (I20).
///
/// The four files are replaced, not written to: where a link was, there is a file afterwards (I18).
///
/// # Errors
/// When there is no `etc/passwd` or `etc/group`: then this is no root file system (U5). When a file
/// cannot be read, replaced or removed.
pub fn keep_system_accounts(root: &Root, ranges: &Ranges) -> Result<()> {
    let users = entries::read::<User>(&root.shown(PASSWD), &required(root, PASSWD)?);
    let groups = entries::read::<Group>(&root.shown(GROUP), &required(root, GROUP)?);
    let (uid, gid) = owner_of_shadow(root, &groups)?;
    working_folders(root)?;
    let Databases { passwd, group, shadow, gshadow } =
        reduce::reduce(&root.shown(PASSWD), users, groups, ranges);
    let secret = Attributes { mode: 0o640, uid, gid };
    root.replace(PASSWD, &passwd, Attributes::of_root(0o644))?;
    root.replace(GROUP, &group, Attributes::of_root(0o644))?;
    root.replace(SHADOW, &shadow, secret)?;
    root.replace(GSHADOW, &gshadow, secret)?;
    remove_copies(root)
}

/// What the original works with, and leaves: by default only that there is a `tmp` reaches the image (I21,
/// S27).
fn working_folders(root: &Root) -> Result<()> {
    make_directory(root, "tmp")?;
    let Some(tmp) = root.dir("tmp")? else { return Ok(()) };
    for name in ["pwempty", "pwmerged"] {
        make_directory(&tmp, name)?;
    }
    let Some(empty) = tmp.dir("pwempty")? else { return Ok(()) };
    for name in ["passwd", "group"] {
        empty.replace(name, b"", Attributes::of_root(0o644))?;
    }
    Ok(())
}

/// Makes a directory, unless something has its name.
fn make_directory(parent: &Root, name: &str) -> Result<()> {
    match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(source) => Err(Error::io("make the directory", parent.shown(name), source)),
    }
}

/// Whether a root has what [`keep_system_accounts`] needs.
///
/// # Errors
/// When it has not: then it is no root file system.
pub fn check(root: &Root) -> Result<()> {
    required(root, PASSWD)?;
    required(root, GROUP).map(drop)
}

fn required(root: &Root, path: &str) -> Result<Vec<u8>> {
    if let Some(content) = root.read(path)? {
        return Ok(content);
    }
    let reason = match root.lstat(path)? {
        None => format!("there is no {path}: this is not a root file system"),
        Some(_) => format!("{path} is no file, and no link to one inside of it"),
    };
    Err(Error::new("remove the accounts from", root.name(), reason)
        .hint("of a disk with several partitions another one may hold the root: choose it with partition=N"))
}

/// Whose the new shadow files are: the owner and group of the old one; else root, and the root's own
/// group `shadow`, where the original takes the server's number for it (I18, U5).
fn owner_of_shadow(root: &Root, groups: &[entries::Line<Group>]) -> Result<(u32, u32)> {
    if let Some(stat) = root.stat(SHADOW)? {
        return Ok((stat.st_uid, stat.st_gid));
    }
    let gid = groups.iter().filter_map(entries::Line::entry).find(|group| group.name == b"shadow");
    Ok((0, gid.and_then(|group| u32::try_from(group.gid).ok()).unwrap_or(0)))
}

/// Removes what has the name of a database and one character more, as `shadow-` (I20).
fn remove_copies(root: &Root) -> Result<()> {
    for entry in root.entries("etc")?.unwrap_or_default() {
        let name = entry.name.as_encoded_bytes();
        let more = ["passwd", "group", "shadow", "gshadow", "subuid", "subgid"]
            .iter()
            .find_map(|database| name.strip_prefix(database.as_bytes()));
        if more.is_some_and(is_one_character) {
            let path = std::path::Path::new("etc").join(&entry.name);
            root.remove(path).map_err(|error| {
                error.hint("it has the name of a copy of an account database, which must not be in an image")
            })?;
        }
    }
    Ok(())
}

fn is_one_character(bytes: &[u8]) -> bool {
    bytes.len() == 1 || std::str::from_utf8(bytes).is_ok_and(|text| text.chars().count() == 1)
}

#[cfg(test)]
mod tests;
