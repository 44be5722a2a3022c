//! Command lines with the habits of GNU `getopt_long` (U2–U9): abbreviations, bundles, options after
//! operands, every mistake reported.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::{Error, shown};

/// One option of a tool. A tool's table of them is all there is: parser and help text come from it.
///
/// `T` is the tool's own list of what options mean; several options may mean the same.
#[derive(Debug)]
pub struct OptionSpec<T: 'static> {
    /// What it means.
    pub id: T,
    /// Its letter.
    pub short: Option<u8>,
    /// Its name after `--`.
    pub long: Option<&'static str>,
    /// Whether it takes a value.
    pub argument: Argument,
    /// A sentence or two for the help text; empty for an option of an earlier release that is still
    /// accepted, which is not listed.
    pub help: &'static str,
    /// It never makes an abbreviation of another option ambiguous (U5): the original does not have it, or
    /// no longer.
    pub yields: bool,
}

impl<T> OptionSpec<T> {
    /// An option with a name.
    pub const fn new(
        id: T,
        short: Option<u8>,
        long: &'static str,
        argument: Argument,
        help: &'static str,
    ) -> Self {
        Self { id, short, long: Some(long), argument, help, yields: false }
    }

    /// An option of an earlier release that is still known.
    pub const fn old(id: T, short: Option<u8>, long: &'static str, argument: Argument) -> Self
    where
        T: Copy,
    {
        Self { yields: true, ..Self::new(id, short, long, argument, "") }
    }

    /// An option that the original does not have.
    pub const fn added(id: T, long: &'static str, argument: Argument, help: &'static str) -> Self
    where
        T: Copy,
    {
        Self { yields: true, ..Self::new(id, None, long, argument, help) }
    }
}

/// Whether an option takes a value, and how the help text calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Argument {
    /// Never.
    None,
    /// Always: attached, or the next word whatever it looks like (U3).
    Required(&'static str),
    /// Only if attached: `-rVALUE`, `--revert=VALUE`.
    Optional(&'static str),
}

/// An option as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given<T> {
    /// What it means.
    pub id: T,
    /// As the table spells it: `--base`, or `-p` where there is no name.
    pub spelling: String,
    /// Its value, if it has one.
    pub value: Option<OsString>,
}

impl<T> Given<T> {
    /// The value; empty for an option that has none.
    pub fn value(&self) -> &OsStr {
        self.value.as_deref().unwrap_or_default()
    }

    /// The option in words that mean the same on another command line.
    pub fn words(&self) -> Vec<OsString> {
        let spelling = OsString::from(&self.spelling);
        match &self.value {
            None => vec![spelling],
            Some(value) if self.spelling.starts_with("--") => {
                vec![OsString::from_vec([spelling.as_bytes(), b"=", value.as_bytes()].concat())]
            }
            Some(value) => vec![spelling, value.clone()],
        }
    }
}

/// A command line taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine<T> {
    /// The options in the order given.
    pub options: Vec<Given<T>>,
    /// Everything else in the order given.
    pub operands: Vec<OsString>,
}

/// Takes the words after the program's name apart. With `posixly_correct`, the first operand makes
/// operands of all that follows (U7).
///
/// # Errors
/// All mistakes of the line, in order; never an empty list (U9).
pub fn parse<T: Copy>(
    table: &'static [OptionSpec<T>],
    words: impl IntoIterator<Item = OsString>,
    posixly_correct: bool,
) -> Result<CommandLine<T>, Vec<Error>> {
    let mut words = words.into_iter();
    let mut line = CommandLine { options: Vec::new(), operands: Vec::new() };
    let mut mistakes = Vec::new();
    while let Some(word) = words.next() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            line.operands.extend(words.by_ref());
        } else if let Some(long) = bytes.strip_prefix(b"--") {
            match long_option(table, long, &mut words) {
                Ok(given) => line.options.push(given),
                Err(mistake) => mistakes.push(mistake),
            }
        } else if bytes.len() > 1 && bytes[0] == b'-' {
            bundle(table, &bytes[1..], &mut words, &mut line.options, &mut mistakes);
        } else {
            line.operands.push(word);
            if posixly_correct {
                line.operands.extend(words.by_ref());
            }
        }
    }
    match mistakes.pop() {
        None => Ok(line),
        // Once is enough.
        Some(last) => {
            mistakes.push(last.hint("--help lists the options"));
            Err(mistakes)
        }
    }
}

