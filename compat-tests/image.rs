//! What a squashfs image holds: its superblock, parsed here, and its tree, read through a kernel mount.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use ltsp_core::error::{During, Error, Result};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::case::Observe;
use crate::compare::matches;
use crate::encoding::hex;
use crate::entry::HOST_BUSYBOX;
use crate::machine::STAGE;
use crate::snapshot::{Node, Snapshot, digest};
use crate::world::tool;

/// Times from here on (2020-01-01) are those of the run; what the setup sets explicitly is older.
const EXPLICIT_BEFORE: i64 = 1_577_836_800;

const MAGIC: u32 = 0x7371_7368;
/// The value of a table's start that says that there is no such table.
const NO_TABLE: u64 = u64::MAX;
const COMPRESSORS: [&str; 6] = ["gzip", "lzma", "lzo", "xz", "lz4", "zstd"];

/// The 96 bytes that a squashfs 4.0 image begins with; all numbers are little-endian.
struct Superblock([u8; 96]);

impl Superblock {
    /// # Errors
    /// The file cannot be read; one that is too short or no squashfs gives `None`.
    fn read(path: &Path) -> Result<Option<Self>> {
        let mut bytes = [0; 96];
        match fs::File::open(path).during("open", path)?.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error).during("read", path),
        }
        let superblock = Self(bytes);
        let is_squashfs = superblock.number(0, 4) == u64::from(MAGIC) && superblock.number(28, 2) == 4;
        Ok(is_squashfs.then_some(superblock))
    }

    fn number(&self, offset: usize, length: usize) -> u64 {
        self.0[offset..offset + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn bytes_used(&self) -> u64 {
        self.number(40, 8)
    }

    fn value(&self) -> Value {
        let compressor =
            usize::try_from(self.number(20, 2)).ok().and_then(|id| COMPRESSORS.get(id.checked_sub(1)?));
        let flags = self.number(24, 2);
        let parts = [("inodes", 0x1), ("data", 0x2), ("fragments", 0x8)];
        let uncompressed: Vec<&str> =
            parts.iter().filter(|(_, flag)| flags & flag != 0).map(|(name, _)| *name).collect();
        json!({
            "compressor": compressor,
            "block_size": self.number(12, 4),
            "uncompressed": uncompressed,
            "exportable": self.number(88, 8) != NO_TABLE,
            "xattrs": self.number(56, 8) != NO_TABLE,
        })
    }
}

/// The description of a complete image; `None` if the file is none.
///
/// # Errors
/// The file cannot be read, or the mounted image cannot be taken in.
pub fn describe(path: &Path, node: &Node, contents: &Contents<'_>) -> Result<Option<Value>> {
    let Some(superblock) = Superblock::read(path)? else { return Ok(None) };
    if superblock.bytes_used() > node.size {
        return Ok(None);
    }
    let mounted = Mounted::new(path)?;
    let entries = mounted.entries()?;
    let tree = mounted.tree(&entries, contents)?;
    mounted.close()?;
    let mut value = node.properties();
    value.insert("type".into(), json!("squashfs"));
    value.insert("superblock".into(), superblock.value());
    value.insert("tree".into(), Value::Object(tree));
    value.insert("hardlinks".into(), json!(hardlink_groups(entries.iter().map(|(path, node)| (path, node)))));
    Ok(Some(Value::Object(value)))
}

/// How the contents of regular files in images are shown.
pub struct Contents<'a> {
    pub observe: &'a Observe,
    /// What was there before the run.
    pub before: &'a Snapshot,
}

