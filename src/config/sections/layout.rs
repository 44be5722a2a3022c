//! From the text of `ltsp.conf` to its sections (F22 to F24, F27 to F30).

use super::pattern;

/// The characters that may stand in the name of a section, besides letters and digits (F23).
const SPECIAL: &[u8] = b"-*./:?@_|";

/// A file taken apart.
#[derive(Debug)]
pub(super) struct Layout {
    /// Every section as it stands in the file, the lines before the first one as the first of them.
    pub(super) sections: Vec<Section>,
}

/// One section.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The pattern that it is looked up by.
    pub(super) pattern: Vec<u8>,
    /// Of two sections with the same identity the later one counts, for both patterns (F28).
    pub(super) id: String,
    /// The number of its first line in the file, from 1: the line with its name, except for the lines
    /// before the first one.
    pub(super) line: usize,
    pub(super) parts: Vec<Part>,
}

/// A piece of a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Lines of shell, from this one on.
    Text { line: usize, text: Vec<u8> },
    /// The evaluation of another section at this point.
    Include { line: usize, word: Vec<u8> },
}

/// What is wrong with a file: the line, and the sentence about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) line: usize,
    pub(super) what: String,
}

/// What everything before the first section belongs to (F27).
pub(super) const UNNAMED: &str = "unnamed";

impl Layout {
    /// Takes a file apart. It need not have any section: the original calls that a syntax error (F29).
    ///
    /// # Errors
    /// A section whose name is none.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Mistake> {
        let mut sections = vec![Section::new(UNNAMED.as_bytes().to_vec(), 1)];
        for (line, text) in (1..).zip(lines(text)) {
            if let Some(name) = section_name(text) {
                if !pattern::is_valid(&name) {
                    let what = format!(
                        "`{}` names no section: letters, digits, * and ? are missing, or one side of a |",
                        String::from_utf8_lossy(text.trim_ascii())
                    );
                    return Err(Mistake { line, what });
                }
                sections.push(Section::new(name, line));
            } else if let Some(section) = sections.last_mut() {
                section.add(line, text);
            }
        }
        Ok(Self { sections })
    }

    /// The section that a word means: the first one in the file whose pattern fits, in the last version of
    /// it (F28, F32); `unnamed` always is the one of that name.
    pub(super) fn find(&self, word: &[u8]) -> Option<&Section> {
        let fits = |section: &&Section| pattern::matches(&section.pattern, word);
        // The lines before the first section are first in the list.
        let first = self.sections.iter().find(fits)?;
        self.sections.iter().rfind(|section| section.id == first.id)
    }
}

impl Section {
    fn new(pattern: Vec<u8>, line: usize) -> Self {
        let plain = |&byte: &u8| if byte.is_ascii_alphanumeric() { char::from(byte) } else { '_' };
        let id = pattern.iter().map(plain).collect();
        Self { pattern, id, line, parts: Vec::new() }
    }

    fn add(&mut self, line: usize, bytes: &[u8]) {
        if let Some(word) = include(bytes) {
            self.parts.push(Part::Include { line, word });
            return;
        }
        if !matches!(self.parts.last(), Some(Part::Text { .. })) {
            self.parts.push(Part::Text { line, text: Vec::new() });
        }
        if let Some(Part::Text { text, .. }) = self.parts.last_mut() {
            text.extend(without_blanks_around_equals(bytes));
            text.push(b'\n');
        }
    }
}

/// The lines of a text; nothing after the last line break is no line.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n')
}

/// The name in a line that begins a section: blanks, but no tabs, and something in brackets (F22). All of
/// the line counts, so that `[a] b` is `ab` (F23).
fn section_name(line: &[u8]) -> Option<Vec<u8>> {
    let inside = trimmed(line).strip_prefix(b"[")?;
    inside.contains(&b']').then(|| normal(line))
}

/// The word after `INCLUDE =`, in any case, at the very start of a line (F22, F24).
fn include(line: &[u8]) -> Option<Vec<u8>> {
    const NAME: &[u8] = b"include";
    let start = line.get(..NAME.len()).filter(|start| start.eq_ignore_ascii_case(NAME))?;
    trimmed(&line[start.len()..]).strip_prefix(b"=").map(normal)
}

/// A name as sections are looked up by it (F23, F24).
fn normal(text: &[u8]) -> Vec<u8> {
    let end = text.iter().position(|&byte| byte == b'#').unwrap_or(text.len());
    let lower = text[..end].iter().map(u8::to_ascii_lowercase);
    lower.filter(|byte| byte.is_ascii_alphanumeric() || SPECIAL.contains(byte)).collect()
}

