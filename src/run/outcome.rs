//! What has become of one image, for programs to read (`--json`).

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use crate::audit::Finding;
use crate::engine::Program;
use crate::error::{During, Result};
use crate::publish::Image;
use crate::report::json::Json;
use crate::squashfs::Compression;
use crate::squashfs::inode::FileType;
use crate::squashfs::reader;

/// An image that was made, or reverted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    name: OsString,
    path: PathBuf,
    source: Option<PathBuf>,
    engine: Option<Program>,
    elapsed: Duration,
    /// In bytes.
    size: u64,
    /// None if the reader does not know the image's compressor.
    contents: Option<Contents>,
    backups: Vec<PathBuf>,
    findings: Option<Vec<Finding>>,
}

/// What the image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Contents {
    compressor: &'static str,
    block_size: u32,
    inodes: u32,
    counts: Counts,
}

/// How many names there are of each kind, the root directory included; several names of one file count each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    files: u64,
    directories: u64,
    links: u64,
    /// Devices, pipes and sockets.
    others: u64,
}

impl Counts {
    fn of(image: &mut reader::Image<'_>) -> Result<Self> {
        let mut counts = Self { directories: 1, ..Self::default() };
        let mut pending = vec![image.root()?];
        // A damaged image may have a directory in itself.
        let mut seen = HashSet::new();
        while let Some(place) = pending.pop() {
            let directory = image.inode(place)?;
            if !seen.insert(directory.number) {
                continue;
            }
            for child in image.children(&directory)? {
                match child.file_type {
                    FileType::Directory => {
                        counts.directories += 1;
                        pending.push(child.inode);
                    }
                    FileType::Regular => counts.files += 1,
                    FileType::Symlink => counts.links += 1,
                    _ => counts.others += 1,
                }
            }
        }
        Ok(counts)
    }

    fn json(self) -> Json {
        let Self { files, directories, links, others } = self;
        let members = [("files", files), ("directories", directories), ("links", links), ("others", others)];
        Json::Object(members.map(|(name, count)| (name, Json::Number(count))).into())
    }
}

impl Contents {
    fn of(mut image: reader::Image<'_>) -> Result<Self> {
        let counts = Counts::of(&mut image)?;
        let superblock = image.superblock();
        let compressor = Compression::numbered(superblock.compressor).map_or("", Compression::name);
        Ok(Self { compressor, block_size: superblock.block_size, inodes: superblock.inode_count, counts })
    }
}

impl Outcome {
    /// Of a published image: its size and contents are read from the file.
    ///
    /// # Errors
    /// When the image or its folder cannot be read.
    pub fn of(name: OsString, image: &Image, elapsed: Duration) -> Result<Self> {
        let path = image.current.clone();
        let file = File::open(&path).during("open", &path)?;
        let size = file.metadata().during("look up", &path)?.len();
        // Of an image that our reader does not know, less is told.
        let contents = reader::Image::open(&file, &path).and_then(Contents::of).ok();
        let backups = image.generations()?.into_iter().map(|number| image.generation(number)).collect();
        Ok(Self { name, path, source: None, engine: None, elapsed, size, contents, backups, findings: None })
    }

    /// Adds what it was made from, and by which program.
    #[must_use]
    pub fn made(self, source: PathBuf, engine: Program) -> Self {
        Self { source: Some(source), engine: Some(engine), ..self }
    }

    /// Adds what the audit has found, if there was one.
    #[must_use]
    pub fn audited(self, findings: Option<Vec<Finding>>) -> Self {
        Self { findings, ..self }
    }

    /// One object. What is not known has no member: without an audit there is no `findings`, after one that
    /// has found nothing the list is empty.
    pub fn json(&self) -> Json {
        let mut members = vec![
            ("name", Json::path(&self.name)),
            ("path", Json::path(&self.path)),
            ("size", Json::Number(self.size)),
            ("milliseconds", Json::Number(u64::try_from(self.elapsed.as_millis()).unwrap_or(u64::MAX))),
        ];
        if let Some(source) = &self.source {
            members.push(("source", Json::path(source)));
        }
        if let Some(engine) = self.engine {
            members.push(("engine", Json::Text(engine.name().to_owned())));
        }
        if let Some(contents) = &self.contents {
            members.push(("compressor", Json::Text(contents.compressor.to_owned())));
            members.push(("block_size", Json::Number(contents.block_size.into())));
            members.push(("inodes", Json::Number(contents.inodes.into())));
            members.push(("counts", contents.counts.json()));
        }
        members.push(("backups", Json::List(self.backups.iter().map(Json::path).collect())));
        if let Some(findings) = &self.findings {
            let one = |finding: &Finding| {
                let kind = Json::Text(finding.kind.name().to_owned());
                Json::Object(vec![("path", Json::path(&finding.path)), ("kind", kind)])
            };
            members.push(("findings", Json::List(findings.iter().map(one).collect())));
        }
        Json::Object(members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Kind;
    use crate::excludes::Excludes;
    use crate::squashfs::{self, WriteOptions};
    use std::ffi::OsStr;

    #[test]
    fn an_outcome_tells_what_is_known_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("chroot");
        std::fs::create_dir(&source).unwrap();
        std::fs::write(source.join("a"), "x").unwrap();
        std::fs::hard_link(source.join("a"), source.join("same")).unwrap();
        std::fs::create_dir_all(source.join("d/e")).unwrap();
        std::os::unix::fs::symlink("a", source.join("d/link")).unwrap();
        let image = Image::new(dir.path(), OsStr::new("foo"));
        let file = File::options().read(true).write(true).create_new(true).open(&image.current).unwrap();
        let options = WriteOptions::default();
        squashfs::write(&source, &file, &image.current, &options, &Excludes::default(), &mut |_| Ok(()))
            .unwrap();
        std::fs::write(&image.backup, "").unwrap();

        let outcome = Outcome::of("foo".into(), &image, Duration::from_millis(1500)).unwrap();
        let read = |outcome: &Outcome| -> serde_json::Value {
            serde_json::from_str(&outcome.json().to_string()).unwrap()
        };
        let mut expected = serde_json::json!({
            "name": "foo",
            "path": image.current,
            "size": file.metadata().unwrap().len(),
            "milliseconds": 1500,
            "compressor": options.compression.name(),
            "block_size": options.block_size,
            "inodes": 5,
            "counts": {"files": 2, "directories": 3, "links": 1, "others": 0},
            "backups": [image.backup],
        });
        assert_eq!(read(&outcome), expected);

        let found = Finding { path: "/etc/shadow".into(), kind: Kind::PasswordHash };
        let outcome = outcome.made(source.clone(), Program::BuiltIn).audited(Some(vec![found]));
        expected["source"] = serde_json::json!(source);
        expected["engine"] = "builtin".into();
        expected["findings"] = serde_json::json!([{"path": "/etc/shadow", "kind": "password-hash"}]);
        assert_eq!(read(&outcome), expected);

        // What is no squashfs of ours has a size all the same.
        std::fs::write(&image.current, "no image").unwrap();
        let outcome = Outcome::of("foo".into(), &image, Duration::ZERO).unwrap();
        assert_eq!(read(&outcome).get("inodes"), None);
        assert_eq!(read(&outcome)["size"], 8);
    }
}
