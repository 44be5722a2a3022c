//! What an outsider can see after a run, in the form of the cases' `expect`.

use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use ltsp_core::error::{During, Result};
use rustix::fs::{Mode, OFlags, openat};
use serde_json::{Map, Value, json};

use crate::case::Case;
use crate::image::{self, hardlink_groups};
use crate::leftovers::{Leftovers, UNCOUNTED};
use crate::machine::LowerDirectories;
use crate::program::Finished;
use crate::snapshot::{Node, Snapshot, digest, digest_of};
use crate::world::World;

const IMAGE_DIRECTORIES: [&str; 2] = ["/opt/ltsp/images", "/srv/ltsp/images"];
const FILE_DIRECTORIES: [&str; 6] =
    ["/etc/ltsp", "/etc/nbd-server", "/etc/exports.d", "/srv/tftp", "/var/lib/tftpboot", "/tftpboot"];
const EXPORTS: &str = "/etc/exports";

/// All that one run showed.
pub struct Observer<'a> {
    pub case: &'a Case,
    pub world: &'a World,
    pub lower: &'a LowerDirectories,
    pub before: &'a Snapshot,
    pub after: &'a Snapshot,
    pub leftovers: &'a Leftovers,
}

/// Where a path is observed.
enum Area {
    Images,
    Files,
    Elsewhere,
    Nowhere,
}

/// What became of a path that is there after the run.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Untouched,
    /// The same, but written or put there again.
    Rewritten,
    Changed,
    New,
}

