//! The number that tells one machine from all others (machine-id(5)).

use crate::error::Result;
use crate::sys::confined::Root;

use super::logs::empty;

/// Empties `/etc/machine-id`, so that every client gets a number of its own when it boots, and removes
/// the copy that D-Bus keeps, unless that is a link to it.
///
/// The original leaves the server's number in the image (I26): all clients then have the same one, and
/// what derives addresses from it (DHCP identifiers) takes them for one machine.
///
/// # Errors
/// When a file cannot be changed.
pub fn reset(root: &Root) -> Result<()> {
    // Emptied and not removed: without the file systemd takes the client for one that boots for the first
    // time, and asks for the settings of a new machine.
    empty(root, "etc/machine-id")?;
    let copy = "var/lib/dbus/machine-id";
    let is_file = root.lstat(copy)?.is_some_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
    });
    if is_file {
        root.remove(copy)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_number_goes_and_its_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        reset(&root).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);

        fs::create_dir_all(dir.path().join("var/lib/dbus")).unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/machine-id"), "0123\n").unwrap();
        fs::write(dir.path().join("var/lib/dbus/machine-id"), "0123\n").unwrap();
        reset(&root).unwrap();
        assert_eq!(root.read("etc/machine-id").unwrap().unwrap(), b"");
        assert_eq!(root.lstat("var/lib/dbus/machine-id").unwrap().map(|stat| stat.st_size), None);

        symlink("/etc/machine-id", dir.path().join("var/lib/dbus/machine-id")).unwrap();
        reset(&root).unwrap();
        assert!(root.lstat("var/lib/dbus/machine-id").unwrap().is_some());
    }
}
