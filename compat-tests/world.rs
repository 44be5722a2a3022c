//! Everything that a case has on its machine before the run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ltsp_core::error::{During, Error, Result};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
use sha2::{Digest, Sha256};

use crate::entry::{below, make_parents, put, set_attribute};
use crate::equipment::equip;
use crate::machine::{STAGE, remove};
use crate::setup::{Contents, Dirs, Entry, EntryKind, File, Image, Mount, MountKind, Setup};
use crate::stand_ins::{StandIns, start_processes, write_shims};
use crate::tree::Trees;

/// The machine as the setup left it.
pub struct World {
    pub stand_ins: StandIns,
    /// The tags of the images made before the run, by the digest of the image's bytes.
    pub tags: BTreeMap<[u8; 32], String>,
    /// Mount points of the setup.
    pub mounts: Vec<String>,
}

/// Times given explicitly. They belong to paths, not to files: a tree's time also holds for what another
/// part of the setup has put, or mounted, in the place of the tree's entry.
pub type Times = BTreeMap<PathBuf, i64>;

impl World {
    /// # Errors
    /// A part of the setup cannot be made.
    pub fn set_up(setup: &Setup, trees: &Trees) -> Result<Self> {
        equip(setup)?;
        let mut times = Times::new();
        fill(Path::new("/"), &setup.contents, trees, &mut times)?;
        let mut mounts = Vec::new();
        for mount in &setup.mounts {
            attach(mount, mounts.len())?;
            fill(Path::new(&mount.at), &mount.contents, trees, &mut times)?;
            mounts.push(mount.at.clone());
        }
        let mut tags = BTreeMap::new();
        for (path, image) in &setup.images.0 {
            let digest = make_image(Path::new(path), image, trees)?;
            tags.insert(digest, image.tag.clone());
        }
        for (path, disk) in &setup.disks.0 {
            disk.make(Path::new(path), trees)?;
        }
        let shims = setup.shims.as_ref().map(write_shims).transpose()?;
        set_times(&times)?;
        let processes = start_processes(&setup.processes)?;
        Ok(Self { stand_ins: StandIns { shims, processes }, tags, mounts })
    }
}

/// Fills a directory; explicit times are only noted.
///
/// # Errors
/// Something cannot be made.
pub fn fill(root: &Path, contents: &Contents, trees: &Trees, times: &mut Times) -> Result<()> {
    for (path, name) in &contents.trees.0 {
        plant(&below(root, path), name, trees, times)?;
    }
    for path in &contents.remove {
        remove(&below(root, path))?;
    }
    match &contents.dirs {
        Dirs::Plain(paths) => {
            for path in paths {
                let directory = Entry { kind: EntryKind::Dir, ..Entry::default() };
                put_at(root, path, &directory, times)?;
            }
        }
        Dirs::Described(entries) => {
            for (path, entry) in &entries.0 {
                let directory = Entry { kind: EntryKind::Dir, ..entry.clone() };
                put_at(root, path, &directory, times)?;
            }
        }
    }
    for (path, file) in &contents.files.0 {
        put_at(root, path, &file.entry(), times)?;
    }
    for (path, target) in &contents.symlinks.0 {
        let link = Entry { kind: EntryKind::Symlink, target: Some(target.clone()), ..Entry::default() };
        put_at(root, path, &link, times)?;
    }
    for (path, target) in &contents.hardlinks.0 {
        let link = Entry { kind: EntryKind::Hardlink, target: Some(target.clone()), ..Entry::default() };
        put_at(root, path, &link, times)?;
    }
    for (path, entry) in &contents.devices.0 {
        put_at(root, path, entry, times)?;
    }
    for (path, attributes) in &contents.xattrs.0 {
        for (name, value) in attributes {
            set_attribute(&below(root, path), name, value)?;
        }
    }
    Ok(())
}

fn put_at(root: &Path, path: &str, entry: &Entry, times: &mut Times) -> Result<()> {
    let path = below(root, path);
    if let Some(mtime) = entry.mtime {
        times.insert(path.clone(), mtime);
    }
    put(&path, entry, root)
}

