//! A file as one shell script: each section is a function, and the ones that apply are called (F22).
//!
//! Each line of the file is on the line of the same number of the script, so that the shell's messages fit
//! the file.

use super::layout::{Layout, Part, Section};
use super::{LISTS, Selection, words};

/// The script of a whole file.
pub(super) fn of(layout: &Layout, selection: Selection<'_>) -> Vec<u8> {
    let mut script = Lines::default();
    script.text.extend_from_slice(b"_ltsp_seen=,");
    for (number, section) in layout.sections.iter().enumerate() {
        script.go_to(section.line);
        let end = if number == 0 { "" } else { "}" };
        let id = &section.id;
        // Never twice, which also ends circles (F34).
        let begin = format!(
            "{end}; section_{id}() {{ case $_ltsp_seen in *,{id},*) return 0 ;; esac; \
             _ltsp_seen=${{_ltsp_seen}}{id},; "
        );
        script.text.extend_from_slice(begin.as_bytes());
        script.parts(section);
    }
    script.text.extend_from_slice(b"\n}\n");
    let mut script = script.text;
    script.extend(call(layout));
    for list in 0..LISTS {
        script.extend_from_slice(b"section_call");
        for word in words(selection, list) {
            let variable = word.variable.map(|name| format!("${{{name}-}}")).unwrap_or_default();
            script.extend_from_slice(format!(" \"{}{variable}\"", word.text).as_bytes());
        }
        script.push(b'\n');
    }
    // The status of the last section means nothing (F26).
    script.extend_from_slice(b":\n");
    script
}

/// A section alone, only to look for mistakes in it.
pub(super) fn of_section(section: &Section) -> Vec<u8> {
    let mut script = Lines::default();
    script.parts(section);
    script.text
}

/// The function that evaluates what a word means, for us, for `INCLUDE`, and for code in the file (F26).
fn call(layout: &Layout) -> Vec<u8> {
    let mut script = b"section_call() { for _ltsp_word in \"$@\"; do case $_ltsp_word in\n".to_vec();
    for section in &layout.sections {
        // In parentheses, `esac` is a pattern like any other.
        script.push(b'(');
        script.extend_from_slice(&section.pattern);
        script.extend_from_slice(format!(") section_{} \"$@\" ;;\n", section.id).as_bytes());
    }
    script.extend_from_slice(b"esac; done; }\n");
    script
}

/// A script that is written line by line.
#[derive(Default)]
struct Lines {
    text: Vec<u8>,
    /// How many line breaks it has.
    breaks: usize,
}

impl Lines {
    /// Goes on at this line, from 1.
    fn go_to(&mut self, line: usize) {
        while self.breaks + 1 < line {
            self.text.push(b'\n');
            self.breaks += 1;
        }
    }

    fn parts(&mut self, section: &Section) {
        for part in &section.parts {
            match part {
                Part::Text { line, text } => {
                    self.go_to(*line);
                    self.text.extend_from_slice(text);
                    self.breaks += text.iter().filter(|&&byte| byte == b'\n').count();
                }
                Part::Include { line, word } => {
                    self.go_to(*line);
                    let call = [b"section_call '", word.as_slice(), b"'\n"].concat();
                    self.text.extend(call);
                    self.breaks += 1;
                }
            }
        }
    }
}
