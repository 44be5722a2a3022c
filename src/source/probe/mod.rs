//! What a file, block device or partition holds, told by its content (S28).

mod containers;
mod file_systems;
mod packed;

use std::ffi::OsString;
use std::fmt;

use crate::error::{Result, shown};
use crate::source::region::Region;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A file system.
    FileSystem(FileSystem),
    /// Swap space, or a hibernated system's memory.
    Swap,
    /// Encrypted, in the way that is named.
    Encrypted(&'static str),
    /// A physical volume of LVM.
    PhysicalVolume,
    /// A member of an array or pool, which is named.
    Member(&'static str),
    /// Packed or compressed.
    Packed(Packed),
    /// Nothing at all, or nothing but zeros where anything could be told from.
    Empty,
    /// Something that is not known here.
    Unknown,
}

/// A file system, as far as its superblock tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FileSystem {
    /// Its name: that of its driver in the kernel, except for [`FileSystem::driver`].
    pub name: &'static str,
    /// Its label.
    pub label: Option<OsString>,
    /// Its UUID or serial number, as `/dev/disk/by-uuid` writes it.
    pub uuid: Option<String>,
    /// The size that it takes to have, in bytes.
    pub size: Option<u64>,
    /// It was not unmounted: its journal or log is still to be replayed. Not every file system tells.
    pub unclean: bool,
    /// It lies on this many devices, of which this is one.
    pub devices: u64,
}

impl FileSystem {
    /// The kernel's driver for it.
    pub fn driver(&self) -> &'static str {
        match self.name {
            "ext2" | "ext3" => "ext4", // the one driver that every kernel has
            "ntfs" => "ntfs3",
            name => name,
        }
    }
}

/// A packed file: what it is, and how it is unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// Its format.
    pub name: &'static str,
    /// The command that unpacks it, which its name is to follow.
    pub command: &'static str,
}

/// Looks at the content of `region`.
///
/// # Errors
/// When it cannot be read.
pub fn probe(region: Region<'_>) -> Result<Content> {
    // The order is that of what covers what: a container's content may show through (a RAID member whose
    // own superblock is at its end looks like its file system), a file system's never does.
    if let Some(found) = containers::at_start(region)? {
        return Ok(found);
    }
    if let Some(found) = file_systems::detect(region)? {
        return Ok(Content::FileSystem(found));
    }
    if let Some(found) = containers::at_end(region)? {
        return Ok(found);
    }
    if let Some(found) = packed::detect(region)? {
        return Ok(Content::Packed(found));
    }
    Ok(if is_zero(region)? { Content::Empty } else { Content::Unknown })
}

/// Whether the first MiB, in which anything known has something, is zeros or missing.
fn is_zero(region: Region<'_>) -> Result<bool> {
    let size = region.size.min(1 << 20);
    let bytes = region.read(0, usize::try_from(size).unwrap_or(0))?.unwrap_or_default();
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// One of the marks that formats are known by.
struct Magic {
    /// Where, in bytes.
    at: u64,
    /// What.
    bytes: &'static [u8],
}

impl Magic {
    const fn new(at: u64, bytes: &'static [u8]) -> Self {
        Self { at, bytes }
    }

    fn is_in(&self, region: Region<'_>) -> Result<bool> {
        region.has(self.at, self.bytes)
    }
}

/// A UUID as it is written, from its bytes in that order.
fn uuid(bytes: &[u8]) -> Option<String> {
    if bytes.len() != 16 || bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    Some(text)
}

/// For lists of what a disk holds.
impl fmt::Display for Content {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileSystem(found) => {
                out.write_str(found.name)?;
                match &found.label {
                    Some(label) => write!(out, " labelled {}", shown(label)),
                    None => Ok(()),
                }
            }
            Self::Swap => out.write_str("swap"),
            Self::Encrypted(how) => write!(out, "encrypted ({how})"),
            Self::PhysicalVolume => out.write_str("physical volume of LVM"),
            Self::Member(what) => write!(out, "member of a {what}"),
            Self::Packed(packed) => write!(out, "packed ({})", packed.name),
            Self::Empty => out.write_str("empty"),
            Self::Unknown => out.write_str("unknown content"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    #[test]
    fn an_empty_file_and_one_of_zeros_hold_nothing() {
        for size in [0, 1, 512, 3 << 20] {
            let empty = file(size, &[]);
            assert_eq!(probe(region(&empty)).unwrap(), Content::Empty);
        }
        let unknown = file(2048, &[(0, b"QFI?\n")]);
        assert_eq!(probe(region(&unknown)).unwrap(), Content::Unknown);
    }

    // A container goes before what its content looks like; RAID at the end comes after it.
    #[test]
    fn what_covers_the_other_is_told() {
        let ext: &[u8] = &[0x53, 0xef];
        let luks = file(1 << 20, &[(0, b"LUKS\xba\xbe"), (1080, ext)]);
        assert_eq!(probe(region(&luks)).unwrap(), Content::Encrypted("LUKS"));
        let raid = file(1 << 20, &[((1 << 20) - 65536, &[0xfc, 0x4e, 0x2b, 0xa9]), (0, b"x")]);
        assert_eq!(probe(region(&raid)).unwrap(), Content::Member("Linux RAID array"));
        let mirrored =
            file(1 << 20, &[((1 << 20) - 65536, &[0xfc, 0x4e, 0x2b, 0xa9]), (0, b"hsqs"), (28, &[4, 0])]);
        assert!(matches!(probe(region(&mirrored)).unwrap(), Content::FileSystem(_)));
    }

    #[test]
    fn uuids_are_written_as_everywhere() {
        let bytes: Vec<u8> = (1..=16).collect();
        assert_eq!(uuid(&bytes).unwrap(), "01020304-0506-0708-090a-0b0c0d0e0f10");
        assert_eq!(uuid(&[0; 16]), None);
    }

    #[test]
    fn damaged_superblocks_do_no_harm() {
        let ext: &[u8] = &[0x53, 0xef];
        let f2fs: &[u8] = &[0x10, 0x20, 0xf5, 0xf2];
        for contents in [
            &[(0, &[1; 300][..]), (1024, &[7; 400]), (1080, ext)][..],
            &[(0, b"XFSB"), (4, &[1; 200])],
            &[(0x1_0000, &[3; 600]), (0x1_0040, b"_BHRfS_M")],
            &[(0, &[4; 96]), (0, b"hsqs")],
            &[(1024, &[5; 1200]), (1024, f2fs)],
            &[(0x8000, &[0x31; 900]), (0x8001, b"CD001")],
        ] {
            let image = file(256 << 10, contents);
            crate::source::region::tests::damaged(&image, 200, 256 << 10, |region| {
                let _ = probe(region).unwrap();
            });
        }
    }
}
