//! `ltsp.conf`: shell assignments in sections, of which the ones that fit this machine and applet are
//! evaluated (F21 to F34).
//!
//! Where the sections that apply hold nothing but assignments, includes and what else is read natively, no
//! shell is run. Otherwise the whole file goes to one, as a script in which each section is a function.

mod layout;
mod pattern;
mod script;

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use super::shell::session::{Code, Session};
use super::shell::{self, Parsed, Plain, Stop, trust};
use super::variables::{Origin, Variables};
use crate::error::{Error, Result, shown};
use layout::{Layout, Part, Section};

/// Variables of `ltsp.conf` that some shells use, too: sections may set the host name (F31).
pub const OWN: &[&str] = &["HOSTNAME"];

/// The exit status after a mistake in a file (F12, F30).
const SYNTAX_ERROR: u8 = 2;

/// Which sections apply.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The applet's name; empty: no applet's sections.
    pub applet: &'a str,
    /// This machine has booted as an LTSP client: `[clients]` in the place of `[server]` (F31).
    pub client: bool,
}

/// Evaluates a file, if there is one. Returns what there is to warn about.
///
/// Each file is evaluated by itself: unlike in the original (F34), a section of a second file of the same
/// name as one of the first is evaluated, too.
///
/// # Errors
/// When it cannot be read; with status 2 when it has a mistake, in any of its sections; when it needs a
/// shell but is not `owner`'s alone, or ends the shell.
pub fn evaluate(
    path: &Path,
    selection: Selection<'_>,
    owner: u32,
    session: &mut Session,
    variables: &mut Variables,
) -> Result<Vec<String>> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        // Whoever cannot read it fails later, where root is needed (F10, F21).
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(Vec::new());
        }
        Err(error) => {
            return Err(Error::io("read the configuration file", path, error).with_status(SYNTAX_ERROR));
        }
    };
    if text.contains(&0) {
        let reason = "it has NUL bytes: this is no text";
        return Err(Error::new("read the configuration file", path, reason).with_status(SYNTAX_ERROR));
    }
    let layout = Layout::parse(&text).map_err(|mistake| mistaken(path, mistake.line, &mistake.what))?;
    let bodies = bodies(path, &layout)?;
    let mut warnings = shell::dos_line_ends(path, &text);
    warnings.extend(tests_read_as_sections(path, &layout, &text));

    let mut after = variables.clone();
    let mut native =
        Native { path, layout: &layout, bodies: &bodies, seen: BTreeSet::new(), variables: &mut after };
    match native.run(selection) {
        Ok(()) => *variables = after,
        Err(Stop::Syntax(line, what)) => return Err(mistaken(path, line, &what)),
        Err(Stop::Shell(line, what)) => {
            trust::check(path, line, &what, owner)?;
            let script = script::of(&layout, selection);
            shell::check_syntax(path, &script).map_err(|error| error.with_status(SYNTAX_ERROR))?;
            let name = shown(path);
            let origin = Origin::File(path.to_owned(), None);
            log::trace!("{name} is evaluated by a shell");
            // The status of what was evaluated last means nothing (F26).
            session.run(Code { text: &script, name: &name, origin: &origin }, variables)?;
        }
    }
    Ok(warnings)
}

fn mistaken(path: &Path, line: usize, what: &str) -> Error {
    shell::syntax_error(path, line, what).with_status(SYNTAX_ERROR)
}

/// The words that sections are looked up by, one list after the other: later words see what sections of
/// an earlier list have set (F31).
fn words(selection: Selection<'_>, list: usize) -> Vec<Word> {
    let plain = |name: &str| Word { text: name.to_owned(), variable: None };
    let value = |name| Word { text: String::new(), variable: Some(name) };
    let of_applet = |variable| Word { text: format!("{}/", selection.applet), variable };
    match list {
        0 if selection.client => {
            let names = [layout::UNNAMED, "clients", "common"].map(plain);
            names.into_iter().chain(["MAC_ADDRESS", "IP_ADDRESS"].map(value)).collect()
        }
        0 => {
            let names = [layout::UNNAMED, "common", "server"].map(plain);
            names.into_iter().chain(["MAC_ADDRESS", "IP_ADDRESS"].map(value)).collect()
        }
        1 => vec![value("HOSTNAME")],
        2 if !selection.applet.is_empty() => {
            let variables = [None, Some("MAC_ADDRESS"), Some("IP_ADDRESS"), Some("HOSTNAME")];
            variables.map(of_applet).into()
        }
        _ => Vec::new(),
    }
}

