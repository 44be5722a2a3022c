//! Thousands of generated files, read natively and by `/bin/sh`: what is accepted natively must come out
//! alike.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Command;

use super::syntax::Stop;
use super::{child, expand, parse};
use crate::config::variables::Variables;

/// The variables that are compared; the generated files use no others.
const NAMES: [&str; 7] = ["A", "B", "AB", "A_1", "_a", "HOME", "EMPTY"];
/// What both sides start from.
const ENVIRONMENT: [(&str, &str); 5] = [
    ("A", "one/two  three.*"),
    ("AB", "x=y:~/\u{e9}\\"),
    ("EMPTY", ""),
    ("HOME", "/home/o 'x'"),
    ("PATH", "/nowhere"),
];
const FILES: u64 = 6000;

/// Marsaglia's xorshift: the same files at every run, without a dependency.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit).unwrap()).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// A name that is compared, most often.
    fn name(&mut self) -> &'static str {
        self.pick(&NAMES)
    }

    fn word(&mut self, depth: usize) -> Vec<u8> {
        let mut word = Vec::new();
        for _ in 0..self.below(5) {
            match self.below(12) {
                0 => {
                    word.push(b'\'');
                    word.extend(self.soup(b"a \"$\\\n#;~`\x81\xff"));
                    word.push(b'\'');
                }
                1 | 2 => {
                    word.push(b'"');
                    for _ in 0..self.below(4) {
                        match self.below(3) {
                            0 => word.extend(self.soup(b"a '\\\\\\$\"`#;~*\n\x82\x88}")),
                            1 => word.extend(self.soup(b"a /~:=")),
                            _ => word.extend(self.parameter(depth)),
                        }
                    }
                    word.push(b'"');
                }
                3..=5 => word.extend(self.parameter(depth)),
                6 => {
                    word.push(b'\\');
                    word.extend(self.soup(b"a'\"\\$ \n#;~*").first());
                }
                7 => word.extend_from_slice(self.pick(&["~", "~/", ":~", ":~/a", "=~", "~a"]).as_bytes()),
                8 => word.extend(self.soup(b"~:/=#*?[]!{}-+%.^@,")),
                9 => word.extend(self.soup(b"\x80\x81\x82\x83\x84\x85\x86\x87\x88\x89\xc3\xa9\xff")),
                _ => word.extend(self.soup(b"aA1_./:=,#-")),
            }
        }
        word
    }

    fn soup(&mut self, alphabet: &[u8]) -> Vec<u8> {
        (0..self.below(4)).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    fn parameter(&mut self, depth: usize) -> Vec<u8> {
        let name = self.name().as_bytes().to_vec();
        let mut text = b"$".to_vec();
        if depth == 0 || self.below(3) == 0 {
            text.extend(name);
            return text;
        }
        text.push(b'{');
        text.extend(name);
        if self.below(4) > 0 {
            let operators =
                ["-", ":-", "=", ":=", "+", ":+", "%", "%%", "#", "##", "%", "#", ":-", "?", ":", "^"];
            text.extend_from_slice(self.pick(&operators).as_bytes());
            text.extend(self.word(depth - 1));
        }
        text.push(b'}');
        text
    }

    fn assignment(&mut self) -> Vec<u8> {
        let mut text = self.name().as_bytes().to_vec();
        text.push(b'=');
        text.extend(self.word(2));
        text
    }

    fn command(&mut self) -> Vec<u8> {
        match self.below(12) {
            0 => format!("export {}", self.name()).into_bytes(),
            1 => [b"export ".as_slice(), &self.assignment(), b" ", &self.assignment()].concat(),
            2 => format!("unset {} {}", self.name(), self.name()).into_bytes(),
            3 => [b": ".as_slice(), &self.parameter(2), b" ", &self.word(1)].concat(),
            4 => [self.assignment(), b" ".to_vec(), self.assignment()].concat(),
            5 => b"true".to_vec(),
            _ => self.assignment(),
        }
    }

    fn file(&mut self) -> Vec<u8> {
        let mut text = Vec::new();
        for _ in 0..=self.below(6) {
            text.extend_from_slice(self.pick(&["", "", " ", "\t", "# a 'b\n", "\n"]).as_bytes());
            text.extend(self.command());
            text.extend_from_slice(
                self.pick(&["\n", "\n", "\n", ";", " ; ", " # a \"b\n", "#a\n", " "]).as_bytes(),
            );
        }
        match self.below(5) {
            // A backslash at the end of a line, anywhere.
            0 => {
                let at = self.below(text.len());
                text.splice(at..at, *b"\\\n");
            }
            // A byte too many or too few, anywhere.
            1 => drop(text.remove(self.below(text.len()))),
            2 => text.insert(self.below(text.len()), b"'\"\\${}=;# \n~"[self.below(12)]),
            _ => {}
        }
        text
    }
}

/// Value and export mark of each compared variable that is set.
type Outcome = BTreeMap<String, (Vec<u8>, bool)>;

fn start() -> Variables {
    Variables::from_environment(ENVIRONMENT.iter().map(|(name, value)| (name.into(), value.into())))
}

