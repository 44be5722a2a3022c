//! The chroot's settings for its tools that manage accounts (login.defs(5)).

use crate::error::Result;
use crate::sys::confined::Root;

/// The value of a setting: the last line that sets it counts; none if no line does.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn value(root: &Root, name: &str) -> Result<Option<String>> {
    let text = root.read("etc/login.defs")?.unwrap_or_default();
    let mut value = None;
    for line in text.split(|&byte| byte == b'\n') {
        let mut words = line.split(|byte| b" \t\"\r".contains(byte)).filter(|word| !word.is_empty());
        if words.next() == Some(name.as_bytes()) {
            value = words.next().map(|value| String::from_utf8_lossy(value).into_owned());
        }
    }
    Ok(value)
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
}
