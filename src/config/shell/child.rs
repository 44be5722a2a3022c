//! A configuration file that only a shell understands, evaluated by `/bin/sh` in a child process.
//!
//! The child gets the file as its standard input and hands the variables back through its standard
//! output, both files in memory; it moves them to descriptors 8 and 7 before the file runs. What the file
//! prints therefore goes to standard error and cannot be mistaken for an answer.

use std::ffi::OsStr;
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use super::exchange::{Answer, DUMP, SHELL, assignment, memory};
use super::expand::belongs_to_the_shell;
use crate::config::variables::{Origin, Variables, starts_name};
use crate::error::{During, Error, Result, shown};

/// Runs before the file. "Exit on error" is on in the original, too (S1 step 3).
/// Aliases would go into what the shell has not read yet.
const BEFORE: &str = "exec 8<&0 7>&1 </dev/null >&2\nset -e\n. /proc/self/fd/8\nunalias -a\n";

/// Lets a shell look for syntax errors, which runs nothing.
///
/// # Errors
/// The first syntax error, with its line; or when there is no shell.
pub(in crate::config) fn check_syntax(path: &Path, text: &[u8]) -> Result<()> {
    match syntax_error(text)? {
        None => Ok(()),
        Some((Some(line), what)) => Err(super::syntax_error(path, line, &what)),
        Some((None, what)) => {
            Err(Error::said(format!("{}: {SHELL} cannot parse this file: {what}", shown(path))))
        }
    }
}

/// Evaluates the file and returns all variables as they are then.
///
/// # Errors
/// When a command in the file fails that is not its last one (D13), or the file ends the shell.
pub(super) fn evaluate(
    called_as: &OsStr,
    path: &Path,
    text: &[u8],
    variables: &Variables,
) -> Result<Variables> {
    let mut answer = memory(b"")?;
    let mut script = private_assignments(variables);
    script.extend_from_slice(BEFORE.as_bytes());
    script.extend_from_slice(DUMP.as_bytes());
    let mut command = Command::new(SHELL);
    command.arg("-c").arg(OsStr::from_bytes(&script)).arg(called_as);
    let (added, removed) = variables.child_environment(std::env::vars_os());
    for name in removed {
        command.env_remove(name);
    }
    command.envs(added);
    command.stdin(memory(&without_last_status(text)?)?);
    command.stdout(answer.try_clone().during("duplicate a descriptor of", "memory")?);
    let status = command.status().during("run", SHELL)?;
    let mut records = Vec::new();
    answer.rewind().during("read the answer of", SHELL)?;
    answer.read_to_end(&mut records).during("read the answer of", SHELL)?;
    match Answer::parse(&records) {
        Some(answer) => Ok(answer.merged_into(variables, &[], &Origin::File(path.to_owned(), None))),
        None => Err(ended_early(path, status)),
    }
}

/// The variables that the environment cannot carry, because they are not exported.
fn private_assignments(variables: &Variables) -> Vec<u8> {
    let mut script = Vec::new();
    for (name, value, exported) in variables.iter() {
        if !exported && !belongs_to_the_shell(name, &[]) {
            assignment(&mut script, name, value);
        }
    }
    script
}

/// The file in a form in which the status of its last command does not count (D13).
///
/// "Exit on error" stays on for all before it, and for a last line that assigns: a command substitution
/// that fails there leaves a wrong value. A last line that only closes what began earlier cannot be
/// set apart; what it returns is replaced by the success of a `:` after it, as a failing `if` or
/// `&&` list does not end the shell by itself.
fn without_last_status(text: &[u8]) -> Result<Vec<u8>> {
    let mut changed = text.to_vec();
    if let Some(start) = last_command(text)? {
        changed.splice(start..start, b"set +e; ".iter().copied());
    }
    // Two line breaks: the first may be eaten by a backslash at the end of the file.
    changed.extend_from_slice(b"\n\n:\n");
    Ok(changed)
}