impl Contents<'_> {
    /// Size and digest, or what the case wants to see of this file instead.
    fn of(&self, name: &str, path: &Path) -> Result<Map<String, Value>> {
        let is_one_of = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, name));
        let bytes = fs::read(path).during("read", path)?;
        let shown = match String::from_utf8(bytes) {
            Ok(text) if is_one_of(&self.observe.volatile) => self.volatile(&text),
            Ok(text) if is_one_of(&self.observe.text) => {
                let group_file = matches!(name, "/etc/group" | "/etc/gshadow");
                let sorted = self.observe.accounts && group_file;
                let size = text.len();
                json!({"size": size, "text": if sorted { members_sorted(&text) } else { text }})
            }
            Ok(text) => json!({"size": text.len(), "sha256": hex(&Sha256::digest(text))}),
            Err(error) => {
                let bytes = error.as_bytes();
                json!({"size": bytes.len(), "sha256": hex(&Sha256::digest(bytes))})
            }
        };
        Ok(shown.as_object().cloned().unwrap_or_default())
    }

    fn volatile(&self, text: &str) -> Value {
        if text.is_empty() {
            return json!({"content": "empty"});
        }
        let digest: [u8; 32] = Sha256::digest(text).into();
        let old = self.before.values().any(|known| known.digest == Some(digest));
        let line = text.lines().next().unwrap_or_default();
        let word = line.split_whitespace().next().unwrap_or_default();
        let begins = if line.starts_with("-----") { line } else { word };
        json!({"content": if old { "old" } else { "new" }, "begins": begins})
    }
}

/// `group` or `gshadow` with the members of each group in order.
fn members_sorted(text: &str) -> String {
    let sorted = |line: &str| match line.trim_end_matches('\n').rsplit_once(':') {
        Some((group, members)) => {
            let mut members: Vec<&str> = members.split(',').collect();
            members.sort_unstable();
            let end = if line.ends_with('\n') { "\n" } else { "" };
            format!("{group}:{}{end}", members.join(","))
        }
        None => line.to_owned(),
    };
    text.split_inclusive('\n').map(sorted).collect()
}

/// An image mounted on the stage.
struct Mounted(PathBuf);

impl Mounted {
    fn new(image: &Path) -> Result<Self> {
        let at = Path::new(STAGE).join("mounted");
        fs::create_dir_all(&at).during("create", &at)?;
        tool(Command::new("mount").args(["-t", "squashfs", "-o", "loop,ro"]).arg(image).arg(&at))
            .map_err(|error| Error::new("mount", image, error.to_string()))?;
        Ok(Self(at))
    }

    fn close(self) -> Result<()> {
        tool(Command::new("umount").arg(&self.0))
    }

    fn entries(&self) -> Result<Vec<(PathBuf, Node)>> {
        let mut entries = vec![(PathBuf::from("/"), Node::look_at(&self.0)?)];
        let mut index = 0;
        while let Some((path, node)) = entries.get(index) {
            index += 1;
            if node.kind != "dir" {
                continue;
            }
            let (path, directory) = (path.clone(), self.inside(path));
            for entry in fs::read_dir(&directory).during("list", &directory)? {
                let name = entry.during("list", &directory)?.file_name();
                entries.push((path.join(&name), Node::look_at(&directory.join(&name))?));
            }
        }
        Ok(entries)
    }

    fn tree(&self, entries: &[(PathBuf, Node)], contents: &Contents<'_>) -> Result<Map<String, Value>> {
        let busybox = digest(Path::new(HOST_BUSYBOX))?;
        let mut tree = Map::new();
        for (path, node) in entries {
            let mut value = node.properties();
            if node.kind == "file" {
                let inside = self.inside(path);
                if digest(&inside)? == busybox {
                    value.insert("content".into(), json!("host:busybox"));
                } else {
                    value.extend(contents.of(&path.to_string_lossy(), &inside)?);
                }
            }
            if node.mtime.0 < EXPLICIT_BEFORE {
                value.insert("mtime".into(), json!(node.mtime.0));
            }
            tree.insert(path.to_string_lossy().into_owned(), Value::Object(value));
        }
        Ok(tree)
    }

    fn inside(&self, path: &Path) -> PathBuf {
        self.0.join(path.strip_prefix("/").unwrap_or(path))
    }
}

/// The groups of paths that are one file, each sorted, in the order of their first paths.
pub fn hardlink_groups<'a>(nodes: impl Iterator<Item = (&'a PathBuf, &'a Node)>) -> Vec<Vec<String>> {
    let mut groups: BTreeMap<(u64, u64), Vec<String>> = BTreeMap::new();
    for (path, node) in nodes.filter(|(_, node)| node.kind != "dir" && node.links > 1) {
        groups.entry(node.identity).or_default().push(path.to_string_lossy().into_owned());
    }
    let mut groups: Vec<Vec<String>> = groups.into_values().filter(|group| group.len() > 1).collect();
    for group in &mut groups {
        group.sort();
    }
    groups.sort();
    groups
}
