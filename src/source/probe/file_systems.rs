//! File systems, with what their superblocks tell.
//!
//! Offsets are those of each one's on-disk format: fs/ext4/ext4.h, fs/xfs/libxfs/xfs_format.h,
//! uapi/linux/btrfs_tree.h, fs/squashfs/squashfs_fs.h, ECMA-119, fs/erofs/erofs_fs.h,
//! linux/f2fs_fs.h and so on; identifiers are written as libblkid writes them, because fstab does.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::{FileSystem, Magic, uuid};
use crate::error::Result;
use crate::source::region::{Region, be32, be64, le16, le32, le64};

/// A file system's name, its mark, where its superblock begins, and what that tells; none if it is not
/// one after all.
struct Known {
    name: &'static str,
    magic: Magic,
    superblock: u64,
    read: fn(&[u8]) -> Option<FileSystem>,
}

/// How much of a superblock is read, in bytes; zeros where it ends earlier.
const SUPERBLOCK: u64 = 2048;

const KNOWN: &[Known] = &[
    known("ext4", 1080, &[0x53, 0xef], 1024, ext),
    known("xfs", 0, b"XFSB", 0, xfs),
    known("btrfs", 0x1_0040, b"_BHRfS_M", 0x1_0000, btrfs),
    known("squashfs", 0, b"hsqs", 0, squashfs),
    known("erofs", 1024, &[0xe2, 0xe1, 0xf5, 0xe0], 1024, erofs),
    known("f2fs", 1024, &[0x10, 0x20, 0xf5, 0xf2], 1024, f2fs),
    known("bcachefs", 4120, BCACHEFS, 4096, |block| Some(labelled(uuid(&block[56..72]), &block[72..104]))),
    known("nilfs2", 1030, &[0x34, 0x34], 1024, nilfs),
    known("jfs", 0x8000, b"JFS1", 0x8000, |block| Some(labelled(uuid(&block[136..152]), &block[152..168]))),
    known("reiserfs", 0x1_0034, b"ReIsEr", 0x1_0000, |block| {
        Some(labelled(uuid(&block[84..100]), &block[100..116]))
    }),
    known("cramfs", 0, &[0x45, 0x3d, 0xcd, 0x28], 0, |block| Some(labelled(None, &block[48..64]))),
    known("romfs", 0, b"-rom1fs-", 0, |block| Some(labelled(None, &block[16..32]))),
    known("ntfs", 3, b"NTFS    ", 0, ntfs),
    known("exfat", 3, b"EXFAT   ", 0, |block| Some(labelled(Some(fat_serial(block, 100)), &[]))),
    known("vfat", 510, &[0x55, 0xaa], 0, fat),
    known("hfsplus", 1024, b"H+", 1024, |_| Some(FileSystem::default())),
    known("hfsplus", 1024, b"HX", 1024, |_| Some(FileSystem::default())),
    known("apfs", 32, b"NXSB", 0, |_| Some(FileSystem::default())),
    known("ufs", 66_908, &[0x19, 0x01, 0x54, 0x19], 66_560, |_| Some(FileSystem::default())),
    // Last: discs are often made bootable as something else too, but what else they are lies elsewhere.
    known("iso9660", 0x8001, b"CD001", 0x8000, iso9660),
    known("udf", 0x8001, b"BEA01", 0x8000, |_| Some(FileSystem::default())),
];

const BCACHEFS: &[u8] = b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef";

const fn known(
    name: &'static str,
    at: u64,
    magic: &'static [u8],
    superblock: u64,
    read: fn(&[u8]) -> Option<FileSystem>,
) -> Known {
    Known { name, magic: Magic::new(at, magic), superblock, read }
}

/// The file system in `region`; none if it is not a known one.
pub(super) fn detect(region: Region<'_>) -> Result<Option<FileSystem>> {
    for known in KNOWN {
        if !known.magic.is_in(region)? {
            continue;
        }
        let there = region.size.saturating_sub(known.superblock).min(SUPERBLOCK);
        let there = usize::try_from(there).unwrap_or(0);
        let mut block = region.read(known.superblock, there)?.unwrap_or_default();
        block.resize(2048, 0);
        let Some(found) = (known.read)(&block) else { continue };
        let name = if found.name.is_empty() { known.name } else { found.name };
        return Ok(Some(FileSystem { name, devices: found.devices.max(1), ..found }));
    }
    Ok(None)
}

