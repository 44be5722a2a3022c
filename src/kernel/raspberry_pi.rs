//! The one image whose boot files a Raspberry Pi asks for directly in the TFTP directory (K16).

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::FileType;

use crate::config::settings::ModernKernelSettings;
use crate::error::{During, Error, Result, shown};
use crate::kernel::replace;
use crate::sys::confined::{Entry, Root};

/// The file that makes a boot directory one for the Raspberry Pi.
const BOOT_CODE: &str = "boot/bootcode.bin";

/// Whether the image of this name is the Raspberry Pi's.
///
/// # Errors
/// When its chroot cannot be read.
pub fn is_meant(name: &OsStr, settings: &ModernKernelSettings) -> Result<bool> {
    if settings.rpi_image.as_deref() != Some(name) {
        return Ok(false);
    }
    let chroot = settings.base_dir.join(name);
    Ok(chroot.is_dir() && Root::open(&chroot)?.is_file(BOOT_CODE)?)
}

/// Links everything in the chroot's `boot` into the TFTP directory, and takes links away that lead to what
/// is gone from it.
///
/// # Errors
/// When there is no TFTP directory, or a link cannot be made.
pub fn link(name: &OsStr, settings: &ModernKernelSettings) -> Result<()> {
    let chroot = settings.base_dir.join(name);
    let chroot = chroot.canonicalize().during("look up", &chroot)?;
    let tftp = settings.tftp_dir.canonicalize().map_err(|source| {
        Error::io("link the boot files of a Raspberry Pi into", &settings.tftp_dir, source)
            .hint("install a TFTP server, or name its directory with TFTP_DIR")
    })?;
    log::info!("Linking what is in {} into {}", shown(chroot.join("boot")), shown(&tftp));
    let root = Root::open(&chroot)?;
    let folder = Root::open(&tftp)?;
    let Some(boot) = root.dir("boot")? else { return Ok(()) };
    for entry in boot.entries("")?.unwrap_or_default().iter().filter(|entry| !is_hidden(&entry.name)) {
        match target(&root, entry)? {
            Some(target) => put(&folder, &entry.name, &target)?,
            None => log::warn!("{} leads nowhere and gets no link", shown(boot.shown(&entry.name))),
        }
    }
    remove_dangling(&folder, &chroot.join("boot"))
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// The path on this server that an entry of `boot` leads to, links followed inside the root: a link out of
/// it would have the TFTP server hand out the server's own files.
fn target(root: &Root, entry: &Entry) -> Result<Option<PathBuf>> {
    let inside = Path::new("boot").join(&entry.name);
    if entry.kind != FileType::Symlink {
        return Ok(Some(root.path().join(inside)));
    }
    let path = |fd: i32| {
        let link = PathBuf::from(format!("/proc/self/fd/{fd}"));
        std::fs::read_link(&link).during("look up", root.shown(&inside)).map(Some)
    };
    if let Some(directory) = root.dir(&inside)? {
        return path(directory.as_fd().as_raw_fd());
    }
    root.open_file(&inside)?.map_or(Ok(None), |file| path(file.as_raw_fd()))
}

/// Makes a link of this name, in the place of a file or link; in a directory of this name, if there is one
/// already.
fn put(folder: &Root, name: &OsStr, target: &Path) -> Result<()> {
    let is_directory = folder.lstat(name)?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    let inside = if is_directory { folder.dir(name)? } else { None };
    let folder = inside.as_ref().unwrap_or(folder);
    replace::link(folder, relative(folder.path(), target).as_os_str(), name)
}

/// The way from a directory to a path; both absolute and without links.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

/// Links that lead to a file of the same name in `boot` that is gone.
fn remove_dangling(folder: &Root, boot: &Path) -> Result<()> {
    let links = folder.entries("")?.unwrap_or_default().into_iter();
    for entry in links.filter(|entry| entry.kind == FileType::Symlink && !is_hidden(&entry.name)) {
        let path = folder.path().join(&entry.name);
        let link = std::fs::read_link(&path).during("read the link", &path)?;
        let leads_to = folder.path().join(link);
        let directory = leads_to.parent().and_then(|parent| parent.canonicalize().ok());
        if directory.as_deref() == Some(boot) && leads_to.file_name() == Some(&entry.name) && !path.exists() {
            log::info!("Removing {}, whose target is gone", shown(&path));
            folder.remove(&entry.name)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::sys::command::Changes;

    fn world() -> (tempfile::TempDir, ModernKernelSettings) {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("srv/ltsp/pi/boot");
        fs::create_dir_all(boot.join("overlays")).unwrap();
        fs::create_dir_all(dir.path().join("srv/tftp/ltsp")).unwrap();
        for name in ["bootcode.bin", "start.elf", ".hidden", "vmlinuz-1"] {
            fs::write(boot.join(name), name).unwrap();
        }
        let settings = ModernKernelSettings {
            base_dir: dir.path().join("srv/ltsp"),
            tftp_dir: dir.path().join("srv/tftp"),
            sources: Vec::new(),
            all_images: false,
            trust_backing_files: false,
            kernel_initrd: Vec::new(),
            rpi_image: Some("pi".into()),
            omitted: BTreeSet::new(),
            child_environment: Changes::default(),
        };
        (dir, settings)
    }

    fn links(tftp: &Path) -> Vec<(String, String)> {
        let mut links = Vec::new();
        for entry in fs::read_dir(tftp).unwrap() {
            let path = entry.unwrap().path();
            if let Ok(target) = fs::read_link(&path) {
                links.push((
                    path.file_name().unwrap().to_str().unwrap().into(),
                    target.to_str().unwrap().into(),
                ));
            }
        }
        links.sort();
        links
    }

    // K16
    #[test]
    fn only_the_named_image_with_boot_code_is_meant() {
        let (dir, mut settings) = world();
        assert!(is_meant("pi".as_ref(), &settings).unwrap());
        assert!(!is_meant("other".as_ref(), &settings).unwrap());
        fs::remove_file(dir.path().join("srv/ltsp/pi/boot/bootcode.bin")).unwrap();
        assert!(!is_meant("pi".as_ref(), &settings).unwrap());
        settings.rpi_image = Some("gone".into());
        assert!(!is_meant("gone".as_ref(), &settings).unwrap());
    }

    // K16
    #[test]
    fn every_entry_of_boot_gets_a_relative_link() {
        let (dir, settings) = world();
        let (boot, tftp) = (dir.path().join("srv/ltsp/pi/boot"), dir.path().join("srv/tftp"));
        symlink("/boot/vmlinuz-1", boot.join("absolute")).unwrap();
        symlink("/etc/passwd", boot.join("outside")).unwrap();
        fs::write(tftp.join("start.elf"), "a file").unwrap();
        symlink("/nowhere", tftp.join("vmlinuz-1")).unwrap();
        fs::create_dir(tftp.join("overlays")).unwrap();
        symlink("../ltsp/pi/boot/gone.dtb", tftp.join("gone.dtb")).unwrap();
        symlink("../ltsp/pi/boot/gone.dtb", tftp.join("other-name")).unwrap();
        link("pi".as_ref(), &settings).unwrap();
        let expected = [
            ("absolute", "../ltsp/pi/boot/vmlinuz-1"),
            ("bootcode.bin", "../ltsp/pi/boot/bootcode.bin"),
            ("other-name", "../ltsp/pi/boot/gone.dtb"),
            ("start.elf", "../ltsp/pi/boot/start.elf"),
            ("vmlinuz-1", "../ltsp/pi/boot/vmlinuz-1"),
        ];
        assert_eq!(links(&tftp), expected.map(|(a, b)| (a.to_owned(), b.to_owned())));
        assert_eq!(
            links(&tftp.join("overlays")),
            [("overlays".into(), "../../ltsp/pi/boot/overlays".into())]
        );
        assert!(tftp.join("start.elf").exists());
    }

    // K16
    #[test]
    fn without_a_tftp_directory_it_is_an_error() {
        let (dir, settings) = world();
        fs::remove_dir_all(dir.path().join("srv/tftp")).unwrap();
        let error = link("pi".as_ref(), &settings).unwrap_err().to_string();
        assert!(error.contains("srv/tftp"), "{error}");
    }
}
