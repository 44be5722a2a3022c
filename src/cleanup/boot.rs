//! What a client reads when it starts (C13, C19, C21).

use crate::error::Result;
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
/// XX
pub fn kernel_links(_root: &Root) -> Result<()> {
    Ok(())
}
