//! What the commands of a file do to the variables, as a shell would have it (XCU 2.6, 2.9.1).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use crate::config::variables::{Origin, Variables};

use super::syntax::{Action, Command, Modifier, ModifierKind, Parsed, Piece, Stop};

/// Variables that a shell sets by itself or that change how it works; which ones depends on the shell.
/// A file that uses one is not read natively, and what a shell says about them is not taken over.
const OF_THE_SHELL: &[&str] = &[
    "_",
    "COLUMNS",
    "DIRSTACK",
    "EUID",
    "FUNCNAME",
    "GROUPS",
    "HISTCMD",
    "HOSTNAME",
    "HOSTTYPE",
    "IFS",
    "LINENO",
    "LINES",
    "MACHTYPE",
    "OLDPWD",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "OSTYPE",
    "PIPESTATUS",
    "POSIXLY_CORRECT",
    "PPID",
    "PS1",
    "PS2",
    "PS3",
    "PS4",
    "PWD",
    "RANDOM",
    "REPLY",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
];

/// Whether a variable belongs to the shell itself, and is not one of our `own`.
pub(super) fn belongs_to_the_shell(name: &str, own: &[&str]) -> bool {
    let known = OF_THE_SHELL.contains(&name) || name.starts_with("BASH") || name.starts_with("EPOCH");
    known && !own.contains(&name)
}

/// Carries out the commands of the file `path` on `variables`; `own` are variables of ours that shells
/// know, too.
///
/// # Errors
/// The first expansion that only a shell can do; `variables` then are half done and to be thrown away.
pub(super) fn carry_out(
    commands: &[Command],
    path: &Path,
    own: &[&str],
    variables: &mut Variables,
) -> Parsed<()> {
    for command in commands {
        let mut at = Place { path, line: command.line, own, variables };
        match &command.action {
            Action::Assign(assignments) => {
                for assignment in assignments {
                    at.line = assignment.line;
                    let value = at.expand(&assignment.word)?;
                    at.assign(&assignment.name, value)?;
                }
            }
            Action::Export(exports) => {
                // All words of a command are expanded before it runs: `export A=1 B=$A` sees the old A.
                let mut expanded = Vec::new();
                for (name, word) in exports {
                    at.is_ours(name)?;
                    let value = word.as_ref().map(|word| at.expand_argument(word)).transpose()?;
                    expanded.push((name, value));
                }
                for (name, value) in expanded {
                    if let Some(value) = value {
                        at.assign(name, value)?;
                    }
                    let origin = at.origin();
                    at.variables.export(name, origin);
                }
            }
            Action::Unset(names) => {
                for name in names {
                    at.is_ours(name)?;
                    at.variables.unset(name);
                }
            }
            Action::Nothing(words) => {
                for word in words {
                    at.expand(word)?;
                }
            }
        }
    }
    Ok(())
}

/// Where an expansion takes place.
struct Place<'a> {
    path: &'a Path,
    line: usize,
    own: &'a [&'a str],
    variables: &'a mut Variables,
}

