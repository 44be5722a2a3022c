//! A file or block device with file systems on it, and the parts that can be mounted from it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, shown};
use crate::report;
use crate::source::list::{FsType, Part};
use crate::source::lvm;
use crate::source::mount_options::MountOptions;
use crate::source::partition_table::{self, Partition, Purpose};
use crate::source::probe::{Content, FileSystem, probe};
use crate::source::region::Region;
use crate::source::vm_disk::{self, BackingFiles, Format, VmDisk};
use crate::sys::device_mapper::MappedDevice;
use crate::sys::loop_device::LoopDevice;
use crate::sys::mount::Mount;

/// The disk. On drop its loop devices are freed and the program that unpacks it ended; mounts of it have
/// to go before.
#[derive(Debug)]
pub struct Disk {
    // The order of these fields is the order of the teardown.
    mapped: Vec<(Id, MappedDevice)>,
    loops: Vec<(u64, u64, LoopDevice)>,
    content: VmDisk,
    name: PathBuf,
    /// Its volumes; a disk without partitions is one.
    volumes: Vec<Volume>,
}

/// A part of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Which part.
    pub id: Id,
    /// Where it lies on the disk: starts and lengths in bytes. In one piece, but for some logical volumes.
    pieces: Vec<(u64, u64)>,
    /// What it holds.
    pub content: Content,
    /// Why it cannot be used, whatever it holds.
    obstacle: Option<String>,
    /// What the partition table says of it.
    pub partition: Option<Partition>,
}

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

impl Disk {
    /// Looks at what a file or block device holds. `place` is an empty directory for files that are needed
    /// meanwhile. The type that the user gave replaces a look at the content (S29).
    ///
    /// # Errors
    /// When it cannot be read, or holds nothing that could be mounted.
    pub fn open(path: &Path, fstype: Option<&FsType>, backing: BackingFiles, place: &Path) -> Result<Self> {
        let file = vm_disk::open_disk(path)?;
        let format = Format::detect(Region::whole(&file, path)?)?;
        let content = match format {
            Some(format) => VmDisk::open(file, path, format, backing, place)?,
            None => VmDisk::raw(file, path)?,
        };
        let region = content.region()?;
        let volumes = match fstype {
            Some(FsType::Named(_)) => vec![Volume::whole(region, Content::Unknown)],
            Some(FsType::PartitionTable) => match partition_table::read(region)? {
                Some(table) => volumes(region, table.partitions)?,
                None => return Err(Error::new("find the partitions of", path, "it has no partition table")),
            },
            None => found_by_content(region, path)?,
        };
        Ok(Self { mapped: Vec::new(), loops: Vec::new(), content, name: path.to_owned(), volumes })
    }

    /// Its name for messages.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// Its volumes.
    pub fn volumes(&self) -> &[Volume] {
        &self.volumes
    }

    /// The one volume of a disk that has no parts.
    pub fn whole(&self) -> Option<&Volume> {
        self.volumes.first().filter(|volume| volume.id == Id::Whole)
    }

    /// The volume that the user chose.
    ///
    /// # Errors
    /// When there is none of that number or name, or it cannot be mounted; with what there is.
    pub fn chosen(&self, part: &Part) -> Result<&Volume> {
        let id = match part {
            Part::Number(number) => Id::Partition(*number),
            Part::Logical { group, volume } => Id::Logical { group: group.clone(), volume: volume.clone() },
        };
        let Some(volume) = self.volumes.iter().find(|volume| volume.id == id) else {
            return Err(self.lists(&format!("find {id} of"), "there is none"));
        };
        match volume.unusable() {
            Some(reason) => Err(self.lists(&format!("mount {id} of"), &reason)),
            None => Ok(volume),
        }
    }

    /// An error that lists the volumes and tells how to choose one (U2).
    pub fn lists(&self, action: &str, reason: &str) -> Error {
        let mut reason = format!("{reason}; it has these:");
        if self.volumes.is_empty() {
            reason = "its partition table is empty".to_owned();
        }
        for volume in &self.volumes {
            reason.push_str("\n  ");
            reason.push_str(&volume.to_string());
        }
        let error = Error::new(action, &self.name, reason);
        match self.volumes.iter().find(|volume| volume.unusable().is_none()) {
            Some(Volume { id: Id::Logical { .. }, .. }) => {
                error.hint(format!("choose one: {},partition=GROUP/VOLUME", shown(&self.name)))
            }
            Some(_) => error.hint(format!("choose one: {},partition=NUMBER", shown(&self.name))),
            None => error,
        }
    }

    /// Mounts a volume at `target`, with these options or those that its content asks for.
    ///
    /// # Errors
    /// When it cannot be mounted.
    pub fn mount(
        &mut self,
        volume: &Volume,
        fstype: Option<&OsStr>,
        options: Option<&MountOptions>,
        target: &Path,
    ) -> Result<Mount> {
        let what = self.shown(volume);
        let (fstype, default) = match (&volume.content, fstype) {
            (_, Some(fstype)) => (fstype.to_owned(), default_for(fstype)),
            (Content::FileSystem(found), None) => {
                check(found, volume, &what)?;
                (found.driver().into(), MountOptions::for_reading(found))
            }
            _ => return Err(Error::action(format!("mount {what}"), volume.unusable().unwrap_or_default())),
        };
        let device = self.device(volume)?;
        options.unwrap_or(&default).mount(&device, &fstype, target, &what)
    }

