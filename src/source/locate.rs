//! From the name an admin typed to the chroot that is read and the name of its image (U30 to U34).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use crate::error::{During, Error, Result, shown};
use crate::source::{architecture, listing};

/// A chroot, and the name that its image, kernels and export are published under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The directory to be read, links resolved (D9). When reverting it may be missing.
    pub chroot: PathBuf,
    /// The image is `NAME.img`.
    pub name: OsString,
}

/// How operands are turned into sources.
#[derive(Debug)]
pub struct Locator<'a> {
    base: &'a Path,
    /// A name may also stand for an image alone (D20).
    images_count: bool,
}

impl<'a> Locator<'a> {
    /// For chroots below `base`; with `images_count`, an image without a chroot will do.
    ///
    /// # Errors
    /// When `base` is missing or no directory.
    pub fn new(base: &'a Path, images_count: bool) -> Result<Self> {
        let hint = "name the directory that holds the chroots with --base, or with BASE in \
                    /etc/ltsp/ltsp-server.conf";
        let metadata = std::fs::metadata(base)
            .map_err(|source| Error::io("use the base directory", base, source).hint(hint))?;
        if !metadata.is_dir() {
            return Err(Error::new("use the base directory", base, "it is not a directory").hint(hint));
        }
        Ok(Self { base, images_count })
    }

    /// The sources that the operands name, in their order; without operands every chroot in the base
    /// directory (U17).
    ///
    /// # Errors
    /// When one of them is no chroot, or two of them would have the same image (D7); nothing has been
    /// touched then.
    pub fn sources(&self, operands: &[OsString]) -> Result<Vec<Source>> {
        if operands.is_empty() {
            return self.every_chroot();
        }
        let mut sources: Vec<Source> = Vec::new();
        for operand in operands {
            let source = self.source(operand)?;
            if sources.contains(&source) {
                continue; // the same chroot named twice
            }
            if let Some(same) = sources.iter().find(|other| other.name == source.name) {
                return Err(Error::said(format!(
                    "{} and {} would both become the image {}.img",
                    shown(&same.chroot),
                    shown(&source.chroot),
                    shown(&source.name)
                ))
                .hint("an image's name is the directory's without what follows its last dot; rename one"));
            }
            sources.push(source);
        }
        Ok(sources)
    }

    fn every_chroot(&self) -> Result<Vec<Source>> {
        let names = listing::chroots(self.base)?;
        if names.is_empty() {
            return Err(Error::new(
                "find a chroot in",
                self.base,
                "no directory in it has an executable bin/true",
            )
            .hint(
                "make one there first, for example with debootstrap, or name a chroot or / as an argument",
            ));
        }
        let mut sources: Vec<Source> = Vec::new();
        for directory in names {
            let source = self.source(&directory)?;
            let Some(same) = sources.iter_mut().find(|other| other.name == source.name) else {
                sources.push(source);
                continue;
            };
            // The directory that has the very name of the image goes before one whose name was cut.
            let left_out = if directory == source.name { std::mem::replace(same, source) } else { source };
            log::warn!(
                "{} is left out: its image would be {}.img too",
                shown(&left_out.chroot),
                shown(&left_out.name)
            );
        }
        Ok(sources)
    }

    fn source(&self, operand: &OsStr) -> Result<Source> {
        if operand.is_empty() {
            return Err(Error::said("an argument is empty: it names no chroot"));
        }
        let path = reduced(operand);
        // Below the base directory first, for absolute operands too (U30).
        let inside = self.base.join(path.strip_prefix("/").unwrap_or(&path));
        let below_base = path != Path::new("/") && inside.is_dir();
        // Of two that are no directories, the one that is there tells more about the mistake.
        let mistaken = !below_base && !path.exists() && inside.symlink_metadata().is_ok();
        let candidate = if below_base || mistaken { inside } else { path.clone() };
        let chroot = match std::fs::canonicalize(&candidate) {
            Ok(chroot) => chroot,
            Err(_) if self.images_count => return self.image_alone(&path),
            Err(source) => return Err(self.not_found(operand, &candidate, source)),
        };
        self.check(operand, &chroot)?;
        let named = candidate.file_name().or_else(|| chroot.file_name());
        Ok(Source { name: image_name(named)?, chroot })
    }

