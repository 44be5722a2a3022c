//! The parts of a disk, each with what it holds: partitions, logical volumes, or all of it.

use std::fmt;

use crate::error::{Result, shown};
use crate::report;
use crate::source::lvm;
use crate::source::partition_table::{Partition, Purpose};
use crate::source::probe::{Content, FileSystem, probe};
use crate::source::region::Region;

/// A part of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Which part.
    pub id: Id,
    /// Where it lies on the disk: starts and lengths in bytes. In one piece, but for some logical volumes.
    pub pieces: Vec<(u64, u64)>,
    /// What it holds.
    pub content: Content,
    /// Why it cannot be used, whatever it holds.
    obstacle: Option<String>,
    /// What the partition table says of it.
    pub partition: Option<Partition>,
}

/// File systems that hold no part of a system, and that the kernel cannot put a writable view over.
const WITHOUT_OWNERS: [&str; 2] = ["exfat", "vfat"];

/// Which part of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Id {
    /// All of it.
    Whole,
    /// A partition, by the kernel's number.
    Partition(u32),
    /// A logical volume.
    Logical {
        /// Its volume group.
        group: String,
        /// Its name in the group.
        volume: String,
    },
}

/// The volumes of a partitioned disk.
pub(super) fn volumes(disk: Region<'_>, partitions: Vec<Partition>) -> Result<Vec<Volume>> {
    let mut found = Vec::new();
    for partition in partitions {
        let mut volume = Volume {
            id: Id::Partition(partition.number),
            pieces: vec![(partition.start, partition.size)],
            content: Content::Unknown,
            obstacle: None,
            partition: None,
        };
        match disk.part(partition.start, partition.size) {
            // An extended partition holds others, with a table that looks like a disk's.
            Some(_) if partition.purpose == Purpose::Extended => volume.content = Content::Empty,
            Some(part) => {
                volume.content = probe(part)?;
                if volume.content == Content::PhysicalVolume {
                    found.extend(logical_volumes(disk, part)?);
                }
            }
            None => {
                volume.obstacle = Some(format!(
                    "it is truncated: the disk has {} bytes, and the partition ends at byte {}",
                    disk.size,
                    partition.start.saturating_add(partition.size)
                ));
            }
        }
        volume.partition = Some(partition);
        found.push(volume);
    }
    // The partitions first, as tools list them.
    found.sort_by_key(|volume| matches!(volume.id, Id::Logical { .. }));
    Ok(found)
}

/// The logical volumes on a physical one.
pub(super) fn logical_volumes(disk: Region<'_>, part: Region<'_>) -> Result<Vec<Volume>> {
    let mut found = Vec::new();
    for logical in lvm::volumes(part)?.unwrap_or_default() {
        let id = Id::Logical { group: logical.group, volume: logical.name };
        let mut volume =
            Volume { id, pieces: Vec::new(), content: Content::Unknown, obstacle: None, partition: None };
        match logical.place {
            lvm::Place::Pieces(pieces) => {
                let parts: Option<Vec<Region<'_>>> =
                    pieces.iter().map(|&(start, size)| part.part(start, size)).collect();
                match parts.as_deref() {
                    // What tells the content is at the beginning.
                    Some([first, ..]) => volume.content = probe(*first)?,
                    _ => {
                        volume.obstacle =
                            Some("it is truncated: it ends behind the end of the disk".to_owned())
                    }
                }
                let before = part.start.saturating_sub(disk.start);
                volume.pieces =
                    pieces.iter().map(|(start, size)| (before.saturating_add(*start), *size)).collect();
            }
            lvm::Place::Elsewhere(reason) => {
                volume.obstacle = Some(format!("{reason}, which cannot be read from outside of its system"));
            }
        }
        found.push(volume);
    }
    Ok(found)
}

