//! A shell that stays, for the admin's own code: it remembers its functions from one piece of code to
//! the next, as the single shell does that the original is (F26, F35, F39).
//!
//! Variables are not remembered there but here: they are handed over before each piece of code where they
//! have changed, and taken back after it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::answer::Answer;
use super::exchange::{DUMP, SHELL, difference, memory};
use crate::config::variables::{Origin, Variables};
use crate::error::{During, Error, Result};
use crate::sys::command::Command;
use crate::sys::coprocess::{Coprocess, Output, Received};

/// What the shell does: for each line that it gets, the code in a file; then its status, and all
/// variables. The file stays the same, its content does not.
const LOOP: &str = r#"exec 8<&0 7>&0 </dev/null
_ltsp_file=$1
shift
while IFS= command read -r _ltsp_line <&8; do
    . "$_ltsp_file"
    _ltsp_status=0
    _ltsp_code || _ltsp_status=$?
    command printf '%s\0' "$_ltsp_status" >&7
    DUMP
done
"#;

/// The shell; it is started when the first code has to be run.
#[derive(Debug)]
pub struct Session {
    called_as: OsString,
    output: Output,
    own: &'static [&'static str],
    functions: &'static str,
    running: Option<Running>,
}

/// A piece of code.
#[derive(Debug, Clone, Copy)]
pub struct Code<'a> {
    /// Its text.
    pub text: &'a [u8],
    /// What messages call it, as the subject of a sentence.
    pub name: &'a str,
    /// What it is to have come from what it assigns.
    pub origin: &'a Origin,
}

#[derive(Debug)]
struct Running {
    process: Coprocess,
    file: File,
    /// What it knows.
    known: Variables,
}

impl Session {
    /// For a program that was called by this name, which the shell gets as `$0`. What code prints goes to
    /// `output`. `own` are variables that mean something here, whatever the shell uses them for.
    pub fn new(called_as: &OsStr, output: Output, own: &'static [&'static str]) -> Self {
        Self { called_as: called_as.to_owned(), output, own, functions: "", running: None }
    }

    /// Has the shell begin with this script, of functions that code can call.
    #[must_use]
    pub fn with_functions(mut self, script: &'static str) -> Self {
        self.functions = script;
        self
    }

    /// Whether any code has been run, and has not ended the shell.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Runs code with these variables, which are then as it left them; its status, which is that of its
    /// last command. Its syntax has to be checked before.
    ///
    /// # Errors
    /// When the code ends the shell: the error has its exit status (F12). When a signal comes.
    pub fn run(&mut self, code: Code<'_>, variables: &mut Variables) -> Result<u8> {
        if self.running.is_none() {
            self.running = Some(Running::start(&self.called_as, self.output, self.functions)?);
        }
        let Some(running) = &mut self.running else { return Ok(0) };
        // In a function, a `break` ends nothing of ours, and a `set -e` has no effect, as in the original.
        // It comes first so that the shell counts the lines of the code as they are.
        let mut file = b"_ltsp_code() { :; ".to_vec();
        file.extend_from_slice(code.text);
        file.extend_from_slice(b"\n\n}\n");
        file.extend(difference(&running.known, variables, self.own));
        fill(&mut running.file, &file)?;
        let received = running.process.ask(b"\n", |answer| parse(answer).is_some())?;
        let answer = match &received {
            Received::Answer(answer) => parse(answer),
            Received::Ended(_) => None,
        };
        let Some((status, answer)) = answer else {
            self.running = None;
            let Received::Ended(status) = received else { return Ok(0) };
            return Err(ended(code.name, status));
        };
        *variables = answer.merged_into(variables, self.own, code.origin);
        running.known = variables.clone();
        Ok(status)
    }
}

impl Running {
    fn start(called_as: &OsStr, output: Output, functions: &str) -> Result<Self> {
        let file = memory(b"")?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let script = [functions, &LOOP.replace("DUMP\n", DUMP)].concat();
        let command = Command::new(SHELL).arg("-c").arg(script).arg(called_as).arg(path);
        let process = Coprocess::start(command, output)?;
        Ok(Self { process, file, known: Variables::from_environment(std::env::vars_os()) })
    }
}

