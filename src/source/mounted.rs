//! A source list, mounted read-only: from what an admin typed to a root that can be read.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result, shown};
use crate::source::disk::{self, Disk};
use crate::source::fstab::{self, Entry};
use crate::source::layers::{Layer, Layers};
use crate::source::list::Element;
use crate::source::live;
use crate::source::lookup::Found;
use crate::source::missing::Missing;
use crate::source::mount_options::MountOptions;
use crate::source::root_partition;
use crate::source::vm_disk::BackingFiles;
use crate::source::volume::Volume;
use crate::source::workspace::Workspace;
use crate::sys::confined::Root;
use crate::sys::mount::Mount;

/// A live system's image may lie in another image (Fedora's in two).
const DEEPEST_LIVE: usize = 3;

/// File systems that are written once, by programs that take in what is mounted in a tree: an fstab in one tells
/// of the machine on which it was made.
const COMPLETE: [&str; 5] = ["cramfs", "erofs", "iso9660", "romfs", "squashfs"];

/// The mounted sources. To be made in a private mount namespace
/// ([`crate::sys::namespace::private_mounts`]); nothing of the sources is written to.
///
/// On drop everything is unmounted, the last mount first, loop devices are freed and programs ended.
#[derive(Debug)]
pub struct Mounted {
    // The order of these fields is the order of the teardown; the deque's first was made last.
    opened: VecDeque<Opened>,
    space: Workspace,
    layers: Layers,
    missing: Missing,
    live_medium: Option<PathBuf>,
}

/// A disk and what is mounted from it; the mounts go first.
#[derive(Debug)]
struct Opened {
    mounts: VecDeque<Mount>,
    disk: Disk,
}

impl Mounted {
    /// Mounts what an operand means, one element after another (S4). `backing` says where files may lie
    /// that disk images refer to.
    ///
    /// # Errors
    /// The first element that cannot be mounted; with what was found instead, and what to do.
    pub fn new(source: &Found, backing: BackingFiles) -> Result<Self> {
        let mut mounted = Self {
            opened: VecDeque::new(),
            space: Workspace::default(),
            layers: Layers::default(),
            missing: Missing::default(),
            live_medium: None,
        };
        mounted.add(&source.path, &source.list.first, backing)?;
        for element in &source.list.more {
            let path = mounted.path_of(&element.image)?;
            mounted.add(&path, element, backing)?;
        }
        if source.list.more.is_empty() {
            mounted.follow_live(backing)?;
        }
        mounted.missing.tell(&mounted.layers)?;
        Ok(mounted)
    }

    /// Where the root is, without what goes over it: a mount of ours, or a directory of this server.
    pub fn root(&self) -> &Path {
        // Every list has a first element, which is the root until another one is.
        self.layers.all().first().map_or(Path::new("/nonexistent"), |layer| &layer.lower)
    }

    /// The root and what goes over it, in the order in which it has to be put together. The first layer's
    /// target is empty.
    pub fn layers(&self) -> &[Layer] {
        self.layers.all()
    }

    /// Of a live system, the root of its medium, which has kernels that the system itself may lack.
    pub fn live_medium(&self) -> Option<&Path> {
        self.live_medium.as_deref()
    }

    /// The path of a later element: absolute, or in what is mounted so far (S3, S6).
    fn path_of(&self, image: &OsStr) -> Result<PathBuf> {
        let path = Path::new(image);
        if path.is_absolute() {
            std::fs::metadata(path).during("find the source", path)?;
            return Ok(path.to_owned());
        }
        match self.layers.find(path)? {
            Some((layer, real)) => Ok(layer.lower.join(real)),
            None => {
                Err(Error::new("find the source", path, format!("there is no such file in {}", self.names()))
                    .hint("paths that begin with / are those of this server"))
            }
        }
    }

