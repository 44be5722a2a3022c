//! Owner, mode and extended attributes of a directory, given to another one.

use std::ffi::{CStr, CString};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use rustix::fs::{XattrFlags, getxattr, getxattr_query, listxattr, listxattr_query, setxattr};
use rustix::io::Errno;

use crate::error::{During, Result, shown};

/// # Errors
/// When they cannot be read or set. An extended attribute of a kind that the other file system does not
/// have is left out, with a warning.
pub(super) fn copy(from: &Path, to: &Path) -> Result<()> {
    let meta = std::fs::metadata(from).during("look up", from)?;
    chown(to, Some(meta.uid()), Some(meta.gid())).during("set the owner of", to)?;
    let mode = Permissions::from_mode(meta.mode() & 0o7777);
    std::fs::set_permissions(to, mode).during("set the mode of", to)?;
    for name in xattr_names(from)? {
        copy_xattr(from, to, &name)?;
    }
    Ok(())
}

fn xattr_names(path: &Path) -> Result<Vec<CString>> {
    let size = match listxattr_query(path) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        size => size.during("list the attributes of", path)?,
    };
    let mut names = vec![0; size];
    let length = listxattr(path, &mut names[..]).during("list the attributes of", path)?;
    let names = names[..length].split_inclusive(|&byte| byte == 0);
    // Overlays note their own affairs in attributes of this kind, and hide them from the image.
    let own = |name: &CString| name.as_bytes().starts_with(b"trusted.overlay.");
    Ok(names
        .filter_map(|name| CStr::from_bytes_with_nul(name).ok())
        .map(CStr::to_owned)
        .filter(|name| !own(name))
        .collect())
}

fn copy_xattr(from: &Path, to: &Path, name: &CStr) -> Result<()> {
    let size = getxattr_query(from, name).during("read an attribute of", from)?;
    let mut value = vec![0; size];
    let length = getxattr(from, name, &mut value[..]).during("read an attribute of", from)?;
    match setxattr(to, name, &value[..length], XattrFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::NOTSUP) => {
            log::warn!("{} has no {} in the image", shown(from), shown(&*name.to_string_lossy()));
            Ok(())
        }
        result => result.during("set an attribute of", to),
    }
}