fn labelled(uuid: Option<String>, label: &[u8]) -> FileSystem {
    FileSystem { uuid, label: text(label), ..FileSystem::default() }
}

/// A label in a field of fixed length, ended by zeros or blanks.
fn text(field: &[u8]) -> Option<OsString> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let label = field[..end].trim_ascii_end();
    (!label.is_empty()).then(|| OsString::from_vec(label.to_vec()))
}

fn utf16(field: &[u8]) -> Option<OsString> {
    let units: Vec<u16> =
        field.chunks_exact(2).map(|unit| le16(unit, 0)).take_while(|&unit| unit != 0).collect();
    (!units.is_empty()).then(|| String::from_utf16_lossy(&units).into())
}

/// `count` blocks of 2 to the power of `bits` bytes.
fn size(count: u64, bits: u32) -> Option<u64> {
    1u64.checked_shl(bits).and_then(|block| count.checked_mul(block))
}

fn ext(block: &[u8]) -> Option<FileSystem> {
    const JOURNAL: u32 = 0x4;
    const RECOVER: u32 = 0x4;
    const JOURNAL_DEVICE: u32 = 0x8;
    const BEYOND_EXT3: u32 = !0x16; // all but filetype, recover, meta_bg
    const BEYOND_EXT3_READ_ONLY: u32 = !0x7; // all but sparse_super, large_file, btree_dir
    let (compatible, incompatible, read_only) = (le32(block, 92), le32(block, 96), le32(block, 100));
    let bits = le32(block, 24);
    // Superblocks have copies in other groups, where a partition may begin that was made later.
    let is_copy = le16(block, 90) != 0;
    if bits > 6 || is_copy || incompatible & JOURNAL_DEVICE != 0 {
        return None;
    }
    let many = if incompatible & 0x80 != 0 { u64::from(le32(block, 336)) << 32 } else { 0 };
    let name = if incompatible & BEYOND_EXT3 != 0 || read_only & BEYOND_EXT3_READ_ONLY != 0 {
        "ext4"
    } else if compatible & JOURNAL != 0 {
        "ext3"
    } else {
        "ext2"
    };
    Some(FileSystem {
        name,
        size: size(many | u64::from(le32(block, 4)), 10 + bits),
        unclean: incompatible & RECOVER != 0,
        ..labelled(uuid(&block[104..120]), &block[120..136])
    })
}

fn xfs(block: &[u8]) -> Option<FileSystem> {
    let size = be64(block, 8).checked_mul(u64::from(be32(block, 4)));
    Some(FileSystem { size, ..labelled(uuid(&block[32..48]), &block[108..120]) })
}

fn btrfs(block: &[u8]) -> Option<FileSystem> {
    Some(FileSystem {
        // The size of this device, not of all (its dev_item).
        size: Some(le64(block, 0xd1)),
        unclean: le64(block, 0x60) != 0, // the root of the log tree
        devices: le64(block, 0x88),
        ..labelled(uuid(&block[32..48]), &block[0x12b..0x22b])
    })
}

fn squashfs(block: &[u8]) -> Option<FileSystem> {
    let version = le16(block, 28);
    (version == 4).then(|| FileSystem { size: Some(le64(block, 40)), ..FileSystem::default() })
}

fn erofs(block: &[u8]) -> Option<FileSystem> {
    let size = size(u64::from(le32(block, 36)), u32::from(block[12]));
    Some(FileSystem { size, ..labelled(uuid(&block[48..64]), &block[64..80]) })
}

fn f2fs(block: &[u8]) -> Option<FileSystem> {
    let size = size(le64(block, 36), le32(block, 16));
    Some(FileSystem {
        size,
        uuid: uuid(&block[108..124]),
        label: utf16(&block[124..1148]),
        ..FileSystem::default()
    })
}

fn nilfs(block: &[u8]) -> Option<FileSystem> {
    // The mark is short; the superblock's own length makes it sure.
    (160..=1024).contains(&le16(block, 8)).then(|| labelled(uuid(&block[152..168]), &block[168..248]))
}

