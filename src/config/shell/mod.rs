//! Configuration files in shell syntax, read as `/bin/sh` would read them (S7, S17).
//!
//! Plain files (assignments, quotes, expansions, `export`, `unset`) are read natively. A file that needs more is
//! handed to `/bin/sh`, if nobody but root can have written it. Both ways see the variables that are set already and
//! leave theirs for the next file.

mod answer;
mod check;
mod child;
mod exchange;
mod expand;
mod parse;
mod syntax;

pub mod session;
pub mod trust;

#[cfg(test)]
mod differential;

use std::ffi::OsStr;
use std::path::Path;

use super::variables::Variables;
use crate::error::{During, Error, Result, shown};

pub use check::check_syntax;
pub use exchange::quoted;
pub(super) use syntax::{Parsed, Stop};

/// How files are read in one start of a program.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    called_as: &'a OsStr,
    owner: u32,
    function_told: bool,
}

impl<'a> Reader<'a> {
    /// A reader for a program that was called by this name, which a shell gets as `$0`. Files of this
    /// user, which outside tests is root, may be evaluated by a shell.
    pub fn new(called_as: &'a OsStr, owner: u32) -> Self {
        Self { called_as, owner, function_told: false }
    }

    /// Reads one file into `variables`. Returns what there is to warn about.
    ///
    /// # Errors
    /// When the file cannot be read, has a syntax error, needs a shell that it may not have, or fails
    /// in one. `variables` are then as before.
    pub fn read(&mut self, path: &Path, variables: &mut Variables) -> Result<Vec<String>> {
        let text = std::fs::read(path).during("read the configuration file", path)?;
        if text.contains(&0) {
            return Err(Error::new("read the configuration file", path, "it has NUL bytes: this is no text"));
        }
        let mut after = variables.clone();
        let mut warnings = dos_line_ends(path, &text);
        let read =
            parse::parse(&text).and_then(|commands| expand::carry_out(&commands, path, &[], &mut after));
        match read {
            Ok(()) => trust::check_exports(path, variables, &after, self.owner)?,
            Err(Stop::Syntax(line, what)) => return Err(syntax_error(path, line, &what)),
            Err(Stop::Shell(line, what)) => {
                check_syntax(path, &text)?;
                trust::check(path, line, &what, self.owner)?;
                let function = function(path, &text).filter(|_| !self.function_told);
                self.function_told |= function.is_some();
                warnings.extend(function);
                after = child::evaluate(self.called_as, path, &text, variables)?;
            }
        }
        *variables = after;
        Ok(warnings)
    }
}

/// Plain commands: a part of a file that was read natively.
#[derive(Debug)]
pub(super) struct Plain(Vec<syntax::Command>);

impl Plain {
    /// Reads the part of a file that begins with this line.
    pub(super) fn read(text: &[u8], line: usize) -> Parsed<Self> {
        parse::parse_from(text, line).map(Self)
    }

    /// Carries it out; `own` are variables that mean something here, whatever shells use them for.
    pub(super) fn carry_out(&self, path: &Path, own: &[&str], variables: &mut Variables) -> Parsed<()> {
        expand::carry_out(&self.0, path, own, variables)
    }
}

pub(super) fn syntax_error(path: &Path, line: usize, what: &str) -> Error {
    Error::said(format!("{}:{line}: syntax error: {what}", shown(path)))
        .hint("configuration files are shell syntax: NAME=\"VALUE\" lines and # comments")
}

