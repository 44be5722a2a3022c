//! Keys that identify one machine, and what others know it by (C14, C18, C23).

use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::error::Result;
use crate::sys::confined::Root;

use super::inside::Inside;
use super::walk::files;

/// Notes the server's public host keys where its clients look for those of other machines (C18): each
/// line of `ssh_host_*_key.pub` under the name `server`, then what the admin has prepared in files
/// `ssh_known_hosts.*` anywhere below `/etc/ltsp`. To be done before [`ssh_host_keys`].
///
/// # Errors
/// When a file cannot be read or written.
pub fn ssh_known_hosts(root: &Root) -> Result<()> {
    let mut known = Vec::new();
    for path in host_key_files(root)? {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if !name.ends_with(b"_key.pub") {
            continue;
        }
        let text = root.read(&path)?.unwrap_or_default();
        for line in text.split_inclusive(|&byte| byte == b'\n') {
            known.extend_from_slice(b"server ");
            known.extend_from_slice(line);
        }
        end_line(&mut known);
    }
    for path in files(root, "etc/ltsp")? {
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ssh_known_hosts.")) {
            known.extend(root.read(&path)?.unwrap_or_default());
            end_line(&mut known);
        }
    }
    if !root.is_dir("etc/ssh")? {
        return Ok(()); // no ssh at all
    }
    root.write("etc/ssh/ssh_known_hosts", &known)
}

/// Removes the ssh server's keys, private and public, if the chroot can make new ones (C23).
///
/// # Errors
/// When one cannot be removed.
pub fn ssh_host_keys(root: &Root) -> Result<()> {
    if !root.is_executable("usr/sbin/sshd")? || !root.is_executable("usr/bin/ssh-keygen")? {
        return Ok(());
    }
    for path in host_key_files(root)? {
        root.remove(path)?;
    }
    Ok(())
}

/// Has the chroot's own `make-ssl-cert` make a new self-signed certificate (C14).
///
/// Where it cannot, the original keeps the old one: with the private key of the server in it, which
/// whoever reads the image would have. We remove key and certificate instead, with a warning; a program
/// that needs them says so, and they can be made on the client.
///
/// # Errors
/// When they cannot be removed.
pub(super) fn snakeoil_certificate(inside: &Inside) -> Result<()> {
    let (key, certificate) = ("etc/ssl/private/ssl-cert-snakeoil.key", "etc/ssl/certs/ssl-cert-snakeoil.pem");
    let program = "/usr/sbin/make-ssl-cert";
    let reason = if inside.root.is_executable(program)? {
        let command = inside.command(program).args(["generate-default-snakeoil", "--force-overwrite"]);
        match command.output().and_then(crate::sys::command::Finished::check) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        }
    } else {
        format!("the chroot has no {program}")
    };
    crate::sys::signals::check()?;
    let removed = inside.root.remove(key)?;
    if inside.root.remove(certificate)? || removed {
        log::warn!("removed the snakeoil certificate instead of renewing it: {reason}");
    }
    Ok(())
}

/// Everything named `ssh_host_*` in `/etc/ssh` but directories.
fn host_key_files(root: &Root) -> Result<Vec<PathBuf>> {
    let entries = root.entries("etc/ssh")?.unwrap_or_default();
    Ok(entries
        .into_iter()
        .filter(|entry| entry.kind != FileType::Directory)
        .filter(|entry| entry.name.as_encoded_bytes().starts_with(b"ssh_host_"))
        .map(|entry| Path::new("etc/ssh").join(entry.name))
        .collect())
}

fn end_line(text: &mut Vec<u8>) {
    if text.last().is_some_and(|&byte| byte != b'\n') {
        text.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    // C18
    #[test]
    fn known_hosts_are_the_server_and_what_the_admin_has_prepared() {
        let (_dir, root) = root(&[
            ("etc/ssh/ssh_host_rsa_key.pub", "ssh-rsa AAAA root@a\n"),
            ("etc/ssh/ssh_host_rsa_key", "private"),
            ("etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 BBBB"),
            ("etc/ssh/ssh_known_hosts", "old"),
            ("etc/ltsp/sub/ssh_known_hosts.site", "files CCCC\n"),
            ("etc/ltsp/ssh_known_hosts", "not this"),
        ]);
        ssh_known_hosts(&root).unwrap();
        assert_eq!(
            root.read("etc/ssh/ssh_known_hosts").unwrap().unwrap(),
            b"server ssh-ed25519 BBBB\nserver ssh-rsa AAAA root@a\nfiles CCCC\n"
        );
    }

    // C23
    #[test]
    fn host_keys_go_only_where_new_ones_can_be_made() {
        let keys = [
            ("etc/ssh/ssh_host_rsa_key", ""),
            ("etc/ssh/ssh_host_rsa_key.pub", ""),
            ("etc/ssh/ssh_config", ""),
        ];
        let (_dir, root) = root(&keys);
        ssh_host_keys(&root).unwrap();
        assert!(root.is_file("etc/ssh/ssh_host_rsa_key").unwrap());
        fs::create_dir_all(root.shown("usr/sbin")).unwrap();
        fs::create_dir_all(root.shown("usr/bin")).unwrap();
        for program in ["usr/sbin/sshd", "usr/bin/ssh-keygen"] {
            fs::copy("/bin/sh", root.shown(program)).unwrap();
        }
        ssh_host_keys(&root).unwrap();
        assert_eq!(host_key_files(&root).unwrap(), [""; 0].map(PathBuf::from));
        assert!(root.is_file("etc/ssh/ssh_config").unwrap());
    }
}