    /// Adds one element of the list; `path` is where it is on this server.
    fn add(&mut self, path: &Path, element: &Element, backing: BackingFiles) -> Result<()> {
        let target = self.target(element)?;
        let metadata = std::fs::metadata(path).during("look up", path)?;
        if metadata.is_dir() {
            self.push(Layer { lower: path.to_owned(), target, is_directory: true, what: shown(path) });
            return Ok(());
        }
        let mut disk = Disk::open(path, element.fstype.as_ref(), backing, &self.space.directory()?)?;
        let options = element.options.as_deref().map(MountOptions::given);
        let (volume, mount) = self.mount_of(&mut disk, element, options.as_ref())?;
        let mut mounts = VecDeque::from([mount]);
        self.put_over_layers(path, &mut mounts, backing)?;
        let lower = mounts[0].target().to_owned();
        let is_root = target.as_os_str().is_empty();
        if is_root && disk.is_unclean(&volume) && !root_partition::is_root(&Root::open(&lower)?)? {
            return Err(unclean(&disk, &volume));
        }
        disk.warn_of(&volume);
        let what = described(&disk, &volume);
        self.opened.push_front(Opened { mounts, disk });
        self.push(Layer { lower, target, is_directory: false, what });
        let named = disk::named(element.fstype.as_ref()).and_then(|name| name.to_str());
        let fstype = named.or(volume.file_system().map(|found| found.name));
        let complete = fstype.is_some_and(|name| COMPLETE.contains(&name));
        if is_root && !complete { self.follow_fstab(&volume) } else { Ok(()) }
    }

    /// Puts the image of a live system, the first of these mounts, over those that it adds to.
    fn put_over_layers(
        &mut self,
        path: &Path,
        mounts: &mut VecDeque<Mount>,
        backing: BackingFiles,
    ) -> Result<()> {
        let mut directories: Vec<PathBuf> = vec![mounts[0].target().to_owned()];
        for under in live::layers_under(path)? {
            log::info!("{} adds to {}", shown(path), shown(&under));
            let mut disk = Disk::open(&under, None, backing, &self.space.directory()?)?;
            let (_, mount) = self.mount_of(&mut disk, &Element::default(), None)?;
            directories.push(mount.target().to_owned());
            self.opened.push_front(Opened { mounts: VecDeque::from([mount]), disk });
        }
        if directories.len() > 1 {
            let directories: Vec<&Path> = directories.iter().map(PathBuf::as_path).collect();
            mounts.push_front(Mount::stack(&directories, &self.space.directory()?)?);
        }
        Ok(())
    }

    /// Where an element goes (S5).
    fn target(&self, element: &Element) -> Result<PathBuf> {
        if element.subdir.as_os_str().is_empty() {
            return Ok(PathBuf::new());
        }
        let failed = |reason: String| Error::new("mount on", &element.subdir, reason);
        if self.layers.all().is_empty() {
            return Err(failed("the first source of a list is the root itself".to_owned())
                .hint("subdir= is for the sources that follow"));
        }
        let found = self.layers.directory(&element.subdir)?;
        found.ok_or_else(|| failed(format!("there is no such directory in {}", self.names())))
    }

    /// Chooses the volume of a disk that an element means, and mounts it.
    fn mount_of(
        &mut self,
        disk: &mut Disk,
        element: &Element,
        options: Option<&MountOptions>,
    ) -> Result<(Volume, Mount)> {
        if let Some(volume) = disk.whole().cloned() {
            if element.part.is_some() {
                log::warn!(
                    "partition= is passed over for {}: it is a file system, not a disk with partitions",
                    shown(disk.name())
                );
            }
            if let Some(fstype) = disk::named(element.fstype.as_ref()) {
                let mount = disk.mount(&volume, Some(fstype), options, &self.space.directory()?)?;
                return Ok((volume, mount));
            }
            let (mount, _) = root_partition::mount(disk, &volume, options, &mut self.space)?;
            return Ok((volume, mount));
        }
        let chosen = match &element.part {
            Some(part) => Some(disk.chosen(part)?.clone()),
            // What goes into a directory need not be a root; with one file system there is no question.
            None if !element.subdir.as_os_str().is_empty() => only_file_system(disk).cloned(),
            None => None,
        };
        match chosen {
            Some(volume) => {
                let (mount, _) = root_partition::mount(disk, &volume, options, &mut self.space)?;
                Ok((volume, mount))
            }
            None => {
                let found = root_partition::find(disk, options, &mut self.space)?;
                Ok((found.volume, found.mount))
            }
        }
    }

    /// Mounts from the disk that was opened last what its root's own fstab asks for (U3).
    fn follow_fstab(&mut self, volume: &Volume) -> Result<()> {
        let Some(root) = self.layers.all().first() else { return Ok(()) };
        let root = root.open()?;
        if !root_partition::is_root(&root)? {
            return Ok(());
        }
        let entries = fstab::read(&root)?;
        let own = entries.iter().find(|entry| entry.target.as_os_str().is_empty());
        let own = own.map(|entry| entry.spec.clone());
        for entry in entries.iter().filter(|entry| !entry.target.as_os_str().is_empty()) {
            self.follow_entry(entry, own.as_deref(), volume)?;
        }
        Ok(())
    }

