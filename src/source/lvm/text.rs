//! The text format of LVM's metadata: nested sections of `name = value`.

/// How deep sections may be nested; a group's are four deep.
const DEEPEST: u32 = 16;

/// A section: its entries in their order.
#[derive(Debug, Default)]
pub(super) struct Section(Vec<(String, Node)>);

#[derive(Debug)]
enum Node {
    Section(Section),
    Values(Vec<String>),
}

impl Section {
    /// The sections in it.
    pub(super) fn sections(&self) -> impl Iterator<Item = (&str, &Section)> {
        self.0.iter().filter_map(|(name, node)| match node {
            Node::Section(section) => Some((&**name, section)),
            Node::Values(_) => None,
        })
    }

    /// The section of this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections().find(|(found, _)| *found == name).map(|(_, section)| section)
    }

    /// The values of this name, numbers as they are written.
    pub(super) fn list(&self, name: &str) -> &[String] {
        let found = self.0.iter().find_map(|(found, node)| match node {
            Node::Values(values) if found == name => Some(&**values),
            _ => None,
        });
        found.unwrap_or(&[])
    }

    /// The one value of this name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.list(name) {
            [value] => Some(value),
            _ => None,
        }
    }

    /// The one value of this name, as a number.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }
}

/// Reads a text; none if it is not well formed.
pub(super) fn parse(text: &[u8]) -> Option<Section> {
    let text = String::from_utf8_lossy(text);
    let mut words = Words { rest: &text };
    section(&mut words, 0)
}

/// A section up to its closing brace, or up to the text's end for the outermost one.
fn section(words: &mut Words<'_>, depth: u32) -> Option<Section> {
    let mut entries = Vec::new();
    while let Some(name) = words.next()? {
        if name == Word::Mark('}') {
            return (depth > 0).then_some(Section(entries));
        }
        let Word::Text(name) = name else { return None };
        let node = match words.next()?? {
            Word::Mark('{') if depth < DEEPEST => Node::Section(section(words, depth + 1)?),
            Word::Mark('=') => Node::Values(values(words)?),
            _ => return None,
        };
        entries.push((name, node));
    }
    (depth == 0).then_some(Section(entries))
}

/// One value, or a list in brackets.
fn values(words: &mut Words<'_>) -> Option<Vec<String>> {
    match words.next()?? {
        Word::Text(value) => return Some(vec![value]),
        Word::Mark('[') => {}
        Word::Mark(_) => return None,
    }
    let mut list = Vec::new();
    loop {
        match words.next()?? {
            Word::Text(value) => list.push(value),
            Word::Mark(',') => {}
            Word::Mark(']') => return Some(list),
            Word::Mark(_) => return None,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    /// A name, a number or a quoted text.
    Text(String),
    /// One of `{ } [ ] = ,`.
    Mark(char),
}

struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    /// The next word; `Some(None)` at the end, none if what comes is no word.
    fn next(&mut self) -> Option<Option<Word>> {
        // The text is followed by a zero byte.
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\0');
            match self.rest.strip_prefix('#') {
                Some(comment) => self.rest = comment.split_once('\n').map_or("", |(_, rest)| rest),
                None => break,
            }
        }
        let Some(first) = self.rest.chars().next() else { return Some(None) };
        if matches!(first, '{' | '}' | '[' | ']' | '=' | ',') {
            self.rest = &self.rest[1..];
            return Some(Some(Word::Mark(first)));
        }
        if first == '"' {
            return self.quoted().map(Some);
        }
        let end = self.rest.find(|c: char| c.is_whitespace() || "{}[]=,\"#\0".contains(c));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        Some(Some(Word::Text(word.to_owned())))
    }

    fn quoted(&mut self) -> Option<Word> {
        let mut text = String::new();
        let mut characters = self.rest[1..].char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Some(Word::Text(text));
                }
                '\\' => text.push(characters.next()?.1),
                _ => text.push(character),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_and_values_are_read() {
        let root = parse(b"# c\na {\nb = 1 # x = 2\nc=[\"x\\\"}\", 5,]\nd {e=\"\"}}\nf = \"#\"\n\0").unwrap();
        let a = root.section("a").unwrap();
        assert_eq!(a.number("b"), Some(1));
        assert_eq!(a.list("c"), ["x\"}", "5"]);
        assert_eq!(a.section("d").unwrap().text("e"), Some(""));
        assert_eq!(root.text("f"), Some("#"));
        assert_eq!(root.number("f"), None);
    }

    #[test]
    fn what_is_not_well_formed_is_none() {
        let deep = "a{".repeat(1000);
        for text in ["a", "a {", "a = ", "a = [1", "a = \"x", "}", "{", "= 1", "a = }", &deep] {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
    }
}
