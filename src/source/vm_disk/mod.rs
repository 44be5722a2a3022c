//! Disks of virtual machines, as one plain file each (U1).
//!
//! The format is told by the content, here and not by QEMU: a guest can write into its raw disk whatever
//! makes it look like another format that refers to the server's files. For the same reason every file
//! that a disk consists of or is based on is opened by us, and QEMU gets it open.

mod export;
mod files;
mod fuse;
mod nbd;
mod node;
mod qcow2;
mod qed;
mod vdi;
mod vmdk;
mod vmdk_sparse;

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{During, Error, Result, shown};
use crate::source::region::{Region, be32, le32};
use export::Export;
use files::Files;
pub use files::{BackingFiles, open_disk};
use node::Nodes;

/// Formats of virtual disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// QEMU's, versions 2 and 3.
    Qcow2,
    /// An older one of QEMU's.
    Qed,
    /// VirtualBox's.
    Vdi,
    /// VMware's with data in it, sparse or compressed.
    Vmdk,
    /// VMware's description of a disk whose data are in other files.
    VmdkDescriptor,
    /// Hyper-V's older one, growing.
    Vhd,
    /// Hyper-V's older one: a raw disk with a footer.
    VhdFixed,
    /// Hyper-V's.
    Vhdx,
    /// One that is known but not read here.
    Other(&'static str),
}

impl Format {
    /// The format of a disk; none if it is none of these, which means that it is raw.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn detect(region: Region<'_>) -> Result<Option<Self>> {
        let start = region.read(0, usize::try_from(region.size.min(512)).unwrap_or(0))?.unwrap_or_default();
        let end = match region.size.checked_sub(512) {
            Some(at) => region.read(at, 512)?.unwrap_or_default(),
            None => Vec::new(),
        };
        let vhd_type = |bytes: &[u8]| bytes.starts_with(b"conectix").then(|| be32(bytes, 60));
        Ok(Some(match &*start {
            s if s.starts_with(b"QFI\xfb") && matches!(be32(s, 4), 2 | 3) => Self::Qcow2,
            s if s.starts_with(b"QFI\xfb") => Self::Other("qcow (version 1)"),
            s if s.starts_with(b"QED\0") => Self::Qed,
            s if le32(s, 64) == 0xbeda_107f => Self::Vdi,
            s if s.starts_with(b"KDMV") || s.starts_with(b"COWD") => Self::Vmdk,
            s if vmdk::is_descriptor(s) => Self::VmdkDescriptor,
            s if vhd_type(s).is_some() => Self::Vhd,
            s if s.starts_with(b"vhdxfile") => Self::Vhdx,
            s if s.starts_with(b"WithoutFreeSpace") || s.starts_with(b"WithouFreSpacExt") => {
                Self::Other("Parallels")
            }
            s if s.starts_with(b"Bochs Virtual HD Image") => Self::Other("Bochs"),
            s if s.starts_with(b"#!/bin/sh\n#V2.0 Format") => Self::Other("cloop"),
            _ if vhd_type(&end) == Some(2) => Self::VhdFixed,
            _ if end.starts_with(b"koly") => Self::Other("Apple disk image"),
            _ => return Ok(None),
        }))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Qcow2 => "qcow2",
            Self::Qed => "QED",
            Self::Vdi => "VDI",
            Self::Vmdk | Self::VmdkDescriptor => "VMDK",
            Self::Vhd | Self::VhdFixed => "VHD",
            Self::Vhdx => "VHDX",
            Self::Other(name) => name,
        })
    }
}

/// A disk that can be read from beginning to end. On drop the program that unpacks it is ended, if there
/// is one.
#[derive(Debug)]
pub struct VmDisk {
    // The order of these fields is the order of the teardown.
    file: File,
    _export: Option<Export>,
    name: PathBuf,
    start: u64,
    size: Option<u64>,
}

impl VmDisk {
    /// A raw disk: the file as it is. `name` is for messages.
    ///
    /// # Errors
    /// When a virtual machine is using it.
    pub fn raw(file: File, name: &Path) -> Result<Self> {
        files::refuse_running(&file, name)?;
        Ok(Self { file, _export: None, name: name.to_owned(), start: 0, size: None })
    }

    /// The disk in `file`, which has this format. `place` is an empty directory in which it may appear.
    ///
    /// # Errors
    /// When a file that it needs is missing, lies where it must not, or is truncated; when it is encrypted, in
    /// use, or of a kind that cannot be read; when QEMU's tools or FUSE are missing.
    pub fn open(
        file: File,
        path: &Path,
        format: Format,
        backing: BackingFiles,
        place: &Path,
    ) -> Result<Self> {
        if let Format::Other(name) = format {
            return Err(Error::new("read the disk", path, format!("{name} images cannot be read directly"))
                .hint(convert(path)));
        }
        files::refuse_running(&file, path)?;
        if format == Format::VhdFixed {
            let region = Region::whole(&file, path)?;
            let size = Some(region.size.saturating_sub(512));
            return Ok(Self { name: path.to_owned(), file, _export: None, start: 0, size });
        }
        if matches!(format, Format::Vmdk | Format::VmdkDescriptor) {
            files::warn_of_vmware(path);
        }
        let files = Files::around(path, backing)?;
        let flat = match format {
            Format::VmdkDescriptor => vmdk::only_flat_extent(&file, path, &files)?,
            _ => None,
        };
        if let Some(extent) = flat {
            return Ok(Self {
                name: path.to_owned(),
                file: extent.file,
                _export: None,
                start: extent.start,
                size: Some(extent.size),
            });
        }
        let mut nodes = Nodes::new(&files, place);
        let disk = nodes.disk(file, path, format)?;
        let export = Export::start(&disk, nodes.into_files(), place)
            .map_err(|error| explained(error, path, format))?;
        let file = export.open()?;
        Ok(Self { file, _export: Some(export), name: path.to_owned(), start: 0, size: None })
    }

