//! The partition table of the PC's master boot record, with its chain of logical partitions.

use super::{Partition, Purpose};
use crate::error::Result;
use crate::source::region::{Region, le32};

/// The unit of the table's numbers, in bytes. On disks with larger sectors they mean those, but nobody
/// makes DOS tables on them.
const SECTOR: u64 = 512;

/// As the kernel has it (block/partitions/msdos.c): a chain of logical partitions may be a circle.
const LONGEST_CHAIN: u32 = 100;

/// A master boot record.
pub(super) struct BootRecord {
    bytes: Vec<u8>,
}

/// One of the four entries of a boot record. Numbers are in sectors.
#[derive(Clone, Copy)]
struct Entry {
    flag: u8,
    kind: u8,
    start: u64,
    size: u64,
}

/// The first sector of the disk, if it is marked as a boot record.
pub(super) fn boot_record(disk: Region<'_>) -> Result<Option<BootRecord>> {
    record_at(disk, 0)
}

fn record_at(disk: Region<'_>, sector: u64) -> Result<Option<BootRecord>> {
    let Some(at) = sector.checked_mul(SECTOR) else { return Ok(None) };
    let bytes = disk.read(at, 512)?.filter(|bytes| bytes[510..] == [0x55, 0xaa]);
    Ok(bytes.map(|bytes| BootRecord { bytes }))
}

impl BootRecord {
    /// Whether one of its entries has the type that protects a GPT.
    pub(super) fn announces_gpt(&self) -> bool {
        self.entries().iter().any(|entry| entry.kind == 0xee)
    }

    fn entries(&self) -> [Entry; 4] {
        [446, 462, 478, 494].map(|at| Entry {
            flag: self.bytes[at],
            kind: self.bytes[at + 4],
            start: u64::from(le32(&self.bytes, at + 8)),
            size: u64::from(le32(&self.bytes, at + 12)),
        })
    }
}

impl Entry {
    fn is_extended(self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }

    fn is_used(self) -> bool {
        self.size != 0
    }

    /// As a partition that begins at a sector of the disk.
    fn partition(self, number: u32, start: u64, disk_id: u32) -> Partition {
        let purpose = match self.kind {
            0xef => Purpose::EfiSystem,
            0x41 => Purpose::BootLoader, // PReP
            _ if self.is_extended() => Purpose::Extended,
            _ => Purpose::Other,
        };
        Partition {
            number,
            start: start.saturating_mul(SECTOR),
            size: self.size.saturating_mul(SECTOR),
            purpose,
            uuid: format!("{disk_id:08x}-{number:02x}"),
            label: None,
        }
    }
}

/// The partitions of a boot record and of the chain that starts in it; none if it holds no table.
pub(super) fn read(disk: Region<'_>, record: &BootRecord) -> Result<Option<Vec<Partition>>> {
    let entries = record.entries();
    // The boot sector of a file system has code or text where the table would be.
    if entries.iter().any(|entry| entry.flag & 0x7f != 0) {
        return Ok(None);
    }
    let disk_id = le32(&record.bytes, 440);
    let mut partitions = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        if entry.is_used() {
            partitions.push(entry.partition(number, entry.start, disk_id));
        }
    }
    let mut number = 5;
    for extended in entries.into_iter().filter(|entry| entry.is_used() && entry.is_extended()) {
        follow(disk, extended, disk_id, &mut number, &mut partitions)?;
    }
    Ok(Some(partitions))
}

/// Adds the logical partitions of an extended one, in the order and with the numbers of the kernel.
fn follow(
    disk: Region<'_>,
    extended: Entry,
    disk_id: u32,
    number: &mut u32,
    partitions: &mut Vec<Partition>,
) -> Result<()> {
    let end = extended.start.saturating_add(extended.size);
    let mut here = extended.start;
    for _ in 0..LONGEST_CHAIN {
        let Some(record) = record_at(disk, here)? else { return Ok(()) };
        let entries = record.entries();
        for (index, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.is_used()) {
            let start = here.saturating_add(entry.start);
            // The two entries that are not in use hold anything with some tools.
            let inside = start >= extended.start && start.saturating_add(entry.size) <= end;
            if entry.is_extended() || (index >= 2 && !inside) {
                continue;
            }
            partitions.push(entry.partition(*number, start, disk_id));
            *number = number.saturating_add(1);
        }
        match entries.iter().find(|entry| entry.is_used() && entry.is_extended()) {
            Some(next) => here = extended.start.saturating_add(next.start),
            None => return Ok(()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{disk, table};
    use std::os::unix::fs::FileExt;

    #[test]
    fn a_chain_that_runs_in_a_circle_ends() {
        let disk = disk(
            16,
            "label: dos\nstart=2048, size=20480, type=5\n5: start=4096, size=2048\n6: start=8192, size=2048\n",
        );
        // The second record of the chain names the first one as the next.
        let record = 6144 * 512;
        let mut bytes = [0; 512];
        disk.read_exact_at(&mut bytes, record).unwrap();
        assert_eq!(bytes[510..], [0x55, 0xaa]);
        bytes[462 + 4] = 5;
        bytes[462 + 8..462 + 16].copy_from_slice(&[0, 0, 0, 0, 0, 8, 0, 0]);
        disk.write_all_at(&bytes, record).unwrap();
        let found = table(&disk).unwrap().partitions.len();
        assert!((3..=102).contains(&found), "{found}");
    }

    #[test]
    fn wild_numbers_do_no_harm() {
        let disk = disk(4, "label: dos\nstart=2048, size=2048, type=5\n");
        disk.write_all_at(&[0xff; 8], 446 + 8).unwrap();
        assert_eq!(table(&disk).unwrap().partitions.len(), 1);
    }
}
