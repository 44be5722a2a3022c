//! What is no file system itself but may hold one: encryption, LVM, arrays, and swap space.

use super::{Content, Magic};
use crate::error::Result;
use crate::source::region::{Region, le32};

/// What is told by its beginning, and its marks: any one of them will do. From each one's own
/// documentation, as libblkid has them.
const AT_START: &[(Content, &[Magic])] = &[
    (Content::Encrypted("LUKS"), &[Magic::new(0, b"LUKS\xba\xbe")]),
    (Content::Encrypted("BitLocker"), &[Magic::new(3, b"-FVE-FS-")]),
    // In one of the first four sectors.
    (
        Content::PhysicalVolume,
        &[
            Magic::new(0x018, b"LVM2 001"),
            Magic::new(0x218, b"LVM2 001"),
            Magic::new(0x418, b"LVM2 001"),
            Magic::new(0x618, b"LVM2 001"),
        ],
    ),
    // Metadata versions 1.1 and 1.2; the others are at the end.
    (Content::Member("Linux RAID array"), &[Magic::new(0, &RAID_MAGIC), Magic::new(4096, &RAID_MAGIC)]),
    (
        Content::Member("bcache set"),
        &[Magic::new(4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81")],
    ),
    (Content::Member("Ceph BlueStore"), &[Magic::new(0, b"bluestore block device")]),
    (Content::Member("VMware VMFS volume"), &[Magic::new(0x10_0000, b"\x0d\xd0\x01\xc0")]),
];

const RAID_MAGIC: [u8; 4] = [0xfc, 0x4e, 0x2b, 0xa9];

/// Swap spaces and hibernation images end their first page with one of these.
const SWAP: [&[u8; 10]; 2] = [b"SWAPSPACE2", b"SWAP-SPACE"];
const HIBERNATED: [&[u8; 9]; 3] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND"];

/// The uberblock's mark in ZFS labels, which lie one behind the other from 128 KiB on.
const ZFS: u32 = 0x00ba_b10c;

pub(super) fn at_start(region: Region<'_>) -> Result<Option<Content>> {
    for (content, marks) in AT_START {
        for mark in *marks {
            if mark.is_in(region)? {
                return Ok(Some(content.clone()));
            }
        }
    }
    // The page size is that of the machine that the swap space was made for.
    for page in [4096, 8192, 16384, 32768, 65536] {
        let end = region.read(page - 10, 10)?.unwrap_or_default();
        if SWAP.iter().any(|mark| end == *mark) || HIBERNATED.iter().any(|mark| end.starts_with(*mark)) {
            return Ok(Some(Content::Swap));
        }
    }
    let labels = region.read(128 << 10, 128 << 10)?.unwrap_or_default();
    if labels.chunks(1024).any(|label| le32(label, 0) == ZFS || le32(label, 0) == ZFS.swap_bytes()) {
        return Ok(Some(Content::Member("ZFS pool")));
    }
    Ok(None)
}

pub(super) fn at_end(region: Region<'_>) -> Result<Option<Content>> {
    // Metadata version 0.90, in the byte order of its machine: the last whole 64 KiB but one. Version
    // 1.0: 8 KiB before the end, at a multiple of 4 KiB.
    let old = (region.size & !0xffff).checked_sub(0x1_0000);
    let new = (region.size & !0x1ff).checked_sub(0x2000).map(|at| at & !0xfff);
    for at in [old, new].into_iter().flatten() {
        let mark = region.read(at, 4)?.unwrap_or_default();
        if mark == RAID_MAGIC || mark.iter().rev().eq(&RAID_MAGIC) {
            return Ok(Some(Content::Member("Linux RAID array")));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    #[test]
    fn every_container_is_known_by_each_of_its_marks() {
        for (content, marks) in AT_START {
            for mark in *marks {
                let whole = file(2 << 20, &[(mark.at, mark.bytes)]);
                assert_eq!(at_start(region(&whole)).unwrap().as_ref(), Some(content));
                let short = file(mark.at + 2, &[(mark.at, &mark.bytes[..2])]);
                assert_eq!(at_start(region(&short)).unwrap(), None);
            }
        }
    }

    #[test]
    fn swap_of_every_page_size_is_known() {
        for page in [4096, 65536] {
            for mark in [&b"SWAPSPACE2"[..], b"S1SUSPEND\0"] {
                let file = file(1 << 20, &[(page - 10, mark)]);
                assert_eq!(at_start(region(&file)).unwrap(), Some(Content::Swap));
            }
        }
    }

    #[test]
    fn arrays_that_tell_it_at_their_end_are_known_there() {
        for (size, at) in [(1_000_000, 917_504), (1_000_000, 991_232)] {
            let array = file(size, &[(at, &RAID_MAGIC)]);
            assert_eq!(at_end(region(&array)).unwrap(), Some(Content::Member("Linux RAID array")), "{at}");
        }
        assert_eq!(at_end(region(&file(100, &[]))).unwrap(), None);
    }
}