fn fill(file: &mut File, content: &[u8]) -> Result<()> {
    let filled = file.rewind().and_then(|()| file.set_len(0)).and_then(|()| file.write_all(content));
    filled.during("write to", "memory")
}

/// The status and the variables, if the answer is complete.
fn parse(answer: &[u8]) -> Option<(u8, Answer)> {
    let end = answer.iter().position(|&byte| byte == 0)?;
    let status = std::str::from_utf8(&answer[..end]).ok()?.parse().ok()?;
    Some((status, Answer::parse(&answer[end + 1..])?))
}

fn ended(name: &str, status: ExitStatus) -> Error {
    match (status.code(), status.signal()) {
        (Some(code), _) => {
            // Its own message, if it is not its wish, is above.
            Error::said(format!("{name} ended the program with exit status {code}"))
                .with_status(u8::try_from(code).unwrap_or(1))
        }
        (None, signal) => {
            let signal = signal.unwrap_or(0);
            Error::said(format!("the shell that ran {name} was ended by signal {signal}"))
                .with_status(u8::try_from(128 + signal).unwrap_or(1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct World {
        session: Session,
        variables: Variables,
    }

    impl World {
        fn new() -> Self {
            Self {
                session: Session::new("ltsp".as_ref(), Output::Ours, &["HOSTNAME"]),
                variables: Variables::from_environment(std::env::vars_os()),
            }
        }

        fn run(&mut self, text: &str) -> Result<u8> {
            let code = Code { text: text.as_bytes(), name: "the test", origin: &Origin::Default };
            self.session.run(code, &mut self.variables)
        }

        fn value(&self, name: &str) -> Option<&str> {
            self.variables.get(name).map(|value| value.to_str().unwrap())
        }
    }

    // F26, F35
    #[test]
    fn functions_and_variables_live_from_one_piece_of_code_to_the_next() {
        let mut world = World::new();
        world.variables.assign("A", "it's", Origin::Environment);
        world.variables.assign("HOSTNAME", "pc", Origin::Environment);
        assert_eq!(world.run("f() { B=\"$A/$1/$HOSTNAME\"; return 3; }\nexport A\n").unwrap(), 0);
        world.variables.assign("HOSTNAME", "other\n", Origin::Environment);
        world.variables.unset("GONE");
        assert_eq!(world.run("f \"$0\"").unwrap(), 3);
        assert_eq!(world.value("B"), Some("it's/ltsp/other\n"));
        assert!(world.variables.is_exported("A") && !world.variables.is_exported("B"));
        assert_eq!(world.variables.origin("B"), Some(&Origin::Default));
        assert_eq!(world.run("HOSTNAME=x; unset B; false").unwrap(), 1);
        assert_eq!((world.value("HOSTNAME"), world.value("B")), (Some("x"), None));
    }

    // F12
    #[test]
    fn code_may_end_the_program_with_its_own_status() {
        for (text, status) in [("exit 7", 7), ("exit 0", 0), ("kill -9 $$", 137), ("eval '('", 2)] {
            let mut world = World::new();
            world.run("A=1").unwrap();
            let error = world.run(text).unwrap_err();
            assert_eq!(error.status(), status, "{text}: {error}");
            assert!(error.to_string().contains("the test"), "{text}: {error}");
        }
    }

    #[test]
    fn what_code_does_to_its_shell_does_not_disturb_us() {
        for text in [
            "A=1; break",
            "A=1; return 0; A=2",
            "A=1; set -eux; false; true",
            "A=1; IFS=1; read() { :; }; printf() { :; }; alias while=false",
            "A=1; exec >/dev/null 2>&1; cd /",
            "A=1; sleep 0.1 &",
            "read A; A=1",
        ] {
            let mut world = World::new();
            assert_eq!(world.run(text).unwrap_or_else(|error| panic!("{text}: {error}")), 0, "{text}");
            assert_eq!(world.run("B=2").unwrap(), 0, "{text}");
            assert_eq!((world.value("A"), world.value("B")), (Some("1"), Some("2")), "{text}");
        }
    }
}
