//! The architecture name that LTSP gives an image of the server itself (A1, A2).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::error::Result;
use crate::source::os_release::OsRelease;
use crate::sys::command::Command;
use crate::sys::confined::Root;

/// The name: Debian's on Debian and what derives from it, `uname -m` with each family's changes
/// elsewhere.
///
/// # Errors
/// When dpkg is there but does not answer, or what the system says of itself cannot be read.
pub fn name() -> Result<OsString> {
    if Path::new("/usr/bin/dpkg").exists() {
        let answer = Command::new("dpkg").arg("--print-architecture").output()?.check()?;
        return Ok(OsString::from_vec(answer.stdout.trim_ascii_end().to_vec()));
    }
    let os_release = OsRelease::of(&Root::open(Path::new("/"))?)?;
    let machine = rustix::system::uname();
    Ok(family_name(os_release.as_ref(), OsStr::from_bytes(machine.machine().to_bytes())))
}

fn family_name(os_release: Option<&OsRelease>, machine: &OsStr) -> OsString {
    let is = |family: &str| os_release.is_some_and(|release| release.is(family));
    let text = machine.to_string_lossy();
    let is_x86 = text.len() == 4 && text.starts_with('i') && text.ends_with("86");
    let name = match &*text {
        "x86_64" if is("gentoo") => "amd64",
        "hppa" | "parisc" if is("gentoo") => "hppa",
        _ if is_x86 && (is("fedora") || is("rhel") || is("suse")) => "i386",
        ppc if ppc.starts_with("ppc") && is("suse") => "powerpc",
        _ => return machine.to_owned(),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::os_release::tests::os_release as release;

    // A1, A2
    #[test]
    fn each_family_has_its_own_names() {
        for (os_release, machine, name) in [
            ("ID=alpine\n", "x86_64", "x86_64"),
            ("ID=altlinux\n", "i686", "i686"),
            ("ID=gentoo\n", "x86_64", "amd64"),
            ("ID=gentoo\n", "parisc", "hppa"),
            ("ID=gentoo\n", "i686", "i686"),
            ("ID=fedora\n", "i686", "i386"),
            ("ID=fedora\n", "x86_64", "x86_64"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "i586", "i386"),
            ("ID=opensuse-leap\nID_LIKE=\"suse opensuse\"\n", "ppc64le", "powerpc"),
        ] {
            assert_eq!(
                family_name(Some(&release(os_release)), machine.as_ref()),
                name,
                "{os_release} {machine}"
            );
        }
    }
}