    fn image_alone(&self, path: &Path) -> Result<Source> {
        let name = image_name(path.file_name())?;
        let image = crate::publish::Image::new(&self.base.join("images"), &name);
        if !image.exists() {
            return Err(Error::new(
                "revert to",
                &image.backup,
                "there is neither such a backup nor a chroot of that name",
            ));
        }
        Ok(Source { chroot: self.base.join(path), name })
    }

    fn not_found(&self, operand: &OsStr, candidate: &Path, source: std::io::Error) -> Error {
        let error = if candidate.is_symlink() {
            Error::new("find the chroot", candidate, "it is a link that leads nowhere")
        } else if source.kind() == std::io::ErrorKind::NotFound {
            let reason = format!("there is no such directory here or in {}", shown(self.base));
            Error::new("find the chroot", operand, reason)
        } else {
            Error::io("read the chroot", candidate, source)
        };
        match listing::chroots(self.base) {
            Ok(names) if !names.is_empty() => {
                let names: Vec<String> = names.iter().map(shown).collect();
                error.hint(format!("chroots in {}: {}", shown(self.base), names.join(", ")))
            }
            _ => error.hint("name a directory that holds the system of the clients"),
        }
    }

    /// Refuses what cannot be a chroot, before anything is touched (D8).
    fn check(&self, operand: &OsStr, chroot: &Path) -> Result<()> {
        if !chroot.is_dir() {
            return Err(Error::new("make an image of", chroot, "it is not a directory")
                .hint("name the directory that holds the system of the clients"));
        }
        std::fs::read_dir(chroot).map_err(|source| {
            Error::io("read the chroot", chroot, source)
                .hint("root must be able to read all of it: a network file system may not let it")
        })?;
        let base = std::fs::canonicalize(self.base).during("look up", self.base)?;
        let images = base.join("images");
        let reason = if chroot == base {
            "it is the base directory itself"
        } else if chroot.starts_with(&images) {
            "it is the folder of images"
        } else if chroot != Path::new("/") && base.starts_with(chroot) {
            "it holds the base directory"
        } else {
            return Ok(());
        };
        Err(Error::new("make an image of", operand, reason).hint("name one of the chroots in it"))
    }
}

