//! A run of ours against a run of the original on an equal machine.

use serde_json::Value;

use crate::case::Case;
use crate::compare;
use crate::sandbox::Outcome;

/// Everything in which ours differs from the original, but for the deviations of the case; failures without a
/// reason; and whatever the original does not show although the case is about it, so that two programs that fail
/// alike for want of something on the machine do not pass.
pub fn differences(case: &Case, original: &Outcome, ours: &Outcome) -> Vec<String> {
    let mut found = Vec::new();
    let least = Value::Object(case.expect.clone());
    missing(&least, &original.observed, "", &mut found);
    let commands = ours.observed["commands"].as_object();
    for run in commands.into_iter().flat_map(serde_json::Map::values).chain([&ours.observed]) {
        if run["exit"].as_i64().is_some_and(|status| status != 0) && run["stderr_empty"] == true {
            found.push(format!("fails without a word: {run}"));
        }
    }
    found.extend(compare::differences(&case.live_expectation(&original.observed), ours));
    found
}

/// What of `least` is not so in `observed`.
fn missing(least: &Value, observed: &Value, way: &str, found: &mut Vec<String>) {
    match (least, observed) {
        (Value::Object(least), Value::Object(observed)) => {
            for (name, value) in least {
                let way = compare::step(way, name);
                match observed.get(name) {
                    Some(observed) => missing(value, observed, &way, found),
                    None => found.push(format!("the original does not show {way}")),
                }
            }
        }
        (least, observed) if least == observed => {}
        (least, observed) => {
            found.push(format!("the original: {way}: expected {least}, observed {observed}"))
        }
    }
}
