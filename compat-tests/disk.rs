//! Disk images made before the run: a file system in a file, or partitions behind a table.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ltsp_core::error::{During, Error, Result};
use serde_json::Value;

use crate::entry::{below, make_parents, put};
use crate::machine::{STAGE, remove};
use crate::setup::{Contents, Entry, EntryKind};
use crate::tree::Trees;
use crate::world::{Times, fill, plant, set_times, tool};

const MIB: u64 = 1 << 20;
/// Bytes of a sector, the unit of `sfdisk`.
const SECTOR: u64 = 512;

/// One file system, or a table of partitions.
#[derive(serde::Deserialize)]
pub struct Disk {
    pub table: Option<Table>,
    #[serde(default)]
    pub partitions: Vec<Partition>,
    #[serde(flatten)]
    pub whole: FileSystem,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Table {
    Gpt,
    Dos,
}

#[derive(serde::Deserialize)]
pub struct Partition {
    #[serde(rename = "type")]
    kind: PartitionType,
    /// Inside the extended partition before it.
    #[serde(default)]
    logical: bool,
    #[serde(flatten)]
    content: FileSystem,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum PartitionType {
    Esp,
    Linux,
    Swap,
    Lvm,
    Bios,
    Extended,
}

#[derive(serde::Deserialize)]
pub struct FileSystem {
    /// Zeros if missing.
    fs: Option<Kind>,
    /// In MiB.
    #[serde(default = "four")]
    size: u64,
    tree: Option<String>,
    label: Option<String>,
    uuid: Option<String>,
    /// Of `bytes`.
    content: Option<String>,
    #[serde(flatten)]
    files: Contents,
    #[serde(flatten)]
    unknown: BTreeMap<String, Value>,
}

#[derive(Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Ext2,
    Ext3,
    Ext4,
    Swap,
    Bytes,
}

fn four() -> u64 {
    4
}

impl Disk {
    /// The fields, here and in the partitions, that this runner does not know.
    pub fn unknown(&self) -> impl Iterator<Item = &BTreeMap<String, Value>> {
        std::iter::once(&self.whole.unknown).chain(self.partitions.iter().map(|part| &part.content.unknown))
    }

    /// Makes the disk image.
    ///
    /// # Errors
    /// One of the tools for it fails.
    pub fn make(&self, path: &Path, trees: &Trees) -> Result<()> {
        make_parents(path)?;
        let Some(table) = self.table else { return self.whole.make(path, trees) };
        let places = places(&self.partitions);
        let end = places.iter().map(|place| place.start + place.size).max().unwrap_or(1);
        let mut disk = fs::File::create(path).during("create", path)?;
        // A GPT has its copy at the end.
        disk.set_len((end + 1) * MIB).during("extend", path)?;
        partition(path, table, &self.partitions, &places)?;
        let part = Path::new(STAGE).join("partition");
        for (partition, place) in self.partitions.iter().zip(&places) {
            if partition.content.fs.is_none() {
                continue;
            }
            partition.content.make(&part, trees)?;
            let bytes = fs::read(&part).during("read", &part)?;
            disk.seek(SeekFrom::Start(place.start * MIB)).during("seek in", path)?;
            disk.write_all(&bytes).during("write", path)?;
            remove(&part)?;
        }
        Ok(())
    }
}

/// Where a partition lies, in MiB.
struct Place {
    start: u64,
    size: u64,
}

/// One after another, the first at 1 MiB, one MiB between them; so also inside the extended one, where
/// that MiB holds a logical one's table.
fn places(partitions: &[Partition]) -> Vec<Place> {
    let mut next = 1;
    let mut places: Vec<Place> = Vec::new();
    for (number, partition) in partitions.iter().enumerate() {
        let size = match partition.kind {
            PartitionType::Extended => {
                let inside = partitions[number + 1..].iter().take_while(|inner| inner.logical);
                inside.map(|inner| inner.content.size + 1).sum()
            }
            _ => partition.content.size,
        };
        places.push(Place { start: next, size });
        next += if partition.kind == PartitionType::Extended { 1 } else { size + 1 };
    }
    places
}

fn partition(path: &Path, table: Table, partitions: &[Partition], places: &[Place]) -> Result<()> {
    let mut script = format!("label: {}\n", if table == Table::Gpt { "gpt" } else { "dos" });
    for (partition, place) in partitions.iter().zip(places) {
        let sectors = |size: u64| size * MIB / SECTOR;
        let kind = partition.kind.code(table);
        script.push_str(&format!(
            "start={}, size={}, type={kind}\n",
            sectors(place.start),
            sectors(place.size)
        ));
    }
    let mut sfdisk = Command::new("sfdisk")
        .args(["--quiet", "--wipe=never", "--no-reread", "--no-tell-kernel"])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .during("start", "sfdisk")?;
    if let Some(mut stdin) = sfdisk.stdin.take() {
        stdin.write_all(script.as_bytes()).during("write to", "sfdisk")?;
    }
    let output = sfdisk.wait_with_output().during("wait for", "sfdisk")?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new("partition", path, String::from_utf8_lossy(&output.stderr)))
}