impl Volume {
    pub(super) fn whole(region: Region<'_>, content: Content) -> Self {
        Self { id: Id::Whole, pieces: vec![(0, region.size)], content, obstacle: None, partition: None }
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// The file system on it, if that can be mounted.
    pub fn file_system(&self) -> Option<&FileSystem> {
        match &self.content {
            Content::FileSystem(found) if self.unusable().is_none() => Some(found),
            _ => None,
        }
    }

    /// Why it cannot be seen whether a system lies on it; none if it can, or if none ever does.
    pub fn hidden(&self) -> Option<String> {
        match self.content {
            Content::Encrypted(_) | Content::Member(_) => self.unusable(),
            _ => self.obstacle.clone(),
        }
    }

    /// Why it cannot be mounted; none if it can.
    pub fn unusable(&self) -> Option<String> {
        if let Some(obstacle) = &self.obstacle {
            return Some(obstacle.clone());
        }
        match self.partition.as_ref().map(|partition| partition.purpose) {
            Some(Purpose::EfiSystem) => {
                return Some("it is an EFI system partition, which holds boot loaders".to_owned());
            }
            Some(Purpose::Extended) => {
                return Some("it is an extended partition, which holds others".to_owned());
            }
            Some(Purpose::BootLoader) => return Some("it is for a boot loader".to_owned()),
            Some(Purpose::Other) | None => {}
        }
        Some(match &self.content {
            Content::FileSystem(found) if WITHOUT_OWNERS.contains(&found.name) => {
                format!("it is {}, which has no owners and modes: no system can lie on it", found.name)
            }
            Content::FileSystem(_) => return None,
            Content::Swap => "it is swap space".to_owned(),
            Content::Encrypted(how) => format!(
                "it is encrypted ({how}); open and mount it yourself, and give its directory, if everybody may \
                 read what is in it"
            ),
            Content::PhysicalVolume => {
                "it is a physical volume of LVM, not a file system; its logical volumes are what can be chosen"
                    .to_owned()
            }
            Content::Member(what) => {
                format!("it is a member of a {what}; put that together and give the device or directory of it")
            }
            Content::Packed(packed) => format!("it is packed ({})", packed.name),
            Content::Empty => "it is empty: there is nothing but zeros".to_owned(),
            Content::Unknown => "it holds no file system that is known here".to_owned(),
        })
    }
}

/// As one line of a list: number or name, what it holds, size.
impl fmt::Display for Volume {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.id)?;
        match self.partition.as_ref().map(|partition| partition.purpose) {
            Some(purpose @ (Purpose::EfiSystem | Purpose::BootLoader | Purpose::Extended)) => {
                write!(out, "{purpose}")?;
                if let Content::FileSystem(_) = self.content {
                    write!(out, ", {}", self.content)?;
                }
            }
            _ => match &self.obstacle {
                Some(obstacle) => out.write_str(obstacle)?,
                None => write!(out, "{}", self.content)?,
            },
        }
        if let Some(label) = self.partition.as_ref().and_then(|partition| partition.label.as_ref()) {
            write!(out, ", named {}", shown(label))?;
        }
        write!(out, ", {}", report::size(self.size()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => out.write_str("the whole disk"),
            Self::Partition(number) => write!(out, "partition {number}"),
            Self::Logical { group, volume } => {
                write!(out, "logical volume {}/{}", shown(group), shown(volume))
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::partition_table::tests::{disk, table};
    use crate::source::region::tests::region;
    use std::os::unix::fs::FileExt;

    /// A volume with an ext4 file system.
    pub fn volume(id: Id, uuid: &str, label: &str, partition_uuid: &str, name: Option<&str>) -> Volume {
        let number = match id {
            Id::Partition(number) => number,
            _ => 0,
        };
        let partition = Partition {
            number,
            start: 0,
            size: 0,
            purpose: Purpose::Other,
            uuid: partition_uuid.to_owned(),
            label: name.map(str::to_owned),
        };
        let found = FileSystem {
            name: "ext4",
            uuid: Some(uuid.to_owned()),
            label: Some(label.into()),
            ..FileSystem::default()
        };
        Volume {
            partition: (number > 0).then_some(partition),
            content: Content::FileSystem(found),
            obstacle: None,
            pieces: Vec::new(),
            id,
        }
    }

    // S32, U2
    #[test]
    fn the_list_of_volumes_tells_what_each_one_is_and_why_it_cannot_be_used() {
        let file = disk(
            32,
            "label: dos\nstart=2048, size=2048, type=ef\nstart=4096, size=2048\nstart=6144, size=2048\n\
             4: start=8192, size=8192, type=5\n5: start=10240, size=2048, type=82\n",
        );
        file.write_all_at(b"LUKS\xba\xbe", 4096 * 512).unwrap();
        file.write_all_at(&[0x53, 0xef], 6144 * 512 + 1080).unwrap();
        file.write_all_at(b"root", 6144 * 512 + 1024 + 120).unwrap();
        file.write_all_at(b"SWAPSPACE2", 10240 * 512 + 4086).unwrap();
        let found = volumes(region(&file), table(&file).unwrap().partitions).unwrap();
        let lines: Vec<String> = found.iter().map(Volume::to_string).collect();
        assert_eq!(
            lines,
            [
                "partition 1: EFI system partition, 1.0 MB",
                "partition 2: encrypted (LUKS), 1.0 MB",
                "partition 3: ext2 labelled root, 1.0 MB",
                "partition 4: extended partition, 4.1 MB",
                "partition 5: swap, 1.0 MB",
            ]
        );
        let usable: Vec<bool> = found.iter().map(|volume| volume.unusable().is_none()).collect();
        assert_eq!(usable, [false, false, true, false, false]);
        file.set_len(6200 * 512).unwrap();
        let found = volumes(region(&file), table(&file).unwrap().partitions).unwrap();
        assert!(found[2].unusable().unwrap().contains("truncated"));
    }

    #[test]
    fn logical_volumes_follow_the_partitions() {
        let text =
            "vg { extent_size = 2048 physical_volumes { pv0 { id = \"zXl2lG-cVfl-etuQ-jVjN-VGRr-0Dn2-m3v2hJ\"
            pe_start = 2048 } } logical_volumes { root { status = [\"VISIBLE\"] segment1 { start_extent = 0
            extent_count = 2 type = \"striped\" stripes = [\"pv0\", 3] } } big { status = [\"VISIBLE\"]
            segment1 { start_extent = 0 extent_count = 99 type = \"striped\" stripes = [\"pv0\", 5] } } } }";
        let physical = crate::source::lvm::tests::physical_volume(8, text.as_bytes(), 512);
        physical.write_all_at(b"hsqs", 4 << 20).unwrap();
        physical.write_all_at(&[4, 0], (4 << 20) + 28).unwrap();
        let file = disk(16, "label: gpt\nstart=2048, size=16384\n");
        let mut bytes = vec![0; 8 << 20];
        physical.read_exact_at(&mut bytes, 0).unwrap();
        file.write_all_at(&bytes, 1 << 20).unwrap();
        let found = volumes(region(&file), table(&file).unwrap().partitions).unwrap();
        assert_eq!(found[0].content, Content::PhysicalVolume);
        assert_eq!(found[1].pieces, [(5 << 20, 2 << 20)]);
        assert_eq!(found[1].file_system().unwrap().name, "squashfs");
        assert_eq!(found[1].to_string(), "logical volume vg/root: squashfs, 2.0 MB");
        assert!(found[2].unusable().unwrap().contains("truncated"));
    }
}
