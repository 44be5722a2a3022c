//! From the operands of `ltsp image` and `ltsp kernel` to paths and image names (S9 to S21).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result, shown};
use crate::source::list::SourceList;
use crate::source::name;

/// Without operands, more names than this need the admin's word (S19).
const FEW: usize = 3;

/// What one operand means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The operand as a source list.
    pub list: SourceList,
    /// The path of its first element.
    pub path: PathBuf,
    /// The name of the image.
    pub name: OsString,
}

/// What several operands mean.
#[derive(Debug)]
pub struct Sources {
    /// In the order of the operands, up to the first that means nothing.
    pub found: Vec<Found>,
    /// What is wrong with the next one. The sources before it are worked on all the same (I3).
    pub mistake: Option<Error>,
}

impl Sources {
    /// # Errors
    /// When there is a mistake.
    pub fn end(self) -> Result<()> {
        self.mistake.map_or(Ok(()), Err)
    }
}

/// Where names are looked for.
#[derive(Debug, Clone, Copy)]
pub struct Lookup<'a> {
    base: &'a Path,
}

impl<'a> Lookup<'a> {
    /// Below `base`, which need not exist.
    pub fn new(base: &'a Path) -> Self {
        Self { base }
    }

    /// What the operands mean, in their order; without operands everything in the base directory, which
    /// has to be no more than three unless `all` says that this is meant (S19).
    ///
    /// # Errors
    /// When two operands would become one image, or there are too many without operands.
    pub fn sources(&self, operands: &[OsString], all: bool) -> Result<Sources> {
        if operands.is_empty() {
            return Ok(Sources { found: self.everything(all)?, mistake: None });
        }
        let mut found: Vec<Found> = Vec::new();
        for operand in operands {
            let source = match self.source(operand) {
                Ok(source) => source,
                Err(error) => return Ok(Sources { found, mistake: Some(error) }),
            };
            if let Some(same) = found.iter().find(|other| other.name == source.name) {
                let (one, other) = (shown(&same.path), shown(&source.path));
                if one == other {
                    return Err(Error::said(format!("{one} is named twice")).hint("name it once"));
                }
                let name = shown(&source.name);
                return Err(Error::said(format!("{one} and {other} would both become the image {name}.img"))
                    .hint("rename one of them, or make a link with another name and use that"));
            }
            found.push(source);
        }
        Ok(Sources { found, mistake: None })
    }

    /// What one operand means.
    ///
    /// # Errors
    /// When it names nothing (with what was searched), or has a name that cannot be used.
    pub fn source(&self, operand: &OsStr) -> Result<Found> {
        let list = SourceList::parse(operand)?;
        let path = self.path(&list.first.image).map_err(|error| {
            // A comma ends a name (S1), which is not what whoever typed this name has meant.
            let whole = self.base.join(operand);
            let is_name = operand.as_bytes().contains(&b',') && whole.symlink_metadata().is_ok();
            if is_name { error.hint(comma_hint(&whole)) } else { error }
        })?;
        self.refuse_images_folder(&path)?;
        let found = Found { name: name::of(&path)?, path, list };
        log::trace!("{} is {}, and its image is {}", shown(operand), shown(&found.path), shown(&found.name));
        for element in found.list.elements() {
            log::trace!("a part of it: {element}");
        }
        Ok(found)
    }

    /// The image name that an operand means for reverting: a backup alone is enough, whatever became of
    /// its source (I42).
    ///
    /// # Errors
    /// When there is neither a source nor a backup of that name.
    pub fn name_to_revert(&self, operand: &OsStr) -> Result<OsString> {
        let error = match self.source(operand) {
            Ok(found) => return Ok(found.name),
            Err(error) => error,
        };
        let image = SourceList::parse(operand)?.first.image;
        let last = Path::new(&image).file_name().unwrap_or_default();
        let stem = last.as_bytes().strip_suffix(b".img").map(OsStr::from_bytes);
        let has_backup = |name: &OsStr| {
            let mut file = name.to_owned();
            file.push(".img.old");
            !name.is_empty() && self.images().join(file).is_file()
        };
        match [Some(last), stem].into_iter().flatten().find(|name| has_backup(name)) {
            Some(name) => Ok(name.to_owned()),
            None => Err(error),
        }
    }

    /// Where the images are.
    fn images(&self) -> PathBuf {
        self.base.join("images")
    }

    /// The path that an image word means (S9). Characters of shell patterns have no meaning (S11).
    fn path(&self, word: &OsStr) -> Result<PathBuf> {
        if word.as_bytes().starts_with(b"/") || word.as_bytes().starts_with(b".") {
            return self.path_as_it_is(word);
        }
        let with_ending = |folder: &Path| {
            let mut path = folder.join(word).into_os_string();
            path.push(".img");
            PathBuf::from(path)
        };
        let chroot = self.base.join(word);
        if chroot.join("proc").is_dir() {
            return Ok(chroot);
        }
        let (disk, image) = (with_ending(self.base), with_ending(&self.images()));
        if disk.is_file() {
            return Ok(disk);
        }
        if image.is_file() {
            if chroot.is_dir() {
                // A chroot that lost its proc would be rebuilt from its own last image unnoticed (S10).
                log::warn!(
                    "{} has no directory proc and is passed over; {} is used",
                    shown(&chroot),
                    shown(&image)
                );
            }
            return Ok(image);
        }
        for path in [&chroot, Path::new(word)] {
            if path.exists() {
                return Ok(path.to_owned());
            }
        }
        let searched = [chroot.join("proc").into_os_string(), disk.into(), image.into(), chroot.into()];
        let searched: Vec<String> = searched.iter().map(shown).collect();
        let reason = format!("there is none of {}, nor {} here", searched.join(", "), shown(word));
        Err(self.not_found(word, reason))
    }

