//! The applets that are not built in: those of the package ltsp.

use std::ffi::{OsStr, OsString};
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::error::{Error, shown};

/// The program of the package.
const PROGRAM: &str = "/usr/share/ltsp/ltsp";

/// Becomes the package's program with all words of the command line, if it is installed. Returns only to
/// say why not.
pub(super) fn hand_over(applet: &OsStr, words: &[OsString]) -> Error {
    hand_over_to(Path::new(PROGRAM), applet, words)
}

fn hand_over_to(program: &Path, applet: &OsStr, words: &[OsString]) -> Error {
    let applet = shown(applet);
    if !program.is_file() {
        return Error::said(format!("there is no applet {applet} here")).hint(
            "other applets than image, kernel, migrate and nbd are in the package ltsp: apt-get install ltsp",
        );
    }
    if is_ourselves(program) {
        return Error::said(format!("there is no applet {applet}")).hint("`ltsp --help` lists the applets");
    }
    let source = std::process::Command::new(program).args(words).exec();
    Error::io(format!("hand the applet {applet} to"), program, source).hint("install the package ltsp again")
}

/// If somebody has put this program in the place of the package's.
fn is_ourselves(program: &Path) -> bool {
    let canonical = |path: &Path| path.canonicalize().ok();
    canonical(program).is_some() && canonical(program) == canonical(Path::new("/proc/self/exe"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // F8
    #[test]
    fn without_the_package_the_applet_and_the_package_are_named() {
        let error = hand_over_to("/nowhere/ltsp".as_ref(), "imagine".as_ref(), &[]).to_string();
        assert!(error.contains("imagine") && error.contains("package ltsp"), "{error}");
        let ourselves = Path::new("/proc/self/exe");
        assert!(hand_over_to(ourselves, "imagine".as_ref(), &[]).to_string().contains("--help"));
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ltsp"), "").unwrap();
        let error = hand_over_to(&dir.path().join("ltsp"), "info".as_ref(), &[]).to_string();
        assert!(error.contains("/ltsp: Permission denied"), "{error}");
    }
}