/// `--NAME`, `--NAME=VALUE`, `--NAME VALUE`; `long` is what follows the dashes.
fn long_option<T: Copy>(
    table: &'static [OptionSpec<T>],
    long: &[u8],
    words: &mut impl Iterator<Item = OsString>,
) -> Result<Given<T>, Error> {
    let equals = long.iter().position(|&byte| byte == b'=');
    let (name, attached) = match equals {
        Some(at) => (&long[..at], Some(&long[at + 1..])),
        None => (long, None),
    };
    let spec = find_long(table, name)?;
    let spelling = spelling(spec);
    let value = match (spec.argument, attached) {
        (Argument::None, Some(_)) => {
            return Err(Error::said(format!("option {spelling} takes no value")));
        }
        (_, Some(value)) => Some(OsStr::from_bytes(value).to_owned()),
        (Argument::Required(wanted), None) => {
            Some(words.next().ok_or_else(|| missing_value(&spelling, wanted))?)
        }
        (Argument::None | Argument::Optional(_), None) => None,
    };
    Ok(Given { id: spec.id, spelling, value })
}

/// The option that a name or its beginning stands for (U5).
fn find_long<T>(table: &'static [OptionSpec<T>], name: &[u8]) -> Result<&'static OptionSpec<T>, Error> {
    let written = shown(OsStr::from_bytes(name));
    // Abbreviations of the original's options mean what they mean there.
    for yields in [false, true] {
        let group = table.iter().filter(|spec| spec.yields == yields);
        let fitting: Vec<(&OptionSpec<T>, &str)> = group
            .filter_map(|spec| Some((spec, spec.long?)))
            .filter(|(_, long)| long.as_bytes().starts_with(name))
            .collect();
        if let Some((exact, _)) = fitting.iter().find(|(_, long)| long.as_bytes() == name) {
            return Ok(exact);
        }
        match fitting.as_slice() {
            [] => {}
            [(only, _)] => return Ok(only),
            several => {
                let names: Vec<String> = several.iter().map(|(_, long)| format!("--{long}")).collect();
                return Err(Error::said(format!(
                    "option --{written} is ambiguous: it may be {}",
                    names.join(" or ")
                )));
            }
        }
    }
    Err(Error::said(format!("unknown option --{written}")))
}

/// `-xyz`: letters, of which the last may have a value; `letters` is what follows the dash (U4).
fn bundle<T: Copy>(
    table: &'static [OptionSpec<T>],
    mut letters: &[u8],
    words: &mut impl Iterator<Item = OsString>,
    options: &mut Vec<Given<T>>,
    mistakes: &mut Vec<Error>,
) {
    while let [letter, rest @ ..] = letters {
        let Some(spec) = table.iter().find(|spec| spec.short == Some(*letter)) else {
            let (character, after) = first_character(letters);
            mistakes.push(Error::said(format!("unknown option -{}", shown(character))));
            letters = after;
            continue;
        };
        let attached = (!rest.is_empty()).then(|| OsStr::from_bytes(rest).to_owned());
        let value = match spec.argument {
            Argument::None => {
                options.push(Given { id: spec.id, spelling: spelling(spec), value: None });
                letters = rest;
                continue;
            }
            Argument::Optional(_) => attached,
            Argument::Required(wanted) => match attached.or_else(|| words.next()) {
                Some(value) => Some(value),
                None => {
                    mistakes.push(missing_value(&format!("-{}", char::from(*letter)), wanted));
                    return;
                }
            },
        };
        options.push(Given { id: spec.id, spelling: spelling(spec), value });
        return;
    }
}

/// The first character, so that a message shows one that has several bytes whole; else the first byte.
fn first_character(bytes: &[u8]) -> (&OsStr, &[u8]) {
    let size = bytes.utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next());
    let (first, rest) = bytes.split_at(size.map_or(1, char::len_utf8));
    (OsStr::from_bytes(first), rest)
}

fn missing_value(option: &str, wanted: &str) -> Error {
    Error::said(format!("option {option} needs a value ({wanted})"))
}