impl Place<'_> {
    fn origin(&self) -> Origin {
        Origin::File(self.path.to_owned(), Some(self.line))
    }

    fn shell<T>(&self, what: String) -> Parsed<T> {
        Err(Stop::Shell(self.line, what))
    }

    fn is_ours(&self, name: &str) -> Parsed<()> {
        if belongs_to_the_shell(name, self.own) {
            self.shell(format!("the variable `{name}`"))
        } else {
            Ok(())
        }
    }

    fn assign(&mut self, name: &str, value: Vec<u8>) -> Parsed<()> {
        self.is_ours(name)?;
        let origin = self.origin();
        self.variables.assign(name, OsString::from_vec(value), origin);
        Ok(())
    }

    fn value(&self, name: &str) -> Parsed<Option<Vec<u8>>> {
        self.is_ours(name)?;
        // Without one in the environment a shell has a default of its own.
        if name == "PATH" && self.variables.get(name).is_none() {
            return self.shell("the variable `PATH`".into());
        }
        Ok(self.variables.get(name).map(|value| value.as_bytes().to_vec()))
    }

    /// The value of a word in an assignment: never split, and its wildcards mean themselves.
    fn expand(&mut self, word: &[Piece]) -> Parsed<Vec<u8>> {
        let mut value = Vec::new();
        for piece in word {
            value.extend(self.expand_piece(piece)?);
        }
        Ok(value)
    }

    fn expand_piece(&mut self, piece: &Piece) -> Parsed<Vec<u8>> {
        match piece {
            Piece::Text { bytes, .. } => Ok(bytes.clone()),
            Piece::Home => match self.value("HOME")? {
                Some(home) if !home.is_empty() => Ok(home),
                _ => self.shell("a `~` without HOME".into()),
            },
            Piece::Parameter { name, modifier: None, .. } => Ok(self.value(name)?.unwrap_or_default()),
            Piece::Parameter { name, modifier: Some(modifier), .. } => self.modified(name, modifier),
        }
    }

    fn modified(&mut self, name: &str, modifier: &Modifier) -> Parsed<Vec<u8>> {
        let value = self.value(name)?;
        let given = |colon: bool| value.clone().filter(|value| !(colon && value.is_empty()));
        match modifier.kind {
            ModifierKind::Default { colon } => match given(colon) {
                Some(value) => Ok(value),
                None => self.expand(&modifier.word),
            },
            ModifierKind::Assign { colon } => match given(colon) {
                Some(value) => Ok(value),
                None => {
                    let value = self.expand(&modifier.word)?;
                    self.assign(name, value.clone())?;
                    Ok(value)
                }
            },
            ModifierKind::Alternative { colon } => match given(colon) {
                Some(_) => self.expand(&modifier.word),
                None => Ok(Vec::new()),
            },
            ModifierKind::Suffix | ModifierKind::Prefix => {
                let pattern = self.literal_pattern(&modifier.word)?;
                let value = value.unwrap_or_default();
                let rest = match modifier.kind {
                    ModifierKind::Suffix => value.strip_suffix(pattern.as_slice()),
                    _ => value.strip_prefix(pattern.as_slice()),
                };
                Ok(rest.unwrap_or(&value).to_vec())
            }
        }
    }

    /// The text of a pattern in which nothing is a wildcard.
    fn literal_pattern(&mut self, word: &[Piece]) -> Parsed<Vec<u8>> {
        // Shells do not expand the pattern when there is nothing to match: an assignment in it may or
        // may not take place.
        if word.iter().any(assigns) {
            return self.shell("an assignment inside a pattern".into());
        }
        self.expand_without(b"*?[\\", word, "a pattern with wildcards")
    }

    /// The value of a word after `export`. Older shells split such a word and expand its wildcards,
    /// newer ones do not: only what comes out alike is read here.
    fn expand_argument(&mut self, word: &[Piece]) -> Parsed<Vec<u8>> {
        self.expand_without(b" \t\n*?[\\~", word, "a value after `export` that needs quotes")
    }

    /// Expands a word none of whose unquoted parts may come to hold one of these bytes.
    fn expand_without(&mut self, special: &[u8], word: &[Piece], what: &str) -> Parsed<Vec<u8>> {
        let mut value = Vec::new();
        for piece in word {
            let part = self.expand_piece(piece)?;
            let plain = *piece != Piece::Home && !part.iter().any(|byte| special.contains(byte));
            if !is_quoted(piece) && !plain {
                return self.shell(what.into());
            }
            value.extend(part);
        }
        Ok(value)
    }
}

fn assigns(piece: &Piece) -> bool {
    let Piece::Parameter { modifier: Some(modifier), .. } = piece else { return false };
    matches!(modifier.kind, ModifierKind::Assign { .. }) || modifier.word.iter().any(assigns)
}

fn is_quoted(piece: &Piece) -> bool {
    matches!(piece, Piece::Text { quoted: true, .. } | Piece::Parameter { quoted: true, .. })
}