    /// Its content.
    ///
    /// # Errors
    /// When its size cannot be told, or its file is shorter than it says.
    pub fn region(&self) -> Result<Region<'_>> {
        let whole = Region::whole(&self.file, &self.name)?;
        let size = self.size.unwrap_or(whole.size.saturating_sub(self.start));
        whole.part(self.start, size).ok_or_else(|| {
            Error::new(
                "read the disk",
                &self.name,
                format!(
                    "it is truncated: of {} bytes there are {}",
                    self.start.saturating_add(size),
                    whole.size
                ),
            )
        })
    }

    /// The file itself, for writing to a raw disk.
    ///
    /// # Errors
    /// When it is not raw, or cannot be written to.
    pub fn writable(&self) -> Result<File> {
        if self._export.is_some() || self.size.is_some() {
            return Err(Error::new("write to", &self.name, "only raw disks can be written to")
                .hint(convert(&self.name)));
        }
        File::options().read(true).write(true).open(&self.name).during("write to", &self.name)
    }

    /// The file that [`VmDisk::region`] is a part of.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// The command that helps with everything that cannot be read here.
fn convert(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default();
    let mut new = file.to_owned();
    new.push(".raw");
    let quoted = crate::sys::command::quoted;
    format!("convert it with `qemu-img convert -O raw {} {}`", quoted(file), quoted(&new))
}

fn explained(error: Error, path: &Path, format: Format) -> Error {
    let text = error.to_string();
    // It was started after we looked.
    if text.contains("Is another process using the image") {
        return files::running(path);
    }
    let mut lines = text.splitn(2, "\nhint: ");
    let reason = lines.next().unwrap_or_default();
    let hint = lines.next().map_or_else(|| convert(path), str::to_owned);
    Error::new(format!("read the {format} disk"), path, shown(reason)).hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{damaged, file, region};

    fn detected(contents: &[(u64, &[u8])]) -> Option<Format> {
        let disk = file(4096, contents);
        Format::detect(region(&disk)).unwrap()
    }

    #[test]
    fn every_format_is_told_by_its_content() {
        for (contents, format) in [
            (&[(0, &b"QFI\xfb\0\0\0\x02"[..])][..], Some(Format::Qcow2)),
            (&[(0, b"QFI\xfb\0\0\0\x03")], Some(Format::Qcow2)),
            (&[(0, b"QFI\xfb\0\0\0\x01")], Some(Format::Other("qcow (version 1)"))),
            (&[(0, b"QED\0")], Some(Format::Qed)),
            (&[(64, b"\x7f\x10\xda\xbe")], Some(Format::Vdi)),
            (&[(0, b"KDMV")], Some(Format::Vmdk)),
            (&[(0, b"COWD")], Some(Format::Vmdk)),
            (&[(0, b"# Disk DescriptorFile\nversion=1\n")], Some(Format::VmdkDescriptor)),
            (&[(0, b"conectix"), (60, &[0, 0, 0, 3])], Some(Format::Vhd)),
            (&[(3584, b"conectix"), (3644, &[0, 0, 0, 2])], Some(Format::VhdFixed)),
            (&[(3584, b"conectix"), (3644, &[0, 0, 0, 3])], None),
            (&[(0, b"vhdxfile")], Some(Format::Vhdx)),
            (&[(0, b"WithoutFreeSpace")], Some(Format::Other("Parallels"))),
            (&[(3584, b"koly")], Some(Format::Other("Apple disk image"))),
            (&[(0, b"QFI?\n")], None),
            (&[], None),
        ] {
            assert_eq!(detected(contents), format);
        }
        assert_eq!(Format::detect(region(&file(0, &[]))).unwrap(), None);
        assert_eq!(Format::detect(region(&file(2, &[(0, b"QF")]))).unwrap(), None);
    }

    #[test]
    fn the_conversion_is_one_that_can_be_pasted() {
        assert_eq!(
            convert(Path::new("/vm/my disk.vdi")),
            "convert it with `qemu-img convert -O raw 'my disk.vdi' 'my disk.vdi.raw'`"
        );
    }

    #[test]
    fn damaged_headers_do_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(dir.path().join("raw"), data).unwrap();
        let path = Path::new("x");
        for format in ["qcow2", "vdi", "vmdk", "qed"] {
            let done = std::process::Command::new("qemu-img")
                .args(["convert", "-O", format, "raw", "disk"])
                .current_dir(dir.path())
                .status();
            assert!(done.unwrap().success());
            let disk = File::open(dir.path().join("disk")).unwrap();
            damaged(&disk, 300, 4096, |region| {
                // Errors are as good as headers that make sense.
                let _ = match format {
                    "qcow2" => qcow2::read(region, path).map(drop),
                    "vdi" => vdi::check(region, path),
                    "vmdk" => vmdk::parent(region, path).map(drop),
                    _ => qed::read(region, path).map(drop),
                };
            });
        }
    }
}