fn spelling<T>(spec: &OptionSpec<T>) -> String {
    match (spec.long, spec.short) {
        (Some(long), _) => format!("--{long}"),
        (None, Some(short)) => format!("-{}", char::from(short)),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Id {
        Base,
        Cleanup,
        Clear,
        Revert,
        Old,
    }

    const TABLE: &[OptionSpec<Id>] = &[
        OptionSpec::new(Id::Base, Some(b'b'), "base", Argument::Required("DIR"), "listed"),
        OptionSpec::new(Id::Cleanup, Some(b'c'), "cleanup", Argument::None, "listed"),
        OptionSpec::new(Id::Clear, None, "clear", Argument::None, "listed"),
        OptionSpec::new(Id::Clear, None, "clear-all", Argument::None, "listed"),
        OptionSpec::new(Id::Revert, Some(b'r'), "revert", Argument::Optional("VALUE"), "listed"),
        OptionSpec {
            id: Id::Old,
            short: Some(b'p'),
            long: None,
            argument: Argument::Required("PORT"),
            help: "",
            yields: true,
        },
        OptionSpec::old(Id::Old, None, "basedir", Argument::None),
        OptionSpec::old(Id::Old, None, "tftp-dirs", Argument::None),
        OptionSpec::old(Id::Old, None, "tftp-boot-dir", Argument::None),
    ];

    fn parsed(words: &[&str]) -> Result<CommandLine<Id>, Vec<Error>> {
        parse(TABLE, words.iter().map(OsString::from), false)
    }

    /// Options as the words that mean the same, then `--` and the operands.
    fn normal(line: &CommandLine<Id>) -> Vec<String> {
        let options = line.options.iter().flat_map(Given::words);
        let all = options.chain(["--".into()]).chain(line.operands.iter().cloned());
        all.map(|word| word.into_string().unwrap()).collect()
    }

    // U3, U4, U5, U6
    #[test]
    fn a_line_is_taken_apart_as_getopt_would() {
        for (line, expected) in [
            ("", "--"),
            ("-b/srv x", "--base=/srv -- x"),
            ("-b /srv x", "--base=/srv -- x"),
            ("--base=/srv x", "--base=/srv -- x"),
            ("--base /srv x", "--base=/srv -- x"),
            ("-b=/srv", "--base==/srv --"),
            ("--base=", "--base= --"),
            ("--base==x=y", "--base==x=y --"),
            ("-b -c", "--base=-c --"),
            ("-b -- x", "--base=-- -- x"),
            ("--base --cleanup", "--base=--cleanup --"),
            ("-ccb /srv -c", "--cleanup --cleanup --base=/srv --cleanup --"),
            ("-cb/srv", "--cleanup --base=/srv --"),
            ("x -c y --b z", "--cleanup --base=z -- x y"),
            ("- -c -", "--cleanup -- - -"),
            ("x -c -- -c -- --base", "--cleanup -- x -c -- --base"),
            ("--clear", "--clear --"),
            ("--clear-", "--clear-all --"),
            ("-r x", "--revert -- x"),
            ("-rx", "--revert=x --"),
            ("-crx", "--cleanup --revert=x --"),
            ("--revert x", "--revert -- x"),
            ("--rev=x", "--revert=x --"),
            ("--revert=", "--revert= --"),
            ("-p 2000", "-p 2000 --"),
        ] {
            let words: Vec<&str> = line.split_whitespace().collect();
            let found = parsed(&words).unwrap_or_else(|mistakes| panic!("{line}: {mistakes:?}"));
            assert_eq!(normal(&found).join(" "), expected, "{line}");
        }
    }

    // U5
    #[test]
    fn old_options_never_change_what_an_abbreviation_of_a_current_one_means() {
        for (name, expected) in [
            ("--base=x", "--base"),
            ("--bas=x", "--base"),
            ("--basedir", "--basedir"),
            ("--based", "--basedir"),
            ("--tftp-d", "--tftp-dirs"),
        ] {
            assert_eq!(parsed(&[name]).unwrap().options[0].spelling, expected, "{name}");
        }
        assert!(parsed(&["--tftp"]).is_err());
    }

    // U9
    #[test]
    fn every_mistake_of_the_line_is_reported() {
        let line = ["-xc", "--cl", "--nonsense=1", "--cleanup=yes", "-é", "--=", "ok", "-b"];
        let said: Vec<String> = parsed(&line).unwrap_err().iter().map(Error::to_string).collect();
        let first_lines: Vec<&str> = said.iter().filter_map(|said| said.lines().next()).collect();
        assert_eq!(
            first_lines,
            [
                "unknown option -x",
                "option --cl is ambiguous: it may be --cleanup or --clear or --clear-all",
                "unknown option --nonsense",
                "option --cleanup takes no value",
                "unknown option -é",
                "option -- is ambiguous: it may be --base or --cleanup or --clear or --clear-all or --revert",
                "option -b needs a value (DIR)",
            ]
        );
        let mistakes = parsed(&["--base"]).unwrap_err();
        assert_eq!(
            mistakes[0].to_string(),
            "option --base needs a value (DIR)\nhint: --help lists the options"
        );
    }

    // U7
    #[test]
    fn posixly_correct_makes_operands_of_all_after_the_first() {
        let words = ["-c", "amd64", "--version", "--", "-b"].map(OsString::from);
        let line = parse(TABLE, words, true).unwrap();
        assert_eq!(line.options.len(), 1);
        assert_eq!(line.operands, ["amd64", "--version", "--", "-b"]);
    }

    // U11
    #[test]
    fn values_and_operands_are_any_bytes() {
        let odd = OsString::from_vec(b"a \xff'*\n".to_vec());
        let joined = OsString::from_vec([b"--base=", odd.as_bytes()].concat());
        let line = parse(TABLE, ["-b".into(), odd.clone(), joined, odd.clone()], false).unwrap();
        assert_eq!(line.options[0].value(), odd);
        assert_eq!(line.options[1].value(), odd);
        assert_eq!(line.operands, [odd]);
    }

    /// What util-linux' getopt, which the original uses, makes of a line: options with their values, `--`,
    /// operands; or the number of its complaints.
    fn by_getopt(words: &[&str]) -> Result<Vec<String>, usize> {
        let mut command = Command::new("getopt");
        command.args(["-u", "-o", "b:cr::", "-l", "base:,cleanup,clear,clear-all,revert::", "--"]);
        let output = command.args(words).env_remove("POSIXLY_CORRECT").output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8(output.stderr).unwrap().lines().count());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        let mut printed = text.trim_end_matches('\n').split(' ').skip(1).map(str::to_owned);
        let mut answer = Vec::new();
        while let Some(word) = printed.next() {
            if word == "--" {
                answer.push(word);
                answer.extend(printed.by_ref());
            } else {
                let letter = word.as_bytes()[1];
                let known = |spec: &&OptionSpec<Id>| spelling(spec) == word || spec.short == Some(letter);
                let spec = TABLE.iter().find(known).unwrap();
                answer.push(spelling(spec));
                answer.extend((spec.argument != Argument::None).then(|| printed.next().unwrap()));
            }
        }
        Ok(answer)
    }

    /// The same of our parser, without the old options.
    fn by_us(words: &[&str]) -> Result<Vec<String>, usize> {
        let line = parse(&TABLE[..5], words.iter().map(OsString::from), false).map_err(|all| all.len())?;
        let text = |word: &OsStr| word.to_str().unwrap().to_owned();
        let mut answer = Vec::new();
        for given in &line.options {
            let spec = TABLE.iter().find(|spec| spelling(spec) == given.spelling).unwrap();
            answer.push(given.spelling.clone());
            answer.extend((spec.argument != Argument::None).then(|| text(given.value())));
        }
        answer.push("--".to_owned());
        answer.extend(line.operands.iter().map(|word| text(word)));
        Ok(answer)
    }

    // U2
    #[test]
    fn generated_lines_are_read_as_util_linux_reads_them() {
        let stock = [
            "-b",
            "-c",
            "-cb",
            "-r",
            "-rx",
            "-cr",
            "-b=x",
            "-bx",
            "--",
            "-",
            "x",
            "-x",
            "-cxc",
            "--base",
            "--b",
            "--ba=x",
            "--base=",
            "--cl",
            "--cle",
            "--clear",
            "--cleanup",
            "--clean",
            "--cleanup=x",
            "--clear-",
            "--c=",
            "--revert",
            "--rev=x",
            "--revert=",
            "--=",
            "--=x",
            "--nonsense",
            "---",
            "-c-",
            "--base==",
        ];
        let mut state = 0x9e37_79b9_u32;
        let mut below = |limit: usize| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            usize::try_from(state).unwrap() % limit
        };
        let mut accepted = 0;
        for _ in 0..1000 {
            let words: Vec<&str> = (0..below(6)).map(|_| stock[below(stock.len())]).collect();
            let ours = by_us(&words);
            accepted += usize::from(ours.is_ok());
            assert_eq!(ours, by_getopt(&words), "{words:?}");
        }
        assert!(accepted > 300, "only {accepted} lines had no mistake");
    }
}
