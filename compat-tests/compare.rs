//! Expected against observed: the list of differences, each with the way down to it.

use serde_json::{Map, Value};

use crate::case::Expectation;
use crate::sandbox::Outcome;

/// What joins the names of the way down to an observation, in `ignore` patterns and in reports.
const STEP: &str = " > ";

/// The longest value that a report shows whole.
const SHOWN: usize = 300;

/// Everything in which the outcome differs from the expectation; none means that the case has passed.
pub fn differences(expectation: &Expectation, outcome: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    compare(&expectation.observed, &outcome.observed, "", &expectation.ignore, &mut found);

    let (stdout, stderr) = (outcome.stdout.to_lowercase(), outcome.stderr.to_lowercase());
    let streams: [(&str, &[String], Vec<&str>); 3] = [
        ("stdout", &expectation.stdout_mentions, vec![&stdout]),
        ("stderr", &expectation.stderr_mentions, vec![&stderr]),
        ("the output", &expectation.output_mentions, vec![&stdout, &stderr]),
    ];
    for (name, words, texts) in streams {
        for word in words {
            if !texts.iter().any(|text| text.contains(&word.to_lowercase())) {
                found.push(format!("{name} does not mention {word:?}"));
            }
        }
    }
    for (name, expected, text) in [
        ("stdout", &expectation.stdout_lines, &outcome.stdout),
        ("stderr", &expectation.stderr_lines, &outcome.stderr),
    ] {
        if let Some(expected) = expected {
            let lines: Vec<&str> = text.lines().collect();
            let fits = lines.len() == expected.len()
                && expected.iter().zip(&lines).all(|(pattern, line)| matches(pattern, line));
            if !fits {
                found.push(format!("{name}: expected the lines {expected:?}"));
            }
        }
    }
    for word in expectation.never {
        if outcome.stdout.contains(word) || outcome.stderr.contains(word) {
            found.push(format!("the output holds {word:?}"));
        }
    }
    found
}

fn compare(expected: &Value, observed: &Value, way: &str, ignore: &[String], found: &mut Vec<String>) {
    if way == "exit" && expected == "failure" {
        if !is_failure(observed) {
            found.push(format!("exit: expected a failure, observed {observed}"));
        }
        return;
    }
    let (Value::Object(expected), Value::Object(observed)) = (expected, observed) else {
        if expected != observed {
            found.push(format!("{way}: expected {}, observed {}", shown(expected), shown(observed)));
        }
        return;
    };
    // Two files of different kinds differ as a whole.
    if kind(expected) != kind(observed) {
        let (expected, observed) = (Value::Object(expected.clone()), Value::Object(observed.clone()));
        found.push(format!("{way}: expected {}, observed {}", shown(&expected), shown(&observed)));
        return;
    }
    for (name, value) in expected {
        let way = step(way, name);
        if is_ignored(&way, ignore) {
            continue;
        }
        match observed.get(name) {
            Some(other) => compare(value, other, &way, ignore, found),
            None => found.push(format!("{way}: missing; expected {}", shown(value))),
        }
    }
    for (name, value) in observed {
        let way = step(way, name);
        if !expected.contains_key(name) && !is_ignored(&way, ignore) {
            found.push(format!("{way}: unexpected: {}", shown(value)));
        }
    }
}

fn kind(value: &Map<String, Value>) -> Option<&Value> {
    value.get("type")
}

/// Any status but 0, or any signal; running into the time limit is neither.
fn is_failure(exit: &Value) -> bool {
    match exit {
        Value::Number(_) => exit != 0,
        Value::String(text) => text.strip_prefix("signal ").is_some_and(|name| !name.contains(' ')),
        _ => false,
    }
}

/// The way down to `name`.
pub fn step(way: &str, name: &str) -> String {
    if way.is_empty() { name.to_owned() } else { format!("{way}{STEP}{name}") }
}

fn is_ignored(way: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| matches(pattern, way))
}

/// Whether the whole text fits the pattern, in which `*` stands for any characters, none included.
pub fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(start) else { return false };
    let ends = (0..=text.len()).filter(|index| text.is_char_boundary(*index));
    ends.into_iter().any(|index| matches(rest, &text[index..]))
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} characters)", &text[..end], text.chars().count()),
        None => text,
    }
}
