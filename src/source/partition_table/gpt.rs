//! The GUID partition table (UEFI specification 2.10, section 5.3).

use super::{Partition, Purpose};
use crate::error::Result;
use crate::source::region::{Region, le16, le32, le64};

/// The smallest and the largest header, in bytes.
const HEADER: std::ops::RangeInclusive<usize> = 92..=512;

/// More than any tool makes (128 entries of 128 bytes are usual), and little enough to be read, in bytes.
const LARGEST_ARRAY: usize = 4 << 20;

/// The partitions of a GPT: of the one at the disk's beginning, or, if that is damaged, of its copy at
/// the end. None if both are.
pub(super) fn read(disk: Region<'_>) -> Result<Option<Vec<Partition>>> {
    for sector in [512, 4096] {
        if let Some(found) = at(disk, sector, sector)? {
            return Ok(Some(found));
        }
    }
    for sector in [512, 4096] {
        let Some(last) = (disk.size / sector).checked_sub(1) else { continue };
        if let Some(found) = at(disk, last * sector, sector)? {
            log::warn!("the partition table at the disk's beginning is damaged; its copy at the end is used");
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The partitions of the GPT whose header is here; none if it is damaged. `sector` is in bytes.
fn at(disk: Region<'_>, header: u64, sector: u64) -> Result<Option<Vec<Partition>>> {
    let here = header / sector;
    let Some(bytes) = disk.read(header, *HEADER.end())? else { return Ok(None) };
    let Some(size) = usize::try_from(le32(&bytes, 12)).ok().filter(|size| HEADER.contains(size)) else {
        return Ok(None);
    };
    let mut zeroed = bytes[..size].to_vec();
    zeroed[16..20].fill(0);
    let sound = bytes.starts_with(b"EFI PART") && le64(&bytes, 24) == here;
    if !sound || crc32(&zeroed) != le32(&bytes, 16) {
        return Ok(None);
    }
    let entry_size = usize::try_from(le32(&bytes, 84)).unwrap_or(0);
    let array = usize::try_from(le32(&bytes, 80)).ok().and_then(|count| count.checked_mul(entry_size));
    let Some(array) = array.filter(|&size| entry_size >= 128 && size <= LARGEST_ARRAY) else {
        return Ok(None);
    };
    let Some(place) = le64(&bytes, 72).checked_mul(sector) else { return Ok(None) };
    let Some(entries) = disk.read(place, array)? else { return Ok(None) };
    if crc32(&entries) != le32(&bytes, 88) {
        return Ok(None);
    }
    let entries = (1..).zip(entries.chunks_exact(entry_size));
    Ok(Some(entries.filter_map(|(number, entry)| partition(number, entry, sector)).collect()))
}

/// An entry of the array; none if it is not in use or makes no sense.
fn partition(number: u32, entry: &[u8], sector: u64) -> Option<Partition> {
    let kind = &entry[..16];
    if kind.iter().all(|&byte| byte == 0) {
        return None;
    }
    let (first, last) = (le64(entry, 32), le64(entry, 40));
    let purpose = match &*guid(kind) {
        "c12a7328-f81f-11d2-ba4b-00a0c93ec93b" => Purpose::EfiSystem,
        "21686148-6449-6e6f-744e-656564454649" | "9e1a2d38-c612-4316-aa26-8b49521e5a8b" => {
            Purpose::BootLoader
        }
        _ => Purpose::Other,
    };
    let name: Vec<u16> =
        entry[56..128].chunks(2).map(|unit| le16(unit, 0)).take_while(|&unit| unit != 0).collect();
    Some(Partition {
        number,
        start: first.checked_mul(sector)?,
        size: last.checked_sub(first)?.checked_add(1)?.checked_mul(sector)?,
        purpose,
        uuid: guid(&entry[16..32]),
        label: (!name.is_empty()).then(|| String::from_utf16_lossy(&name)),
    })
}

/// A GUID as it is written: the first three of its numbers are little-endian.
fn guid(bytes: &[u8]) -> String {
    let rest: String = bytes[8..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let (one, two, three) = (le32(bytes, 0), le16(bytes, 4), le16(bytes, 6));
    format!("{one:08x}-{two:04x}-{three:04x}-{}-{}", &rest[..4], &rest[4..])
}

/// The CRC-32 of IEEE 802.3, which the UEFI specification prescribes.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    #[test]
    fn the_checksum_is_the_standard_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_guid_is_written_in_its_mixed_byte_order() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(guid(&bytes), "03020100-0504-0706-0809-0a0b0c0d0e0f");
    }

    #[test]
    fn sectors_may_have_4096_bytes() {
        let mut entries = [0; 128];
        entries[..16].fill(1);
        entries[32] = 16;
        entries[40] = 31;
        let mut header = [0; 512];
        header[..8].copy_from_slice(b"EFI PART");
        for (at, number) in [(12, 92), (24, 1), (72, 2), (80, 1), (84, 128), (88, crc32(&entries))] {
            header[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
        let sum = crc32(&header[..92]);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        let disk = file(1 << 20, &[(4096, &header), (8192, &entries)]);
        let found = read(region(&disk)).unwrap().unwrap();
        assert_eq!((found[0].number, found[0].start, found[0].size), (1, 65536, 65536));
    }

    #[test]
    fn entries_that_make_no_sense_are_passed_over() {
        let mut entry = [1; 128];
        entry[32..48].copy_from_slice(&[2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(partition(1, &entry, 512), None);
        entry[40..48].fill(0xff);
        assert_eq!(partition(1, &entry, 512), None);
        entry[..16].fill(0);
        assert_eq!(partition(1, &entry, 512), None);
    }
}
