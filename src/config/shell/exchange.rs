//! How variables get into a shell and out of it again.
//!
//! In: as a script of assignments. Out: as NUL-separated records on descriptor 7, which nothing that the
//! admin's code prints can be mistaken for.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Seek, Write};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{MemfdFlags, memfd_create};

use super::expand::belongs_to_the_shell;
use crate::config::variables::Variables;
use crate::error::{During, Result};

pub(super) const SHELL: &str = "/bin/sh";

/// Hands over what is exported, then every variable, then names that are exported and have no value, each
/// part closed by an empty record. In a subshell, so that what it does to its shell is not seen by what
/// runs later.
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
    export -p | while IFS= read -r _ltsp_line; do
        _ltsp_name=${_ltsp_line#export }
        case $_ltsp_name in
            "$_ltsp_line" | '' | [0-9]* | *[!A-Za-z0-9_]*) continue ;;
        esac
        eval "_ltsp_line=\${$_ltsp_name+set}"
        [ "$_ltsp_line" = set ] || printf '%s\0' "$_ltsp_name"
    done
    printf '\0'
) >&7
"#;

/// An anonymous file with this content, positioned at its start.
///
/// # Errors
/// When there is no memory for it.
pub(super) fn memory(content: &[u8]) -> Result<File> {
    let file =
        memfd_create("ltsp-configuration", MemfdFlags::CLOEXEC).during("create a file in", "memory")?;
    let mut file = File::from(file);
    file.write_all(content).and_then(|()| file.rewind()).during("write to", "memory")?;
    Ok(file)
}

/// A script that makes the variables of a shell that knows some the ones that it should know. `own` are
/// variables that mean something here, whatever the shell uses them for.
pub(super) fn difference(known: &Variables, wanted: &Variables, own: &[&str]) -> Vec<u8> {
    let mut script = Vec::new();
    let names = |variables: &Variables| -> Vec<String> {
        let waiting = variables.exported_without_value();
        variables.iter().map(|(name, ..)| name).chain(waiting).map(str::to_owned).collect()
    };
    for name in names(known) {
        let kept = wanted.get(&name).is_some() || wanted.is_exported(&name);
        let unexported = known.is_exported(&name) && !wanted.is_exported(&name);
        if (!kept || unexported) && !belongs_to_the_shell(&name, own) {
            script.extend_from_slice(format!("unset {name}\n").as_bytes());
        }
    }
    for name in names(wanted) {
        let exported = wanted.is_exported(&name);
        let same_export = known.is_exported(&name) == exported;
        if belongs_to_the_shell(&name, own) {
            continue;
        }
        if let Some(value) = wanted.get(&name).filter(|value| !same_export || known.get(&name) != Some(value))
        {
            assignment(&mut script, &name, value);
        }
        if exported && !same_export {
            script.extend_from_slice(format!("export {name}\n").as_bytes());
        }
    }
    script
}

/// Adds `NAME='VALUE'` as a line.
fn assignment(script: &mut Vec<u8>, name: &str, value: &OsStr) {
    script.extend_from_slice(name.as_bytes());
    script.push(b'=');
    quoted(script, value);
    script.push(b'\n');
}

/// Adds a word that means these bytes to a shell.
pub fn quoted(script: &mut Vec<u8>, word: &OsStr) {
    script.push(b'\'');
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => script.extend_from_slice(br"'\''"),
            byte => script.push(byte),
        }
    }
    script.push(b'\'');
}