    fn follow_entry(&mut self, entry: &Entry, own: Option<&OsStr>, root: &Volume) -> Result<()> {
        let Some(opened) = self.opened.front_mut() else { return Ok(()) };
        let place = shown(Path::new("/").join(&entry.target));
        let spec = shown(&entry.spec);
        if entry.bind {
            self.missing.add(entry, format!("{spec}, which is to be seen at {place} too"));
            return Ok(());
        }
        let disk = shown(opened.disk.name());
        let Some(volume) = fstab::volume(&entry.spec, own, opened.disk.volumes()).cloned() else {
            self.missing.add(entry, format!("{spec}, which belongs at {place}, is not on {disk}"));
            return Ok(());
        };
        let what = opened.disk.shown(&volume);
        let Some(found) = volume.file_system() else {
            let reason = volume.unusable().unwrap_or_default();
            self.missing.add(entry, format!("{what}, which belongs at {place}: {reason}"));
            return Ok(());
        };
        if volume.id == root.id && entry.subvolume.is_none() {
            return Ok(()); // mounted a second time, it would hold itself
        }
        let Some(target) = self.layers.directory(&entry.target)? else {
            self.missing.add(entry, format!("{what} belongs at {place}, and there is no such directory"));
            return Ok(());
        };
        let subvolume = entry.subvolume.as_ref();
        let options = subvolume.map(|subvolume| MountOptions::for_reading(found).with(subvolume));
        let directory = self.space.directory()?;
        let mount = match opened.disk.mount(&volume, None, options.as_ref(), &directory) {
            Err(error) if entry.optional => {
                self.missing.add(entry, error.to_string());
                return Ok(());
            }
            mount => mount?,
        };
        opened.disk.warn_of(&volume);
        let mut what = described(&opened.disk, &volume);
        if let Some(subvolume) = &entry.subvolume {
            what = format!("{} of {what}", shown(OsStr::from_bytes(subvolume)));
        }
        opened.mounts.push_front(mount);
        self.push(Layer { lower: directory, target, is_directory: false, what });
        Ok(())
    }

    /// Goes from the medium of a live system to the system on it (O6, S7).
    fn follow_live(&mut self, backing: BackingFiles) -> Result<()> {
        for _ in 0..DEEPEST_LIVE {
            let Some(layer) = self.layers.all().first().cloned() else { return Ok(()) };
            let Some(image) = live::image_in(&layer.open()?)? else { return Ok(()) };
            log::info!("{} is the medium of a live system", layer.what);
            let element = Element { image: image.clone().into_os_string(), ..Element::default() };
            self.live_medium.get_or_insert(layer.lower.clone());
            self.add(&layer.lower.join(image), &element, backing)?;
        }
        Ok(())
    }

    fn push(&mut self, layer: Layer) {
        log::info!("/{} of the image: {}", shown(&layer.target), layer.what);
        if layer.target.as_os_str().is_empty() {
            self.missing.clear();
        }
        self.layers.push(layer);
    }

    /// What is mounted so far, for messages.
    fn names(&self) -> String {
        let names: Vec<&str> = self.layers.all().iter().map(|layer| &*layer.what).collect();
        names.join(", ")
    }
}

/// The error for a file system that was not unmounted, and that without its journal is none of a system.
fn unclean(disk: &Disk, volume: &Volume) -> Error {
    let reason =
        "it was not unmounted, and what its journal holds is not read; without that it holds no system";
    Error::action(format!("use {}", disk.shown(volume)), reason)
        .hint("shut the virtual machine down properly; or mount it once where it may be written to")
}

/// What a volume is called when it is taken.
fn described(disk: &Disk, volume: &Volume) -> String {
    match volume.file_system() {
        Some(found) => format!("{} ({})", disk.shown(volume), found.name),
        None => disk.shown(volume),
    }
}

/// The one volume of the disk that has a file system; none if several have.
fn only_file_system(disk: &Disk) -> Option<&Volume> {
    let mut found = disk.volumes().iter().filter(|volume| volume.file_system().is_some());
    let only = found.next()?;
    found.next().is_none().then_some(only)
}
