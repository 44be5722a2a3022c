//! What boot loaders expect beside the kernels: the default entry of pxelinux, and yaboot at the top.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::path::Path;

use rustix::fs::FileType;

use crate::error::{During, Result};
use crate::kernel::replace;
use crate::sys::confined::Root;

/// What `update-kernels` in a chroot writes into the comment at the top of its files.
const MARKER: &str = "This file is regenerated when update-kernels runs";

/// Makes `pxelinux.cfg/default` a link to `ltsp`, if the target has that and no `default` of an admin's
/// own: not a generated one, and not a link that leads nowhere (K22, K23).
///
/// # Errors
/// When the link cannot be made, or a directory has its name.
pub fn default_entry(target: &Root) -> Result<()> {
    let default = Path::new("pxelinux.cfg/default");
    let Some(folder) = target.dir("pxelinux.cfg")? else { return Ok(()) };
    if !target.is_file("pxelinux.cfg/ltsp")? || target.is_file(default)? && !is_generated(target, default)? {
        return Ok(());
    }
    replace::link(&folder, OsStr::new("ltsp"), OsStr::new("default"))
}

/// Whether it is a file, not a link, that `update-kernels` has written.
fn is_generated(target: &Root, path: &Path) -> Result<bool> {
    let own = target.lstat(path)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    let Some(file) = target.open_file(path)?.filter(|_| own) else { return Ok(false) };
    let mut text = Vec::new();
    file.take(1 << 20).read_to_end(&mut text).during("read", target.shown(path))?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().any(|line| line.split_once('#').is_some_and(|(_, comment)| comment.contains(MARKER))))
}

/// Links `yaboot` and `yaboot.conf` in the TFTP directory to those of the target `name` below it, which
/// Apple's firmware cannot reach there; the first chroot that has a yaboot wins (K25).
///
/// # Errors
/// When a link cannot be made.
pub fn yaboot(tftp: &Root, target: &Root, name: &Path) -> Result<()> {
    if target.stat("yaboot")?.is_none() {
        return Ok(());
    }
    for file in ["yaboot", "yaboot.conf"] {
        if !tftp.shown(file).exists() {
            let target: OsString = name.join(file).into();
            replace::link(tftp, &target, OsStr::new(file))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    const GENERATED: &str = "# This file is regenerated when update-kernels runs. Do not edit it.\nold\n";

    enum Default {
        Nothing,
        File(&'static str),
        Link(&'static str),
    }

    // K22, K23
    #[test]
    fn only_a_default_that_nobody_made_by_hand_becomes_a_link_to_ltsp() {
        use Default::{File, Link, Nothing};
        for (has_ltsp, before, becomes_link) in [
            (true, Nothing, true),
            (true, File(GENERATED), true),
            (true, File("# mine\n"), false),
            (true, File("This file is regenerated when update-kernels runs.\n"), false),
            (true, Link("gone"), true),
            (true, Link("other"), false),
            (false, Nothing, false),
            (false, File(GENERATED), false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let folder = dir.path().join("pxelinux.cfg");
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("other"), GENERATED).unwrap();
            if has_ltsp {
                fs::write(folder.join("ltsp"), "").unwrap();
            }
            match before {
                Nothing => {}
                File(text) => fs::write(folder.join("default"), text).unwrap(),
                Link(target) => symlink(target, folder.join("default")).unwrap(),
            }
            default_entry(&Root::open(dir.path()).unwrap()).unwrap();
            let link = fs::read_link(folder.join("default")).ok();
            assert_eq!(link == Some(PathBuf::from("ltsp")), becomes_link);
        }
    }

    // K25
    #[test]
    fn the_first_yaboot_is_linked_at_the_top() {
        let dir = tempfile::tempdir().unwrap();
        let tftp = Root::open(dir.path()).unwrap();
        let link = |name: &str| fs::read_link(dir.path().join(name)).ok();
        for name in ["ltsp/a", "ltsp/b", "ltsp/c"] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            if name != "ltsp/a" {
                fs::write(dir.path().join(name).join("yaboot"), "").unwrap();
            }
            fs::write(dir.path().join(name).join("yaboot.conf"), "").unwrap();
        }
        symlink("gone", dir.path().join("yaboot.conf")).unwrap();
        for (name, expected) in
            [("ltsp/a", None), ("ltsp/b", Some("ltsp/b/yaboot")), ("ltsp/c", Some("ltsp/b/yaboot"))]
        {
            yaboot(&tftp, &tftp.dir(name).unwrap().unwrap(), Path::new(name)).unwrap();
            assert_eq!(link("yaboot"), expected.map(PathBuf::from), "{name}");
        }
        assert_eq!(link("yaboot.conf"), Some("ltsp/b/yaboot.conf".into()));
    }
}
