//! Programs of the chroot, run in its view.

use std::ffi::OsString;
use std::path::Path;

use crate::sys::command::{Changes, Command};
use crate::sys::confined::Root;

/// The view, and what its programs have to know of the world.
pub(super) struct Inside<'a> {
    pub(super) root: &'a Root,
    changes: &'a Changes,
}

/// Variables that name files or sockets of the host.
const OF_THE_HOST: [&str; 9] = [
    "BASH_ENV",
    "ENV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "OLDPWD",
    "SSH_AUTH_SOCK",
    "TMPDIR",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
];

impl<'a> Inside<'a> {
    pub(super) fn new(root: &'a Root, changes: &'a Changes) -> Self {
        Self { root, changes }
    }

    /// A program by its path in the chroot. Like every [`Command`] it has an empty standard input, so
    /// that nothing can wait for an answer.
    pub(super) fn command(&self, program: impl AsRef<Path>) -> Command {
        let removed = OF_THE_HOST.map(OsString::from).to_vec();
        Command::new(program.as_ref())
            .changes(self.changes)
            .changes(&Changes { removed, ..Changes::default() })
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", "/root")
            .env("PWD", "/")
            .chroot(self.root.path())
    }
}
