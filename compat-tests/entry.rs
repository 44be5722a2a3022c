//! Putting one entry of a setup or tree on disk.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use ltsp_core::error::{During, Error, Result};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Uid, XattrFlags, chownat, lsetxattr, makedev, mknodat};
use sha2::{Digest, Sha256};

use crate::encoding::{attribute_bytes, from_base64};
use crate::machine::remove;
use crate::setup::{Entry, EntryKind, Random};

/// The static busybox of the root, which cases call a file of the testing machine.
pub const HOST_BUSYBOX: &str = "/usr/bin/busybox";

/// Creates the entry at `path`, in place of what is there; hard link targets are looked up below `root`.
///
/// # Errors
/// It cannot be created, or the description makes no sense.
pub fn put(path: &Path, entry: &Entry, root: &Path) -> Result<()> {
    make_parents(path)?;
    if entry.kind != EntryKind::Dir || !path.is_dir() {
        remove(path)?;
    }
    match entry.kind {
        EntryKind::File => write_content(path, entry)?,
        EntryKind::Dir if path.is_dir() => {}
        EntryKind::Dir => fs::create_dir(path).during("create", path)?,
        EntryKind::Symlink => symlink(target(path, entry)?, path).during("create", path)?,
        EntryKind::Hardlink => {
            let existing = below(root, target(path, entry)?);
            // What a hard link is to be called and owned, its target says.
            return fs::hard_link(existing, path).during("link", path);
        }
        EntryKind::Char => make_node(path, FileType::CharacterDevice, entry)?,
        EntryKind::Block => make_node(path, FileType::BlockDevice, entry)?,
        EntryKind::Fifo => make_node(path, FileType::Fifo, entry)?,
    }
    let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
    chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).during("chown", path)?;
    if entry.kind != EntryKind::Symlink {
        let default = if entry.kind == EntryKind::Dir { "0755" } else { "0644" };
        let mode = octal(entry.mode.as_deref().unwrap_or(default))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).during("chmod", path)?;
    }
    // After chown, which clears file capabilities.
    for (name, value) in &entry.xattrs {
        set_attribute(path, name, value)?;
    }
    Ok(())
}

/// # Errors
/// A parent directory cannot be created.
pub fn make_parents(path: &Path) -> Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    if parent.is_dir() {
        return Ok(());
    }
    make_parents(parent)?;
    fs::create_dir(parent).during("create", parent)?;
    fs::set_permissions(parent, fs::Permissions::from_mode(0o755)).during("chmod", parent)
}

/// # Errors
/// The file system refuses it.
pub fn set_attribute(path: &Path, name: &str, value: &str) -> Result<()> {
    let value = attribute_bytes(value).map_err(Error::said)?;
    lsetxattr(path, name, &value, XattrFlags::empty()).during(&format!("set {name} of"), path)
}

/// A path of a case, absolute or relative, below a directory of the machine.
pub fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// # Errors
/// The text is no octal number.
pub fn octal(text: &str) -> Result<u32> {
    u32::from_str_radix(text, 8).map_err(|_| Error::said(format!("not an octal mode: {text}")))
}

fn target<'a>(path: &Path, entry: &'a Entry) -> Result<&'a str> {
    entry.target.as_deref().ok_or_else(|| Error::new("create", path, "the case gives no target"))
}

fn make_node(path: &Path, kind: FileType, entry: &Entry) -> Result<()> {
    let device = makedev(entry.major.unwrap_or(0), entry.minor.unwrap_or(0));
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o600), device).during("create", path)
}

fn write_content(path: &Path, entry: &Entry) -> Result<()> {
    let mut file = fs::File::create(path).during("create", path)?;
    if let Some(size) = entry.sparse {
        return file.set_len(size).during("extend", path);
    }
    if let Some(size) = entry.noise {
        let noise = fs::File::open("/dev/urandom").during("open", "/dev/urandom")?;
        return io::copy(&mut noise.take(size), &mut file).during("fill", path).map(drop);
    }
    if let Some(name) = &entry.host {
        if name != "busybox" {
            return Err(Error::new("create", path, format!("no file of the machine is known as {name}")));
        }
        let mut busybox = fs::File::open(HOST_BUSYBOX).during("open", HOST_BUSYBOX)?;
        return io::copy(&mut busybox, &mut file).during("copy to", path).map(drop);
    }
    let content = match (&entry.content, &entry.base64, &entry.random) {
        (Some(text), None, None) => text.as_bytes().to_owned(),
        (None, Some(text), None) => from_base64(text).map_err(Error::said)?,
        (None, None, Some(random)) => random_bytes(random),
        (None, None, None) => Vec::new(),
        _ => return Err(Error::new("create", path, "the case gives more than one content")),
    };
    file.write_all(&content).during("write", path)
}

/// The digests of `seed:0`, `seed:1`, … one after the other, cut at the size.
fn random_bytes(random: &Random) -> Vec<u8> {
    let size = usize::try_from(random.size).unwrap_or(usize::MAX);
    let mut bytes = Vec::new();
    for number in 0_u64.. {
        if bytes.len() >= size {
            break;
        }
        bytes.extend_from_slice(&Sha256::digest(format!("{}:{number}", random.seed)));
    }
    bytes.truncate(size);
    bytes
}