    /// Warns of a volume whose file system was not unmounted.
    pub fn warn_of(&self, volume: &Volume) {
        if volume.file_system().is_some_and(|found| found.unclean) {
            log::warn!(
                "{} was not unmounted: if the system on it still runs, or was not shut down, files that it had \
                 just written may be missing or damaged",
                self.shown(volume)
            );
        }
    }

    /// What a volume is called in messages.
    pub fn shown(&self, volume: &Volume) -> String {
        match volume.id {
            Id::Whole => shown(&self.name),
            _ => format!("{} of {}", volume.id, shown(&self.name)),
        }
    }

    /// The block device of a volume; one for all its mounts, because btrfs takes a second one for another
    /// disk with the same identifier.
    fn device(&mut self, volume: &Volume) -> Result<PathBuf> {
        if let [(start, size)] = *volume.pieces {
            return self.loop_device(start, size);
        }
        if let Some((_, device)) = self.mapped.iter().find(|(id, _)| *id == volume.id) {
            return Ok(device.path());
        }
        let whole = self.loop_device(0, self.content.region()?.size)?;
        let device = MappedDevice::linear(&whole, &volume.pieces, &self.shown(volume))?;
        let path = device.path();
        self.mapped.push((volume.id.clone(), device));
        Ok(path)
    }

    fn loop_device(&mut self, start: u64, size: u64) -> Result<PathBuf> {
        let same = |(other, length, _): &&(u64, u64, LoopDevice)| (*other, *length) == (start, size);
        if let Some((_, _, device)) = self.loops.iter().find(same) {
            return Ok(device.path().to_owned());
        }
        let base = self.content.region()?.start;
        let device = LoopDevice::attach(self.content.file(), &self.name, base.saturating_add(start), size)?;
        let path = device.path().to_owned();
        self.loops.push((start, size, device));
        Ok(path)
    }
}

/// The volumes of a disk of unknown content. A file system goes before a partition table, which hybrid
/// discs have too (S28).
fn found_by_content(region: Region<'_>, path: &Path) -> Result<Vec<Volume>> {
    let content = probe(region)?;
    if matches!(content, Content::FileSystem(_)) {
        return Ok(vec![Volume::whole(region, content)]);
    }
    if let Some(table) = partition_table::read(region)? {
        return volumes(region, table.partitions);
    }
    if content == Content::PhysicalVolume {
        let found = logical_volumes(region, region)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let volume = Volume::whole(region, content);
    let reason = volume.unusable().unwrap_or_default();
    let error = Error::new("find a file system in", path, reason);
    Err(match &volume.content {
        Content::Packed(packed) => error.hint(format!(
            "unpack it first: {} {}",
            packed.command,
            crate::sys::command::quoted(path.as_os_str())
        )),
        _ => error,
    })
}

/// The volumes of a partitioned disk.
fn volumes(disk: Region<'_>, partitions: Vec<Partition>) -> Result<Vec<Volume>> {
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
fn logical_volumes(disk: Region<'_>, part: Region<'_>) -> Result<Vec<Volume>> {
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
    fn whole(region: Region<'_>, content: Content) -> Self {
        Self { id: Id::Whole, pieces: vec![(0, region.size)], content, obstacle: None, partition: None }
    }

    /// Its length in bytes.
    fn size(&self) -> u64 {
        self.pieces.iter().fold(0, |sum, (_, size)| sum.saturating_add(*size))
    }

    /// The file system on it, if that can be mounted.
    pub fn file_system(&self) -> Option<&FileSystem> {
        match &self.content {
            Content::FileSystem(found) if self.unusable().is_none() => Some(found),
            _ => None,
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
            Content::FileSystem(_) => return None,
            Content::Swap => "it is swap space".to_owned(),
            Content::Encrypted(how) => format!(
                "it is encrypted ({how}); clients could not keep the key secret anyway: use an unencrypted disk"
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

/// What can be told about a file system before the kernel looks at it, and is clearer then.
fn check(found: &FileSystem, volume: &Volume, what: &str) -> Result<()> {
    if let Some(needed) = found.size.filter(|&needed| needed > volume.size()) {
        let reason = format!(
            "it is truncated: the {} file system needs {needed} bytes, and there are {}",
            found.name,
            volume.size()
        );
        return Err(
            Error::action(format!("mount {what}"), reason).hint("copy it again from where it came from")
        );
    }
    if found.devices > 1 {
        let reason = format!("the {} file system spans {} devices", found.name, found.devices);
        return Err(Error::action(format!("mount {what}"), reason)
            .hint("mount it yourself, and give its directory as the source"));
    }
    Ok(())
}

/// The options for a type that the user named.
fn default_for(fstype: &OsStr) -> MountOptions {
    let known = ["ext2", "ext3", "ext4", "xfs", "f2fs", "nilfs2"];
    match known.into_iter().find(|name| *name == fstype) {
        Some(name) => MountOptions::for_reading(&FileSystem { name, ..FileSystem::default() }),
        None => MountOptions::default(),
    }
}

/// The type for mount(2) that the user's `fstype=` names, if it names one.
pub fn named(fstype: Option<&FsType>) -> Option<&OsString> {
    match fstype {
        Some(FsType::Named(name)) => Some(name),
        Some(FsType::PartitionTable) | None => None,
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