/// A path without repeated slashes, a slash at the end, or `.` components (D8).
fn reduced(operand: &OsStr) -> PathBuf {
    let path: PathBuf = Path::new(operand).components().filter(|part| *part != Component::CurDir).collect();
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

/// The name of the image of a directory: the directory's without its last dot and what follows, or the
/// architecture's if nothing is left (U33).
fn image_name(directory: Option<&OsStr>) -> Result<OsString> {
    let Some(directory) = directory else { return architecture::name() };
    let bytes = directory.as_bytes();
    let Some(dot) = bytes.iter().rposition(|&byte| byte == b'.') else { return Ok(directory.to_owned()) };
    let name = match &bytes[..dot] {
        b"" => architecture::name()?,
        cut => OsString::from_vec(cut.to_vec()),
    };
    if &bytes[dot..] != b".img" {
        log::warn!(
            "the image of {} is called {}.img: a name ends at its last dot",
            shown(directory),
            shown(&name)
        );
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn base(chroots: &[&str]) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        for name in chroots {
            let bin = base.path().join(name).join("bin");
            fs::create_dir_all(&bin).unwrap();
            fs::write(bin.join("true"), "").unwrap();
            fs::set_permissions(bin.join("true"), fs::Permissions::from_mode(0o755)).unwrap();
        }
        base
    }

    fn locate(base: &Path, operands: &[&str]) -> Result<Vec<(PathBuf, String)>> {
        let operands: Vec<OsString> = operands.iter().map(OsString::from).collect();
        let sources = Locator::new(base, false)?.sources(&operands)?;
        Ok(sources
            .into_iter()
            .map(|source| {
                let chroot = source.chroot.strip_prefix(base).unwrap_or(&source.chroot).to_owned();
                (chroot, source.name.into_string().unwrap())
            })
            .collect())
    }

    // U30, U33
    #[test]
    fn an_operand_names_a_chroot_below_the_base_or_a_path() {
        let dir = base(&["amd64", "with space", "buster-10.3", "sub/dir", "g*b", "-x"]);
        let outside = base(&["lab"]);
        let arch = architecture::name().unwrap().into_string().unwrap();
        let full = dir.path().join("amd64");
        let lab = outside.path().join("lab");
        for (operand, chroot, name) in [
            ("amd64", Path::new("amd64"), "amd64"),
            ("amd64/", Path::new("amd64"), "amd64"),
            ("amd64//", Path::new("amd64"), "amd64"),
            ("./amd64/.", Path::new("amd64"), "amd64"),
            (full.to_str().unwrap(), Path::new("amd64"), "amd64"),
            ("/amd64", Path::new("amd64"), "amd64"),
            ("with space", Path::new("with space"), "with space"),
            ("buster-10.3", Path::new("buster-10.3"), "buster-10"),
            ("sub/dir", Path::new("sub/dir"), "dir"),
            ("g*b", Path::new("g*b"), "g*b"),
            ("-x", Path::new("-x"), "-x"),
            ("/", Path::new("/"), &arch),
            ("//", Path::new("/"), &arch),
            (lab.to_str().unwrap(), &lab, "lab"),
        ] {
            let found = locate(dir.path(), &[operand]).unwrap();
            assert_eq!(found, [(chroot.to_owned(), name.to_owned())], "{operand}");
        }
    }

    // D8
    #[test]
    fn what_cannot_be_a_chroot_is_refused() {
        let dir = base(&["amd64", "images/inside"]);
        fs::write(dir.path().join("file"), "").unwrap();
        let above = dir.path().parent().unwrap().to_str().unwrap();
        for operand in ["", ".", "..", "nope", "images", "images/inside", "file", "amd64/..", above] {
            let error = locate(dir.path(), &[operand]).unwrap_err();
            assert_eq!(error.status(), 1, "{operand}");
        }
        let error = locate(dir.path(), &["nope"]).unwrap_err().to_string();
        assert!(error.contains("nope") && error.contains("amd64"), "{error}");
    }

    // D9
    #[test]
    fn a_linked_chroot_is_read_where_it_lies_and_keeps_the_links_name() {
        let dir = base(&["real"]);
        symlink("real", dir.path().join("linked")).unwrap();
        assert_eq!(locate(dir.path(), &["linked"]).unwrap(), [("real".into(), "linked".to_owned())]);
    }

    // D7
    #[test]
    fn two_chroots_of_one_image_are_refused_if_named_and_one_is_left_out_if_not() {
        let dir = base(&["a.1", "a", "a.2", "b.1", "b.2"]);
        assert!(locate(dir.path(), &["a.1", "a.2"]).unwrap_err().to_string().contains("a.img"));
        let names = locate(dir.path(), &[]).unwrap();
        assert_eq!(names, [("a".into(), "a".to_owned()), ("b.1".into(), "b".to_owned())]);
    }

    // U17
    #[test]
    fn without_operands_every_chroot_is_taken_and_none_is_an_error() {
        let dir = base(&["i386", "amd64", "images"]);
        fs::create_dir(dir.path().join("no-system")).unwrap();
        let names: Vec<_> = locate(dir.path(), &[]).unwrap().into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["amd64", "i386"]);
        let empty = base(&[]);
        let error = locate(empty.path(), &[]).unwrap_err().to_string();
        assert!(error.contains(empty.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn a_base_that_is_missing_or_a_file_is_refused() {
        let dir = base(&[]);
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        for base in [file, dir.path().join("missing")] {
            assert!(locate(&base, &[]).unwrap_err().to_string().contains(base.to_str().unwrap()));
        }
    }

    // D20
    #[test]
    fn reverting_needs_an_image_but_no_chroot() {
        let dir = base(&[]);
        fs::create_dir(dir.path().join("images")).unwrap();
        fs::write(dir.path().join("images/gone.img.old"), "").unwrap();
        let locator = Locator::new(dir.path(), true).unwrap();
        assert_eq!(locator.sources(&["gone".into()]).unwrap()[0].name, "gone");
        let error = locator.sources(&["never".into()]).unwrap_err().to_string();
        assert!(error.contains("images/never.img.old"), "{error}");
    }
}
