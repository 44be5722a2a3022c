//! The shell variables of one start: values, which of them are exported, and where each came from.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::shown;

/// Where a value came from, as messages tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The environment that the program inherited.
    Environment,
    /// A configuration file, and the line unless a shell has evaluated the file.
    File(PathBuf, Option<usize>),
    /// An option of the command line, by its long name.
    Option(&'static str),
    /// What this machine's network and name are.
    Network,
    /// Code of the admin's own, by what messages call it: a hook, a drop-in script.
    Code(String),
    /// The built-in default (S3).
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => out.write_str("the environment"),
            Self::File(path, Some(line)) => write!(out, "{}:{line}", shown(path)),
            Self::File(path, None) => out.write_str(&shown(path)),
            Self::Option(name) => write!(out, "--{name}"),
            Self::Network => out.write_str("this machine"),
            Self::Code(name) => out.write_str(name),
            Self::Default => out.write_str("the built-in default"),
        }
    }
}

/// A variable may be marked for export without having a value, as in a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Variable {
    value: Option<OsString>,
    exported: bool,
    origin: Origin,
}

/// What a shell would know after reading the same files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    all: BTreeMap<String, Variable>,
}

impl Variables {
    /// The variables of an environment. Entries whose name is none for a shell stay out: no file can
    /// see or change them, and child programs inherit them untouched.
    pub fn from_environment(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut variables = Self::default();
        for (name, value) in environment {
            let Some(name) = name.to_str().filter(|name| is_name(name)) else { continue };
            let variable = Variable { value: Some(value), exported: true, origin: Origin::Environment };
            variables.all.insert(name.to_owned(), variable);
        }
        variables
    }

    /// The value, if the variable is set.
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.all.get(name)?.value.as_deref()
    }

    /// The value, if the variable is set to something that is not empty.
    pub fn non_empty(&self, name: &str) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Whether the value is exactly `true` (S9).
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "true")
    }

    /// Where the value came from, if the variable is set.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.all.get(name).filter(|variable| variable.value.is_some()).map(|variable| &variable.origin)
    }

    /// Whether child programs get to see the variable.
    pub fn is_exported(&self, name: &str) -> bool {
        self.all.get(name).is_some_and(|variable| variable.exported)
    }

    /// Sets a value; an exported variable stays exported (S8).
    pub fn assign(&mut self, name: &str, value: impl Into<OsString>, origin: Origin) {
        let exported = self.is_exported(name);
        let variable = Variable { value: Some(value.into()), exported, origin };
        self.all.insert(name.to_owned(), variable);
    }

    /// Sets a value unless there is one that is not empty (S3).
    pub fn set_default(&mut self, name: &str, value: &str) {
        if self.non_empty(name).is_none() {
            self.assign(name, value, Origin::Default);
        }
    }

    /// Marks a variable for export, also one that has no value yet.
    pub fn export(&mut self, name: &str, origin: Origin) {
        let new = Variable { value: None, exported: true, origin };
        self.all.entry(name.to_owned()).or_insert(new).exported = true;
    }

    /// Takes value and export mark away.
    pub fn unset(&mut self, name: &str) {
        self.all.remove(name);
    }

    /// Every variable that has a value: name, value, whether it is exported.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &OsStr, bool)> {
        self.all.iter().filter_map(|(name, variable)| {
            Some((name.as_str(), variable.value.as_deref()?, variable.exported))
        })
    }

    /// The variables that are marked for export and have no value yet.
    pub fn exported_without_value(&self) -> impl Iterator<Item = &str> {
        let waiting = self.all.iter().filter(|(_, variable)| variable.value.is_none());
        waiting.map(|(name, _)| name.as_str())
    }

    /// What a child program's environment must have on top of `inherited`, and what must be taken from
    /// it (S8).
    pub fn child_environment(
        &self,
        inherited: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> (Vec<(OsString, OsString)>, Vec<OsString>) {
        let inherited = Self::from_environment(inherited);
        let added = self
            .iter()
            .filter(|(name, value, exported)| *exported && inherited.get(name) != Some(value))
            .map(|(name, value, _)| (name.into(), value.to_owned()))
            .collect();
        let removed = inherited
            .iter()
            .filter(|(name, ..)| self.get(name).is_none() || !self.is_exported(name))
            .map(|(name, ..)| name.into())
            .collect();
        (added, removed)
    }
}

