//! What a case puts on its machine before the run.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::disk::Disk;
use crate::equipment::Interface;
use crate::ordered::Ordered;

/// What the machine gets before the run, in the order in which it is applied.
#[derive(Default, serde::Deserialize)]
pub struct Setup {
    #[serde(flatten)]
    pub contents: Contents,
    #[serde(default)]
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub images: Ordered<Image>,
    #[serde(default)]
    pub disks: Ordered<Disk>,
    /// Missing and empty differ: requests to service managers are compared only if there are stand-ins.
    pub shims: Option<Shims>,
    #[serde(default)]
    pub processes: Vec<Process>,
    #[serde(default)]
    pub env: BTreeMap<String, Option<String>>,
    pub network: Option<Network>,
    pub tmp: Option<Tmp>,
    /// `losetup -P` makes partition devices.
    #[serde(default)]
    pub partition_scan: bool,
    pub uid: Option<u32>,
    pub cwd: Option<String>,
    /// Octal text.
    pub umask: Option<String>,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

impl Setup {
    /// # Errors
    /// The setup, or a mount in it, has a field that this runner does not know. (A flattened struct cannot
    /// have that refused while it is read.)
    pub fn refuse_unknown(&self) -> Result<(), String> {
        refuse(&self.unknown, "the setup")?;
        self.mounts.iter().try_for_each(|mount| refuse(&mount.unknown, "a mount"))?;
        let mut disks = self.disks.0.iter().flat_map(|(_, disk)| disk.unknown());
        disks.try_for_each(|unknown| refuse(unknown, "a disk"))
    }
}

fn refuse(unknown: &BTreeMap<String, Value>, place: &str) -> Result<(), String> {
    match unknown.keys().next() {
        Some(name) => Err(format!("unknown field `{name}` in {place}")),
        None => Ok(()),
    }
}

/// `true`, or how the interface differs from the usual one.
#[derive(serde::Deserialize)]
#[serde(untagged)]
pub enum Network {
    Switch(bool),
    Described(Addresses),
}

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addresses {
    mac: Option<String>,
    ip: Option<String>,
    gateway: Option<String>,
}

impl Network {
    /// The interface, unless there is to be none.
    pub fn interface(&self) -> Option<Interface> {
        let usual = Addresses::default();
        let described = match self {
            Self::Switch(false) => return None,
            Self::Switch(true) => &usual,
            Self::Described(described) => described,
        };
        let or = |value: &Option<String>, usual: &str| value.clone().unwrap_or_else(|| usual.to_owned());
        Some(Interface {
            mac: or(&described.mac, "02:00:00:00:00:67"),
            ip: or(&described.ip, "192.168.67.1"),
            gateway: described.gateway.clone(),
        })
    }
}

/// What /tmp is on instead of a tmpfs.
#[derive(serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tmp {
    Ext4,
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
    /// Of the directory `source`; what is written there is lost.
    Overlay,
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
