//! Everybody may read what is published by TFTP (K24, D30).

use rustix::fs::{AtFlags, FileType, Mode, Stat, chmodat, fchmod};

use crate::error::{During, Result};
use crate::sys::confined::Root;
use crate::sys::signals;

/// The mode under which a file or directory is published: readable for all if others could not read
/// it, and for a directory the same with entering it.
///
/// Of a file's set-user-id bits nothing is left: what a chroot holds must not become a program that
/// acts as root on the server.
pub fn readable(stat: &Stat) -> Mode {
    let (needed, kept) = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => (0o555, 0o7777),
        _ => (0o444, 0o777),
    };
    let mode = stat.st_mode & kept;
    Mode::from_raw_mode(if mode & needed & 0o007 == needed & 0o007 { mode } else { mode | needed })
}

/// Makes `folder` and everything below it readable, whoever put it there. Links and special files stay
/// as they are.
///
/// # Errors
/// When the system refuses.
pub fn open_up(folder: &Root) -> Result<()> {
    if let Some(stat) = folder.stat("")? {
        if let Some(mode) = missing(&stat) {
            chmodat(folder, ".", mode, AtFlags::empty()).during("change the mode of", folder.path())?;
        }
    }
    for entry in folder.entries("")?.unwrap_or_default() {
        signals::check()?;
        match entry.kind {
            FileType::Directory => {
                if let Some(inside) = folder.dir(&entry.name)? {
                    open_up(&inside)?;
                }
            }
            FileType::RegularFile => {
                let Some(mode) = folder.lstat(&entry.name)?.as_ref().and_then(missing) else { continue };
                if let Some(file) = folder.open_file(&entry.name)? {
                    fchmod(&file, mode).during("change the mode of", folder.shown(&entry.name))?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The mode to set, if there is something to change.
fn missing(stat: &Stat) -> Option<Mode> {
    let mode = readable(stat);
    let lacks_bits = mode.as_raw_mode() & !stat.st_mode != 0;
    lacks_bits.then_some(mode)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    // K24, D30
    #[test]
    fn everything_below_the_target_becomes_readable_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        fs::create_dir_all(target.join("grub/deep")).unwrap();
        fs::write(dir.path().join("outside"), "").unwrap();
        symlink(dir.path().join("outside"), target.join("link")).unwrap();
        let cases = [
            (".", 0o700, 0o755),
            ("grub", 0o700, 0o755),
            ("grub/deep", 0o750, 0o755),
            ("grub/deep/cfg", 0o600, 0o644),
            ("vmlinuz", 0o600, 0o644),
            ("private", 0o000, 0o444),
            ("plain", 0o644, 0o644),
            ("odd", 0o604, 0o604),
            ("listed", 0o640, 0o644),
            ("set-uid", 0o4711, 0o755),
        ];
        let set = |path: &std::path::Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        for (name, mode, _) in cases.iter().rev() {
            if !target.join(name).exists() {
                fs::write(target.join(name), "").unwrap();
            }
            set(&target.join(name), *mode).unwrap();
        }
        set(&dir.path().join("outside"), 0o600).unwrap();
        open_up(&Root::open(&target).unwrap()).unwrap();
        for (name, _, mode) in cases {
            assert_eq!(fs::metadata(target.join(name)).unwrap().mode() & 0o7777, mode, "{name}");
        }
        assert_eq!(fs::metadata(dir.path().join("outside")).unwrap().mode() & 0o777, 0o600);
    }
}