/// Whether a text may be the name of a shell variable.
pub fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(starts_name) && bytes.all(continues_name)
}

/// Whether a name may begin with this byte.
pub fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_'
}

/// Whether a name may go on with this byte.
pub fn continues_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The words of a value, as a shell splits it at blanks, tabs and line breaks.
pub fn words(value: &OsStr) -> Vec<OsString> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n');
    value
        .as_bytes()
        .split(blank)
        .filter(|word| !word.is_empty())
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect()
}

/// The words of a value with their wildcards expanded, as a shell does for `for dir in $TFTP_DIRS`
/// (S9): sorted, a leading dot is never matched by a wildcard, and a pattern that matches nothing stays
/// as it is.
pub fn expanded_words(value: &OsStr) -> Vec<PathBuf> {
    words(value).iter().flat_map(|word| expanded(word)).collect()
}

fn expanded(word: &OsStr) -> Vec<PathBuf> {
    let has_wildcard = |part: &OsStr| part.as_bytes().iter().any(|byte| b"*?[".contains(byte));
    if !has_wildcard(word) {
        return vec![PathBuf::from(word)];
    }
    let mut found = vec![PathBuf::new()];
    for part in Path::new(word) {
        if has_wildcard(part) {
            found = found.iter().flat_map(|dir| matching_entries(dir, part)).collect();
        } else {
            found.iter_mut().for_each(|path| path.push(part));
            // A link that leads nowhere still is an entry, as for a shell.
            found.retain(|path| path.symlink_metadata().is_ok());
        }
    }
    found.sort();
    if found.is_empty() { vec![PathBuf::from(word)] } else { found }
}

/// A directory that cannot be listed has no matches, as for a shell.
fn matching_entries(dir: &Path, pattern: &OsStr) -> Vec<PathBuf> {
    let listed = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let Ok(entries) = std::fs::read_dir(listed) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| crate::sys::fnmatch::matches(pattern, name))
        .map(|name| dir.join(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
    }

    // S8
    #[test]
    fn only_what_is_exported_reaches_child_programs() {
        let inherited = environment(&[("BASE", "/a"), ("GONE", "x"), ("SAME", "s"), ("bad-name", "kept")]);
        let mut variables = Variables::from_environment(inherited.clone());
        let file = Origin::File("/etc/ltsp/ltsp-server.conf".into(), Some(1));
        variables.assign("BASE", "/b", file.clone());
        variables.assign("PRIVATE", "p", file.clone());
        variables.export("LATER", file.clone());
        variables.export("NEVER", file.clone());
        variables.assign("LATER", "l", file);
        variables.unset("GONE");
        let (added, removed) = variables.child_environment(inherited);
        assert_eq!(added, environment(&[("BASE", "/b"), ("LATER", "l")]));
        assert_eq!(removed, [OsString::from("GONE")]);
    }

    #[test]
    fn a_value_remembers_where_it_came_from() {
        let mut variables = Variables::from_environment(environment(&[("A", "1")]));
        assert_eq!(variables.origin("A").unwrap().to_string(), "the environment");
        variables.assign("A", "2", Origin::File("/x".into(), Some(3)));
        assert_eq!(variables.origin("A").unwrap().to_string(), "/x:3");
        variables.unset("A");
        assert_eq!(variables.origin("A"), None);
    }

    // S9: TFTP_DIRS
    #[test]
    fn a_list_is_split_at_blanks_and_its_wildcards_are_expanded() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", ".hidden"] {
            std::fs::create_dir_all(dir.path().join(name).join("tftp")).unwrap();
        }
        std::fs::create_dir(dir.path().join("c")).unwrap();
        let root = dir.path().to_str().unwrap();
        let list = format!(" {root}/*/tftp\t/plain//x/ {root}/z*\n{root}/[ab] ");
        let expected = ["a/tftp", "b/tftp"].map(|end| format!("{root}/{end}")).into_iter().chain([
            "/plain//x/".to_owned(),
            format!("{root}/z*"),
            format!("{root}/a"),
            format!("{root}/b"),
        ]);
        let expected: Vec<PathBuf> = expected.map(PathBuf::from).collect();
        let found = expanded_words(list.as_ref());
        assert_eq!(found, expected);
        assert_eq!(found[2].as_os_str(), "/plain//x/");
    }
}