fn iso9660(block: &[u8]) -> Option<FileSystem> {
    let date = &block[813..829];
    let digits = std::str::from_utf8(date).ok().filter(|_| date.iter().all(u8::is_ascii_digit));
    let uuid = digits.map(|d| {
        let parts = [&d[0..4], &d[4..6], &d[6..8], &d[8..10], &d[10..12], &d[12..14], &d[14..16]];
        parts.join("-")
    });
    let size = u64::from(le32(block, 80)).checked_mul(u64::from(le16(block, 128)));
    Some(FileSystem { size, ..labelled(uuid, &block[40..72]) })
}

fn ntfs(block: &[u8]) -> Option<FileSystem> {
    Some(FileSystem { uuid: Some(format!("{:016X}", le64(block, 72))), ..FileSystem::default() })
}

fn fat(block: &[u8]) -> Option<FileSystem> {
    // A boot sector with a partition table ends with the same two bytes.
    let sector = le16(block, 11);
    let plausible = matches!(sector, 512 | 1024 | 2048 | 4096)
        && block[13].is_power_of_two()
        && le16(block, 14) > 0
        && (1..=2).contains(&block[16])
        && (block[21] == 0xf0 || block[21] >= 0xf8);
    let fields = if &block[82..90] == b"FAT32   " {
        (67, &block[71..82])
    } else if block[54..58] == *b"FAT1" || &block[54..62] == b"FAT     " {
        (39, &block[43..54])
    } else {
        return None;
    };
    let label = text(fields.1).filter(|label| label != "NO NAME");
    plausible.then(|| FileSystem { label, ..labelled(Some(fat_serial(block, fields.0)), &[]) })
}

