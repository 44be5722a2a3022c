//! A configuration file that only a shell understands, evaluated by `/bin/sh` in a child process.
//!
//! The child gets the file as its standard input and hands the variables back through its standard
//! output, both files in memory; it moves them to descriptors 8 and 7 before the file runs. What the file
//! prints therefore goes to standard error and cannot be mistaken for an answer.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};

use super::answer::Answer;
use super::check::last_command;
use super::exchange::{DUMP, SHELL, difference, memory};
use crate::config::variables::{Origin, Variables};
use crate::error::{During, Error, Result, shown};

/// What the shell calls the file.
const SCRIPT: &[u8] = b"/proc/self/fd/8";

/// Runs before the file. The functions are those of the original that a file may call (S1 step 6).
/// "Exit on error" is on in the original, too (S1 step 3). An alias would go into what the shell reads
/// after the file.
const BEFORE: &str = r#"exec 8<&0 7>&1 </dev/null >&2
warn() { printf '%s\n' "$*" >&2; }
die() { warn "$@"; exit 1; }
detect_arch() { uname -m; }
boolean_is_true() { case $1 in [Tt][Rr][Uu][Ee] | [Yy] | [Yy][Ee][Ss]) ;; *) return 1 ;; esac; }
set -e
. /proc/self/fd/8
unalias -a
"#;

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
    let inherited = Variables::from_environment(std::env::vars_os());
    let mut script = difference(&inherited, variables, &[]);
    script.extend_from_slice(BEFORE.as_bytes());
    script.extend_from_slice(DUMP.as_bytes());
    let mut command = Command::new(SHELL);
    command.arg("-c").arg(OsStr::from_bytes(&script)).arg(called_as);
    command.stdin(memory(&without_last_status(text)?)?);
    command.stdout(answer.try_clone().during("duplicate a descriptor of", "memory")?);
    let mut said = memory(b"")?;
    command.stderr(said.try_clone().during("duplicate a descriptor of", "memory")?);
    let status = command.status().during("run", SHELL)?;
    relay(&mut said, path)?;
    let mut records = Vec::new();
    answer.rewind().during("read the answer of", SHELL)?;
    answer.read_to_end(&mut records).during("read the answer of", SHELL)?;
    match Answer::parse(&records) {
        Some(answer) => Ok(answer.merged_into(variables, &[], &Origin::File(path.to_owned(), None))),
        None => Err(ended_early(path, status)),
    }
}

/// Passes on what the file or the shell has written, with the file's name in the place of the descriptor.
fn relay(said: &mut File, path: &Path) -> Result<()> {
    let mut text = Vec::new();
    said.rewind().and_then(|()| said.read_to_end(&mut text)).during("read the messages of", SHELL)?;
    let mut rest = text.as_slice();
    let mut out = Vec::new();
    while let Some(at) = rest.windows(SCRIPT.len()).position(|window| window == SCRIPT) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(shown(path).as_bytes());
        rest = &rest[at + SCRIPT.len()..];
    }
    out.extend_from_slice(rest);
    // Nobody can be told that nobody listens.
    let _ = std::io::stderr().write_all(&out);
    Ok(())
}

/// The file in a form in which the status of its last command does not count (D13).
///
/// "Exit on error" stays on for all but a last simple command. What the file as a whole returns is
/// replaced by the success of a test at its end: an `if` or an `&&` list that fails does not end the shell
/// by itself. Only a command that was not found is a mistake (`BASE = /srv`) and never an answer.
fn without_last_status(text: &[u8]) -> Result<Vec<u8>> {
    let mut changed = text.to_vec();
    if let Some(start) = last_command(text)? {
        changed.splice(start..start, b"set +e; ".iter().copied());
    }
    // Two line breaks: the first may be eaten by a backslash at the end of the file.
    changed.extend_from_slice(b"\n\n[ $? != 127 ] || exit 127\n");
    Ok(changed)
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
    use crate::config::variables::Origin;

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

    // S1 step 6, A1
    #[test]
    fn a_file_may_call_what_it_could_call_in_the_original() {
        let after = evaluated("A=$(detect_arch)\nboolean_is_true Yes && B=1\nwarn hm\n", &[]).unwrap();
        assert_eq!(after.get("A"), Some(rustix::system::uname().machine().to_str().unwrap().as_ref()));
        assert_eq!(after.get("B"), Some("1".as_ref()));
        assert_eq!(evaluated("die 'no way'\nA=1\n", &[]).unwrap_err().status(), 1);
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
            "A=1\nboolean_is_true no",
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
            ("A=1\ntrue && A=$(false)\n", 1, "failed with status 1"),
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
}