/// `A = x` is `A=x` at the very start of a line (F22, F25).
fn without_blanks_around_equals(line: &[u8]) -> Vec<u8> {
    let name = line.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    match trimmed(&line[name..]).strip_prefix(b"=") {
        Some(value) => [&line[..name], b"=", trimmed(value)].concat(),
        None => line.to_vec(),
    }
}

/// The text without the blanks, but not the tabs, at its start.
fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| byte != b' ').unwrap_or(text.len());
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(text: &str) -> Layout {
        Layout::parse(text.as_bytes()).unwrap()
    }

    fn patterns(text: &str) -> Vec<String> {
        let sections = layout(text).sections;
        sections.iter().map(|section| String::from_utf8(section.pattern.clone()).unwrap()).collect()
    }

    // F22, F23
    #[test]
    fn a_section_is_named_by_what_is_left_of_its_line() {
        for (line, name) in [
            ("[Server]", Some("server")),
            ("[SER VER]", Some("server")),
            ("[server] # note", Some("server")),
            ("[server] x", Some("serverx")),
            ("[pc[0-9]]", Some("pc0-9")),
            ("[se#rver]", Some("se")),
            ("   [server]", Some("server")),
            ("[server]\r", Some("server")),
            ("[b8:27:EB:*|dc:a6:32:*]", Some("b8:27:eb:*|dc:a6:32:*")),
            ("[image/pc??.lan_@-]", Some("image/pc??.lan_@-")),
            ("[\u{e4}\"$(x)a]", Some("xa")),
            ("[ -d /x ] && A=1", Some("-d/xa1")),
            ("\t[server]", None),
            ("[server", None),
            ("x [server]", None),
            ("# [server]", None),
        ] {
            let found = patterns(line);
            assert_eq!(found.get(1).map(String::as_str), name, "{line}");
        }
        for line in ["[]", "[#]", "[!]", "[|]", "[a|]", "[|a]", "[a||b]"] {
            let mistake = Layout::parse(format!("A=1\n{line}\n").as_bytes()).unwrap_err();
            assert_eq!(mistake.line, 2, "{line}: {}", mistake.what);
        }
    }

    // F22, F24, F25
    #[test]
    fn lines_are_taken_over_but_for_blanks_around_the_first_equals_sign_and_includes() {
        let text = "A = x = y\nB =z\n C = d\nE=  f\nINCLUDE = \"Foo Bar\" # x\n include=a\n = g\nA\t= b\n\
                    include_x = y\nexport A = b\n";
        let sections = layout(text).sections;
        let [Part::Text { line: 1, text: before }, include, Part::Text { line: 6, text: after }] =
            &sections[0].parts[..]
        else {
            panic!("{sections:?}")
        };
        assert_eq!(String::from_utf8_lossy(before), "A=x = y\nB=z\n C = d\nE=f\n");
        assert_eq!(*include, Part::Include { line: 5, word: b"foobar".to_vec() });
        let expected = " include=a\n=g\nA\t= b\ninclude_x=y\nexport A = b\n";
        assert_eq!(String::from_utf8_lossy(after), expected);
    }

    // F27, F29
    #[test]
    fn what_is_before_the_first_section_is_unnamed() {
        assert_eq!(layout("").sections.len(), 1);
        assert_eq!(patterns("A=1\n# only this\n"), ["unnamed"]);
        let layout = layout("A=1\n[*]\nB=1\n[unnamed]\nC=1\n");
        assert_eq!(layout.find(b"unnamed").unwrap().line, 4);
        assert_eq!(layout.find(b"server").unwrap().line, 2);
    }

    // F28, F32
    #[test]
    fn the_first_pattern_that_fits_decides_and_the_last_section_of_its_identity_counts() {
        let layout = layout("[pc*]\n[pc1]\n[a-b]\n[c]\n[a_b]\n[C]\n[kernel/*]\n[kernel/]\n");
        for (word, line) in [
            ("pc1", Some(1)),
            ("a-b", Some(5)),
            ("a_b", Some(5)),
            ("c", Some(6)),
            ("C", None),
            ("kernel/", Some(7)),
            ("a.b", None),
            ("", None),
        ] {
            assert_eq!(layout.find(word.as_bytes()).map(|section| section.line), line, "{word}");
        }
    }
}
