//! A file or block device with file systems on it, and the parts that can be mounted from it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, shown};
use crate::source::list::{FsType, Part};
use crate::source::mount_options::MountOptions;
use crate::source::partition_table;
use crate::source::probe::{Content, FileSystem, probe};
use crate::source::region::Region;
use crate::source::vm_disk::{self, BackingFiles, Format, VmDisk};
use crate::source::volume::{Id, Volume, logical_volumes, volumes};
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
    /// Those of which only the kernel told that they were not unmounted.
    unclean: Vec<Id>,
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
        Ok(Self {
            mapped: Vec::new(),
            loops: Vec::new(),
            content,
            name: path.to_owned(),
            volumes,
            unclean: Vec::new(),
        })
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
        let (fstype, mut found) = match (&volume.content, fstype) {
            (_, Some(fstype)) => (fstype.to_owned(), assumed(fstype)),
            (Content::FileSystem(found), None) => {
                check(found, volume, &what)?;
                (found.driver().into(), found.clone())
            }
            _ => return Err(Error::action(format!("mount {what}"), volume.unusable().unwrap_or_default())),
        };
        let device = self.device(volume)?;
        if let Some(options) = options {
            return options.mount(&device, &fstype, target, &what);
        }
        if let Some(mount) =
            MountOptions::for_reading(&found).mount_if_clean(&device, &fstype, target, &what)?
        {
            return Ok(mount);
        }
        self.unclean.push(volume.id.clone());
        found.unclean = true;
        MountOptions::for_reading(&found).mount(&device, &fstype, target, &what)
    }

    /// Whether a volume that was mounted holds a file system that had not been unmounted.
    pub fn is_unclean(&self, volume: &Volume) -> bool {
        self.unclean.contains(&volume.id) || volume.file_system().is_some_and(|found| found.unclean)
    }

    /// Warns of a volume whose file system was not unmounted.
    pub fn warn_of(&self, volume: &Volume) {
        if self.is_unclean(volume) {
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
    if let Content::FileSystem(_) = content {
        let whole = Volume::whole(region, content);
        return match whole.unusable() {
            Some(reason) => Err(Error::new("use", path, reason)),
            None => Ok(vec![whole]),
        };
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

/// What is assumed of a file system whose type the user named.
fn assumed(fstype: &OsStr) -> FileSystem {
    let known = ["ext2", "ext3", "ext4", "xfs", "f2fs", "nilfs2"];
    let name = known.into_iter().find(|name| *name == fstype).unwrap_or_default();
    FileSystem { name, ..FileSystem::default() }
}

/// The type for mount(2) that the user's `fstype=` names, if it names one.
pub fn named(fstype: Option<&FsType>) -> Option<&OsString> {
    match fstype {
        Some(FsType::Named(name)) => Some(name),
        Some(FsType::PartitionTable) | None => None,
    }
}
