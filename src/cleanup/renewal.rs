//! New ssh host keys and a new snakeoil certificate in the place of the server's (I23, I24).
//!
//! Programs of the server make them, in a folder that only root can enter, and never touch the view:
//! what they make is then put there without leaving the root.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{During, Result, shown};
use crate::sys::command::{self, Command, Finished};
use crate::sys::confined::{Attributes, Root};
use crate::sys::signals;

/// In the original's order.
const TYPES: [&str; 4] = ["dsa", "ecdsa", "ed25519", "rsa"];
const KEY: &str = "etc/ssl/private/ssl-cert-snakeoil.key";
const CERTIFICATE: &str = "etc/ssl/certs/ssl-cert-snakeoil.pem";

/// Replaces the ssh host keys of the usual types that are there (I23).
///
/// A type that `ssh-keygen` does not make (any more), or for which there is no `ssh-keygen`, is removed:
/// the original leaves the server's own keys in the image then, where everybody who can boot from it can
/// take them.
///
/// # Errors
/// When a key cannot be removed or written.
pub fn ssh_host_keys(root: &Root) -> Result<()> {
    for kind in TYPES {
        let path = format!("etc/ssh/ssh_host_{kind}_key");
        if !root.is_file(&path)? {
            continue;
        }
        log::info!("Replacing {}", shown(root.shown(&path)));
        let folder = private_folder()?;
        let new = folder.path().join("key");
        let made = made_by(
            "ssh-keygen",
            Command::new("ssh-keygen").args(["-q", "-t", kind, "-N", "", "-f"]).arg(&new),
        )?;
        match made {
            Ok(()) => {
                root.replace(&path, &read(&new)?, Attributes::of_root(0o600))?;
                let public = read(&folder.path().join("key.pub"))?;
                put(root, &format!("{path}.pub"), &public)?;
            }
            Err(reason) => {
                root.remove(&path)?;
                log::warn!("removed {} instead of renewing it: {reason}", shown(root.shown(&path)));
            }
        }
    }
    Ok(())
}

/// Replaces the key and the self-signed certificate that Debian's package `ssl-cert` makes for a machine,
/// if there is such a key (I24). Both keep their modes and owners.
///
/// Without `openssl` both are removed, where the original leaves the server's.
///
/// Returns the key's path in the root if there is a new one: what is new belongs to nobody, and is no
/// secret of this server.
///
/// # Errors
/// When `openssl` fails, or a file cannot be written or removed.
pub fn snakeoil_certificate(root: &Root) -> Result<Option<PathBuf>> {
    if !root.is_file(KEY)? {
        return Ok(None);
    }
    if !command::exists("openssl") {
        root.remove(KEY)?;
        root.remove(CERTIFICATE)?;
        log::warn!("removed the snakeoil certificate instead of renewing it: this machine has no openssl");
        return Ok(None);
    }
    let folder = private_folder()?;
    let (key, certificate) = (folder.path().join("key"), folder.path().join("certificate"));
    Command::new("openssl")
        .args(["req", "-x509", "-new", "-batch", "-nodes", "-sha256", "-days", "3650", "-keyout"])
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()?
        .check()?;
    root.write(KEY, &read(&key)?)?;
    root.write(CERTIFICATE, &read(&certificate)?)?;
    Ok(Some(PathBuf::from(KEY)))
}

/// Runs a program of the server; the inner error is why it made nothing.
///
/// # Errors
/// When a signal came.
fn made_by(program: &str, command: Command) -> Result<std::result::Result<(), String>> {
    if !command::exists(program) {
        return Ok(Err(format!("this machine has no {program}")));
    }
    match command.output().and_then(Finished::check) {
        Ok(_) => Ok(Ok(())),
        Err(error) => {
            signals::check()?;
            Ok(Err(error.to_string()))
        }
    }
}

/// Writes a file that everybody may read: in place if there is one, so that mode and owner stay.
fn put(root: &Root, path: &str, content: &[u8]) -> Result<()> {
    if root.is_file(path)? {
        root.write(path, content)
    } else {
        root.replace(path, content, Attributes::of_root(0o644))
    }
}

