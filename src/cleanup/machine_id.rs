//! What tells one machine from all others (machine-id(5)), and what only that machine should know.

use crate::error::Result;
use crate::sys::confined::Root;

use super::logs::empty;

/// Files that a machine makes anew when they are missing, and that no two should have in common, as systemd
/// tells makers of images: seeds of random numbers, the key that credentials are encrypted with, and that from
/// which NetworkManager derives addresses.
const SECRETS: [&str; 6] = [
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/NetworkManager/secret_key",
    "boot/loader/random-seed",
    "boot/efi/loader/random-seed",
    "efi/loader/random-seed",
];

/// Empties `/etc/machine-id`, so that every client gets a number of its own when it boots, and removes
/// the copy that D-Bus keeps, unless that is a link to it, and the machine's secrets.
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
    for path in ["var/lib/dbus/machine-id"].into_iter().chain(SECRETS) {
        let is_file = root.lstat(path)?.is_some_and(|stat| {
            rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::RegularFile
        });
        if is_file {
            root.remove(path)?;
        }
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

    #[test]
    fn secrets_of_the_machine_go() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        for path in SECRETS.into_iter().chain(["var/lib/NetworkManager/timestamps"]) {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        reset(&root).unwrap();
        for path in SECRETS {
            assert!(!dir.path().join(path).exists(), "{path}");
        }
        assert!(dir.path().join("var/lib/NetworkManager/timestamps").exists());
    }
}
