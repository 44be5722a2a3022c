//! What a client reads when it starts (C13, C19, C21).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::FileType;

use crate::error::Result;
use crate::kernel_names::assignments;
use crate::kernel_names::naming::{Kernel, Naming};
use crate::kernel_names::version_sort::compare;
use crate::sys::confined::Root;

use super::inside::Inside;

/// Replaces the table of file systems, which are the server's: a client that waits for one of them does
/// not start (C13).
///
/// # Errors
/// When it cannot be written.
pub fn fstab(root: &Root) -> Result<()> {
    if root.is_dir("etc")? {
        root.write("etc/fstab", b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n")?;
    }
    Ok(())
}

/// Has the chroot's own program write its files for PXELINUX, if it has one and has not run yet (C19).
///
/// # Errors
/// When the program fails.
pub(super) fn pxelinux_files(inside: &Inside) -> Result<()> {
    let program = "/usr/share/ltsp/update-kernels";
    if inside.root.is_dir("boot/pxelinux.cfg")? || !inside.root.is_executable(program)? {
        return Ok(());
    }
    inside.command(program).output()?.check().map(drop)
}

/// Makes `/boot/vmlinuz` and `/boot/initrd.img` links to a kernel and its ramdisk, unless both are there,
/// and `/boot/nbi.img` one to the network boot image that belongs to them, if there is one (C21).
///
/// The kernel is the newest one of the first flavour; if it has no ramdisk, no other is tried. Kernels
/// are found and ramdisks named as the chroot's `update-kernels.conf` says (D27).
///
/// # Errors
/// When that file or `/boot` cannot be read, or a link not be made.
pub fn kernel_links(root: &Root) -> Result<()> {
    let boot = Path::new("boot");
    let is_file = |name: &OsStr| root.is_file(boot.join(name));
    if is_file("vmlinuz".as_ref())? && is_file("initrd.img".as_ref())? {
        return Ok(());
    }
    let entries = root.entries(boot)?.unwrap_or_default().into_iter();
    let files: Vec<OsString> =
        entries.filter(|entry| entry.kind == FileType::RegularFile).map(|entry| entry.name).collect();
    let naming = Naming::new(assignments::read(root)?);
    let Some(Kernel { file, .. }) = naming.kernels(&files)?.into_iter().min_by(|a, b| {
        let flavours = compare(a.flavour.as_bytes(), b.flavour.as_bytes());
        let newest_first = || compare(b.version.as_bytes(), a.version.as_bytes());
        flavours.then_with(newest_first).then_with(|| a.line().cmp(&b.line()))
    }) else {
        return Ok(());
    };
    let ramdisk = naming.ramdisk(&file)?;
    if !is_file(&ramdisk)? {
        return Ok(());
    }
    root.symlink(&file, boot.join("vmlinuz"))?;
    root.symlink(&ramdisk, boot.join("initrd.img"))?;
    let network_image = with_first(&ramdisk, b"initrd", b"nbi");
    if network_image != ramdisk && is_file(&network_image)? {
        root.symlink(&network_image, boot.join("nbi.img"))
    } else {
        root.remove(boot.join("nbi.img")).map(drop)
    }
}

/// The name with its first `part` replaced, if it has one.
fn with_first(name: &OsStr, part: &[u8], by: &[u8]) -> OsString {
    let name = name.as_bytes();
    let name = match name.windows(part.len()).position(|window| window == part) {
        Some(place) => [&name[..place], by, &name[place + part.len()..]].concat(),
        None => name.to_vec(),
    };
    OsString::from_vec(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// The links in `/boot` after the step, as `name -> target`.
    fn links(files: &[&str], conf: &str) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("boot");
        fs::create_dir_all(&boot).unwrap();
        fs::create_dir_all(dir.path().join("etc/ltsp")).unwrap();
        fs::write(dir.path().join("etc/ltsp/update-kernels.conf"), conf).unwrap();
        for file in files {
            fs::write(boot.join(file), "").unwrap();
        }
        symlink("old", boot.join("nbi.img")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        kernel_links(&root).unwrap();
        let entries = root.entries("boot").unwrap().unwrap().into_iter();
        let links = entries.filter(|entry| entry.kind == FileType::Symlink).map(|entry| {
            let target = fs::read_link(boot.join(&entry.name)).unwrap();
            format!("{} -> {}", entry.name.to_str().unwrap(), target.to_str().unwrap())
        });
        links.collect()
    }

    // C21
    #[test]
    fn the_newest_kernel_of_the_first_flavour_is_linked() {
        let files = [
            "vmlinuz-6.1.0-9-b",
            "vmlinuz-5.9.0-9-a",
            "vmlinuz-5.10.0-9-a",
            "initrd.img-5.10.0-9-a",
            "initrd.img-6.1.0-9-b",
        ];
        let both = ["initrd.img -> initrd.img-5.10.0-9-a", "vmlinuz -> vmlinuz-5.10.0-9-a"];
        assert_eq!(links(&files, ""), both);
        let with_nbi = [&files[..], &["nbi.img-5.10.0-9-a"]].concat();
        let three = [both[0], "nbi.img -> nbi.img-5.10.0-9-a", both[1]];
        assert_eq!(links(&with_nbi, ""), three);
        assert_eq!(
            links(&files, "KERNEL_NAMES='s/^vmlinuz-\\(.*-b\\)$/& vmlinuz- \\1 x/p'\n"),
            ["initrd.img -> initrd.img-6.1.0-9-b", "vmlinuz -> vmlinuz-6.1.0-9-b"]
        );
    }

    // C21
    #[test]
    fn nothing_is_linked_if_the_names_are_there_or_the_ramdisk_is_not() {
        let old = ["nbi.img -> old"];
        assert_eq!(links(&["vmlinuz", "initrd.img", "vmlinuz-1-1-a", "initrd.img-1-1-a"], ""), old);
        assert_eq!(links(&["vmlinuz-2-1-a", "vmlinuz-1-1-a", "initrd.img-1-1-a"], ""), old);
        assert_eq!(links(&["vmlinuz-1-1-a", "initrd.img-1-1-a"], "INITRD_NAME='s/x/x/p'\n"), old);
        assert_eq!(links(&[], ""), old);
    }
}
