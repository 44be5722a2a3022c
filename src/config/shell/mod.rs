//! Configuration files in shell syntax, read as `/bin/sh` would read them (S7, S17).
//!
//! Plain files (assignments, quotes, expansions, `export`, `unset`) are read natively. A file that needs more is
//! handed to `/bin/sh`, if nobody but root can have written it. Both ways see the variables that are set already and
//! leave theirs for the next file.

mod child;
mod expand;
mod parse;

#[cfg(test)]
mod differential;

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::variables::Variables;
use crate::error::{During, Error, Result, shown};
use parse::Stop;

/// How files are read in one start of a program.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// What a shell gets as `$0`: the name the program was called by.
    pub called_as: &'a OsStr,
    /// The only user whose files a shell may evaluate: 0, outside tests.
    pub owner: u32,
}

impl Reader<'_> {
    /// Reads one file into `variables`. Returns what there is to warn about.
    ///
    /// # Errors
    /// When the file cannot be read, has a syntax error, needs a shell that it may not have, or fails
    /// in one. `variables` are then as before.
    pub fn read(&self, path: &Path, variables: &mut Variables) -> Result<Vec<String>> {
        let text = std::fs::read(path).during("read the configuration file", path)?;
        if text.contains(&0) {
            return Err(Error::new("read the configuration file", path, "it has NUL bytes: this is no text"));
        }
        let mut after = variables.clone();
        let mut warnings = dos_line_ends(path, &text);
        let read = parse::parse(&text).and_then(|commands| expand::carry_out(&commands, path, &mut after));
        match read {
            Ok(()) => {}
            Err(Stop::Syntax(line, what)) => return Err(syntax_error(path, line, &what)),
            Err(Stop::Shell(line, what)) => {
                child::check_syntax(path, &text)?;
                self.check_trust(path, line, &what)?;
                warnings.extend(functions(path, &text));
                after = child::evaluate(self.called_as, path, &text, variables)?;
            }
        }
        *variables = after;
        Ok(warnings)
    }

    /// A shell must not run what somebody other than root could have written.
    fn check_trust(&self, path: &Path, line: usize, what: &str) -> Result<()> {
        let Some(reason) = self.distrust(path)? else { return Ok(()) };
        let said = format!(
            "{}:{line}: {what} needs a shell, but root must not run this file as a script: {reason}",
            shown(path)
        );
        Err(Error::said(said)
            .hint("make the file and its folder root's own (chown root, chmod go-w), or use plain NAME=\"VALUE\" lines"))
    }

    /// Looks at the file, at its folder, and if it is a link also at those behind it.
    fn distrust(&self, path: &Path) -> Result<Option<String>> {
        let real = path.canonicalize().during("resolve the configuration file", path)?;
        let folder = |path: &Path| path.parent().map(Path::to_owned);
        let places: [Option<PathBuf>; 3] = [folder(path), folder(&real), Some(real)];
        for place in places.into_iter().flatten() {
            let place = if place.as_os_str().is_empty() { PathBuf::from(".") } else { place };
            let metadata = place.metadata().during("examine", &place)?;
            if let Some(reason) = self.foreign(&metadata) {
                return Ok(Some(format!("{} {reason}", shown(&place))));
            }
        }
        Ok(None)
    }

    fn foreign(&self, metadata: &Metadata) -> Option<String> {
        if metadata.uid() != self.owner {
            Some(format!("belongs to user {}", metadata.uid()))
        } else if metadata.mode() & 0o022 != 0 {
            Some(format!("may be written by others (mode {:04o})", metadata.mode() & 0o7777))
        } else {
            None
        }
    }
}

fn syntax_error(path: &Path, line: usize, what: &str) -> Error {
    Error::said(format!("{}:{line}: syntax error: {what}", shown(path)))
        .hint("configuration files are shell syntax: NAME=\"VALUE\" lines and # comments")
}

/// A carriage return is part of the value for any shell, and invisible in the editor that made it.
fn dos_line_ends(path: &Path, text: &[u8]) -> Vec<String> {
    let line = text.split(|&byte| byte == b'\n').position(|line| line.ends_with(b"\r"));
    let warning = |line: usize| {
        format!(
            "{}:{}: the line ends in a carriage return (DOS line end), which is read as part of it; \
             sed -i 's/\\r$//' removes them",
            shown(path),
            line + 1
        )
    };
    line.map(warning).into_iter().collect()
}

/// Functions live and die with the shell that evaluates the file (S17).
fn functions(path: &Path, text: &[u8]) -> Vec<String> {
    let defines = |line: &&[u8]| {
        let line = line.trim_ascii();
        let Some(open) = line.iter().position(|&byte| byte == b'(') else { return false };
        let (name, rest) = line.split_at(open);
        let name = std::str::from_utf8(name.trim_ascii_end()).unwrap_or_default();
        super::variables::is_name(name) && rest[1..].trim_ascii_start().starts_with(b")")
    };
    let lines = text.split(|&byte| byte == b'\n').enumerate();
    let found = lines.filter(|(_, line)| defines(line)).map(|(line, _)| (line + 1).to_string());
    let found: Vec<String> = found.collect();
    if found.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "{}:{}: a function in a configuration file can be used inside that file only; it replaces nothing in this program",
        shown(path),
        found.join(",")
    )]
}
