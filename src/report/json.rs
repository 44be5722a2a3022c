//! JSON (RFC 8259), as far as results need it: one value on one line.

use std::fmt::{self, Display, Formatter, Write};
use std::path::Path;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// Yes or no.
    Bool(bool),
    /// A number that is no fraction.
    Number(u64),
    /// A text.
    Text(String),
    /// Several values.
    List(Vec<Json>),
    /// Values with names, in this order.
    Object(Vec<(&'static str, Json)>),
}

impl Json {
    /// A path. JSON is Unicode: bytes of a name that are not UTF-8 are replaced, as they are for terminals.
    pub fn path(path: impl AsRef<Path>) -> Self {
        Self::Text(path.as_ref().to_string_lossy().into_owned())
    }
}

impl Display for Json {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(out, "{value}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Text(text) => quoted(out, text),
            Self::List(values) => {
                out.write_char('[')?;
                for (place, value) in values.iter().enumerate() {
                    let comma = if place > 0 { "," } else { "" };
                    write!(out, "{comma}{value}")?;
                }
                out.write_char(']')
            }
            Self::Object(members) => {
                out.write_char('{')?;
                for (place, (name, value)) in members.iter().enumerate() {
                    out.write_str(if place > 0 { "," } else { "" })?;
                    quoted(out, name)?;
                    write!(out, ":{value}")?;
                }
                out.write_char('}')
            }
        }
    }
}

fn quoted(out: &mut Formatter<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' | '\\' => write!(out, "\\{character}")?,
            '\n' => out.write_str("\\n")?,
            // The controls beyond ASCII may stand as they are, but would move the cursor of a terminal.
            control if control.is_control() => write!(out, "\\u{:04x}", u32::from(control))?,
            other => out.write_char(other)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn what_is_written_is_what_others_read() {
        let value = Json::Object(vec![
            ("text", Json::Text("a \"b\" \\ \n\t\u{1b}\u{85}é😀".to_owned())),
            ("number", Json::Number(u64::MAX)),
            ("yes", Json::Bool(true)),
            ("none", Json::List(Vec::new())),
            ("list", Json::List(vec![Json::Number(0), Json::Object(Vec::new())])),
            ("path", Json::path(OsStr::from_bytes(b"/a\xff"))),
        ]);
        let read: serde_json::Value = serde_json::from_str(&value.to_string()).unwrap();
        let expected = serde_json::json!({
            "text": "a \"b\" \\ \n\t\u{1b}\u{85}é😀",
            "number": u64::MAX,
            "yes": true,
            "none": [],
            "list": [0, {}],
            "path": "/a\u{fffd}",
        });
        assert_eq!(read, expected);
        assert!(!value.to_string().chars().any(char::is_control));
    }
}
