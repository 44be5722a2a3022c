//! The cleanup of a chroot that has no program for it: our steps, and the admin's scripts among them.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use rustix::fs::FileType;

use crate::error::{Error, Result, shown};
use crate::sys::confined::Root;
use crate::sys::signals;

use super::inside::Inside;
use super::{accounts, boot, keys, logs, network, packages};

/// A step of ours.
struct Step {
    /// The name of the original's script for it: what a script in [`SCRIPTS`] has to be called to
    /// replace it (C7).
    name: &'static str,
    run: fn(&Inside) -> Result<()>,
    /// What would be in the image after a failure has no business there (D18).
    vital: bool,
}

/// In the order of C11.
const STEPS: [Step; 13] = [
    Step { name: "50-debconf", run: |inside| packages::debconf_passwords(inside.root), vital: false },
    Step { name: "50-fstab", run: |inside| boot::fstab(inside.root), vital: false },
    Step { name: "50-make-ssl-cert", run: keys::snakeoil_certificate, vital: false },
    Step { name: "50-package-cache", run: |inside| packages::apt_cache(inside.root), vital: false },
    Step { name: "50-printers-conf", run: |inside| network::printers(inside.root), vital: false },
    Step { name: "50-resolv-conf", run: |inside| network::name_resolution(inside.root), vital: false },
    Step { name: "50-ssh-keys", run: |inside| keys::ssh_known_hosts(inside.root), vital: false },
    Step { name: "50-update-kernels", run: boot::pxelinux_files, vital: false },
    Step { name: "50-var-log", run: |inside| logs::clear(inside.root), vital: false },
    Step { name: "50-vmlinuz", run: |inside| boot::kernel_links(inside.root), vital: false },
    Step { name: "51-remove-users", run: |inside| accounts::remove_users(inside.root), vital: true },
    Step { name: "51-sshd", run: |inside| keys::ssh_host_keys(inside.root), vital: true },
    Step { name: "52-remove-groups", run: |inside| accounts::remove_groups(inside.root), vital: true },
];

/// The admin's own scripts, in the chroot.
const SCRIPTS: &str = "/etc/ltsp/cleanup.d";

/// Runs all steps, in the order of their names.
///
/// A script in `/etc/ltsp/cleanup.d` of the chroot is chosen as the original does (C6, C7): it takes the
/// place of the step of its name, an empty one switches the step off, one with another name that begins
/// with a digit is a step more. It is read by the chroot's `/bin/sh`, each by one of its own: unlike in
/// the original (C8), variables of one are not seen by the next, and `exit` ends only the script.
///
/// # Errors
/// See [`super::clean`].
pub(super) fn run(inside: &Inside) -> Result<()> {
    let mut failed = Vec::new();
    for name in names(inside.root)? {
        let step = STEPS.iter().find(|step| name == step.name);
        let script = Path::new(SCRIPTS).join(&name);
        let own = inside.root.is_file(&script)?;
        let result = match step {
            _ if own => run_script(inside, &script),
            Some(step) => (step.run)(inside),
            None => continue, // a link whose target went away with an earlier step
        };
        signals::check()?;
        let Err(error) = result else { continue };
        let name = shown(&name);
        if own || step.is_some_and(|step| step.vital) {
            log::error!("the cleanup step {name} failed: {error}");
            failed.push(name);
        } else {
            log::warn!("the cleanup step {name} failed: {error}");
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Error::new("clean up", inside.root.name(), format!("failed: {}", failed.join(", ")))
        .hint("accounts, keys or what those scripts remove would be in the image: see the messages above"))
}

/// The names of our steps and of the admin's scripts, each once.
fn names(root: &Root) -> Result<BTreeSet<OsString>> {
    let ours = STEPS.iter().map(|step| OsStr::new(step.name).to_owned());
    let scripts = root.entries(SCRIPTS)?.unwrap_or_default().into_iter().filter(|entry| {
        let first = entry.name.as_encoded_bytes().first();
        entry.kind == FileType::RegularFile && first.is_some_and(u8::is_ascii_digit)
    });
    Ok(ours.chain(scripts.map(|entry| entry.name)).collect())
}

/// The script is sourced, as the original does: it need not be executable, and may `return`.
fn run_script(inside: &Inside, script: &Path) -> Result<()> {
    if inside.root.stat(script)?.is_some_and(|stat| stat.st_size == 0) {
        return Ok(()); // nothing to do, and a chroot without a shell can say so
    }
    inside.command("/bin/sh").args(["-c", ". \"$0\""]).arg(script).status()?.check().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    // C11: the order of names is the order of the table.
    #[test]
    fn our_steps_are_listed_in_the_order_in_which_they_run() {
        assert!(STEPS.is_sorted_by_key(|step| step.name));
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<_> = names(&Root::open(dir.path()).unwrap()).unwrap().into_iter().collect();
        assert_eq!(names, STEPS.map(|step| OsString::from(step.name)));
    }

    // C6
    #[test]
    fn scripts_are_regular_files_whose_name_begins_with_a_digit() {
        let dir = tempfile::tempdir().unwrap();
        let scripts = dir.path().join("etc/ltsp/cleanup.d");
        std::fs::create_dir_all(scripts.join("70-dir")).unwrap();
        for name in ["60-x~", "50-fstab", "local", ".60", "9"] {
            std::fs::write(scripts.join(name), "").unwrap();
        }
        std::os::unix::fs::symlink("9", scripts.join("61-link")).unwrap();
        let names = names(&Root::open(dir.path()).unwrap()).unwrap();
        let more: Vec<_> = names.iter().filter(|name| !STEPS.iter().any(|step| *name == step.name)).collect();
        assert_eq!(more, ["60-x~", "9"]);
    }
}
