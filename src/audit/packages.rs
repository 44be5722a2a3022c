//! Which files of an image came with packages, by dpkg's lists: everybody has these, they are no secrets.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::Finding;
use crate::error::Result;
use crate::squashfs::inode::{FileType, Inode};
use crate::squashfs::reader::Image;

/// Where dpkg keeps the lists.
const LISTS: &str = "var/lib/dpkg/info";
/// Where keys in the files of packages are examples; elsewhere they may be settings that were changed.
const PLACES: [&str; 8] = ["/bin", "/lib", "/lib32", "/lib64", "/libx32", "/opt", "/sbin", "/usr"];

/// Removes the findings in files of packages. The lists are only read if there is one in question.
pub(super) fn without_their_files(image: &mut Image, findings: &mut Vec<Finding>) -> Result<()> {
    let in_question = |finding: &Finding| {
        PLACES.iter().any(|place| finding.path.starts_with(place)) && !finding.path.starts_with("/usr/local")
    };
    let mut left: Vec<PathBuf> =
        findings.iter().filter(|finding| in_question(finding)).map(|finding| finding.path.clone()).collect();
    let wanted = left.len();
    if wanted == 0 {
        return Ok(());
    }
    let Some(lists) = directory(image, Path::new(LISTS))? else { return Ok(()) };
    for child in image.children(&lists)? {
        if child.file_type != FileType::Regular || !child.name.ends_with(b".list") {
            continue;
        }
        let inode = image.inode(child.inode)?;
        let mut text = Vec::new();
        image.content(&inode, &mut |bytes| {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        for line in text.split(|&byte| byte == b'\n') {
            left.retain(|path| !is_path(line, path.as_os_str().as_bytes()));
        }
        if left.is_empty() {
            break;
        }
    }
    findings.retain(|finding| !in_question(finding) || left.contains(&finding.path));
    Ok(())
}

/// A list may say `/lib/x` for what is `/usr/lib/x` where `/lib` is a link.
fn is_path(listed: &[u8], path: &[u8]) -> bool {
    listed == path || path.strip_prefix(b"/usr").is_some_and(|path| path == listed)
}

fn directory(image: &mut Image, path: &Path) -> Result<Option<Inode>> {
    let root = image.root()?;
    let mut inode = image.inode(root)?;
    for component in path {
        let name = component.as_bytes();
        let child = image.children(&inode)?.into_iter().find(|child| child.name == name);
        match child {
            Some(child) if child.file_type == FileType::Directory => inode = image.inode(child.inode)?,
            _ => return Ok(None),
        }
    }
    Ok(Some(inode))
}