    fn path_as_it_is(&self, word: &OsStr) -> Result<PathBuf> {
        match std::fs::metadata(word) {
            Ok(_) => Ok(PathBuf::from(word)),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                Err(self.not_found(word, "there is no such file or directory".to_owned()))
            }
            Err(source) => Err(Error::io("find the source", word, source)),
        }
    }

    fn not_found(&self, word: &OsStr, reason: String) -> Error {
        let error = Error::new("find the source", word, reason);
        match self.names() {
            Ok(names) if !names.is_empty() => {
                let names: Vec<String> = names.iter().map(shown).collect();
                error.hint(format!("names in {}: {}", shown(self.base), names.join(", ")))
            }
            _ => error.hint("name a directory, a disk or file system image, or / for this very system"),
        }
    }

    /// An image of the images would hold itself.
    fn refuse_images_folder(&self, path: &Path) -> Result<()> {
        if !path.is_dir() {
            return Ok(());
        }
        let real = path.canonicalize().during("look up", path)?;
        let is = |folder: &Path| folder.canonicalize().is_ok_and(|folder| folder == real);
        let reason = if is(self.base) {
            "it is the base directory itself"
        } else if self.images().canonicalize().is_ok_and(|images| real.starts_with(images)) {
            "it is the folder of images"
        } else {
            return Ok(());
        };
        Err(Error::new("make an image of", path, reason).hint("name one of the sources in it"))
    }

    fn everything(&self, all: bool) -> Result<Vec<Found>> {
        let mut found: Vec<Found> = Vec::new();
        for name in self.names()? {
            // One entry with a forbidden name must not stop the others (S21).
            match self.source(&name) {
                Ok(source) => found.push(source),
                Err(error) => log::warn!("{} is left out: {error}", shown(&name)),
            }
        }
        if found.is_empty() {
            log::warn!("there is nothing to work on: {} holds no chroot, disk or image", shown(self.base));
        }
        if found.len() > FEW && !all {
            let names: Vec<String> = found.iter().map(|source| shown(&source.name)).collect();
            let reason = format!("{} of them are in {}: {}", names.len(), shown(self.base), names.join(", "));
            return Err(Error::action("work on all sources", reason)
                .hint("name those that you mean, or set ALL_IMAGES=1 for all of them"));
        }
        Ok(found)
    }

    /// The names of all chroots, disks and images, sorted (S18).
    ///
    /// # Errors
    /// When a directory cannot be read.
    fn names(&self) -> Result<BTreeSet<OsString>> {
        let mut names = BTreeSet::new();
        for folder in [self.base.to_owned(), self.images()] {
            for entry in entries(&folder)? {
                let path = folder.join(&entry);
                let stem = entry.as_bytes().strip_suffix(b".img").map(OsStr::from_bytes);
                if folder == self.base && path.join("proc").is_dir() {
                    names.insert(entry);
                } else if let Some(stem) = stem.filter(|_| path.is_file()) {
                    names.insert(stem.to_owned());
                }
            }
        }
        Ok(names)
    }
}

fn comma_hint(path: &Path) -> String {
    format!("a comma ends the name of a source: make a link to {} that has none, and use that", shown(path))
}

