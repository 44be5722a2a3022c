//! The folder of export files that nbd-server includes.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::error::{During, Error, Result};
use crate::nbd::keyfile;
use crate::nbd::sections::Section;
use crate::sys::command;

/// How many links may lead from one to the next; the kernel's own limit.
const LINKS: usize = 40;

/// What has become of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Put {
    /// It was there and stays as it was. It may export other things than the section would.
    Kept {
        /// The names of its sections; empty if nbd-server cannot read it.
        sections: Vec<Vec<u8>>,
    },
    /// It was written, and a running nbd-server that is told to read it gets all of it.
    Written,
    /// It was written, with another text for a section that a running nbd-server has and will not change.
    Changed,
}

/// Writes the section's file in `dir`, unless it exists and `overwrite` is not set (N4).
///
/// The file appears with its whole text at once, since nbd-server may read it at any moment. A link is
/// followed, also one whose target does not exist yet. The mode of a new file follows the umask (N5);
/// an existing one keeps mode and owner.
///
/// # Errors
/// When something that is no regular file has the name, or the file cannot be read or written.
pub fn put(dir: &Path, section: &Section, image: Option<&OsStr>, overwrite: bool) -> Result<Put> {
    let path = dir.join(&section.file);
    let target = target(&path)?;
    let before = match fs::symlink_metadata(&target) {
        Ok(metadata) if metadata.is_file() => Some((metadata, fs::read(&target).during("read", &path)?)),
        Ok(_) => return Err(Error::new("write", &path, "it exists and is not a regular file")),
        Err(source) if source.kind() == ErrorKind::NotFound => None,
        Err(source) => return Err(Error::io("look at", &path, source)),
    };
    let Some((metadata, text)) = before else {
        write(&target, &section.text, None)?;
        return Ok(Put::Written);
    };
    let groups = keyfile::parse(&text).unwrap_or_default();
    let outdated = image.is_some_and(|image| Section::is_of_5_3(&text, image));
    if !overwrite && !outdated {
        return Ok(Put::Kept { sections: groups.into_iter().map(|group| group.name).collect() });
    }
    write(&target, &section.text, Some(&metadata))?;
    let had_it = groups.iter().any(|group| group.name == section.name.as_encoded_bytes());
    Ok(if had_it && text != section.text { Put::Changed } else { Put::Written })
}

/// Waits for the turn to write in `dir`; it lasts as long as the value. Otherwise one run could
/// take away what another has put there for a reload.
///
/// # Errors
/// When the folder cannot be opened or locked, or a signal ends the wait.
pub fn turn(dir: &Path) -> Result<File> {
    let folder = File::open(dir).during("open", dir)?;
    loop {
        match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(folder),
            // Another run takes as long as nbd-server needs to reload.
            Err(Errno::WOULDBLOCK) => command::sleep(Duration::from_millis(100))?,
            Err(source) => return Err(Error::io("lock", dir, source)),
        }
    }
}

/// Whether the name is one that nbd-server reads; it must be that of a regular file, too.
pub fn is_read(name: &OsStr) -> bool {
    name.as_encoded_bytes().ends_with(b".conf")
}

/// Puts a file with this text in place at once. Until then its name is one that nbd-server does not read.
///
/// # Errors
/// When the file cannot be made, written or moved.
pub fn write(path: &Path, text: &[u8], like: Option<&Metadata>) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    // 0666 less the umask, as a shell's redirection gives.
    let made = tempfile::Builder::new()
        .prefix(".ltsp-")
        .suffix(".new")
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(dir);
    let mut file = made.during("write", path)?;
    if let Some(like) = like {
        fchown(file.as_file(), Some(like.uid()), Some(like.gid())).during("set the owner of", path)?;
        let mode = Permissions::from_mode(like.mode() & 0o7777);
        file.as_file().set_permissions(mode).during("set the mode of", path)?;
    }
    file.write_all(text).during("write", path)?;
    file.as_file().sync_all().during("write", path)?;
    let file: File = file.persist(path).map_err(|source| Error::io("write", path, source.error))?;
    drop(file);
    Ok(())
}

