//! How variables get into a shell and out of it again.
//!
//! In: as a script of assignments. Out: as NUL-separated records on descriptor 7, which nothing that the
//! admin's code prints can be mistaken for.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{MemfdFlags, memfd_create};

use super::expand::belongs_to_the_shell;
use crate::config::variables::{Origin, Variables, is_name};
use crate::error::{During, Result};

pub(super) const SHELL: &str = "/bin/sh";

/// Hands over what is exported, then every variable, each part closed by an empty record. In a subshell,
/// so that what it does to its shell is not seen by what runs later.
///
/// Lines of a value with line breaks may look like further names: asking for a value tells them apart.
pub(super) const DUMP: &str = r#"(
    { set +euvx; } 2>/dev/null
    unset -f printf read
    /usr/bin/env -0
    printf '\0'
    set | while IFS= read -r _ltsp_line; do
        _ltsp_name=${_ltsp_line%%=*}
        case $_ltsp_name in
            "$_ltsp_line" | '' | [0-9]* | *[!A-Za-z0-9_]* | _ltsp_*) continue ;;
        esac
        eval "_ltsp_line=\${$_ltsp_name+set}"
        [ "$_ltsp_line" = set ] || continue
        eval "printf '%s=%s\\0' $_ltsp_name \"\$$_ltsp_name\""
    done
    printf '\0'
) >&7
"#;

/// An anonymous file with this content, positioned at its start.
pub(super) fn memory(content: &[u8]) -> Result<File> {
    let file =
        memfd_create("ltsp-configuration", MemfdFlags::CLOEXEC).during("create a file in", "memory")?;
    let mut file = File::from(file);
    file.write_all(content).and_then(|()| file.rewind()).during("write to", "memory")?;
    Ok(file)
}

/// Adds `NAME='VALUE'` as a line.
pub(super) fn assignment(script: &mut Vec<u8>, name: &str, value: &OsStr) {
    script.extend_from_slice(name.as_bytes());
    script.push(b'=');
    quoted(script, value);
    script.push(b'\n');
}

/// Adds a word that means these bytes to a shell.
pub(super) fn quoted(script: &mut Vec<u8>, word: &OsStr) {
    script.push(b'\'');
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            byte => script.push(byte),
        }
    }
    script.push(b'\'');
}

/// What the child knew at its end.
pub(super) struct Answer {
    exported: BTreeSet<String>,
    values: BTreeMap<String, OsString>,
}

impl Answer {
    /// Nothing if it is not complete.
    pub(super) fn parse(records: &[u8]) -> Option<Self> {
        let mut records = records.split(|&byte| byte == 0);
        let mut exported = BTreeSet::new();
        let mut values = BTreeMap::new();
        for record in records.by_ref().take_while(|record| !record.is_empty()) {
            exported.extend(named(record).map(|(name, _)| name));
        }
        let mut complete = false;
        for record in records.by_ref() {
            if record.is_empty() {
                complete = true;
                break;
            }
            values.extend(named(record));
        }
        // After the empty record nothing follows but the end.
        (complete && records.next() == Some(b"") && records.next().is_none())
            .then_some(Self { exported, values })
    }

    /// What is known afterwards, if `before` was known before; `own` are variables that mean something
    /// here, whatever the shell uses them for.
    pub(super) fn merged_into(self, before: &Variables, own: &[&str], origin: &Origin) -> Variables {
        let belongs_to_the_shell = |name: &str| belongs_to_the_shell(name, own);
        let mut after = before.clone();
        let gone: Vec<&str> = before
            .iter()
            .map(|(name, ..)| name)
            .filter(|name| !self.values.contains_key(*name) && !belongs_to_the_shell(name))
            .collect();
        gone.into_iter().for_each(|name| after.unset(name));
        let ours = self.values.into_iter().filter(|(name, _)| !belongs_to_the_shell(name));
        for (name, value) in ours {
            let exported = self.exported.contains(&name);
            if before.is_exported(&name) && !exported {
                after.unset(&name);
            }
            if after.get(&name) != Some(&value) {
                after.assign(&name, value, origin.clone());
            }
            if exported {
                after.export(&name, origin.clone());
            }
        }
        after
    }
}

/// A record `NAME=VALUE`, if its name is one.
fn named(record: &[u8]) -> Option<(String, OsString)> {
    let equals = record.iter().position(|&byte| byte == b'=')?;
    let name = std::str::from_utf8(&record[..equals]).ok().filter(|name| is_name(name))?;
    Some((name.to_owned(), OsString::from_vec(record[equals + 1..].to_vec())))
}
