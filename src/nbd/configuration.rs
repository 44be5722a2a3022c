//! What nbd-server reads at its start and when it is told to reload.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result};
use crate::nbd::conf_d;
use crate::nbd::keyfile::{self, Group};

/// The port that IANA has assigned to NBD.
const PORT: u16 = 10809;

/// nbd-server's main file with everything that it includes.
#[derive(Debug)]
pub struct Configuration {
    /// The folder that it includes, as it names it.
    pub include: Option<PathBuf>,
    /// How many export sections there are, in all files; a name that comes twice counts twice.
    pub sections: usize,
    /// The files that were read, the main one first, as that process names them.
    pub files: Vec<PathBuf>,
    /// Where it listens.
    pub listening: Listening,
}

/// Where an nbd-server listens, as far as its files tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listening {
    /// Addresses to reach it at from the same machine; the port is a TCP port.
    pub addresses: Vec<(IpAddr, u16)>,
    /// Its socket in the file system.
    pub socket: Option<PathBuf>,
}

impl Configuration {
    /// Reads the main file `main` and what it includes, as a process with the root directory `root` does.
    ///
    /// # Errors
    /// What would keep nbd-server from reading them all: it then takes nothing new.
    pub fn read(root: &Path, main: &Path) -> Result<Self> {
        let groups = groups(root, main)?;
        let [generic, exports @ ..] = &*groups else {
            return Err(Error::new("read", main, "it has no section [generic]"));
        };
        if generic.name != b"generic" {
            return Err(Error::new("read", main, "its first section is not [generic]"));
        }
        // Such a server crashes when it is told to reload (3.24, append_new_servers: it prints an error
        // that parse_cfile has not set).
        if is_true(generic, "oldstyle") {
            let reason = "nbd-server since 3.10 refuses `oldstyle`";
            return Err(Error::new("read", main, reason).hint("remove that line"));
        }
        check_exports(main, exports)?;

        let mut all = Self {
            include: generic.string("includedir").map(PathBuf::from),
            sections: exports.len(),
            files: vec![main.to_owned()],
            listening: Listening::of(generic),
        };
        if let Some(include) = &all.include {
            for path in included(root, include)? {
                let groups = self::groups(root, &path)?;
                check_exports(&path, &groups)?;
                all.sections += groups.len();
                all.files.push(path);
            }
        }
        Ok(all)
    }
}

impl Listening {
    fn of(generic: &Group) -> Self {
        let socket = generic.string("unixsock").map(PathBuf::from);
        if socket.is_some() && !is_true(generic, "duallisten") {
            return Self { addresses: Vec::new(), socket };
        }
        let port = match generic.string("port") {
            None => Some(PORT),
            Some(port) => port.parse().ok(), // the name of a service: we cannot tell
        };
        let list = generic.string("listenaddr").unwrap_or_default();
        let mut hosts: Vec<IpAddr> =
            list.split([',', ' ', '\t']).filter_map(|host| host.parse().ok()).map(reachable).collect();
        if list.trim().is_empty() {
            hosts = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        }
        let addresses = port.map(|port| hosts.into_iter().map(|host| (host, port)).collect());
        Self { addresses: addresses.unwrap_or_default(), socket }
    }
}

