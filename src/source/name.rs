//! The name of an image, as the modern front end takes it from a path (S13 to S16).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::{During, Error, Result, shown};

/// The name of the image that is made from `path`: its last component, of a regular file without the
/// ending `.img`.
///
/// Only the root directory is named after the machine: the original does so for every path that ends in
/// a slash, and replaces the server's own image (S14). `.` and `..` stand for the directory's real name
/// (S15).
///
/// # Errors
/// When the name could not be used ([`check`]), or `.` or `..` cannot be looked up.
pub fn of(path: &Path) -> Result<OsString> {
    let name = match path.file_name() {
        Some(name) => name.to_owned(),
        None => {
            let real = path.canonicalize().during("look up", path)?;
            match real.file_name() {
                Some(name) => name.to_owned(),
                None => machine(),
            }
        }
    };
    let name = match name.as_bytes().strip_suffix(b".img") {
        Some(stem) if path.is_file() => OsStr::from_bytes(stem).to_owned(),
        _ => name,
    };
    check(&name, path)?;
    Ok(name)
}

/// Refuses a name that other parts of LTSP could not use: image names stand on the kernel's command line
/// and in boot menus, and a comma ends them in a source list (S1, S16).
///
/// # Errors
/// When the name of the image of `path` is such a one.
pub fn check(name: &OsStr, path: &Path) -> Result<()> {
    let reason = if name.is_empty() {
        "its image would have no name".to_owned()
    } else if let Some(bad) = name.as_bytes().iter().find(|&&byte| is_bad(byte)) {
        let what = match bad {
            b' ' => "a blank",
            b',' => "a comma",
            _ => "a control character",
        };
        format!("the name of its image, {}, would hold {what}", shown(name))
    } else {
        return Ok(());
    };
    Err(Error::new("make an image of", path, reason)
        .hint("rename it, or make a link with another name and use that"))
}

fn is_bad(byte: u8) -> bool {
    byte <= b' ' || byte == b',' || byte == 0x7f
}

/// The machine's hardware name; all 32-bit x86 ones are `x86_32` (S14).
fn machine() -> OsString {
    let uname = rustix::system::uname();
    machine_name(OsStr::from_bytes(uname.machine().to_bytes()))
}

fn machine_name(machine: &OsStr) -> OsString {
    if machine.as_bytes().ends_with(b"86") { "x86_32".into() } else { machine.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    // S13, S14, S15
    #[test]
    fn the_name_is_the_last_component_without_img_of_a_file() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["disk.img", "disk.img.img", "debian-flat.vmdk", "disk.raw", "a*.img"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        fs::create_dir_all(dir.path().join("bar.img/sub")).unwrap();
        fs::create_dir(dir.path().join("with blank")).unwrap();
        fs::write(dir.path().join("with blank/x.img"), "").unwrap();
        symlink("disk.raw", dir.path().join("class.img")).unwrap();
        symlink("/", dir.path().join("amd64")).unwrap();
        for (path, name) in [
            ("disk.img", "disk"),
            ("disk.img.img", "disk.img"),
            ("debian-flat.vmdk", "debian-flat.vmdk"),
            ("disk.raw", "disk.raw"),
            ("class.img", "class"),
            ("bar.img", "bar.img"),
            ("bar.img/", "bar.img"),
            ("bar.img//.", "bar.img"),
            ("bar.img/sub/..", "bar.img"),
            ("with blank/x.img", "x"),
            ("amd64", "amd64"),
            ("amd64/", "amd64"),
            ("a*.img", "a*"),
        ] {
            assert_eq!(of(&dir.path().join(path)).unwrap(), name, "{path}");
        }
    }

    // S14
    #[test]
    fn the_root_directory_alone_is_named_after_the_machine() {
        for path in ["/", "//", "/.", "/usr/.."] {
            assert_eq!(of(Path::new(path)).unwrap(), machine(), "{path}");
        }
        for (machine, name) in
            [("x86_64", "x86_64"), ("i686", "x86_32"), ("i386", "x86_32"), ("aarch64", "aarch64")]
        {
            assert_eq!(machine_name(machine.as_ref()), name);
        }
    }

    // S16
    #[test]
    fn names_that_cannot_be_used_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".img"), "").unwrap();
        for (path, reason) in [
            ("lab one", "a blank"),
            ("a\tb", "control"),
            ("a\nb", "control"),
            ("a,b", "a comma"),
            (".img", "no name"),
        ] {
            let error = of(&dir.path().join(path)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