/// A carriage return is part of the value for any shell, and invisible in the editor that made it.
pub(super) fn dos_line_ends(path: &Path, text: &[u8]) -> Vec<String> {
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
fn function(path: &Path, text: &[u8]) -> Option<String> {
    let defines = |line: &[u8]| {
        let line = line.trim_ascii();
        let Some(open) = line.iter().position(|&byte| byte == b'(') else { return false };
        let (name, rest) = line.split_at(open);
        let name = std::str::from_utf8(name.trim_ascii_end()).unwrap_or_default();
        super::variables::is_name(name) && rest[1..].trim_ascii_start().starts_with(b")")
    };
    let line = text.split(|&byte| byte == b'\n').position(defines)?;
    Some(format!(
        "{}:{}: functions in configuration files work inside their file only; they replace nothing in \
         this program",
        shown(path),
        line + 1
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    /// A folder of the user who runs the tests, and a reader that trusts that user.
    struct World {
        dir: tempfile::TempDir,
        reader: Reader<'static>,
        variables: Variables,
    }

    impl World {
        fn new() -> Self {
            let reader = Reader::new("the-tool".as_ref(), rustix::process::geteuid().as_raw());
            let variables = Variables::from_environment(std::env::vars_os());
            Self { dir: tempfile::tempdir().unwrap(), reader, variables }
        }

        fn read(&mut self, name: &str, text: &str) -> Result<Vec<String>> {
            let path = self.dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            self.reader.read(&path, &mut self.variables)
        }

        fn refuses(&mut self, name: &str, text: &str) -> String {
            let said = self.read(name, text).unwrap_err().to_string();
            said.replace(self.dir.path().to_str().unwrap(), "DIR")
        }

        fn value(&self, name: &str) -> Option<&str> {
            self.variables.get(name).map(|value| value.to_str().unwrap())
        }
    }

    fn chmod(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    // S1
    #[test]
    fn a_file_sees_what_earlier_files_set_whichever_way_they_were_read() {
        let mut world = World::new();
        world.read("1", "A=1\nexport X=x\n").unwrap();
        world.read("2", "if [ \"$A$X\" = 1x ]; then B=$A$(echo 2); fi\nunset X").unwrap();
        world.read("3", "C=${B}3${X:-gone}\n").unwrap();
        assert_eq!(world.value("C"), Some("123gone"));
        assert_eq!(
            world.variables.origin("C").unwrap().to_string(),
            format!("{}/3:1", world.dir.path().display())
        );
    }

    #[test]
    fn a_syntax_error_names_file_line_and_what_is_wrong_and_changes_nothing() {
        let mut world = World::new();
        for (text, start) in [
            ("A=1\nB='x\n\n", "DIR/x:2: syntax error: a single quote that is never closed"),
            ("A=1\n\nB=\"x\n", "DIR/x:3: syntax error: a double quote that is never closed"),
            ("A=1\nif true; then\nfi\n", "DIR/x:3: syntax error: "),
            ("A=1\nB=x)\n", "DIR/x:2: syntax error: "),
            ("A=1\n;;\n", "DIR/x:2: syntax error: "),
        ] {
            let said = world.refuses("x", text);
            assert!(said.starts_with(start), "{text:?}: {said}");
            assert_eq!(world.value("A"), None, "{text:?}");
        }
    }

    #[test]
    fn only_a_file_that_nobody_else_can_write_is_given_to_a_shell() {
        let mut world = World::new();
        let dir = world.dir.path().to_owned();
        let file = dir.join("x");
        let text = "A=1\n\nB=$(echo 2)\n";
        world.read("x", text).unwrap();
        assert_eq!(world.value("B"), Some("2"));

        chmod(&file, 0o664);
        let said = world.refuses("x", text);
        let start = "DIR/x:3: a command substitution needs a shell, but root must not run this file as a \
                     script: DIR/x may be written by others (mode 0664)\nhint: ";
        assert!(said.starts_with(start), "{said}");

        chmod(&file, 0o600);
        chmod(&dir, 0o777);
        assert!(world.refuses("x", text).contains("DIR may be written by others (mode 0777)"));
        // Read natively it harms nobody, as far as reading it at all does not.
        world.read("x", "C=3\n").unwrap();

        chmod(&dir, 0o700);
        world.reader.owner += 1;
        assert!(world.refuses("x", text).contains("DIR belongs to user "));
    }

    #[test]
    fn what_other_programs_would_see_comes_only_from_a_file_that_nobody_else_can_write() {
        let mut world = World::new();
        let dir = world.dir.path().to_owned();
        world.read("x", "PATH=/a:$PATH\n").unwrap();
        chmod(&dir.join("x"), 0o666);
        for (text, name) in [("A=1\nPATH=/b\n", "PATH"), ("A=1\nexport LD_PRELOAD=/b\n", "LD_PRELOAD")] {
            let said = world.refuses("x", text);
            assert!(said.starts_with(&format!("DIR/x:2: {name} would be")), "{said}");
            assert_eq!(world.value("A"), None);
        }
        world.read("x", "A=1\nexport BASE=/c TFTP_DIRS=/d\n").unwrap();
        assert_eq!(world.value("BASE"), Some("/c"));
    }

    #[test]
    fn a_link_does_not_hide_where_the_file_lies() {
        let mut world = World::new();
        let dir = world.dir.path().to_owned();
        let open = dir.join("open");
        std::fs::create_dir(&open).unwrap();
        std::fs::write(open.join("x"), "A=$(echo 1)").unwrap();
        symlink("open/x", dir.join("link")).unwrap();
        world.reader.read(&dir.join("link"), &mut world.variables).unwrap();
        chmod(&open, 0o777);
        let error = world.reader.read(&dir.join("link"), &mut world.variables).unwrap_err();
        assert!(error.to_string().contains("/open may be written by others"), "{error}");
    }

    // S17
    #[test]
    fn a_function_is_mentioned_once() {
        let mut world = World::new();
        let warnings =
            world.read("1", "# old()\nA=1\nfind_base () {\n echo /srv\n}\nBASE=$(find_base)\n").unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(warnings[0].contains("/1:3: functions"), "{warnings:?}");
        assert_eq!(world.value("BASE"), Some("/srv"));
        assert!(world.read("2", "f() { :; }\n").unwrap().is_empty());
    }

    #[test]
    fn dos_line_ends_and_binary_files_are_told() {
        let mut world = World::new();
        let warnings = world.read("x", "A=1\nB=2\r\n").unwrap();
        assert!(warnings[0].contains("/x:2: the line ends in a carriage return"), "{warnings:?}");
        assert_eq!(world.value("B"), Some("2\r"));
        assert!(world.refuses("x", "A=1\0\n").contains("NUL bytes"));
    }
}
