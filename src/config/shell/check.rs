//! Whether a file is whole and correct, according to a shell that only parses it.

use std::path::Path;
use std::process::{Command, Stdio};

use super::exchange::{SHELL, memory};
use crate::config::variables::starts_name;
use crate::error::{During, Error, Result, shown};

/// Begin commands of several lines, whose failing parts end a shell only where that is meant.
const COMPOUND: &[&str] = &["if", "for", "while", "until", "case", "{", "!"];

/// Lets a shell look for syntax errors, which runs nothing.
///
/// # Errors
/// The first syntax error, with its line; or when there is no shell.
pub fn check_syntax(path: &Path, text: &[u8]) -> Result<()> {
    match syntax_error(text)? {
        None => Ok(()),
        Some((Some(line), what)) => Err(super::syntax_error(path, line, &what)),
        Some((None, what)) => {
            Err(Error::said(format!("{}: {SHELL} cannot parse this file: {what}", shown(path))))
        }
    }
}

/// Where the last line begins, if it is one simple command, whole by itself, that does not assign: a
/// command substitution that fails in an assignment leaves a wrong value.
///
/// # Errors
/// When there is no shell.
pub(super) fn last_command(text: &[u8]) -> Result<Option<usize>> {
    let Some((start, line)) = last_line(text) else { return Ok(None) };
    let contains = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|window| window == what);
    let name = line.iter().take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'_').count();
    let assigns = line.first().copied().is_some_and(starts_name) && line.get(name) == Some(&b'=');
    let first = line.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    let compound = COMPOUND.iter().any(|word| first == word.as_bytes()) || line.starts_with(b"(");
    let list = [b";".as_slice(), b"&", b"||"].iter().any(|operator| contains(line, operator));
    let here_document = contains(text, b"<<");
    let continued = text[..start].ends_with(b"\\\n");
    if assigns || compound || list || here_document || continued {
        return Ok(None);
    }
    let whole = syntax_error(&text[..start])?.is_none() && syntax_error(&text[start..])?.is_none();
    Ok(whole.then_some(start))
}

/// The last line that is more than blanks and a comment, without its blanks, and where it begins.
fn last_line(text: &[u8]) -> Option<(usize, &[u8])> {
    let mut end = text.len();
    loop {
        let start = text[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let line = text[start..end].trim_ascii();
        if !line.is_empty() && !line.starts_with(b"#") {
            return Some((start, line));
        }
        end = start.checked_sub(1)?;
    }
}

/// What a shell that only parses has to say, and about which line.
fn syntax_error(text: &[u8]) -> Result<Option<(Option<usize>, String)>> {
    let mut command = Command::new(SHELL);
    command.arg("-n").stdin(memory(text)?).stdout(Stdio::null()).env("LC_ALL", "C");
    let output = command.output().during("run", SHELL)?;
    if output.status.success() {
        return Ok(None);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(Some(parse_complaint(said.lines().next().unwrap_or_default())))
}

/// Takes `sh: 3: Syntax error: …` (dash) and `sh: line 3: syntax error …` (bash, busybox) apart.
fn parse_complaint(said: &str) -> (Option<usize>, String) {
    let after_name = said.split_once(": ").map_or(said, |(_, rest)| rest);
    let numbered = after_name.strip_prefix("line ").unwrap_or(after_name).split_once(": ");
    let Some((Ok(line), what)) = numbered.map(|(line, what)| (line.parse(), what)) else {
        return (None, said.to_owned());
    };
    let what = what.strip_prefix("Syntax error: ").or_else(|| what.strip_prefix("syntax error: "));
    let what = what.or_else(|| after_name.split_once(": ").map(|(_, what)| what)).unwrap_or(said);
    (Some(line), what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_syntax_error_is_told_with_its_line() {
        let error = check_syntax(Path::new("/x.conf"), b"A=1\nif true; then\nfi\n").unwrap_err().to_string();
        assert!(error.starts_with("/x.conf:3: syntax error: "), "{error}");
        assert!(check_syntax(Path::new("/x.conf"), b"exit 3; if true; then :; fi\n").is_ok());
    }

    #[test]
    fn the_complaints_of_several_shells_are_understood() {
        for (said, line, what) in [
            ("/bin/sh: 3: Syntax error: \"fi\" unexpected", Some(3), "\"fi\" unexpected"),
            ("sh: line 7: syntax error: unexpected \"fi\"", Some(7), "unexpected \"fi\""),
            (
                "sh: line 7: syntax error near unexpected token `fi'",
                Some(7),
                "syntax error near unexpected token `fi'",
            ),
            ("no idea", None, "no idea"),
        ] {
            assert_eq!(parse_complaint(said), (line, what.to_owned()));
        }
    }

    #[test]
    fn a_last_line_counts_only_if_it_is_one_simple_command() {
        for (text, expected) in [
            ("A=1\nfalse", Some(4)),
            ("A=1\ntest -n x # why\n\n# the end\n", Some(4)),
            ("test -n x | grep y\n", Some(0)),
            ("A=1\nB=$(false)\n", None),
            ("A=1\n[ -d /x ] && A=2\n", None),
            ("if true; then\nfalse\nfi\n", None),
            ("if true; then false; fi\n", None),
            ("A=1 \\\nfalse\n", None),
            ("A='\nfalse'\n", None),
            ("cat <<X\nfalse\n", None),
            ("# only\n\n", None),
            ("", None),
        ] {
            assert_eq!(last_command(text.as_bytes()).unwrap(), expected, "{text:?}");
        }
    }
}