impl PartitionType {
    fn code(self, table: Table) -> &'static str {
        match (self, table) {
            (Self::Esp, Table::Gpt) => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            (Self::Linux | Self::Extended, Table::Gpt) => "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
            (Self::Swap, Table::Gpt) => "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
            (Self::Lvm, Table::Gpt) => "E6D6D379-F507-44C2-A23C-238F2A3DF928",
            (Self::Bios, Table::Gpt) => "21686148-6449-6E6F-744E-656564454649",
            (Self::Esp, Table::Dos) => "ef",
            (Self::Linux | Self::Bios, Table::Dos) => "83",
            (Self::Swap, Table::Dos) => "82",
            (Self::Lvm, Table::Dos) => "8e",
            (Self::Extended, Table::Dos) => "5",
        }
    }
}

impl FileSystem {
    /// Makes a file of the size with this in it.
    fn make(&self, path: &Path, trees: &Trees) -> Result<()> {
        let mut file = fs::File::create(path).during("create", path)?;
        if self.fs == Some(Kind::Bytes) {
            let content = self.content.as_deref().unwrap_or_default();
            file.write_all(content.as_bytes()).during("write", path)?;
        }
        file.set_len(self.size * MIB).during("extend", path)?;
        match self.fs {
            None | Some(Kind::Bytes) => Ok(()),
            Some(Kind::Swap) => tool(Command::new("mkswap").arg("-q").args(self.names()).arg(path)),
            Some(Kind::Ext2) => self.ext(path, trees, &["-t", "ext2"]),
            Some(Kind::Ext3) => self.ext(path, trees, &["-t", "ext3"]),
            Some(Kind::Ext4) => self.ext(path, trees, &["-t", "ext4", "-O", "^has_journal"]),
        }
    }

    /// Label and UUID as the tools take them.
    fn names(&self) -> Vec<&str> {
        let options = [("-L", &self.label), ("-U", &self.uuid)];
        options
            .iter()
            .flat_map(|(option, value)| value.iter().flat_map(move |value| [*option, value]))
            .collect()
    }

    fn ext(&self, path: &Path, trees: &Trees, kind: &[&str]) -> Result<()> {
        let source = PathBuf::from(format!("{STAGE}/disk"));
        remove(&source)?;
        let mut times = Times::new();
        put(&source, &Entry { kind: EntryKind::Dir, ..Entry::default() }, Path::new("/"))?;
        if let Some(tree) = &self.tree {
            plant(&source, tree, trees, &mut times)?;
        }
        fill(&source, &self.files, trees, &mut times)?;
        set_times(&times)?;
        let mut command = Command::new("mke2fs");
        command.args(["-q", "-F"]).args(kind).args(self.names()).arg("-d").arg(below(&source, "")).arg(path);
        tool(&mut command)?;
        remove(&source)
    }
}
