//! Files that others name as the place of a key or password: they may have any name and any content.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::pattern::matches;
use super::rules::{self, Rule};
use super::{LOOKED_AT, packages};
use crate::error::Result;
use crate::squashfs::inode::{Body, FileType};
use crate::squashfs::reader::Image;

/// Finds paths in a line.
type Parser = fn(&[u8]) -> Vec<&[u8]>;

/// A kind of files that name others.
struct Source {
    folder: &'static str,
    /// As in [`matches`].
    name: &'static str,
    /// The paths in a line that is no comment.
    named_in: Parser,
    /// For the files that are named.
    rule: &'static Rule,
}

static SOURCES: [Source; 9] = [
    Source { folder: "etc", name: "crypttab", named_in: key_file, rule: &rules::DISK_KEY },
    Source { folder: "etc", name: "fstab", named_in: credentials, rule: &rules::MOUNT_PASSWORD },
    Source { folder: "etc", name: "auto.*", named_in: credentials, rule: &rules::MOUNT_PASSWORD },
    Source { folder: "etc/auto.master.d", name: "*", named_in: credentials, rule: &rules::MOUNT_PASSWORD },
    Source {
        folder: "etc/systemd/system",
        name: "*mount",
        named_in: credentials,
        rule: &rules::MOUNT_PASSWORD,
    },
    Source {
        folder: "etc/security",
        name: "pam_mount*",
        named_in: credentials,
        rule: &rules::MOUNT_PASSWORD,
    },
    Source { folder: "etc/openvpn", name: "*.conf", named_in: logins, rule: &rules::VPN_LOGIN },
    Source { folder: "etc/openvpn/client", name: "*.conf", named_in: logins, rule: &rules::VPN_LOGIN },
    Source { folder: "etc/openvpn/server", name: "*.conf", named_in: logins, rule: &rules::VPN_LOGIN },
];

/// What is named, by paths relative to the image's root.
pub(super) fn read(image: &mut Image) -> Result<HashMap<PathBuf, &'static Rule>> {
    let mut named = HashMap::new();
    for Source { folder, name, named_in, rule } in &SOURCES {
        let folder = Path::new(folder);
        let inode = packages::lookup(image, folder)?;
        let Some(inode) = inode.filter(|inode| matches!(inode.body, Body::Directory { .. })) else {
            continue;
        };
        for child in image.children(&inode)? {
            if child.file_type != FileType::Regular || !matches(name.as_bytes(), &child.name) {
                continue;
            }
            let inode = image.inode(child.inode)?;
            let text = image.head(&inode, LOOKED_AT)?;
            let lines = text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
            for path in lines.filter(|line| !line.starts_with(b"#")).flat_map(named_in) {
                named.insert(inside(folder, path), *rule);
            }
        }
    }
    Ok(named)
}

/// A path in a file of `folder`, from the root.
fn inside(folder: &Path, path: &[u8]) -> PathBuf {
    let path = folder.join(OsStr::from_bytes(path));
    // Absolute ones have replaced the folder, but for "/" itself.
    let root = Path::new("/").join(path);
    root.components().filter(|component| matches!(component, Component::Normal(_))).collect()
}

/// The third field, unless it is a device or there is none (crypttab(5)).
fn key_file(line: &[u8]) -> Vec<&[u8]> {
    let mut fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    let key = fields.nth(2).filter(|key| key.starts_with(b"/") && !key.starts_with(b"/dev/"));
    // `/key:DEVICE` is on another disk.
    key.filter(|key| !key.contains(&b':')).into_iter().collect()
}

/// What follows `credentials=` (mount.cifs(8)).
fn credentials(line: &[u8]) -> Vec<&[u8]> {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b",\"'<>".contains(byte);
    let words = line.split(is_end);
    let values = words.filter_map(|word| {
        [&b"credentials="[..], b"cred="].into_iter().find_map(|name| {
            let at = word.windows(name.len()).position(|window| window == name)?;
            Some(&word[at + name.len()..])
        })
    });
    values.filter(|value| !value.is_empty()).collect()
}

/// The files of OpenVPN with a name and a password, or a passphrase (openvpn(8)).
fn logins(line: &[u8]) -> Vec<&[u8]> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let names = [&b"auth-user-pass"[..], b"askpass", b"http-proxy-user-pass"];
    match (words.next(), words.next()) {
        (Some(name), Some(file)) if names.contains(&name) => vec![file],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_in_many_ways() {
        let cases: [(Parser, &str, &[&str]); 12] = [
            (key_file, "data UUID=1 /root/data.key luks", &["/root/data.key"]),
            (key_file, "data\tUUID=1\tnone\tluks", &[]),
            (key_file, "swap /dev/sda2 /dev/urandom swap", &[]),
            (key_file, "data UUID=1 /key:LABEL=usb luks", &[]),
            (key_file, "data UUID=1", &[]),
            (credentials, "//h/s /m cifs credentials=/etc/x,uid=1 0 0", &["/etc/x"]),
            (credentials, "pub -fstype=cifs,rw,credentials=/etc/x ://h/s", &["/etc/x"]),
            (credentials, "Options=rw,cred=/root/.x", &["/root/.x"]),
            (credentials, "//h/s /m cifs guest,credentials= 0 0", &[]),
            (logins, "auth-user-pass login.txt", &["login.txt"]),
            (logins, "auth-user-pass", &[]),
            (logins, "askpass /etc/phrase # x", &["/etc/phrase"]),
        ];
        for (named_in, line, expected) in cases {
            let found: Vec<_> = named_in(line.as_bytes())
                .into_iter()
                .map(|path| std::str::from_utf8(path).unwrap())
                .collect();
            assert_eq!(found, expected, "{line}");
        }
    }

    #[test]
    fn paths_are_relative_to_their_file_and_stay_inside() {
        for (path, expected) in [
            ("login.txt", "etc/openvpn/login.txt"),
            ("/root/x", "root/x"),
            ("./a/x", "etc/openvpn/a/x"),
            ("/", ""),
        ] {
            assert_eq!(inside(Path::new("etc/openvpn"), path.as_bytes()), Path::new(expected), "{path}");
        }
    }
}
