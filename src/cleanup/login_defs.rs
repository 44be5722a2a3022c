//! Settings of the tools that manage accounts (login.defs(5)).

use std::ops::RangeInclusive;
use std::path::Path;

use crate::error::{Error, Result, shown};
use crate::sys::confined::Root;

const PATH: &str = "etc/login.defs";

/// The value of a setting of the chroot: the last line that sets it counts; none if no line does.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn value(root: &Root, name: &str) -> Result<Option<String>> {
    let text = root.read(PATH)?.unwrap_or_default();
    Ok(value_in(&text, name))
}

fn value_in(text: &[u8], name: &str) -> Option<String> {
    let mut value = None;
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.split(|byte| b" \t\"\r".contains(byte)).filter(|word| !word.is_empty());
        if words.next() == Some(name.as_bytes()) {
            value = words.next().map(|value| String::from_utf8_lossy(value).into_owned());
        }
    }
    value
}

/// The ids that are given to people and to their groups (I12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranges {
    /// User ids.
    pub users: RangeInclusive<i64>,
    /// Group ids.
    pub groups: RangeInclusive<i64>,
}

/// What shadow has without a setting.
impl Default for Ranges {
    fn default() -> Self {
        Self { users: 1000..=60000, groups: 1000..=60000 }
    }
}

impl Ranges {
    /// Those of the server, in `/etc/login.defs`: an admin who has moved the border there relies on it.
    /// Nothing stands in for them, as a wrong border would leave people's accounts in the image.
    ///
    /// # Errors
    /// When the file is missing or cannot be read.
    pub fn of_server() -> Result<Self> {
        let server = Path::new("/etc/login.defs");
        let text = std::fs::read(server).map_err(|source| {
            Error::io("read", server, source)
                .hint("it says which accounts are people's, which have to be removed; see login.defs(5)")
        })?;
        Ok(Self::in_text(&text, server))
    }

    fn in_text(text: &[u8], path: &Path) -> Self {
        let bound = |name: &str, default: i64| match value_in(text, name).map(|value| (value.parse(), value))
        {
            None => default,
            Some((Ok(number), _)) => number,
            Some((Err(_), value)) => {
                let (path, value) = (shown(path), shown(value));
                log::warn!("{path}: {name} is no number: {value}; {default} is used instead");
                default
            }
        };
        let default = Self::default();
        Self {
            users: bound("UID_MIN", *default.users.start())..=bound("UID_MAX", *default.users.end()),
            groups: bound("GID_MIN", *default.groups.start())..=bound("GID_MAX", *default.groups.end()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_that_is_no_comment_counts() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(value(&root, "UID_MIN").unwrap(), None);
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(
            dir.path().join("etc/login.defs"),
            "UID_MIN 5\n  UID_MIN\t\"7\" \n#UID_MIN 9\nUID_MINX 1\n",
        )
        .unwrap();
        assert_eq!(value(&root, "UID_MIN").unwrap().as_deref(), Some("7"));
    }

    // I12
    #[test]
    fn what_login_defs_does_not_set_has_its_default() {
        let ranges = |text: &str| Ranges::in_text(text.as_bytes(), Path::new("login.defs"));
        assert_eq!(ranges(""), Ranges::default());
        let text = "UID_MIN 500\nUID_MIN\t600 # people\n#GID_MAX 5\nGID_MAX x\nSYS_UID_MIN 7\n";
        assert_eq!(ranges(text), Ranges { users: 600..=60000, groups: 1000..=60000 });
    }
}
