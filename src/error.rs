//! What went wrong: the action, the file, the reason and the remedy.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// One failure, worded for the admin who has to act on it.
///
/// It prints as `cannot ACTION PATH: REASON`, followed by a line `hint: …` where there is something
/// to do about it. There is no `From<io::Error>` on purpose: a bare `?` on an I/O call, which would
/// lose the file's name, does not compile.
#[derive(Debug)]
pub struct Error {
    what: What,
    hint: Option<String>,
    status: u8,
}

#[derive(Debug)]
enum What {
    Failed { action: String, path: Option<PathBuf>, reason: String },
    Said(String),
}

impl Error {
    /// An action on a file that failed for a reason of our own; `action` is an infinitive
    /// (`"mount"`, `"read the kernels of"`).
    pub fn new(action: impl Into<String>, path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self::from_what(What::Failed {
            action: action.into(),
            path: Some(path.as_ref().to_owned()),
            reason: reason.into(),
        })
    }

    /// An action on a file that failed because the operating system said so.
    pub fn io(action: impl Into<String>, path: impl AsRef<Path>, source: impl Into<io::Error>) -> Self {
        Self::new(action, path, reason(&source.into()))
    }

    /// An action that has no file.
    pub fn action(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::from_what(What::Failed { action: action.into(), path: None, reason: reason.into() })
    }

    /// A whole sentence, where "cannot …" does not fit: mistakes on the command line and in
    /// configuration files.
    pub fn said(sentence: impl Into<String>) -> Self {
        Self::from_what(What::Said(sentence.into()))
    }

    /// The end of a run that a signal asked for. Its exit status is 128 + `signal` (D17).
    pub fn interrupted(signal: i32) -> Self {
        let name = match signal {
            1 => "SIGHUP".to_owned(),
            2 => "SIGINT".to_owned(),
            3 => "SIGQUIT".to_owned(),
            15 => "SIGTERM".to_owned(),
            number => format!("signal {number}"),
        };
        Self::said(format!("stopped by {name}; nothing was published after it"))
            .with_status(u8::try_from(128 + signal).unwrap_or(1))
    }

    /// What the admin can do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The exit status of the program; 1 unless this says otherwise.
    #[must_use]
    pub fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }

    /// The exit status that this failure gives the program.
    pub fn status(&self) -> u8 {
        self.status
    }

    fn from_what(what: What) -> Self {
        Self { what, hint: None, status: 1 }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            What::Failed { action, path: Some(path), reason } => {
                write!(out, "cannot {action} {}: {reason}", shown(path))?;
            }
            What::Failed { action, path: None, reason } => write!(out, "cannot {action}: {reason}")?,
            What::Said(sentence) => out.write_str(sentence)?,
        }
        match &self.hint {
            Some(hint) => write!(out, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Puts the action and the file's name to the result of a system call.
pub trait During<T> {
    /// # Errors
    /// The error of `self`, as an [`Error`] that says what was being done to which file.
    fn during(self, action: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T, E: Into<io::Error>> During<T> for std::result::Result<T, E> {
    fn during(self, action: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::io(action, path, source))
    }
}

/// A file name as it may be shown on a terminal: control characters, which could move the cursor or
/// fake a line of the log, are escaped.
pub fn shown(path: impl AsRef<Path>) -> String {
    let text = path.as_ref().to_string_lossy();
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out
}

/// The operating system's reason without Rust's "(os error N)".
pub fn reason(source: &io::Error) -> String {
    let text = source.to_string();
    match text.rfind(" (os error ") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_action_path_reason_and_remedy() {
        let error = Error::io("open", "/srv/a\u{1b}b", io::Error::from_raw_os_error(2)).hint("create it");
        assert_eq!(
            error.to_string(),
            "cannot open /srv/a\\u{1b}b: No such file or directory\nhint: create it"
        );
        assert_eq!(error.status(), 1);
    }

    #[test]
    fn an_interruption_exits_with_128_plus_the_signal() {
        assert_eq!(Error::interrupted(15).status(), 143);
    }
}
