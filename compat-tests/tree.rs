//! The file trees that setups refer to by name.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ltsp_core::error::{During, Error, Result};

use crate::ordered::Ordered;
use crate::setup::Entry;

/// All trees of a directory, by name.
pub struct Trees(BTreeMap<String, Tree>);

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Tree {
    #[serde(rename = "about")]
    _about: String,
    #[serde(default)]
    include: Vec<String>,
    /// The time of all entries that have none of their own.
    mtime: Option<i64>,
    /// `null` takes away an entry of an included tree.
    #[serde(default)]
    entries: Ordered<Option<Entry>>,
}

impl Trees {
    /// # Errors
    /// A file of the directory is no tree.
    pub fn load(directory: &Path) -> Result<Self> {
        let mut trees = BTreeMap::new();
        for item in fs::read_dir(directory).during("list", directory)? {
            let path = item.during("list", directory)?.path();
            let text = fs::read_to_string(&path).during("read", &path)?;
            let tree: Tree =
                serde_json::from_str(&text).map_err(|error| Error::new("read", &path, error.to_string()))?;
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            trees.insert(name, tree);
        }
        Ok(Self(trees))
    }

    /// The entries of a tree, those of the trees below it included, each with its time filled in.
    ///
    /// # Errors
    /// There is no such tree.
    pub fn entries(&self, name: &str) -> Result<Vec<(String, Entry)>> {
        let Some(tree) = self.0.get(name) else {
            return Err(Error::action("find a tree", format!("there is none named {name}")));
        };
        let mut entries = Vec::new();
        for included in &tree.include {
            entries.extend(self.entries(included)?);
        }
        for (path, entry) in &tree.entries.0 {
            entries.retain(|(known, _)| known != path);
            if let Some(entry) = entry {
                let mut entry = entry.clone();
                entry.mtime = entry.mtime.or(tree.mtime);
                entries.push((path.clone(), entry));
            }
        }
        Ok(entries)
    }
}
