//! What an exclude list leaves out of a tree, found without the program: with the wildcards of bash, which
//! mean the same in these lists (X2, X3 of the specification).

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::world::succeeds;

/// Expands the patterns of the list $1 in the tree $2, and prints the paths, each ended by a zero byte.
const EXPAND: &str = r#"
shopt -s nullglob extglob
# Nothing is split: a pattern may hold blanks.
IFS=
cd "$2"
while read -r pattern || [ -n "$pattern" ]; do
    case $pattern in
    '' | '#'*) continue ;;
    /* | ./* | ../* | '... '* | *\\*) echo "this cannot be expanded here: $pattern" >&2; exit 1 ;;
    esac
    for path in ${pattern%/}; do
        case $path in
        */. | */..) ;;
        *) printf '%s\0' "$path" ;;
        esac
    done
done <"$1"
"#;

/// The paths, relative to `root`, that the exclude list `list` names.
pub fn left_out(list: &Path, root: &Path) -> BTreeSet<PathBuf> {
    let output = succeeds(Command::new("bash").args(["-c", EXPAND, "bash"]).arg(list).arg(root));
    output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|path| !path.is_empty())
        .map(|path| OsString::from_vec(path.to_vec()).into())
        .collect()
}
