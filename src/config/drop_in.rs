//! Which files of a `conf.d` directory are read, and in which order (S5, S6, D40).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{During, Result, shown};

/// The files of a `conf.d` directory in the order of their bytes (S5, S6), and a warning about names
/// that look as if they should be among them (D40).
pub(super) fn drop_ins(dir: &Path) -> Result<(Vec<PathBuf>, Option<String>)> {
    if !dir.is_dir() {
        return Ok((Vec::new(), None));
    }
    let mut selected = Vec::new();
    let mut left_out = Vec::new();
    for entry in dir.read_dir().during("list", dir)? {
        let name = entry.during("list", dir)?.file_name();
        let path = dir.join(&name);
        if !path.is_file() {
            continue;
        }
        if is_drop_in(&name, locale_is_utf8()) {
            selected.push(path);
        } else if name.as_bytes().ends_with(b".conf") {
            left_out.push(shown(&name));
        }
    }
    selected.sort();
    left_out.sort();
    let warning = (!left_out.is_empty()).then(|| {
        format!(
            "files in {} whose names hold a dot are not read: {}; drop the .conf to have them read",
            shown(dir),
            left_out.join(", ")
        )
    });
    Ok((selected, warning))
}

/// Letters and digits of the locale, `_`, `-`, and the backslash that the original lets through (S5).
fn is_drop_in(name: &OsStr, utf8: bool) -> bool {
    let Some(name) = name.to_str() else { return false };
    name.chars().all(|character| {
        character.is_ascii_alphanumeric()
            || "_-\\".contains(character)
            || (utf8 && !character.is_ascii() && character.is_alphanumeric())
    })
}

/// Whether the locale for characters is one in UTF-8: the first of its variables that is set decides.
fn locale_is_utf8() -> bool {
    let names = ["LC_ALL", "LC_CTYPE", "LANG"];
    let locale = names.iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    let locale = locale.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}

#[cfg(test)]
mod tests {
    use super::*;

    // S5
    #[test]
    fn letters_of_the_locale_may_be_in_the_name_of_a_drop_in() {
        assert!(is_drop_in("größe".as_ref(), true));
        assert!(!is_drop_in("größe".as_ref(), false));
        assert!(!is_drop_in("a…b".as_ref(), true));
        assert!(!is_drop_in(OsStr::from_bytes(b"a\xff"), true));
    }
}
