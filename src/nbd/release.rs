//! The release of an nbd-server, for the defects that some have.

use std::ffi::OsStr;

use crate::error::Result;
use crate::sys::command::Command;
use crate::sys::signals;

/// Major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release(u32, u32);

impl Release {
    /// What this nbd-server says of itself; `None` if it cannot be run, or says something else.
    ///
    /// # Errors
    /// Only when a signal came.
    pub fn of(program: impl AsRef<OsStr>) -> Result<Option<Self>> {
        match Command::new(program).arg("-V").output() {
            Ok(said) => Ok(Self::parse(&String::from_utf8_lossy(&said.stdout))),
            Err(_) => signals::check().map(|()| None),
        }
    }

    /// From "This is nbd-server version 3.24".
    fn parse(text: &str) -> Option<Self> {
        let (_, number) = text.split_once("version ")?;
        let mut parts = number.split(|character: char| !character.is_ascii_digit());
        Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// SIGHUP damages its memory (see [`crate::nbd::reload`]): 3.20 to 3.24.
    pub fn reload_is_defective(self) -> bool {
        (Self(3, 20)..Self(3, 25)).contains(&self)
    }

    /// When it listens on `::` for IPv4 as well, each IPv4 network in the list of addresses admits every
    /// IPv4 address: 3.22 to 3.24. Those clients have addresses like `::ffff:192.0.2.1`, and of such
    /// an address so many bits are compared from its *start*, all zero, as the network's mask
    /// has (`address_matches` in nbdsrv.c; from aeae56e to af309d8).
    pub fn list_is_void(self) -> bool {
        (Self(3, 22)..Self(3, 25)).contains(&self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_and_their_defects_are_known() {
        let cases = [
            ("This is nbd-server version 3.24\n", Some((true, true))),
            ("This is nbd-server version 3.22", Some((true, true))),
            ("This is nbd-server version 3.20", Some((true, false))),
            ("This is nbd-server version 3.26.1", Some((false, false))),
            ("This is nbd-server version 3.25", Some((false, false))),
            ("This is nbd-server version 3.19", Some((false, false))),
            ("This is nbd-server version 4.0", Some((false, false))),
            ("E: unknown", None),
        ];
        for (text, defects) in cases {
            let found = Release::parse(text).map(|one| (one.reload_is_defective(), one.list_is_void()));
            assert_eq!(found, defects, "{text}");
        }
    }
}
