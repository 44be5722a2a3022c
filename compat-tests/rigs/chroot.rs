//! Debian chroots, made by `compat-tests/chroot.sh` and cached outside the work tree.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A small Debian without a kernel (about 100 MB). It is cached: never write to it.
pub fn demo() -> PathBuf {
    made("demo")
}

/// A Debian that boots from the network (about 350 MB). It is cached: never write to it.
pub fn netboot() -> PathBuf {
    made("netboot")
}

/// A Debian with services and the documentation of its packages (about 350 MB). It is cached: never write to
/// it.
pub fn services() -> PathBuf {
    made("services")
}

fn made(name: &str) -> PathBuf {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/compat-tests/chroot.sh");
    let output = Command::new(script)
        .arg(name)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot start {script}: {error}"));
    assert!(output.status.success(), "{script} {name} failed");
    let mut path = output.stdout;
    assert_eq!(path.pop(), Some(b'\n'), "{script} {name} names no folder");
    PathBuf::from(OsString::from_vec(path))
}