/// The names in a directory that are not hidden; none if there is no such directory.
fn entries(folder: &Path) -> Result<Vec<OsString>> {
    let listing = match std::fs::read_dir(folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).during("read", folder),
    };
    let mut names = Vec::new();
    for entry in listing {
        let name = entry.during("read", folder)?.file_name();
        if !name.as_bytes().starts_with(b".") {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A base directory; names that end in a slash are chroots, the others files.
    fn base(entries: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for entry in entries {
            let path = dir.path().join(entry);
            if entry.ends_with('/') {
                fs::create_dir_all(path.join("proc")).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, "").unwrap();
            }
        }
        dir
    }

    fn found(base: &Path, word: &str) -> Result<(PathBuf, String)> {
        let found = Lookup::new(base).source(word.as_ref())?;
        let path = found.path.strip_prefix(base).unwrap_or(&found.path).to_owned();
        Ok((path, found.name.into_string().unwrap()))
    }

    // S9, S10, S11
    #[test]
    fn a_name_is_looked_for_among_chroots_then_disks_then_images_then_anything() {
        let dir =
            base(&["foo/", "foo.img", "images/foo.img", "disk.img", "images/disk.img", "images/only.img"]);
        fs::create_dir_all(dir.path().join("lost/etc")).unwrap();
        fs::write(dir.path().join("images/lost.img"), "").unwrap();
        fs::create_dir_all(dir.path().join("bare/etc")).unwrap();
        fs::create_dir_all(dir.path().join("a*/proc")).unwrap();
        symlink("/nowhere", dir.path().join("dangling.img")).unwrap();
        for (word, path, name) in [
            ("foo", "foo", "foo"),
            ("foo/", "foo/", "foo"),
            ("foo.img", "foo.img", "foo"),
            ("disk", "disk.img", "disk"),
            ("only", "images/only.img", "only"),
            ("images/only", "images/only.img", "only"),
            ("images/only.img", "images/only.img", "only"),
            ("lost", "images/lost.img", "lost"),
            ("bare", "bare", "bare"),
            ("a*", "a*", "a*"),
        ] {
            assert_eq!(found(dir.path(), word).unwrap(), (path.into(), name.to_owned()), "{word}");
        }
        for word in ["only.img", "dangling", "none", "/none", "./none"] {
            let error = found(dir.path(), word).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("disk, foo"), "{error}");
        }
        let error = found(dir.path(), "none").unwrap_err().to_string();
        for place in ["none/proc", "/none.img", "images/none.img"] {
            assert!(error.contains(place), "{error}");
        }
    }

    // S9: the current directory comes last; a path is taken as it is.
    #[test]
    fn a_path_is_a_path_and_the_options_stay_with_it() {
        let dir = base(&[]);
        let source = Lookup::new(dir.path()).source("src,partition=2,,x".as_ref()).unwrap();
        assert_eq!((source.path, source.name), ("src".into(), "src".into()));
        assert_eq!(source.list.more.len(), 1);
        assert_eq!(found(dir.path(), "/usr/bin").unwrap(), ("/usr/bin".into(), "bin".to_owned()));
        let here = std::env::current_dir().unwrap();
        assert_eq!(found(dir.path(), ".").unwrap().1, here.file_name().unwrap().to_str().unwrap());
    }

    #[test]
    fn the_folder_of_images_and_the_base_directory_are_no_sources() {
        let dir = base(&["images/x/", "images/a.img"]);
        for word in ["images", "images/x", "images/x/proc", dir.path().to_str().unwrap()] {
            let error = found(dir.path(), word).unwrap_err().to_string();
            assert!(error.contains("it is the"), "{error}");
        }
    }

    // S18, S19, S20, S21
    #[test]
    fn without_operands_everything_is_taken_but_no_more_than_three_unasked() {
        let names = |dir: &Path, all| -> Result<Vec<String>> {
            let sources = Lookup::new(dir).sources(&[], all)?.found;
            Ok(sources.into_iter().map(|source| source.name.into_string().unwrap()).collect())
        };
        let dir = base(&[
            "b/",
            "b.img",
            "images/a.img",
            ".hidden/",
            "images/.h.img",
            "lab one/",
            "images/x.img.old",
        ]);
        fs::create_dir_all(dir.path().join("no-chroot")).unwrap();
        assert_eq!(names(dir.path(), false).unwrap(), ["a", "b"]);
        assert_eq!(Lookup::new(dir.path()).sources(&[], false).unwrap().found[1].path, dir.path().join("b"));
        let many = base(&["a/", "b/", "c.img", "images/d.img"]);
        assert_eq!(names(many.path(), true).unwrap(), ["a", "b", "c", "d"]);
        let error = names(many.path(), false).unwrap_err().to_string();
        assert!(error.contains("4 of them") && error.contains("ALL_IMAGES=1"), "{error}");
        assert!(names(&many.path().join("missing"), false).unwrap().is_empty());
    }

    #[test]
    fn two_operands_of_one_image_are_ambiguous() {
        let dir = base(&["a/", "sub/a.img"]);
        let both = |one: &str, two: &str| Lookup::new(dir.path()).sources(&[one.into(), two.into()], false);
        let error = both("a", "sub/a").unwrap_err().to_string();
        assert!(error.contains("a.img"), "{error}");
        assert!(both("a", "a").unwrap_err().to_string().contains("twice"));
    }

    // I3
    #[test]
    fn sources_before_a_mistake_are_found() {
        let dir = base(&["a/", "b/"]);
        let sources =
            Lookup::new(dir.path()).sources(&["a".into(), "none".into(), "b".into()], false).unwrap();
        assert_eq!(sources.found.iter().map(|source| &source.name).collect::<Vec<_>>(), ["a"]);
        assert!(sources.end().unwrap_err().to_string().contains("none"));
    }

    // I42
    #[test]
    fn a_backup_alone_is_enough_to_revert() {
        let dir = base(&["images/gone.img.old", "here/"]);
        let lookup = Lookup::new(dir.path());
        for word in ["gone", "gone.img", "/vm/gone.img"] {
            assert_eq!(lookup.name_to_revert(word.as_ref()).unwrap(), "gone");
        }
        assert_eq!(lookup.name_to_revert("here".as_ref()).unwrap(), "here");
        assert!(lookup.name_to_revert("never".as_ref()).unwrap_err().to_string().contains("never"));
    }
}