/// Where the last line begins, if it holds whole commands that do not assign.
fn last_command(text: &[u8]) -> Result<Option<usize>> {
    let mut start = text.len();
    let mut line: &[u8] = b"";
    while start > 0 {
        let before = &text[..start];
        let end = before.strip_suffix(b"\n").unwrap_or(before).len();
        start = text[..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        line = text[start..end].trim_ascii();
        if !line.is_empty() && !line.starts_with(b"#") {
            break;
        }
    }
    let name = line.iter().take_while(|&&byte| byte.is_ascii_alphanumeric() || byte == b'_').count();
    let assigns = line.first().copied().is_some_and(starts_name) && line.get(name) == Some(&b'=');
    let here_document = text.windows(2).any(|pair| pair == b"<<");
    let continued = text[..start].ends_with(b"\\\n");
    if line.is_empty() || assigns || here_document || continued {
        return Ok(None);
    }
    let whole = syntax_error(&text[..start])?.is_none() && syntax_error(&text[start..])?.is_none();
    Ok(whole.then_some(start))
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

fn ended_early(path: &Path, status: ExitStatus) -> Error {
    let fail = |reason: String| Error::new("use the configuration file", path, reason);
    match (status.code(), status.signal()) {
        // The original ends then as well, with this status and nothing done.
        (Some(0), _) => {
            Error::said(format!("{}: this configuration file ends the program (exit 0)", shown(path)))
                .with_status(0)
        }
        (Some(127), _) => fail("a command in it was not found, see above".into())
            .hint("an assignment has no blanks around its `=`: NAME=\"VALUE\"")
            .with_status(127),
        (Some(code), _) => fail(format!("a command in it failed with status {code}, or it calls exit"))
            .hint("put `|| true` behind a command that may fail")
            .with_status(u8::try_from(code).unwrap_or(1)),
        (None, Some(signal)) => fail(format!("signal {signal} ended the shell that evaluated it"))
            .with_status(u8::try_from(128 + signal).unwrap_or(1)),
        (None, None) => fail("the shell that evaluated it ended abnormally".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluated(text: &str, before: &[(&str, &str)]) -> Result<Variables> {
        let mut variables = Variables::from_environment(std::env::vars_os());
        for (name, value) in before {
            variables.assign(name, *value, Origin::Environment);
        }
        evaluate("the-tool".as_ref(), Path::new("/x.conf"), text.as_bytes(), &variables)
    }

    // S1, S8
    #[test]
    fn a_shell_sees_the_variables_and_hands_all_of_them_back() {
        let private = "a 'b'\n\"c\" \\ $d \u{e9}\n\n";
        let text = "A=$(printf %s \"$PRIVATE\" | tr a z)\nexport B=\"$0\"\nunset GONE\nC='x\nFAKE=1\n'\n\
                    PRIVATE=$PRIVATE\necho noise; printf 'D=1\\0\\0'\nread line || E=empty\n";
        let after = evaluated(text, &[("PRIVATE", private), ("GONE", "1"), ("KEPT", "k")]).unwrap();
        let value = |name: &str| after.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(value("A"), Some("z 'b'\n\"c\" \\ $d \u{e9}"));
        assert_eq!((value("B"), after.is_exported("B")), (Some("the-tool"), true));
        assert_eq!(value("C"), Some("x\nFAKE=1\n"));
        assert_eq!(value("PRIVATE"), Some(private));
        assert_eq!((value("KEPT"), after.is_exported("KEPT")), (Some("k"), false));
        assert_eq!((value("GONE"), value("FAKE"), value("D"), value("E")), (None, None, None, Some("empty")));
        assert_eq!(after.origin("A").unwrap().to_string(), "/x.conf");
        assert_eq!(after.origin("KEPT"), Some(&Origin::Environment));
        assert_eq!(value("PATH"), std::env::var("PATH").ok().as_deref());
        assert!(after.is_exported("PATH"));
    }

    #[test]
    fn what_a_file_does_to_its_shell_does_not_disturb_the_answer() {
        for text in [
            "A=1; set -u -x; IFS=xyz; LC_ALL=C",
            "A=1; printf() { :; }; read() { :; }; alias set=false",
            "A=1; exec >/dev/null 2>&1; cd /; set -f",
            "A=1; trap 'echo gone' EXIT; sleep 0.1 &",
            "[ x = x ] && A=1 && return 0; A=2",
        ] {
            let after = evaluated(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(after.get("A"), Some("1".as_ref()), "{text}");
        }
    }

    // D13
    #[test]
    fn the_status_of_the_last_command_does_not_count() {
        for text in [
            "A=1\n[ -d /nowhere ] && A=2\n",
            "A=1\nfalse",
            "A=1\ntest -n '' # why not\n\n# the end\n\n",
            "A=1\nif true; then\n[ -d /nowhere ] && A=2\nfi\n",
            "A=1\nfor x in a; do [ $x = b ] && A=2; done",
            "A=1\ncase x in\nx) [ -d /nowhere ] && A=2 ;;\nesac\n",
        ] {
            let after = evaluated(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(after.get("A"), Some("1".as_ref()), "{text}");
        }
    }

    // D13, S7
    #[test]
    fn a_failure_names_the_file() {
        for (text, status, said) in [
            ("false\nA=1\n", 1, "a command in it failed with status 1"),
            ("A=$(exit 3)\n", 3, "a command in it failed with status 3"),
            ("A=1\nno-such-command 2>/dev/null\nA=2\n", 127, "was not found"),
            ("exit 5\nA=1", 5, "it calls exit"),
            ("A=1\nexit 0\n", 0, "ends the program"),
            ("kill -9 $$\nA=1\n", 137, "signal 9"),
        ] {
            let error = evaluated(text, &[]).unwrap_err();
            assert_eq!(error.status(), status, "{text}");
            assert!(error.to_string().contains("/x.conf: "), "{text}: {error}");
            assert!(error.to_string().contains(said), "{text}: {error}");
        }
    }

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
}
