//! One recorded case: what a machine looks like, what is run on it, and what must be seen afterwards.

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::setup::Setup;

/// A case as its file has it. Unknown fields are refused: what the runner does not know, it cannot have
/// set up or compared.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub id: String,
    pub title: String,
    #[serde(default, rename = "rules")]
    _rules: IgnoredAny,
    #[serde(default)]
    pub setup: Setup,
    #[serde(default)]
    pub argv: Vec<String>,
    /// Lines of shell, run one after another instead of `argv`, each with a status and output of its own.
    #[serde(default)]
    pub commands: Vec<String>,
    pub signal: Option<SignalPlan>,
    /// Seconds until the program is killed.
    #[serde(default = "sixty_seconds")]
    pub timeout: f64,
    /// Seconds that helpers of the program get to end.
    #[serde(default = "a_moment")]
    pub settle: f64,
    /// Of the paths that every case starts without, those that stay.
    #[serde(default)]
    pub keep: Vec<String>,
    #[serde(default)]
    pub observe: Observe,
    /// In a live case only the least that the original must show, to prove that the case is about what it says.
    #[serde(default)]
    pub expect: Map<String, Value>,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    stdout_mentions: Vec<String>,
    #[serde(default)]
    stderr_mentions: Vec<String>,
    #[serde(default)]
    output_mentions: Vec<String>,
    stdout_lines: Option<Vec<String>>,
    stderr_lines: Option<Vec<String>>,
    #[serde(default, rename = "calls")]
    _calls: IgnoredAny,
    deviation: Option<Deviation>,
    observed_original: Option<Map<String, Value>>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Deviation {
    #[serde(rename = "reason")]
    _reason: String,
    /// A merge patch whose effect is already part of the case's `expect`; of use here are only the
    /// mentions in it.
    #[serde(default)]
    expect: Map<String, Value>,
    #[serde(default)]
    ignore: Vec<String>,
}

/// Whose behaviour a run is compared with.
#[derive(Clone, Copy, PartialEq)]
pub enum Standard {
    /// What is expected of a replacement: deviations apply.
    Replacement,
    /// What the original did: this proves the runner itself.
    Original,
}

/// What an observation is compared with.
pub struct Expectation {
    pub observed: Value,
    pub ignore: Vec<String>,
    pub stdout_mentions: Vec<String>,
    pub stderr_mentions: Vec<String>,
    pub output_mentions: Vec<String>,
    /// All lines of standard output, `*` in them for any characters.
    pub stdout_lines: Option<Vec<String>>,
    /// The same of standard error.
    pub stderr_lines: Option<Vec<String>>,
    /// What no output may hold, because it speaks of our insides.
    pub never: &'static [&'static str],
}

/// What only a mistake of ours can show to an admin: temporary places in the stead of the chroot's own,
/// words of Rust, addresses in /proc.
const NEVER: [&str; 5] = ["/tmp/ltsp-", "/proc/self", "(os error", "panicked", "RUST_BACKTRACE"];

const MENTIONS: [&str; 3] = ["stdout_mentions", "stderr_mentions", "output_mentions"];

impl Case {
    /// # Errors
    /// The text is no case, or has fields that this runner does not know.
    pub fn parse(text: &str) -> Result<Self, String> {
        let case: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        case.setup.refuse_unknown()?;
        Ok(case)
    }

    pub fn expectation(&self, standard: Standard) -> Expectation {
        let expected = match (standard, &self.observed_original) {
            (Standard::Original, Some(observed)) => observed.clone(),
            _ => self.expect.clone(),
        };
        self.expectation_of(expected, standard)
    }

    /// What is expected of a replacement where the original, in this run of it, has shown this.
    pub fn live_expectation(&self, original: &Value) -> Expectation {
        let mut expected = original.clone();
        if let Some(deviation) = &self.deviation {
            patch(&mut expected, &Value::Object(deviation.expect.clone()));
        }
        let expected = expected.as_object().cloned().unwrap_or_default();
        self.expectation_of(expected, Standard::Replacement)
    }

    fn expectation_of(&self, mut expected: Map<String, Value>, standard: Standard) -> Expectation {
        let mut ignore = self.ignore.clone();
        let mut mentions =
            [self.stdout_mentions.clone(), self.stderr_mentions.clone(), self.output_mentions.clone()];
        if let (Standard::Replacement, Some(deviation)) = (standard, &self.deviation) {
            ignore.extend(deviation.ignore.iter().cloned());
            for (name, words) in MENTIONS.iter().zip(&mut mentions) {
                if let Some(Value::Array(replaced)) = deviation.expect.get(*name) {
                    *words = replaced.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                }
            }
        }
        expected.retain(|name, _| !MENTIONS.contains(&name.as_str()));
        let [stdout_mentions, stderr_mentions, output_mentions] = mentions;
        Expectation {
            observed: Value::Object(expected),
            ignore,
            stdout_mentions,
            stderr_mentions,
            output_mentions,
            stdout_lines: self.stdout_lines.clone(),
            stderr_lines: self.stderr_lines.clone(),
            never: if standard == Standard::Replacement { &NEVER } else { &[] },
        }
    }
}

/// Applies a JSON merge patch (RFC 7396): objects merge, `null` removes, everything else replaces.
fn patch(value: &mut Value, change: &Value) {
    match (value, change) {
        (Value::Object(value), Value::Object(change)) => {
            for (name, change) in change {
                if change.is_null() {
                    value.remove(name);
                } else {
                    patch(value.entry(name.clone()).or_insert(Value::Null), change);
                }
            }
        }
        (value, change) => *value = change.clone(),
    }
}

fn sixty_seconds() -> f64 {
    60.0
}

fn a_moment() -> f64 {
    1.5
}

/// More directories to look at.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observe {
    #[serde(default)]
    pub images: Vec<String>,
    #[serde(default)]
    pub files: Vec<String>,
    /// Files inside images whose text is shown, as patterns.
    #[serde(default)]
    pub text: Vec<String>,
    /// Files inside images with new random content.
    #[serde(default)]
    pub volatile: Vec<String>,
    /// The members of groups, in such text, are in no order.
    #[serde(default)]
    pub accounts: bool,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalPlan {
    pub name: String,
    #[serde(default)]
    pub to: Receiver,
    #[serde(default)]
    pub when: When,
    /// Seconds between the event and the signal.
    #[serde(default)]
    pub wait: f64,
}

#[derive(Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Receiver {
    #[default]
    Process,
    Group,
}

/// Events; the first to come true counts.
#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    pub new_file_in: Option<String>,
    pub process: Option<String>,
    /// Seconds since the start.
    pub after: Option<f64>,
}
