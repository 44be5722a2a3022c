//! The secrets in connections of NetworkManager (nm-settings-keyfile(5)).

use std::path::Path;

use rustix::fs::FileType;

use crate::error::Result;
use crate::sys::confined::Root;

const CONNECTIONS: &str = "etc/NetworkManager/system-connections";

/// The settings that nm-settings(5) calls secret.
const SECRETS: [&[u8]; 22] = [
    b"ca-cert-password",
    b"client-cert-password",
    b"fils-key",
    b"leap-password",
    b"mka-cak",
    b"password",
    b"password-raw",
    b"phase2-ca-cert-password",
    b"phase2-client-cert-password",
    b"phase2-private-key-password",
    b"pin",
    b"preshared-key",
    b"private-key",
    b"private-key-password",
    b"private-key-raw",
    b"psk",
    b"puk",
    b"secret",
    b"wep-key0",
    b"wep-key1",
    b"wep-key2",
    b"wep-key3",
];
/// A section that is secret as a whole.
const SECRET_SECTION: &[u8] = b"[vpn-secrets]";

/// Takes the passwords and keys out of the connections, which themselves stay: clients are booted from a
/// wire, and the server's wireless passwords are no business of theirs.
///
/// By default the image has no connections at all (I27); this is for those who let them in.
///
/// # Errors
/// When a file cannot be read or written.
pub fn remove(root: &Root) -> Result<()> {
    for entry in root.entries(CONNECTIONS)?.unwrap_or_default() {
        let path = Path::new(CONNECTIONS).join(&entry.name);
        if entry.kind == FileType::Directory {
            continue;
        }
        let Some(text) = root.read(&path)? else { continue };
        let without = without_secrets(&text);
        if without != text {
            root.write(&path, &without)?;
        }
    }
    Ok(())
}

fn without_secrets(text: &[u8]) -> Vec<u8> {
    let mut left = Vec::new();
    let mut in_secrets = false;
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let content = line.trim_ascii();
        if content.starts_with(b"[") {
            in_secrets = content == SECRET_SECTION;
        }
        // A secret that is commented out is one, too.
        let setting = content.strip_prefix(b"#").unwrap_or(content).trim_ascii_start();
        let name = setting.split(|&byte| byte == b'=').next().unwrap_or_default().trim_ascii_end();
        let is_secret = content.contains(&b'=') && (in_secrets || SECRETS.contains(&name));
        if !is_secret {
            left.extend_from_slice(line);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn secrets_go_and_the_connection_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(CONNECTIONS);
        fs::create_dir_all(folder.join("dir")).unwrap();
        let text = "[wifi]\nssid=home\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk = s3cret\npsk-flags=0\n\
                    [802-1x]\npassword=x\n#password=y\n[vpn-secrets]\nanything=z\n[vpn]\npassword-flags=1\n";
        fs::write(folder.join("home wifi"), text).unwrap();
        fs::set_permissions(folder.join("home wifi"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join(".hid"), "x\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        remove(&root).unwrap();
        let path = Path::new(CONNECTIONS).join("home wifi");
        assert_eq!(
            String::from_utf8(root.read(&path).unwrap().unwrap()).unwrap(),
            "[wifi]\nssid=home\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk-flags=0\n[802-1x]\n\
             [vpn-secrets]\n[vpn]\npassword-flags=1\n"
        );
        assert_eq!(root.stat(&path).unwrap().unwrap().st_mode & 0o777, 0o600);
        assert_eq!(root.read(Path::new(CONNECTIONS).join(".hid")).unwrap().unwrap(), b"x\n");
    }

    // I35
    #[test]
    fn connections_without_secrets_are_not_written() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(CONNECTIONS)).unwrap();
        let path = dir.path().join(CONNECTIONS).join("office");
        fs::write(&path, "[connection]\nid=office\n\n[ipv4]\nmethod=auto").unwrap();
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(1_500_000_000, 7);
        fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        remove(&Root::open(dir.path()).unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), time);
    }
}
