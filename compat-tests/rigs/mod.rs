//! What the tests with real servers and real systems share.
//!
//! - [`chroot`]: Debian chroots, made once and cached;
//! - [`world`]: a server of its own inside this machine, where the program is installed;
//! - [`nbd`]: a client that speaks the NBD protocol over one connection;
//! - [`tree`]: the comparison of two file trees in everything that a root file system holds;
//! - [`excludes`]: what an exclude list leaves out, found with the wildcards of bash.

// Each test uses its own part of this.
#![allow(dead_code)]

pub mod chroot;
pub mod excludes;
pub mod nbd;
pub mod tree;
pub mod world;

use std::time::{Duration, Instant};

/// Asks until there is an answer.
///
/// # Panics
/// When two minutes bring none: then something is broken rather than slow.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
