//! The cleanup of `ltsp image` (I9-I26), and what it should have cleaned but does not.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::config::settings::Step;
use crate::error::{Error, Result, shown};
use crate::sys::confined::Root;
use crate::sys::signals;

use super::login_defs::Ranges;
use super::system_accounts::keep_system_accounts;
use super::{histories, logs, machine_id, network, network_secrets, packages, renewal};

/// A step, with its name in `OMIT_FUNCTIONS` (F36) and what it does.
struct Task {
    step: Step,
    name: &'static str,
    run: fn(&Root, &mut Cleaned) -> Result<()>,
}

/// In the order of I9; the last three are ours.
const TASKS: [Task; 9] = [
    Task {
        step: Step::Printers,
        name: "remove_printers",
        run: |root, _| {
            network::printers(root)?;
            // CUPS keeps the file as it was before its last change.
            root.remove("etc/cups/printers.conf.O").map(drop)
        },
    },
    Task {
        step: Step::Users,
        name: "remove_users",
        run: |root, _| keep_system_accounts(root, &Ranges::of_server()?),
    },
    Task { step: Step::ResolvConf, name: "resolv_conf", run: |root, _| network::name_resolution(root) },
    Task { step: Step::SshHostKeys, name: "ssh_host_keys", run: |root, _| renewal::ssh_host_keys(root) },
    Task {
        step: Step::SslCert,
        name: "ssl_cert",
        run: |root, cleaned| {
            cleaned.renewed.extend(renewal::snakeoil_certificate(root)?);
            Ok(())
        },
    },
    Task {
        step: Step::TruncateFiles,
        name: "truncate_files",
        run: |root, _| {
            logs::empty_topmost(root)?;
            logs::empty(root, "etc/fstab")?;
            packages::debconf_passwords(root)
        },
    },
    Task { step: Step::MachineId, name: "machine_id", run: |root, _| machine_id::reset(root) },
    Task {
        step: Step::NetworkSecrets,
        name: "network_secrets",
        run: |root, _| network_secrets::remove(root),
    },
    Task { step: Step::Histories, name: "shell_histories", run: |root, _| histories::remove(root) },
];

/// What became of a cleanup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Private keys in the root that were made for this image, relative to the root: there is no secret
    /// of the server in them, so an audit need not report them.
    pub renewed: Vec<PathBuf>,
}

/// Cleans `root`, a writable view, but for the steps in `omitted` (F36). Its [name](Root::name) is that of
/// the source. Nothing of the root is run, and no link in it leads out of it.
///
/// # Errors
/// The first step that fails ends it; when a signal comes.
pub fn clean(root: &Root, omitted: &BTreeSet<Step>) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    for task in TASKS {
        signals::check()?;
        if omitted.contains(&task.step) {
            log::info!("Omitting {}", task.name);
            continue;
        }
        (task.run)(root, &mut cleaned).map_err(|error| {
            let status = error.status();
            Error::said(format!("the cleanup of {} failed: {error}", shown(root.name()))).with_status(status)
        })?;
    }
    Ok(cleaned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::modern::FUNCTIONS;
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
    fn steps_are_named_as_omit_functions_names_them() {
        for task in TASKS {
            assert!(FUNCTIONS.contains(&(task.name, task.step)), "{}", task.name);
        }
    }

    // I9
    #[test]
    fn every_step_is_taken_but_the_omitted_ones() {
        let more = [
            ("etc/cups/printers.conf", "<Printer x>\n"),
            ("etc/cups/printers.conf.O", "<Printer y>\n"),
            ("var/lib/systemd/random-seed", "seed"),
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
        clean(&none, &TASKS.into_iter().map(|task| task.step).collect()).unwrap();
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