/// Where the links lead that begin at `path`, whether something is there or not.
fn target(path: &Path) -> Result<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..LINKS {
        match fs::read_link(&at) {
            Ok(next) => at = at.parent().unwrap_or(Path::new("/")).join(next),
            // Not a link, or nothing there.
            Err(source) if matches!(source.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => {
                return Ok(at);
            }
            Err(source) => return Err(Error::io("look at", path, source)),
        }
    }
    Err(Error::new("write", path, "its links lead in a circle"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use tempfile::TempDir;

    fn section() -> Section {
        Section::image(Path::new("/opt/ltsp"), OsStr::new("amd64")).unwrap()
    }

    fn put_in(dir: &TempDir, overwrite: bool) -> Put {
        put(dir.path(), &section(), Some(OsStr::new("amd64")), overwrite).unwrap()
    }

    fn file(dir: &TempDir) -> PathBuf {
        dir.path().join("ltsp_amd64.conf")
    }

    fn names(dir: &TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    // N4
    #[test]
    fn a_missing_file_is_written_and_an_existing_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(put_in(&dir, false), Put::Written);
        assert_eq!(fs::read(file(&dir)).unwrap(), section().text);
        assert_eq!(names(&dir), 1);

        fs::write(file(&dir), "# mine\n").unwrap();
        assert_eq!(put_in(&dir, false), Put::Kept { sections: Vec::new() });
        fs::write(file(&dir), "[x]\nexportname = /y\n[z]\n").unwrap();
        let sections = vec![b"x".to_vec(), b"z".to_vec()];
        assert_eq!(put_in(&dir, false), Put::Kept { sections });
        assert_eq!(fs::read(file(&dir)).unwrap(), b"[x]\nexportname = /y\n[z]\n");
    }

    // N4, N5: the whole file is rewritten; D34: which change a running nbd-server does not follow
    #[test]
    fn overwriting_tells_a_changed_section_from_a_new_one_and_keeps_the_mode() {
        let dir = tempfile::tempdir().unwrap();
        for (before, outcome) in [
            ("# mine\n", Put::Written),
            ("[/srv/ltsp/amd64]\nexportname = /srv/ltsp/images/amd64.img\n", Put::Written),
            ("[/opt/ltsp/amd64]\nexportname = /elsewhere.img\n", Put::Changed),
            (std::str::from_utf8(&section().text).unwrap(), Put::Written),
        ] {
            fs::write(file(&dir), before).unwrap();
            fs::set_permissions(file(&dir), Permissions::from_mode(0o640)).unwrap();
            assert_eq!(put_in(&dir, true), outcome, "{before}");
            assert_eq!(fs::read(file(&dir)).unwrap(), section().text);
            assert_eq!(fs::metadata(file(&dir)).unwrap().mode() & 0o7777, 0o640);
        }
        assert_eq!(names(&dir), 1);
    }

    // H27
    #[test]
    fn a_file_of_ltsp_5_3_is_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(file(&dir), "[ltsp_amd64]\nexportname = /opt/ltsp/images/amd64.img\n").unwrap();
        assert_eq!(put_in(&dir, false), Put::Written);
        assert_eq!(fs::read(file(&dir)).unwrap(), section().text);
    }

    // N4
    #[test]
    fn links_are_written_through_also_dangling_ones() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let real = elsewhere.path().join("real.conf");
        symlink("second", file(&dir)).unwrap();
        symlink(&real, dir.path().join("second")).unwrap();
        assert_eq!(put_in(&dir, false), Put::Written);
        assert!(file(&dir).is_symlink());
        assert_eq!(fs::read(&real).unwrap(), section().text);
        // Now it exists.
        assert!(matches!(put_in(&dir, false), Put::Kept { .. }));
        fs::write(&real, "# old\n").unwrap();
        assert_eq!(put_in(&dir, true), Put::Written);
        assert_eq!(fs::read(&real).unwrap(), section().text);
        assert!(file(&dir).is_symlink());
    }

    #[test]
    fn what_is_no_file_is_an_error_with_its_name() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(file(&dir)).unwrap();
        let error = put(dir.path(), &section(), None, true).unwrap_err().to_string();
        assert!(error.contains("ltsp_amd64.conf") && error.contains("not a regular file"), "{error}");

        fs::remove_dir(file(&dir)).unwrap();
        symlink("ltsp_amd64.conf", file(&dir)).unwrap();
        let error = put(dir.path(), &section(), None, true).unwrap_err().to_string();
        assert!(error.contains("circle"), "{error}");
    }
}
