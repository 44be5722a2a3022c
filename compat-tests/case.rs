//! One recorded case: what a machine looks like, what is run on it, and what must be seen afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

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
    pub argv: Vec<String>,
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
    expect: Map<String, Value>,
    #[serde(default)]
    ignore: Vec<String>,
    #[serde(default)]
    stdout_mentions: Vec<String>,
    #[serde(default)]
    stderr_mentions: Vec<String>,
    #[serde(default)]
    output_mentions: Vec<String>,
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
}

const MENTIONS: [&str; 3] = ["stdout_mentions", "stderr_mentions", "output_mentions"];

impl Case {
    /// # Errors
    /// The text is no case, or has fields that this runner does not know.
    pub fn parse(text: &str) -> Result<Self, String> {
        let case: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        case.setup.refuse_unknown("setup")?;
        for mount in &case.setup.mounts {
            refuse(&mount.unknown, "a mount")?;
        }
        Ok(case)
    }

    pub fn expectation(&self, standard: Standard) -> Expectation {
        let mut expected = match (standard, &self.observed_original) {
            (Standard::Original, Some(observed)) => observed.clone(),
            _ => self.expect.clone(),
        };
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
        let observed = Value::Object(expected);
        Expectation { observed, ignore, stdout_mentions, stderr_mentions, output_mentions }
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
}

/// What the machine gets before the run, in the order in which it is applied.
#[derive(Default, serde::Deserialize)]
pub struct Setup {
    #[serde(flatten)]
    pub contents: Contents,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub images: Ordered<Image>,
    /// Missing and empty differ: requests to service managers are compared only if there are stand-ins.
    pub shims: Option<Shims>,
    #[serde(default)]
    pub processes: Vec<Process>,
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    pub uid: Option<u32>,
    pub cwd: Option<String>,
    /// Octal text.
    pub umask: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

impl Setup {
    fn refuse_unknown(&self, place: &str) -> Result<(), String> {
        refuse(&self.unknown, place)
    }
}

fn refuse(unknown: &BTreeMap<String, Value>, place: &str) -> Result<(), String> {
    match unknown.keys().next() {
        Some(name) => Err(format!("unknown field `{name}` in {place}")),
        None => Ok(()),
    }
}

/// The part of a setup that fills a directory: the machine's root, or a mounted file system.
#[derive(Default, serde::Deserialize)]
pub struct Contents {
    #[serde(default)]
    pub trees: Ordered<String>,
    #[serde(default)]
    pub remove: Vec<String>,
    #[serde(default)]
    pub dirs: Dirs,
    #[serde(default)]
    pub files: Ordered<File>,
    #[serde(default)]
    pub symlinks: Ordered<String>,
    #[serde(default)]
    pub hardlinks: Ordered<String>,
    #[serde(default)]
    pub devices: Ordered<Entry>,
    #[serde(default)]
    pub xattrs: Ordered<BTreeMap<String, String>>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
pub enum Dirs {
    Plain(Vec<String>),
    Described(Ordered<Entry>),
}

impl Default for Dirs {
    fn default() -> Self {
        Self::Plain(Vec::new())
    }
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
pub enum File {
    Text(String),
    Described(Box<Entry>),
}

/// One entry of a file tree. At most one of the content keys is there; none means an empty file.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    #[serde(default, rename = "type")]
    pub kind: EntryKind,
    pub content: Option<String>,
    pub base64: Option<String>,
    pub random: Option<Random>,
    pub sparse: Option<u64>,
    pub noise: Option<u64>,
    pub host: Option<String>,
    pub target: Option<String>,
    pub major: Option<u32>,
    pub minor: Option<u32>,
    /// Octal text.
    pub mode: Option<String>,
    #[serde(default)]
    pub uid: u32,
    #[serde(default)]
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: Option<i64>,
    #[serde(default)]
    pub xattrs: BTreeMap<String, String>,
}

#[derive(Clone, Copy, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EntryKind {
    #[default]
    File,
    Dir,
    Symlink,
    Hardlink,
    Char,
    Block,
    Fifo,
}

#[derive(Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    pub seed: String,
    pub size: u64,
}

#[derive(serde::Deserialize)]
pub struct Mount {
    pub at: String,
    #[serde(rename = "type")]
    pub kind: MountKind,
    pub options: Option<String>,
    pub size: Option<u64>,
    pub source: Option<String>,
    #[serde(flatten)]
    pub contents: Contents,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    Tmpfs,
    Ext4,
    Bind,
}

/// A squashfs image made before the run, recognised afterwards by its bytes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub tag: String,
    pub tree: Option<String>,
    #[serde(default)]
    pub files: Ordered<File>,
}

#[derive(serde::Deserialize)]
#[serde(untagged)]
pub enum Shims {
    Names(Vec<String>),
    Described(Ordered<Shim>),
}

/// How a recording stand-in ends after it has noted its arguments.
#[derive(Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shim {
    #[serde(default)]
    pub exit: u8,
    #[serde(default)]
    pub stdout: String,
    #[serde(default)]
    pub stderr: String,
    /// Seconds.
    #[serde(default)]
    pub delay: f64,
    /// Run the real program afterwards.
    #[serde(default)]
    pub exec: bool,
}

/// A process that runs meanwhile.
#[derive(Clone, serde::Deserialize, serde::Serialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub name: String,
    pub lock: Option<String>,
    pub seconds: Option<f64>,
    #[serde(default)]
    pub then: BTreeMap<String, Value>,
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

/// A JSON object whose members keep the order of the file, which setups rely on.
pub struct Ordered<T>(pub Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Ordered<T>;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }

        deserializer.deserialize_map(Members(PhantomData))
    }
}
