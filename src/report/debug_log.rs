//! `/run/ltsp/debug.log`, where LTSP's users look for the warnings and errors of the last run (F14).

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::sys::clock;

/// The log; it is made with the first line that goes into it.
#[derive(Debug)]
pub(super) struct DebugLog {
    path: PathBuf,
    /// Keep what is there: another program of the same run has begun it, or the boot of a client has.
    append: bool,
    file: Option<File>,
    failed: bool,
}

impl DebugLog {
    /// Below `run`, which outside tests is `/run`. `setting` is the variable DEBUG_LOG: if it is set, 1 adds
    /// to the log, and anything else means none.
    pub(super) fn new(run: &Path, setting: Option<&str>) -> Option<Self> {
        let append = match setting {
            None | Some("") => run.join("ltsp/client").is_dir(),
            Some("1") => true,
            Some(_) => return None,
        };
        Some(Self { path: run.join("ltsp/debug.log"), append, file: None, failed: false })
    }

    /// Adds a line. A log that cannot be written is none: this is where that would be told.
    pub(super) fn add(&mut self, text: &str) {
        if self.file.is_none() && !self.failed {
            self.file = self.open().ok();
            self.failed = self.file.is_none();
        }
        if let Some(file) = &mut self.file {
            let _ = writeln!(file, "{} {text}", clock::time_of_day());
        }
    }

    fn open(&self) -> std::io::Result<File> {
        if let Some(folder) = self.path.parent().filter(|folder| !folder.is_dir()) {
            DirBuilder::new().mode(0o755).create(folder)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        if self.append {
            return options.create(true).open(&self.path);
        }
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        options.create_new(true).open(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    // F14
    #[test]
    fn the_first_line_of_a_run_replaces_the_log_of_the_last_one() {
        let run = tempfile::tempdir().unwrap();
        let path = run.path().join("ltsp/debug.log");
        for text in ["first", "second"] {
            let mut log = DebugLog::new(run.path(), None).unwrap();
            // A run without warnings leaves the log alone.
            drop(DebugLog::new(run.path(), Some("")));
            log.add(text);
            log.add("more");
            let content = std::fs::read_to_string(&path).unwrap();
            let lines: Vec<&str> = content.lines().collect();
            assert_eq!(lines.len(), 2, "{content}");
            let (time, said) = lines[0].split_once(' ').unwrap();
            assert_eq!(said, text);
            assert_eq!((time.len(), &time[2..3], &time[8..9]), (18, ":", "."), "{time}");
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    // F14
    #[test]
    fn the_variable_adds_to_the_log_or_switches_it_off() {
        let run = tempfile::tempdir().unwrap();
        DebugLog::new(run.path(), None).unwrap().add("one");
        DebugLog::new(run.path(), Some("1")).unwrap().add("two");
        assert!(DebugLog::new(run.path(), Some("0")).is_none());
        std::fs::create_dir(run.path().join("ltsp/client")).unwrap();
        DebugLog::new(run.path(), None).unwrap().add("three");
        assert_eq!(std::fs::read_to_string(run.path().join("ltsp/debug.log")).unwrap().lines().count(), 3);
        let mut nowhere = DebugLog::new(Path::new("/nowhere"), None).unwrap();
        nowhere.add("lost");
    }
}