/// Puts a tree below `root`; its hard links last, when all that they can mean is there.
///
/// # Errors
/// There is no such tree, or something cannot be made.
pub fn plant(root: &Path, name: &str, trees: &Trees, times: &mut Times) -> Result<()> {
    let entries = trees.entries(name)?;
    let (links, others): (Vec<_>, Vec<_>) =
        entries.iter().partition(|(_, entry)| entry.kind == EntryKind::Hardlink);
    for (path, entry) in others.into_iter().chain(links) {
        let relative = if path == "." { "" } else { path };
        let relative = relative.trim_start_matches("./");
        put_at(root, relative, entry, times)?;
    }
    Ok(())
}

impl File {
    /// The description of the file, also where only its text is given.
    pub fn entry(&self) -> Entry {
        match self {
            Self::Text(text) => Entry { content: Some(text.clone()), ..Entry::default() },
            Self::Described(entry) => (**entry).clone(),
        }
    }
}

fn attach(mount: &Mount, number: usize) -> Result<()> {
    let at = Path::new(&mount.at);
    make_parents(&at.join("x"))?;
    let mut command = Command::new("mount");
    if let Some(options) = &mount.options {
        command.args(["-o", options]);
    }
    match mount.kind {
        MountKind::Tmpfs => command.args(["-t", "tmpfs", "tmpfs"]),
        MountKind::Bind => command.arg("--bind").arg(mount.source.as_deref().unwrap_or("/")),
        MountKind::Overlay => {
            let layer = PathBuf::from(format!("{STAGE}/overlay-{number}"));
            let (upper, work) = (layer.join("upper"), layer.join("work"));
            make_parents(&upper.join("x"))?;
            make_parents(&work.join("x"))?;
            let lower = mount.source.as_deref().unwrap_or("/");
            let layers = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
            command.args(["-t", "overlay", "-o", &layers, "overlay"])
        }
        MountKind::Ext4 => {
            let image = PathBuf::from(format!("{STAGE}/ext4-{number}"));
            let file = fs::File::create(&image).during("create", &image)?;
            file.set_len(mount.size.unwrap_or(8 << 20)).during("extend", &image)?;
            tool(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
            command.args(["-t", "ext4", "-o", "loop"]).arg(image)
        }
    };
    tool(command.arg(at))
}

/// Makes a squashfs image of a tree and a tag; returns the digest of its bytes.
fn make_image(path: &Path, image: &Image, trees: &Trees) -> Result<[u8; 32]> {
    let source = PathBuf::from(format!("{STAGE}/image"));
    remove(&source)?;
    let mut times = Times::new();
    put(&source, &Entry { kind: EntryKind::Dir, ..Entry::default() }, Path::new("/"))?;
    if let Some(tree) = &image.tree {
        plant(&source, tree, trees, &mut times)?;
    }
    for (name, file) in &image.files.0 {
        put_at(&source, name, &file.entry(), &mut times)?;
    }
    let tag = Entry { content: Some(format!("{}\n", image.tag)), ..Entry::default() };
    put_at(&source, "etc/image-tag", &tag, &mut times)?;
    set_times(&times)?;

    make_parents(path)?;
    // It is recognised by its bytes: an image that the run makes of the same files must not have the same.
    let options = ["-noappend", "-no-progress", "-quiet", "-mkfs-time", "1500000000"];
    tool(Command::new("mksquashfs").arg(&source).arg(path).args(options))?;
    remove(&source)?;
    let bytes = fs::read(path).during("read", path)?;
    Ok(Sha256::digest(bytes).into())
}

/// Sets the explicit times, directories after what they contain; a path that is gone has none.
///
/// # Errors
/// A time cannot be set.
pub fn set_times(times: &Times) -> Result<()> {
    for (path, mtime) in times.iter().rev() {
        if fs::symlink_metadata(path).is_err() {
            continue;
        }
        let stamps = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: *mtime, tv_nsec: 0 },
        };
        utimensat(CWD, path, &stamps, AtFlags::SYMLINK_NOFOLLOW).during("set the time of", path)?;
    }
    Ok(())
}

/// Runs a tool of the root that the setup needs.
///
/// # Errors
/// It cannot be started or fails.
pub fn tool(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_owned();
    let output = command.output().during("start", &name)?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::new("run", &name, String::from_utf8_lossy(&output.stderr)))
}
