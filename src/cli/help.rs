//! Help texts: the options from a tool's table, the prose around them from the tool.

use super::getopt::{Argument, OptionSpec};

/// Width of the text, in columns.
const WIDTH: usize = 79;
/// Where the explanations of options begin, in columns.
const COLUMN: usize = 26;

/// The options of a table that are listed, each with its letter, name, value and explanation.
pub(super) fn options<T>(table: &[OptionSpec<T>]) -> String {
    let mut text = String::new();
    for spec in table.iter().filter(|spec| !spec.help.is_empty()) {
        let head = head(spec);
        let lines = wrapped(spec.help, WIDTH - COLUMN);
        let mut left = head.as_str();
        if head.len() + 2 > COLUMN {
            text.push_str(&head);
            text.push('\n');
            left = "";
        }
        for line in lines {
            text.push_str(&format!("{left:COLUMN$}{line}\n"));
            left = "";
        }
    }
    text
}

/// `  -b, --base=PATH`
fn head<T>(spec: &OptionSpec<T>) -> String {
    let short = match (spec.short, spec.long) {
        (Some(short), Some(_)) => format!("-{}, ", char::from(short)),
        (Some(short), None) => format!("-{}", char::from(short)),
        (None, _) => "    ".to_owned(),
    };
    let long = spec.long.map(|long| format!("--{long}")).unwrap_or_default();
    let value = match spec.argument {
        Argument::None => String::new(),
        Argument::Required(value) => format!("={value}"),
        Argument::Optional(value) => format!("[={value}]"),
    };
    format!("  {short}{long}{value}")
}

fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().filter(|line| line.is_empty() || line.len() + 1 + word.len() <= width);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => {
                line.push(' ');
                line.push_str(word);
            }
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What every table must fulfil: no letter or name twice, every option has one, all of those listed are
/// on the manual page and in the help text.
#[cfg(test)]
pub(super) fn check_table<T>(table: &[OptionSpec<T>], help: &str, manual: &str) {
    for (at, spec) in table.iter().enumerate() {
        assert!(spec.short.is_some() || spec.long.is_some());
        for other in &table[..at] {
            assert!(spec.short.is_none() || spec.short != other.short, "-{:?} twice", spec.short);
            assert!(spec.long.is_none() || spec.long != other.long, "{:?} twice", spec.long);
        }
        if let (false, Some(long)) = (spec.help.is_empty(), spec.long) {
            assert!(help.contains(&format!("--{long}")), "--{long} is not in the help text");
            let roff = format!("\\-\\-{}", long.replace('-', "\\-"));
            assert!(manual.contains(&roff), "--{long} is not on the manual page");
        }
    }
    let longest = help.lines().map(str::len).max();
    assert!(longest <= Some(WIDTH), "the help text is {longest:?} columns wide");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_listed_with_their_values_in_two_columns() {
        let table = [
            OptionSpec {
                id: (),
                short: Some(b'b'),
                long: Some("base"),
                argument: Argument::Required("PATH"),
                help: "One two three four five six seven eight nine ten eleven.",
                yields: false,
            },
            OptionSpec {
                id: (),
                short: None,
                long: Some("a-very-long-option"),
                argument: Argument::Optional("X"),
                help: "Explained below.",
                yields: false,
            },
            OptionSpec {
                id: (),
                short: Some(b'p'),
                long: None,
                argument: Argument::None,
                help: "",
                yields: true,
            },
        ];
        assert_eq!(
            options(&table),
            "  -b, --base=PATH         One two three four five six seven eight nine ten\n\
             \x20                         eleven.\n\
             \x20     --a-very-long-option[=X]\n\
             \x20                         Explained below.\n"
        );
    }
}