/// How many lists of words there are.
const LISTS: usize = 3;

/// A text, and the value of a variable behind it.
struct Word {
    text: String,
    variable: Option<&'static str>,
}

/// What the native reader makes of a section.
type Body = Vec<Piece>;

enum Piece {
    /// To be carried out.
    Plain(Plain),
    /// To be evaluated here.
    Include(Vec<u8>),
    /// To be left to a shell: the line, and what is there.
    Shell(usize, String),
}

/// Reads every section, also those that do not apply: a mistake in any of them is a mistake in the file
/// (F30).
fn bodies(path: &Path, layout: &Layout) -> Result<Vec<Body>> {
    layout.sections.iter().map(|section| body(path, section)).collect()
}

fn body(path: &Path, section: &Section) -> Result<Body> {
    let mut body = Vec::new();
    let mut needs_shell = false;
    for part in &section.parts {
        body.push(match part {
            Part::Include { word, .. } => Piece::Include(word.clone()),
            Part::Text { line, text } => match Plain::read(text, *line) {
                Ok(plain) => Piece::Plain(plain),
                Err(Stop::Syntax(line, what)) => return Err(mistaken(path, line, &what)),
                Err(Stop::Shell(line, what)) => {
                    if what.starts_with("the command `[") && what != "the command `[`" {
                        let what = "a section needs brackets around its name, and no tab before it: [NAME]";
                        return Err(mistaken(path, line, what));
                    }
                    needs_shell = true;
                    Piece::Shell(line, what)
                }
            },
        });
    }
    if needs_shell {
        let script = script::of_section(section);
        shell::check_syntax(path, &script).map_err(|error| error.with_status(SYNTAX_ERROR))?;
    }
    Ok(body)
}

/// An evaluation without a shell.
struct Native<'a> {
    path: &'a Path,
    layout: &'a Layout,
    bodies: &'a [Body],
    /// Sections evaluated already: each is only once (F34).
    seen: BTreeSet<&'a str>,
    variables: &'a mut Variables,
}

impl<'a> Native<'a> {
    fn run(&mut self, selection: Selection<'_>) -> Parsed<()> {
        for list in 0..LISTS {
            let words = words(selection, list);
            let words: Vec<Vec<u8>> = words.iter().map(|word| self.value(word)).collect();
            words.iter().try_for_each(|word| self.call(word))?;
        }
        Ok(())
    }

    fn value(&self, word: &Word) -> Vec<u8> {
        let value = word.variable.and_then(|name| self.variables.get(name)).unwrap_or_default();
        [word.text.as_bytes(), value.as_encoded_bytes()].concat()
    }

    fn call(&mut self, word: &[u8]) -> Parsed<()> {
        let layout: &'a Layout = self.layout;
        let Some(section) = layout.find(word) else { return Ok(()) };
        if !self.seen.insert(&section.id) {
            return Ok(());
        }
        let bodies: &'a [Body] = self.bodies;
        let found = layout.sections.iter().zip(bodies).find(|(other, _)| std::ptr::eq(*other, section));
        let Some((_, body)) = found else { return Ok(()) };
        log::trace!("{}:{}: section {}", shown(self.path), section.line, shown(&section.id));
        for piece in body {
            match piece {
                Piece::Plain(plain) => plain.carry_out(self.path, OWN, self.variables)?,
                Piece::Include(word) => self.call(word)?,
                Piece::Shell(line, what) => return Err(Stop::Shell(*line, what.clone())),
            }
        }
        Ok(())
    }
}

/// A test at the start of a line looks like a section and is read as one.
fn tests_read_as_sections(path: &Path, layout: &Layout, text: &[u8]) -> Vec<String> {
    let lines: Vec<&[u8]> = text.split(|&byte| byte == b'\n').collect();
    let is_test = |section: &&Section| {
        let line = lines.get(section.line - 1).copied().unwrap_or_default();
        line.contains(&b'$') || [b"&&", b"||"].iter().any(|and| line.windows(2).any(|pair| pair == *and))
    };
    let warning = |section: &Section| {
        format!(
            "{}:{}: this begins a section, as every line that begins with `[`; a condition is written \
             with `test`",
            shown(path),
            section.line
        )
    };
    layout.sections.iter().skip(1).filter(is_test).map(warning).collect()
}

#[cfg(test)]
mod tests;
