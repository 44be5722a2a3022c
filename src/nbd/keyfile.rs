//! The syntax of nbd-server's files: glib's key file.

/// One `[group]` and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name, as it is between the brackets.
    pub name: Vec<u8>,
    keys: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What the parser would not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Group {
    /// The raw value of a key; of several, the last.
    pub fn raw(&self, key: &str) -> Option<&[u8]> {
        self.keys.iter().rfind(|(name, _)| name == key.as_bytes()).map(|(_, value)| &**value)
    }

    /// The value of a key as nbd-server takes it, escapes replaced; `None` also if it would be refused,
    /// because it is not UTF-8 or has an unknown escape.
    pub fn string(&self, key: &str) -> Option<String> {
        let raw = std::str::from_utf8(self.raw(key)?).ok()?;
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw.chars();
        while let Some(character) = rest.next() {
            if character != '\\' {
                out.push(character);
                continue;
            }
            out.push(match rest.next()? {
                's' => ' ',
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '\\' => '\\',
                _ => return None,
            });
        }
        Some(out)
    }
}

/// The groups of a file in the order in which they first appear.
///
/// As `g_key_file_load_from_file` of glib 2.74 reads it: a line is a comment, a group or `key = value`;
/// blanks before it do not count, blanks at its end belong to the value; a group that comes again goes
/// on.
///
/// # Errors
/// The first line that is none of these.
pub fn parse(text: &[u8]) -> Result<Vec<Group>, Mistake> {
    let mut groups: Vec<Group> = Vec::new();
    let mut current = None;
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let mistake = |reason| Mistake { line: index + 1, reason };
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        if let Some(name) = group_name(line) {
            let name = name.map_err(mistake)?;
            let known = groups.iter().position(|group| group.name == name);
            current = Some(known.unwrap_or_else(|| {
                groups.push(Group { name: name.to_owned(), keys: Vec::new() });
                groups.len() - 1
            }));
            continue;
        }
        let Some(equals) = line.iter().position(|byte| *byte == b'=') else {
            return Err(mistake("it is neither a section, nor a setting, nor a comment"));
        };
        let key = line[..equals].trim_ascii_end();
        if key.is_empty() || key.iter().any(|byte| b"[]".contains(byte)) && !is_translated(key) {
            return Err(mistake("it has no valid name before the ="));
        }
        let Some(group) = current.and_then(|index: usize| groups.get_mut(index)) else {
            return Err(mistake("there is no section before this setting"));
        };
        group.keys.push((key.to_owned(), line[equals + 1..].trim_ascii_start().to_owned()));
    }
    Ok(groups)
}

/// The name in a line that has the form of a group; `None` if it has not.
fn group_name(line: &[u8]) -> Option<Result<&[u8], &'static str>> {
    let inside = line.strip_prefix(b"[")?;
    let end = inside.iter().position(|byte| *byte == b']')?;
    if !inside[end + 1..].iter().all(|byte| b" \t".contains(byte)) {
        return None;
    }
    let name = &inside[..end];
    let valid = !name.is_empty() && !name.iter().any(|byte| *byte == b'[' || byte.is_ascii_control());
    Some(if valid { Ok(name) } else { Err("its name is not valid") })
}

/// `key[locale]`.
fn is_translated(key: &[u8]) -> bool {
    let Some((open, inside)) = key.iter().position(|byte| *byte == b'[').map(|open| (open, &key[open + 1..]))
    else {
        return false;
    };
    let Some(locale) = inside.strip_suffix(b"]") else { return false };
    open > 0 && locale.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_keys_and_comments_are_read_as_glib_reads_them() {
        let text = b"# c\n\n\t[generic]  \n\tuser = nbd\n a=  b c \nuser=x\\sy\n[g 2]\r\nk[de] = v\r\n[generic]\nz=1";
        let groups = parse(text).unwrap();
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].string("user").unwrap(), "x y");
        assert_eq!(groups[0].string("a").unwrap(), "b c ");
        assert_eq!(groups[0].string("z").unwrap(), "1");
        assert_eq!(groups[0].string("none"), None);
        assert_eq!((&*groups[1].name, groups[1].raw("k[de]")), (&b"g 2"[..], Some(&b"v"[..])));
        assert_eq!(parse(b"# only comments\n\n"), Ok(Vec::new()));
    }

    #[test]
    fn what_glib_refuses_is_refused_with_its_line() {
        let cases: [(&[u8], usize); 8] = [
            (b"[a]\njunk\n", 2),
            (b"a = b\n", 1),
            (b"[a]\n= b\n", 2),
            (b"[a\nb]\n", 1),
            (b"[]\n", 1),
            (b"[a[b]\n", 1),
            (b"[a\tb]\n", 1),
            (b"[a] b\n", 1),
        ];
        for (text, line) in cases {
            assert_eq!(parse(text).unwrap_err().line, line, "{}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn a_value_that_nbd_server_would_refuse_has_no_string() {
        let groups = parse(b"[a]\nb = \\x\nc = \xff\nd = \\\ne = \\\\\n").unwrap();
        for key in ["b", "c", "d"] {
            assert_eq!((groups[0].string(key), groups[0].raw(key).is_some()), (None, true), "{key}");
        }
        assert_eq!(groups[0].string("e").unwrap(), "\\");
    }
}