/// The address to reach a server at that listens on `host`.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// A path that a process with the root directory `root` means by `path`.
pub fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The files in an included folder that nbd-server reads: regular ones, not links to some, named `*.conf`.
/// `dir` and the paths are as a process with the root directory `root` names them.
///
/// # Errors
/// When the folder cannot be read.
pub fn included(root: &Path, dir: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(below(root, dir)).during("read", dir)? {
        let entry = entry.during("read", dir)?;
        let path = dir.join(entry.file_name());
        let kind = entry.file_type().during("look at", &path)?;
        if kind.is_file() && conf_d::is_read(&entry.file_name()) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The sections of one file, which a process with the root directory `root` names so.
///
/// # Errors
/// When it cannot be read, or is no key file.
pub fn groups(root: &Path, path: &Path) -> Result<Vec<Group>> {
    let file = below(root, path);
    // A pipe would have us wait for somebody who writes.
    if !fs::metadata(&file).during("read", path)?.is_file() {
        return Err(Error::new("read", path, "it is not a regular file"));
    }
    let text = fs::read(file).during("read", path)?;
    keyfile::parse(&text)
        .map_err(|mistake| Error::new("read", path, format!("line {}: {}", mistake.line, mistake.reason)))
}

fn check_exports(path: &Path, exports: &[Group]) -> Result<()> {
    match exports.iter().find(|export| export.string("exportname").is_none()) {
        None => Ok(()),
        Some(export) => {
            let name = String::from_utf8_lossy(&export.name);
            Err(Error::new("read", path, format!("the section [{name}] has no valid exportname")))
        }
    }
}

fn is_true(group: &Group, key: &str) -> bool {
    matches!(group.string(key).as_deref().map(str::trim_end), Some("true" | "1"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn tree(files: &[(&str, &str)]) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("etc/conf.d")).unwrap();
        for (path, text) in files {
            fs::write(root.path().join(path), text).unwrap();
        }
        root
    }

    fn read(files: &[(&str, &str)]) -> Result<Configuration> {
        Configuration::read(tree(files).path(), Path::new("/etc/config"))
    }

    const INCLUDING: &str = "[generic]\n\tincludedir = /etc/conf.d\n";

    // N10
    #[test]
    fn only_regular_files_named_conf_are_included() {
        let root = tree(&[
            ("etc/config", "[generic]\nincludedir = /etc/conf.d\n[main]\nexportname = /m\n"),
            ("etc/conf.d/a.conf", "[a]\nexportname = /a\n[b]\nexportname = /b\n"),
            ("etc/conf.d/b.conf", "# mine\n"),
            ("etc/conf.d/.ltsp-x.new", "half"),
            ("etc/conf.d/c.conf.dpkg-old", "[c"),
        ]);
        symlink("c.conf.dpkg-old", root.path().join("etc/conf.d/link.conf")).unwrap();
        fs::create_dir(root.path().join("etc/conf.d/dir.conf")).unwrap();
        let all = Configuration::read(root.path(), Path::new("/etc/config")).unwrap();
        assert_eq!(all.include.unwrap(), Path::new("/etc/conf.d"));
        assert_eq!(all.sections, 3);
        let names = ["/etc/config", "/etc/conf.d/a.conf", "/etc/conf.d/b.conf"];
        assert_eq!(all.files, names.map(PathBuf::from));
    }

    #[test]
    fn what_keeps_nbd_server_from_reloading_is_an_error_with_file_and_reason() {
        let cases = [
            ("", "", "no section [generic]"),
            ("[a]\nexportname = /a\n", "", "first section is not [generic]"),
            ("[generic]\noldstyle = true\n", "", "oldstyle"),
            ("[generic]\nincludedir = /none\n", "", "No such file"),
            (INCLUDING, "junk\n", "cannot read /etc/conf.d/x.conf: line 1: "),
            (INCLUDING, "[/opt/ltsp/other]\n", "[/opt/ltsp/other] has no valid exportname"),
            (INCLUDING, "[a]\nexportname = \\x\n", "[a] has no valid exportname"),
        ];
        for (main, included, reason) in cases {
            let error = read(&[("etc/config", main), ("etc/conf.d/x.conf", included)]).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn where_it_listens_follows_its_settings() {
        let local = |port| vec![(Ipv4Addr::LOCALHOST.into(), port), (Ipv6Addr::LOCALHOST.into(), port)];
        let cases = [
            ("", local(PORT), None),
            ("port = 99\n", local(99), None),
            ("port = nbd\n", Vec::new(), None),
            (
                "listenaddr = 0.0.0.0, 192.0.2.1\n",
                vec![(Ipv4Addr::LOCALHOST.into(), PORT), ("192.0.2.1".parse().unwrap(), PORT)],
                None,
            ),
            ("listenaddr = a.example\n", Vec::new(), None),
            ("unixsock = /run/s\n", Vec::new(), Some("/run/s")),
            ("unixsock = /run/s\nduallisten = true\n", local(PORT), Some("/run/s")),
        ];
        for (settings, addresses, socket) in cases {
            let all = read(&[("etc/config", &format!("[generic]\n{settings}"))]).unwrap();
            let expected = Listening { addresses, socket: socket.map(PathBuf::from) };
            assert_eq!(all.listening, expected, "{settings}");
        }
    }
}