fn outcome(variables: &Variables) -> Outcome {
    let compared = variables.iter().filter(|(name, ..)| NAMES.contains(name));
    compared.map(|(name, value, exported)| (name.into(), (value.as_bytes().into(), exported))).collect()
}

fn natively(text: &[u8], mut variables: Variables) -> Result<Variables, Stop> {
    expand::carry_out(&parse::parse(text)?, Path::new("x"), &[], &mut variables)?;
    Ok(variables)
}

fn generated(seed: u64) -> Vec<u8> {
    // Distinct states that are not zero.
    Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1).file()
}

/// Lets one shell read all files, each in a subshell; nothing for a file that it gives up on.
fn by_shell(shell: &[&str], files: &[Vec<u8>]) -> Vec<Option<Outcome>> {
    let dir = tempfile::tempdir().unwrap();
    let mut dump = String::from("/usr/bin/env -0; printf '\\0'");
    for name in NAMES {
        write!(dump, "; [ \"${{{name}+x}}\" ] && printf '%s=%s\\0' {name} \"${name}\"").unwrap();
    }
    let script = format!("for i; do ( . ./$i >&2 || exit; {{ {dump}; printf '\\0'; }} >$i.out ); done");
    for (number, text) in files.iter().enumerate() {
        std::fs::write(dir.path().join(number.to_string()), text).unwrap();
    }
    let names = (0..files.len()).map(|number| number.to_string());
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("-c").arg(script).arg("sh").args(names);
    command.current_dir(&dir).env_clear().envs(ENVIRONMENT);
    command.output().unwrap();
    let outcome = |number: usize| {
        let dumped = std::fs::read(dir.path().join(format!("{number}.out"))).ok()?;
        let dumped = dumped.strip_suffix(b"\0\0")?;
        let mut records = dumped.split(|&byte| byte == 0);
        let entry = |record: &[u8]| {
            let equals = record.iter().position(|&byte| byte == b'=')?;
            let name = std::str::from_utf8(&record[..equals]).ok()?.to_owned();
            NAMES.contains(&name.as_str()).then(|| (name, record[equals + 1..].to_vec()))
        };
        let exported = records.by_ref().take_while(|record| !record.is_empty());
        let exported: Vec<_> = exported.filter_map(entry).collect();
        let values = records.filter_map(entry);
        Some(
            values
                .map(|(name, value)| {
                    let exported = exported.contains(&(name.clone(), value.clone()));
                    (name, (value, exported))
                })
                .collect(),
        )
    };
    (0..files.len()).map(outcome).collect()
}

fn shown(outcome: &Outcome) -> String {
    let mut text = String::new();
    for (name, (value, exported)) in outcome {
        writeln!(text, "  {name}={:?}{}", OsStr::from_bytes(value), if *exported { " exported" } else { "" })
            .unwrap();
    }
    text
}

fn disagreements(shell: &[&str], seeds: std::ops::Range<u64>) -> (usize, Vec<String>) {
    let mut read = Vec::new();
    for seed in seeds {
        let text = generated(seed);
        match natively(&text, start()) {
            Err(Stop::Shell(..)) => {}
            answer => read.push((text, answer.map(|variables| outcome(&variables)))),
        }
    }
    let files: Vec<Vec<u8>> = read.iter().map(|(text, _)| text.clone()).collect();
    let theirs = by_shell(shell, &files);
    let accepted = read.iter().filter(|(_, answer)| answer.is_ok()).count();
    let mut wrong = Vec::new();
    for ((text, ours), theirs) in read.iter().zip(theirs) {
        let said = match (ours, &theirs) {
            (Err(_), None) => continue,
            (Ok(ours), Some(theirs)) if ours == theirs => continue,
            (Ok(ours), Some(theirs)) => format!("we:\n{}they:\n{}", shown(ours), shown(theirs)),
            (Ok(ours), None) => format!("we:\n{}they give up", shown(ours)),
            (Err(stop), Some(theirs)) => format!("we: {stop:?}\nthey:\n{}", shown(theirs)),
        };
        wrong.push(format!("file:\n{}\n{said}", text.escape_ascii()));
    }
    (accepted, wrong)
}

// S7, S17
#[test]
fn whatever_is_read_natively_comes_out_as_from_the_shell() {
    let (accepted, wrong) = disagreements(&["/bin/sh"], 0..FILES);
    assert!(wrong.is_empty(), "{} disagreements, the first:\n{}", wrong.len(), wrong[0]);
    // Giving most files to the shell would prove nothing.
    assert!(accepted > 1500, "only {accepted} of {FILES} files were read natively");
}

// S1: files are read one way or the other, in any order, on top of each other.
#[test]
fn a_chain_of_files_comes_out_alike_whoever_reads_them() {
    let (mut ours, mut theirs) = (start(), start());
    let mut files = 0;
    for seed in 0..300 {
        let text = generated(seed);
        let Ok(after) = natively(&text, ours.clone()) else { continue };
        ours = after;
        theirs = child::evaluate("sh".as_ref(), Path::new("x"), &text, &theirs).unwrap();
        assert_eq!(outcome(&ours), outcome(&theirs), "after {}", text.escape_ascii());
        files += 1;
    }
    assert!(files > 50, "only {files} files were read natively");
}
