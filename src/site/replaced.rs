//! Functions of LTSP that drop-in scripts define anew, to have something else done in a step (F39).

use std::ffi::OsStr;

use crate::config::modern::FUNCTIONS;
use crate::config::settings::Step;
use crate::config::shell;
use crate::error::{Error, Result};
use crate::site::drop_ins::{self, Stage};

/// The variable for the answer to [`question`].
pub(super) const FOUND: &str = "_LTSP_FOUND";

/// A script of LTSP that is built in here, and those of its functions that others could define anew.
pub(super) struct OwnScript {
    applet: &'static str,
    pub(super) file: &'static str,
    /// What it does all by itself.
    pub(super) step: Option<Step>,
    pub(super) functions: &'static [&'static str],
}

const OWN_SCRIPTS: [OwnScript; 4] = [
    OwnScript {
        applet: "image",
        file: drop_ins::MOUNT,
        step: None,
        functions: &["image_main", "lock_package_management", "revert"],
    },
    OwnScript {
        applet: "image",
        file: drop_ins::CLEANUP,
        step: Some(Step::Cleanup),
        functions: &[
            "cleanup_main",
            "remove_printers",
            "remove_users",
            "resolv_conf",
            "ssh_host_keys",
            "ssl_cert",
            "truncate_files",
        ],
    },
    OwnScript {
        applet: "image",
        file: drop_ins::WRITE,
        step: Some(Step::Write),
        functions: &["mksquashfs_main", "image_excludes"],
    },
    OwnScript {
        applet: "kernel",
        file: drop_ins::KERNEL,
        step: Some(Step::Kernel),
        functions: &["kernel_main", "search_kernel", "rpi_image"],
    },
];

/// Those of an applet, in their order.
pub(super) fn own_scripts(applet: &str) -> impl Iterator<Item = &'static OwnScript> {
    OWN_SCRIPTS.iter().filter(move |script| script.applet == applet)
}

/// Code that lists the functions of an applet's own scripts that are defined, separated by blanks.
pub(super) fn question(applet: &str) -> Vec<u8> {
    let names: Vec<&str> = own_scripts(applet).flat_map(|script| script.functions).copied().collect();
    // `command -v` says of a function its name, of a program its path.
    format!(
        "{FOUND}=\nfor _ltsp_word in {}; do\n\
         case $(command -v \"$_ltsp_word\") in\n\
         (\"$_ltsp_word\") {FOUND}=\"${{{FOUND}:+${FOUND} }}$_ltsp_word\" ;; esac\n\
         done\n",
        names.join(" ")
    )
    .into_bytes()
}

/// The step that a function of this name stands for, and when to call it in our place.
///
/// # Errors
/// When the step cannot be left to a script.
pub(super) fn step(name: &str) -> Result<(Step, Stage)> {
    let step = FUNCTIONS.iter().find(|(other, _)| *other == name).map(|(_, step)| *step);
    match step {
        Some(step @ Step::Lock) => Ok((step, Stage::Mounted)),
        // The root is still mounted then if we do not write the image.
        Some(step @ (Step::Write | Step::Kernel)) => Ok((step, Stage::End)),
        Some(
            step @ (Step::Cleanup
            | Step::Printers
            | Step::Users
            | Step::ResolvConf
            | Step::SshHostKeys
            | Step::SslCert
            | Step::TruncateFiles),
        ) => Ok((step, Stage::Cleaned)),
        _ => Err(Error::said(format!(
            "a drop-in script replaces LTSP's function {name}, which is not possible here"
        ))
        .hint("name the function in OMIT_FUNCTIONS, and do the rest in a script's own function")),
    }
}

/// Code that calls a function, if there is one, with arguments.
pub(super) fn call(function: &str, arguments: &[&OsStr]) -> Vec<u8> {
    let mut code = format!("if command -v {function} >/dev/null; then {function}").into_bytes();
    for argument in arguments {
        code.push(b' ');
        shell::quoted(&mut code, argument);
    }
    code.extend_from_slice(b"; fi\n");
    code
}
