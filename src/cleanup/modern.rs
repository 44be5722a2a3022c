//! The cleanup of `ltsp image` (I9-I26), and what it should have cleaned but does not.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::error::{Error, Result, shown};
use crate::sys::confined::Root;
use crate::sys::signals;

use super::login_defs::Ranges;
use super::system_accounts::keep_system_accounts;
use super::{histories, logs, machine_id, network, network_secrets, packages, renewal};

/// A step, in the order in which they are taken (I9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Printers of CUPS (I10).
    Printers,
    /// Users and groups of people, and all passwords (I11-I21).
    Accounts,
    /// A name server that only the server has (I22).
    NameResolution,
    /// ssh host keys (I23).
    SshHostKeys,
    /// The snakeoil certificate (I24).
    Certificate,
    /// Logs, fstab and debconf's passwords (I25).
    Files,
    /// The machine's id, which the original leaves in the image.
    MachineId,
    /// Passwords of NetworkManager's connections.
    NetworkSecrets,
    /// What was typed into shells.
    Histories,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Printers,
        Self::Accounts,
        Self::NameResolution,
        Self::SshHostKeys,
        Self::Certificate,
        Self::Files,
        Self::MachineId,
        Self::NetworkSecrets,
        Self::Histories,
    ];

    /// Its name in `OMIT_FUNCTIONS` (F36); the last three are ours.
    pub fn function(self) -> &'static str {
        match self {
            Self::Printers => "remove_printers",
            Self::Accounts => "remove_users",
            Self::NameResolution => "resolv_conf",
            Self::SshHostKeys => "ssh_host_keys",
            Self::Certificate => "ssl_cert",
            Self::Files => "truncate_files",
            Self::MachineId => "machine_id",
            Self::NetworkSecrets => "network_secrets",
            Self::Histories => "shell_histories",
        }
    }

    /// The step of that name in `OMIT_FUNCTIONS`; none if it names something else. `cleanup_main` there,
    /// and `cleanup` in `LTSP_SKIP_SCRIPTS` (F37), stand for all of them: then there is no cleanup.
    pub fn named(function: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.function() == function)
    }
}

/// What became of a cleanup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Private keys in the root that were made for this image, relative to the root: there is no secret
    /// of the server in them, so an audit need not report them.
    pub renewed: Vec<PathBuf>,
}

/// Cleans `root`, a writable view, but for the steps in `omitted`. Its [name](Root::name) is that of the
/// source. Nothing of the root is run, and no link in it leads out of it.
///
/// # Errors
/// The first step that fails ends it; when a signal comes.
pub fn clean(root: &Root, omitted: &BTreeSet<Step>) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    for step in Step::ALL {
        signals::check()?;
        if omitted.contains(&step) {
            log::info!("Omitting {}", step.function());
            continue;
        }
        take(step, root, &mut cleaned).map_err(|error| {
            let status = error.status();
            Error::said(format!("the cleanup of {} failed: {error}", shown(root.name()))).with_status(status)
        })?;
    }
    Ok(cleaned)
}

fn take(step: Step, root: &Root, cleaned: &mut Cleaned) -> Result<()> {
    match step {
        Step::Printers => network::printers(root),
        Step::Accounts => keep_system_accounts(root, &Ranges::of_server(root)?),
        Step::NameResolution => network::name_resolution(root),
        Step::SshHostKeys => renewal::ssh_host_keys(root),
        Step::Certificate => {
            cleaned.renewed.extend(renewal::snakeoil_certificate(root)?);
            Ok(())
        }
        Step::Files => {
            logs::empty_topmost(root)?;
            logs::empty(root, "etc/fstab")?;
            packages::debconf_passwords(root)
        }
        Step::MachineId => machine_id::reset(root),
        Step::NetworkSecrets => network_secrets::remove(root),
        Step::Histories => histories::remove(root),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let file = dir.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    const ACCOUNTS: [(&str, &str); 2] =
        [("etc/passwd", "root:x:0:0::/:\nme:x:1000:0::/:\n"), ("etc/group", "root:x:0:\n")];

    // F36
    #[test]
    fn steps_have_the_names_of_the_originals_functions() {
        for step in Step::ALL {
            assert_eq!(Step::named(step.function()), Some(step));
        }
        assert_eq!(Step::named("remove_users"), Some(Step::Accounts));
        assert_eq!(Step::named("cleanup_main"), None);
        assert!(Step::ALL.is_sorted());
    }

    // I9
    #[test]
    fn every_step_is_taken_but_the_omitted_ones() {
        let more = [
            ("etc/cups/printers.conf", "<Printer x>\n"),
            ("etc/fstab", "UUID=1 / ext4\n"),
            ("etc/machine-id", "0123\n"),
            ("var/cache/debconf/passwords.dat", "secret\n"),
            ("var/log/syslog", "log\n"),
            ("root/.bash_history", "ls\n"),
            ("etc/NetworkManager/system-connections/a", "psk=1\n"),
        ];
        let files = [&ACCOUNTS[..], &more].concat();
        let (_dir, all) = root(&files);
        assert_eq!(clean(&all, &BTreeSet::new()).unwrap(), Cleaned::default());
        for (path, _) in more {
            assert_eq!(all.read(path).unwrap().unwrap_or_default(), b"", "{path}");
        }
        assert_eq!(all.read("etc/passwd").unwrap().unwrap(), b"root:x:0:0::/:\n");

        let (_dir, none) = root(&files);
        clean(&none, &Step::ALL.into_iter().collect()).unwrap();
        for (path, text) in files {
            assert_eq!(none.read(path).unwrap().unwrap(), text.as_bytes(), "{path}");
        }
    }

    // U5
    #[test]
    fn a_failure_names_the_source_and_the_file() {
        let (_dir, root) = root(&[("etc/x", "")]);
        let error = clean(&root.known_as(Path::new("/srv/ltsp/foo")), &BTreeSet::new()).unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("the cleanup of /srv/ltsp/foo failed: "), "{error}");
        assert!(error.contains("there is no etc/passwd"), "{error}");
    }
}
