//! Partition tables, read by us: kernels need not have been told to scan them (S33).

mod dos;
mod gpt;

use std::fmt;

use crate::error::Result;
use crate::source::region::Region;

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionTable {
    /// Its format.
    pub scheme: Scheme,
    /// Its partitions in the order of their numbers.
    pub partitions: Vec<Partition>,
}

/// The format of a partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// GUID partition table (UEFI specification, chapter 5).
    Gpt,
    /// The table of the PC's master boot record.
    Dos,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// The number that the kernel gives it (S33).
    pub number: u32,
    /// Where it begins on the disk, in bytes.
    pub start: u64,
    /// Its length in bytes. It may end behind the end of a truncated disk.
    pub size: u64,
    /// What it is meant for.
    pub purpose: Purpose,
    /// What `/dev/disk/by-partuuid` calls it.
    pub uuid: String,
    /// Its name in the table (GPT only).
    pub label: Option<String>,
}

/// What the table says that a partition is for, which need not be what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The firmware's boot loaders (GPT C12A7328…, DOS 0xEF).
    EfiSystem,
    /// A boot loader's own (GPT 21686148…, PReP).
    BootLoader,
    /// The container of logical partitions (DOS 0x05, 0x0F, 0x85).
    Extended,
    /// Anything else.
    Other,
}

/// Reads the partition table of a disk; none if it has none.
///
/// # Errors
/// When the disk cannot be read.
pub fn read(disk: Region<'_>) -> Result<Option<PartitionTable>> {
    let Some(record) = dos::boot_record(disk)? else { return Ok(None) };
    // A record that announces a GPT is there to protect it from tools that do not know one.
    let gpt = if record.announces_gpt() { gpt::read(disk)? } else { None };
    if let Some(partitions) = gpt {
        return Ok(Some(PartitionTable { scheme: Scheme::Gpt, partitions }));
    }
    let partitions = dos::read(disk, &record)?;
    Ok(partitions.map(|partitions| PartitionTable { scheme: Scheme::Dos, partitions }))
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Gpt => "GPT",
            Self::Dos => "DOS",
        })
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::EfiSystem => "EFI system partition",
            Self::BootLoader => "boot loader",
            Self::Extended => "extended partition",
            Self::Other => "partition",
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::region::tests::{damaged, region};
    use std::fs::File;
    use std::io::Write;
    use std::os::unix::fs::FileExt;
    use std::process::{Command, Stdio};

    /// A disk with the partitions of an sfdisk script.
    pub fn disk(mib: u64, script: &str) -> File {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(mib << 20).unwrap();
        let mut sfdisk = Command::new("sfdisk")
            .arg("-q")
            .arg(file.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        assert!(sfdisk.wait().unwrap().success());
        file.reopen().unwrap()
    }

    pub fn table(disk: &File) -> Option<PartitionTable> {
        read(region(disk)).unwrap()
    }

    /// Number, start and size in sectors.
    fn places(disk: &File) -> Vec<(u32, u64, u64)> {
        let partitions = table(disk).unwrap().partitions;
        partitions.iter().map(|part| (part.number, part.start / 512, part.size / 512)).collect()
    }

    const GPT: &str = "label: gpt\nlabel-id: 11111111-2222-3333-4444-555555555555\n\
        start=2048, size=2048, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, \
        uuid=01234567-89AB-CDEF-0123-456789ABCDEF, name=\"EFI part\"\n\
        4: start=8192, size=4096, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root\n\
        2: start=4096, size=2048, type=21686148-6449-6E6F-744E-656564454649\n";

    // S33
    #[test]
    fn a_gpt_is_read_with_numbers_purposes_and_names() {
        let disk = disk(16, GPT);
        let found = table(&disk).unwrap();
        assert_eq!(found.scheme, Scheme::Gpt);
        assert_eq!(places(&disk), [(1, 2048, 2048), (2, 4096, 2048), (4, 8192, 4096)]);
        let purposes: Vec<Purpose> = found.partitions.iter().map(|part| part.purpose).collect();
        assert_eq!(purposes, [Purpose::EfiSystem, Purpose::BootLoader, Purpose::Other]);
        assert_eq!(found.partitions[0].uuid, "01234567-89ab-cdef-0123-456789abcdef");
        assert_eq!(found.partitions[0].label.as_deref(), Some("EFI part"));
        assert_eq!(found.partitions[1].label, None);
    }

    #[test]
    fn a_damaged_gpt_is_read_from_its_copy_and_without_one_there_is_no_table() {
        for damaged in [512, 512 + 40, 1024 + 32] {
            let disk = disk(16, GPT);
            disk.write_all_at(&[0x5a; 4], damaged).unwrap();
            assert_eq!(places(&disk), [(1, 2048, 2048), (2, 4096, 2048), (4, 8192, 4096)], "{damaged}");
            disk.write_all_at(&[0x5a; 4], (16 << 20) - 512 + 8).unwrap();
            assert!(table(&disk).is_none_or(|table| table.scheme == Scheme::Dos), "{damaged}");
        }
    }

    #[test]
    fn a_truncated_disk_keeps_its_table() {
        let disk = disk(16, GPT);
        disk.set_len(3 << 20).unwrap();
        assert_eq!(places(&disk).len(), 3);
    }

    // S32, S33
    #[test]
    fn a_dos_table_is_read_with_its_logical_partitions() {
        let disk = disk(
            32,
            "label: dos\nlabel-id: 0x1234abcd\nstart=2048, size=2048, type=ef\n\
             start=6144, size=40960, type=5\n3: start=49152, size=2048, type=83\n\
             5: start=8192, size=2048, type=83\n6: start=12288, size=4096, type=82\n7: start=20480, size=2048\n",
        );
        let found = table(&disk).unwrap();
        assert_eq!(found.scheme, Scheme::Dos);
        let expected = [
            (1, 2048, 2048),
            (2, 6144, 40960),
            (3, 49152, 2048),
            (5, 8192, 2048),
            (6, 12288, 4096),
            (7, 20480, 2048),
        ];
        assert_eq!(places(&disk), expected);
        assert_eq!(found.partitions[0].purpose, Purpose::EfiSystem);
        assert_eq!(found.partitions[1].purpose, Purpose::Extended);
        assert_eq!(found.partitions[4].uuid, "1234abcd-06");
    }

    #[test]
    fn what_has_no_table_has_none() {
        for contents in [&b""[..], &[0; 512], &[0x55; 512]] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(contents, 0).unwrap();
            assert_eq!(table(&file), None);
        }
        let empty = disk(4, "label: dos\n");
        assert_eq!(table(&empty).unwrap().partitions, []);
    }

    #[test]
    fn damaged_tables_do_no_harm() {
        let dos = "label: dos\nstart=2048, size=12288, type=5\n5: start=4096, size=2048\n6: start=8192, size=2048\n";
        for script in [GPT, dos] {
            damaged(&disk(16, script), 200, 5 << 20, |region| {
                for partition in read(region).unwrap().into_iter().flat_map(|table| table.partitions) {
                    let _ = region.part(partition.start, partition.size);
                }
            });
        }
    }
}
