//! The files of the machine at one moment.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use ltsp_core::error::{During, Result};
use rustix::fs::{lgetxattr, llistxattr, major, minor};
use rustix::io::Errno;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::encoding::{attribute_text, hex};

/// File systems of the kernel's and the runner's own; what is in them is not compared.
const SKIPPED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Larger files are told apart by their times only.
const DIGESTED: u64 = 4 << 20;

/// The largest file whose text is shown.
const SHOWN_AS_TEXT: u64 = 4096;

/// Every path below a directory, without following links.
pub type Snapshot = BTreeMap<PathBuf, Node>;

/// One file of any type, as `lstat` shows it.
#[derive(Clone)]
pub struct Node {
    pub kind: &'static str,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub target: Option<PathBuf>,
    /// `major:minor` of a device.
    pub device: Option<String>,
    pub attributes: BTreeMap<String, String>,
    /// Device and inode number: the same for hard links.
    pub identity: (u64, u64),
    pub links: u64,
    /// Seconds and nanoseconds.
    pub mtime: (i64, i64),
    pub ctime: (i64, i64),
    /// Of a regular file, where it was worth reading.
    pub digest: Option<[u8; 32]>,
}

/// Takes in the whole machine. Regular files changed at `digest_since` or later are read: only what the
/// setup has made, not the thousands of files of the root.
///
/// # Errors
/// Something cannot be looked at.
pub fn take(digest_since: (i64, i64)) -> Result<Snapshot> {
    let mut snapshot = Snapshot::new();
    walk(Path::new("/"), &mut snapshot)?;
    for (path, node) in &mut snapshot {
        if node.kind == "file" && node.ctime >= digest_since && node.size <= DIGESTED {
            node.digest = Some(digest(path)?);
        }
    }
    Ok(snapshot)
}

fn walk(directory: &Path, snapshot: &mut Snapshot) -> Result<()> {
    for entry in fs::read_dir(directory).during("list", directory)? {
        let path = entry.during("list", directory)?.path();
        if SKIPPED.iter().any(|skipped| path == Path::new(skipped)) {
            continue;
        }
        let node = Node::look_at(&path)?;
        let is_directory = node.kind == "dir";
        snapshot.insert(path.clone(), node);
        if is_directory {
            walk(&path, snapshot)?;
        }
    }
    Ok(())
}

impl Node {
    /// # Errors
    /// The path cannot be looked at.
    pub fn look_at(path: &Path) -> Result<Self> {
        let found = fs::symlink_metadata(path).during("look at", path)?;
        let kind = kind_name(found.file_type());
        let target =
            if kind == "symlink" { Some(fs::read_link(path).during("read link", path)?) } else { None };
        let device = matches!(kind, "char" | "block")
            .then(|| format!("{}:{}", major(found.rdev()), minor(found.rdev())));
        Ok(Self {
            kind,
            mode: found.mode() & 0o7777,
            uid: found.uid(),
            gid: found.gid(),
            size: found.size(),
            target,
            device,
            attributes: attributes(path)?,
            identity: (found.dev(), found.ino()),
            links: found.nlink(),
            mtime: (found.mtime(), found.mtime_nsec()),
            ctime: (found.ctime(), found.ctime_nsec()),
            digest: None,
        })
    }

    /// Whether everything but the content is as in `other`; times do not count, nor do the sizes of
    /// directories.
    pub fn same_properties(&self, other: &Self) -> bool {
        let properties = |node: &Self| {
            let size = if node.kind == "file" { node.size } else { 0 };
            (node.kind, node.mode, node.uid, node.gid, size, node.target.clone(), node.device.clone())
        };
        properties(self) == properties(other) && self.attributes == other.attributes
    }

    /// Whether nobody has written to it, or put it there anew, since it was `before`.
    pub fn untouched_since(&self, before: &Self) -> bool {
        self.identity == before.identity && self.mtime == before.mtime
    }

    /// What cases say of any kind of file: type, owner, mode where it means something, link target, device
    /// and extended attributes.
    pub fn properties(&self) -> Map<String, Value> {
        let mut value = Map::new();
        value.insert("type".into(), json!(self.kind));
        if self.kind != "symlink" {
            value.insert("mode".into(), json!(format!("{:04o}", self.mode)));
        }
        value.insert("uid".into(), json!(self.uid));
        value.insert("gid".into(), json!(self.gid));
        if let Some(target) = &self.target {
            value.insert("target".into(), json!(target.to_string_lossy()));
        }
        if let Some(device) = &self.device {
            value.insert("device".into(), json!(device));
        }
        if !self.attributes.is_empty() {
            value.insert("xattrs".into(), json!(self.attributes));
        }
        value
    }

    /// The properties, and of a regular file its size and either its text or its digest.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn description(&self, path: &Path) -> Result<Value> {
        let mut value = self.properties();
        if self.kind == "file" {
            value.insert("size".into(), json!(self.size));
            let text = if self.size <= SHOWN_AS_TEXT {
                String::from_utf8(fs::read(path).during("read", path)?).ok()
            } else {
                None
            };
            match text {
                Some(text) => value.insert("text".into(), json!(text)),
                None => value.insert("sha256".into(), json!(hex(&digest(path)?))),
            };
        }
        Ok(Value::Object(value))
    }
}

/// The name that cases have for a type of file.
pub fn kind_name(kind: fs::FileType) -> &'static str {
    match kind {
        _ if kind.is_file() => "file",
        _ if kind.is_dir() => "dir",
        _ if kind.is_symlink() => "symlink",
        _ if kind.is_char_device() => "char",
        _ if kind.is_block_device() => "block",
        _ if kind.is_fifo() => "fifo",
        _ => "socket",
    }
}

/// The SHA-256 digest of a file's content.
///
/// # Errors
/// The file cannot be read.
pub fn digest(path: &Path) -> Result<[u8; 32]> {
    let file = fs::File::open(path).during("open", path)?;
    digest_of(file).during("read", path)
}

/// The SHA-256 digest of everything that can be read.
///
/// # Errors
/// Reading fails.
pub fn digest_of(mut reader: impl io::Read) -> io::Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finalize().into()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn attributes(path: &Path) -> Result<BTreeMap<String, String>> {
    let mut attributes = BTreeMap::new();
    let mut names = vec![0; 1 << 12];
    let length = match llistxattr(path, names.as_mut_slice()) {
        Ok(length) => length,
        // A file system without extended attributes.
        Err(Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error).during("list the attributes of", path),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 1 << 12];
        let length = lgetxattr(path, std::ffi::OsStr::from_bytes(name), value.as_mut_slice())
            .during("read the attributes of", path)?;
        let name = String::from_utf8_lossy(name).into_owned();
        attributes.insert(name, attribute_text(&value[..length]));
    }
    Ok(attributes)
}
