//! What an exclude list leaves out of a tree, found without the program: by `excluded.sh`, with the
//! wildcards of bash.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::succeeds;

/// The paths, relative to `root`, that the exclude list `list` names.
pub fn left_out(list: &Path, root: &Path) -> BTreeSet<PathBuf> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests/rigs/excluded.sh");
    let output = succeeds(Command::new(script).arg(list).arg(root));
    output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| OsString::from_vec(path.to_vec()).into())
        .collect()
}
