//! Packed files, which admins name where an image is meant; known so that the error can help.

use super::{Magic, Packed};
use crate::error::Result;
use crate::source::region::Region;

const PACKED: &[(Magic, Packed)] = &[
    (Magic::new(0, b"\x1f\x8b"), Packed { name: "gzip", command: "gunzip -k" }),
    (Magic::new(0, b"\xfd7zXZ\0"), Packed { name: "xz", command: "unxz -k" }),
    (Magic::new(0, b"\x28\xb5\x2f\xfd"), Packed { name: "zstd", command: "unzstd" }),
    (Magic::new(0, b"BZh"), Packed { name: "bzip2", command: "bunzip2 -k" }),
    (Magic::new(0, b"\x04\x22\x4d\x18"), Packed { name: "lz4", command: "unlz4" }),
    (Magic::new(0, b"LRZI"), Packed { name: "lrzip", command: "lrunzip" }),
    (Magic::new(0, b"\x5d\0\0"), Packed { name: "lzma", command: "unlzma -k" }),
    (Magic::new(0, b"PK\x03\x04"), Packed { name: "zip", command: "unzip" }),
    (Magic::new(0, b"7z\xbc\xaf\x27\x1c"), Packed { name: "7z", command: "7z x" }),
    (Magic::new(0, b"Rar!\x1a\x07"), Packed { name: "rar", command: "unrar x" }),
    // VM appliances (.ova) are such archives.
    (Magic::new(257, b"ustar"), Packed { name: "tar", command: "tar xf" }),
];

pub(super) fn detect(region: Region<'_>) -> Result<Option<Packed>> {
    for (magic, packed) in PACKED {
        if magic.is_in(region)? {
            return Ok(Some(*packed));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    #[test]
    fn packed_files_are_named() {
        for (magic, packed) in PACKED {
            let file = file(1024, &[(magic.at, magic.bytes)]);
            assert_eq!(detect(region(&file)).unwrap(), Some(*packed));
        }
        assert_eq!(detect(region(&file(1, &[(0, b"\x1f")]))).unwrap(), None);
    }
}
