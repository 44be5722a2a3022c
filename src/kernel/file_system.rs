//! Which file system an image holds, told by the bytes at its fixed places.

use std::fs::File;
use std::os::unix::fs::FileExt;

/// The kernel's name of a file system, and its magic bytes: where they are, in bytes from the start,
/// and what they are. From linux/magic.h and each one's documentation.
const KNOWN: [(&str, u64, &[u8]); 11] = [
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0]),
    // The driver of ext4 mounts ext2 and ext3 too.
    ("ext4", 1080, &[0x53, 0xef]),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 65_600, b"_BHRfS_M"),
    ("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2]),
    ("iso9660", 32_769, b"CD001"),
    ("jfs", 32_768, b"JFS1"),
    ("reiserfs", 65_588, b"ReIsEr"),
    ("cramfs", 0, &[0x45, 0x3d, 0xcd, 0x28]),
    ("romfs", 0, b"-rom1fs-"),
];

/// The type of the file system in `image`, by the kernel's name; none if it is not a known one.
pub fn detect(image: &File) -> Option<&'static str> {
    let has = |offset: u64, magic: &[u8]| {
        let mut found = vec![0; magic.len()];
        // Not read: the image is too short for this one.
        image.read_exact_at(&mut found, offset).is_ok() && found == magic
    };
    KNOWN.iter().find(|(_, offset, magic)| has(*offset, magic)).map(|(name, _, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_known_by_its_magic_bytes() {
        for (name, offset, magic) in KNOWN {
            let file = tempfile::tempfile().unwrap();
            assert_eq!(detect(&file), None);
            file.write_all_at(b"no file system", 0).unwrap();
            assert_eq!(detect(&file), None);
            file.write_all_at(magic, offset).unwrap();
            assert_eq!(detect(&file), Some(name));
        }
    }
}