fn fat_serial(block: &[u8], at: usize) -> String {
    format!("{:04X}-{:04X}", le16(block, at + 2), le16(block, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};
    use std::process::Command;

    /// Makes a file system in a new file of `mib` MiB.
    fn made(mib: u64, command: &str) -> std::fs::File {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let image = std::fs::File::create_new(&path).unwrap();
        image.set_len(mib << 20).unwrap();
        let line = format!("{command} >/dev/null 2>&1 {}", path.display());
        assert!(Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{command}");
        std::fs::File::open(&path).unwrap()
    }

    fn detected(file: &std::fs::File) -> FileSystem {
        detect(region(file)).unwrap().expect("a file system")
    }

    const UUID: &str = "01234567-89ab-cdef-0123-456789abcdef";

    #[test]
    fn file_systems_tell_name_label_uuid_and_size() {
        for (mib, name, command) in [
            (8, "ext2", "mkfs.ext2 -L 'my root' -U UUID"),
            (8, "ext3", "mkfs.ext3 -L 'my root' -U UUID"),
            (8, "ext4", "mkfs.ext4 -L 'my root' -U UUID"),
            (8, "ext4", "mkfs.ext4 -O ^64bit,^has_journal -b 2048 -L 'my root' -U UUID"),
            (300, "xfs", "mkfs.xfs -L 'my root' -m uuid=UUID"),
            (128, "btrfs", "mkfs.btrfs -L 'my root' -U UUID"),
        ] {
            let image = made(mib, &command.replace("UUID", UUID));
            let found = detected(&image);
            assert_eq!(found.name, name);
            assert_eq!(found.label.as_deref(), Some("my root".as_ref()), "{name}");
            assert_eq!(found.uuid.as_deref(), Some(UUID), "{name}");
            assert_eq!(found.size, Some(mib << 20), "{name}");
            assert!(!found.unclean && found.devices == 1, "{name}");
        }
    }

    #[test]
    fn a_squashfs_tells_how_much_of_the_file_it_needs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        let made = Command::new("mksquashfs").arg("/etc/hostname").arg(&path).arg("-quiet").output().unwrap();
        assert!(made.status.success());
        let image = std::fs::File::open(&path).unwrap();
        let found = detected(&image);
        assert_eq!(found.name, "squashfs");
        assert!(found.size.unwrap() <= image.metadata().unwrap().len());
        assert!(found.size.unwrap() > 96);
    }

    #[test]
    fn an_ext4_that_was_not_unmounted_is_unclean() {
        let image = made(8, "mkfs.ext4 -O has_journal");
        let copy = file(8 << 20, &[]);
        std::io::copy(&mut &image, &mut &copy).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&copy, &[0xc6], 1024 + 96).unwrap();
        assert!(!detected(&image).unclean);
        assert!(detected(&copy).unclean);
    }

    /// Superblocks as mkfs.vfat, mkfs.ntfs, mkfs.exfat, xorriso, mkfs.f2fs and mkfs.erofs make them, as far
    /// as they are read.
    #[test]
    fn file_systems_whose_tools_are_rare_are_known_too() {
        let mut fat32 = vec![0; 512];
        fat32[..3].copy_from_slice(&[0xeb, 0x58, 0x90]);
        fat32[11..17].copy_from_slice(&[0x00, 0x02, 0x08, 0x20, 0x00, 0x02]);
        fat32[21] = 0xf8;
        fat32[67..90].copy_from_slice(b"\x78\x56\x34\x12EFI        FAT32   ");
        fat32[510..].copy_from_slice(&[0x55, 0xaa]);
        let image = file(1 << 20, &[(0, &fat32)]);
        let found = detected(&image);
        assert_eq!((found.name, found.uuid.as_deref()), ("vfat", Some("1234-5678")));
        assert_eq!(found.label.as_deref(), Some("EFI".as_ref()));

        let mut volume = vec![0; 2048];
        volume[..7].copy_from_slice(b"\x01CD001\x01");
        volume[40..72].copy_from_slice(b"Debian live 12                  ");
        volume[80..84].copy_from_slice(&600u32.to_le_bytes());
        volume[128..130].copy_from_slice(&2048u16.to_le_bytes());
        volume[813..829].copy_from_slice(b"2024013112595900");
        let image = file(2 << 20, &[(0x8000, &volume), (510, &[0x55, 0xaa])]);
        let found = detected(&image);
        assert_eq!((found.name, found.size), ("iso9660", Some(600 * 2048)));
        assert_eq!(found.label.as_deref(), Some("Debian live 12".as_ref()));
        assert_eq!(found.uuid.as_deref(), Some("2024-01-31-12-59-59-00"));

        let label: Vec<u8> = "flash".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let blocks = 1024u64.to_le_bytes();
        let contents: [(u64, &[u8]); 4] =
            [(1024, &[0x10, 0x20, 0xf5, 0xf2]), (1040, &[12]), (1060, &blocks), (1148, &label)];
        let image = file(4 << 20, &contents);
        let found = detected(&image);
        assert_eq!((found.name, found.size), ("f2fs", Some(4 << 20)));
        assert_eq!(found.label.as_deref(), Some("flash".as_ref()));

        let ntfs = file(4096, &[(3, b"NTFS    "), (72, &0xab12_u64.to_le_bytes())]);
        assert_eq!(detected(&ntfs).uuid.as_deref(), Some("000000000000AB12"));
    }

    #[test]
    fn every_mark_is_found_and_half_of_it_is_not() {
        for known in KNOWN {
            let half = file(known.magic.at + 1, &[(known.magic.at, &known.magic.bytes[..1])]);
            assert_eq!(detect(region(&half)).unwrap(), None, "{}", known.name);
        }
    }

    // A partition table is no FAT, and a copy of an ext superblock no beginning of one.
    #[test]
    fn what_only_looks_like_a_file_system_is_none() {
        let table = file(1 << 20, &[(510, &[0x55, 0xaa])]);
        assert_eq!(detect(region(&table)).unwrap(), None);
        let copy = file(1 << 20, &[(1080, &[0x53, 0xef]), (1024 + 90, &[1])]);
        assert_eq!(detect(region(&copy)).unwrap(), None);
        let old = file(1 << 20, &[(0, b"hsqs"), (28, &[3, 0])]);
        assert_eq!(detect(region(&old)).unwrap(), None);
        let hostile = file(2048, &[(1080, &[0x53, 0xef]), (1024, &[0xff; 56]), (1082, &[0xff; 900])]);
        assert_eq!(detect(region(&hostile)).unwrap(), None);
    }
}