fn private_folder() -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix(OsStr::new("ltsp-keys.")).tempdir();
    folder.during("make a temporary directory in", std::env::temp_dir())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).during("read", path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn root(files: &[(&str, &str, u32)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text, mode) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn file(root: &Root, path: &str) -> (u32, String) {
        let path = root.shown(path);
        (fs::symlink_metadata(&path).unwrap().mode() & 0o7777, fs::read_to_string(path).unwrap())
    }

    // I23
    #[test]
    fn host_keys_of_the_usual_types_are_new_and_others_stay() {
        let (_dir, root) = root(&[
            ("etc/ssh/ssh_host_ed25519_key", "old", 0o644),
            ("etc/ssh/ssh_host_ecdsa_key", "old", 0o600),
            ("etc/ssh/ssh_host_ecdsa_key.pub", "old", 0o600),
            ("etc/ssh/ssh_host_other_key", "old", 0o600),
        ]);
        ssh_host_keys(&root).unwrap();
        for (name, mode) in [("ed25519", 0o644), ("ecdsa", 0o600)] {
            let private = file(&root, &format!("etc/ssh/ssh_host_{name}_key"));
            assert_eq!(private.0, 0o600);
            assert!(private.1.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----\n"), "{}", private.1);
            let public = file(&root, &format!("etc/ssh/ssh_host_{name}_key.pub"));
            assert_eq!(public.0, mode);
            assert!(public.1.contains(name) && public.1.contains(" root@"), "{}", public.1);
        }
        assert_eq!(file(&root, "etc/ssh/ssh_host_other_key").1, "old");
        let names = root.entries("etc/ssh").unwrap().unwrap();
        assert_eq!(names.len(), 5, "{names:?}");
    }

    // I23, U9
    #[test]
    fn a_host_key_that_is_a_link_becomes_a_file() {
        let (dir, root) = root(&[("real", "old", 0o600), ("etc/ssh/x", "", 0o600)]);
        symlink("/real", root.shown("etc/ssh/ssh_host_ed25519_key")).unwrap();
        symlink(dir.path().join("outside"), root.shown("etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
        ssh_host_keys(&root).unwrap();
        assert_eq!(file(&root, "real").1, "old");
        assert!(file(&root, "etc/ssh/ssh_host_ed25519_key").1.starts_with("-----BEGIN"));
        assert!(file(&root, "etc/ssh/ssh_host_ed25519_key.pub").1.starts_with("ssh-ed25519"));
        assert!(!dir.path().join("outside").exists());
    }

    // I24
    #[test]
    fn the_certificate_is_new_and_keeps_modes() {
        let (_dir, root) = root(&[(KEY, "old", 0o640), (CERTIFICATE, "old", 0o604)]);
        assert_eq!(snakeoil_certificate(&root).unwrap().unwrap(), Path::new(KEY));
        let (key, certificate) = (file(&root, KEY), file(&root, CERTIFICATE));
        assert_eq!((key.0, certificate.0), (0o640, 0o604));
        assert!(key.1.starts_with("-----BEGIN PRIVATE KEY-----\n"), "{}", key.1);
        assert!(certificate.1.starts_with("-----BEGIN CERTIFICATE-----\n"), "{}", certificate.1);
    }

    // I24
    #[test]
    fn without_a_key_nothing_is_made_and_without_a_folder_it_fails() {
        let (_dir, without) = root(&[(CERTIFICATE, "old", 0o644)]);
        assert_eq!(snakeoil_certificate(&without).unwrap(), None);
        assert_eq!(file(&without, CERTIFICATE).1, "old");
        let (_dir, incomplete) = root(&[(KEY, "old", 0o640)]);
        let error = snakeoil_certificate(&incomplete).unwrap_err().to_string();
        assert!(error.contains("ssl-cert-snakeoil.pem: its folder does not exist"), "{error}");
    }
}