impl Observer<'_> {
    /// # Errors
    /// A file or image cannot be read.
    pub fn observe(&self, finished: &Finished) -> Result<Value> {
        let (mut images, mut files, mut elsewhere) = (Map::new(), Map::new(), Map::new());
        let paths: BTreeSet<&PathBuf> = self.before.keys().chain(self.after.keys()).collect();
        for path in paths {
            let name = path.to_string_lossy().into_owned();
            let seen = match self.area(path) {
                Area::Nowhere => continue,
                Area::Images => self.in_images(path)?.map(|value| images.insert(name, value)),
                Area::Files => self.in_files(path)?.map(|value| files.insert(name, value)),
                Area::Elsewhere => self.in_elsewhere(path)?.map(|value| elsewhere.insert(name, value)),
            };
            drop(seen);
        }
        let mut observed = Map::new();
        if finished.commands.is_empty() {
            observed.insert("exit".into(), finished.exit.clone());
            observed.insert("stdout_empty".into(), json!(finished.stdout.is_empty()));
            observed.insert("stderr_empty".into(), json!(finished.stderr.is_empty()));
        } else {
            observed.insert("commands".into(), Value::Object(finished.commands.clone()));
        }
        observed.insert("images".into(), Value::Object(images));
        observed.insert("files".into(), Value::Object(files));
        observed.insert("elsewhere".into(), Value::Object(elsewhere));
        observed.insert("leftovers".into(), self.leftovers.observed.clone());
        if let Some(shims) = &self.world.stand_ins.shims {
            observed.insert("services".into(), json!(shims.services()?));
        }
        let watched = self.after.iter().filter(|(path, _)| matches!(self.area(path), Area::Files));
        let groups = hardlink_groups(watched);
        if !groups.is_empty() {
            observed.insert("hardlinks".into(), json!(groups));
        }
        if !self.leftovers.unmounted.is_empty() {
            observed.insert("unmounted".into(), json!(self.leftovers.unmounted));
        }
        Ok(Value::Object(observed))
    }

    fn area(&self, path: &Path) -> Area {
        let below = |directory: &str| path != Path::new(directory) && path.starts_with(directory);
        let observe = &self.case.observe;
        if IMAGE_DIRECTORIES.into_iter().chain(observe.images.iter().map(String::as_str)).any(below) {
            return Area::Images;
        }
        let files = FILE_DIRECTORIES.into_iter().chain(observe.files.iter().map(String::as_str)).any(below);
        let is_directory =
            || self.after.get(path).or(self.before.get(path)).is_some_and(|node| node.kind == "dir");
        let itself = observe.files.iter().any(|file| path == Path::new(file)) && !is_directory();
        if files || itself || path == Path::new(EXPORTS) {
            return Area::Files;
        }
        // New entries of temporary directories are leftovers already.
        let temporary = path.ancestors().any(|ancestor| self.leftovers.temporary.contains(ancestor));
        if temporary || UNCOUNTED.iter().any(|uncounted| path.starts_with(uncounted)) {
            return Area::Nowhere;
        }
        Area::Elsewhere
    }

    fn in_images(&self, path: &Path) -> Result<Option<Value>> {
        let Some(node) = self.after.get(path) else { return Ok(Some(removed())) };
        let fate = self.fate(path, node)?;
        if node.kind != "file" {
            return Ok(Some(unchanged_or(fate, node, path)?));
        }
        let content = if self.could_be_of_setup(node) { Some(digest(path)?) } else { None };
        if let Some(tag) = content.and_then(|content| self.world.tags.get(&content)) {
            return Ok(Some(json!({"tag": tag})));
        }
        if matches!(fate, Fate::Untouched | Fate::Rewritten) {
            return Ok(Some(json!("unchanged")));
        }
        let contents = image::Contents { observe: &self.case.observe, before: self.before };
        if let Some(image) = image::describe(path, node, &contents)? {
            return Ok(Some(image));
        }
        if content.is_some_and(|content| self.before.values().any(|known| known.digest == Some(content))) {
            return Ok(Some(node.description(path)?));
        }
        Ok(Some(json!({"type": "incomplete"})))
    }

    fn in_files(&self, path: &Path) -> Result<Option<Value>> {
        let Some(node) = self.after.get(path) else { return Ok(Some(removed())) };
        Ok(Some(unchanged_or(self.fate(path, node)?, node, path)?))
    }

    fn in_elsewhere(&self, path: &Path) -> Result<Option<Value>> {
        let Some(node) = self.after.get(path) else { return Ok(Some(removed())) };
        match self.fate(path, node)? {
            Fate::Untouched => Ok(None),
            // What happens in a directory changes its time.
            Fate::Rewritten if node.kind == "dir" => Ok(None),
            Fate::Rewritten => Ok(Some(json!({"rewritten": true}))),
            Fate::Changed | Fate::New => Ok(Some(node.description(path)?)),
        }
    }

    fn fate(&self, path: &Path, node: &Node) -> Result<Fate> {
        let Some(before) = self.before.get(path) else { return Ok(Fate::New) };
        if !node.same_properties(before) || !self.same_content(path, before, node)? {
            return Ok(Fate::Changed);
        }
        Ok(if node.untouched_since(before) { Fate::Untouched } else { Fate::Rewritten })
    }

    fn same_content(&self, path: &Path, before: &Node, now: &Node) -> Result<bool> {
        let untouched = now.untouched_since(before);
        if now.kind != "file" || (untouched && now.ctime == before.ctime) {
            return Ok(true);
        }
        let known = match before.digest {
            Some(digest) => Some(digest),
            None => self.digest_in_lower(path)?,
        };
        match known {
            Some(known) => Ok(known == digest(path)?),
            // Too large to have been read before: the times decide.
            None => Ok(untouched),
        }
    }

    /// The digest of a file as the root file system has it.
    fn digest_in_lower(&self, path: &Path) -> Result<Option<[u8; 32]>> {
        let relative = path.strip_prefix("/").unwrap_or(path);
        for directory in self.lower {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            if let Ok(file) = openat(directory.as_fd(), relative, flags, Mode::empty()) {
                return digest_of(std::fs::File::from(file)).map(Some).during("read the original of", path);
            }
        }
        Ok(None)
    }

    /// Spares reading what is as large as nothing that the setup made.
    fn could_be_of_setup(&self, node: &Node) -> bool {
        self.before.values().any(|known| known.digest.is_some() && known.size == node.size)
    }
}

fn removed() -> Value {
    json!({"removed": true})
}

fn unchanged_or(fate: Fate, node: &Node, path: &Path) -> Result<Value> {
    match fate {
        Fate::Untouched | Fate::Rewritten => Ok(json!("unchanged")),
        Fate::Changed | Fate::New => node.description(path),
    }
}
