//! What QEMU is told about a disk: its block nodes, each with its format and its open file.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result, shown};
use crate::source::region::Region;
use crate::source::vm_disk::files::Files;
use crate::source::vm_disk::{Format, convert, qcow2, qed, vdi, vmdk};

/// More images on top of each other are a circle, or should be made one.
const LONGEST_CHAIN: usize = 32;

/// Collects the nodes of one disk and the files that they need.
pub(super) struct Nodes<'a> {
    files: &'a Files,
    place: &'a Path,
    open: Vec<OwnedFd>,
    images: usize,
}

impl<'a> Nodes<'a> {
    /// Other images come from `files`; what has to be written for QEMU goes to the directory `place`.
    pub(super) fn new(files: &'a Files, place: &'a Path) -> Self {
        Self { files, place, open: Vec::new(), images: 0 }
    }

    /// The files that QEMU is to inherit.
    pub(super) fn into_files(self) -> Vec<OwnedFd> {
        self.open
    }

    /// The node of an image and of what it is based on, in QEMU's notation (JSON).
    pub(super) fn disk(&mut self, file: File, path: &Path, format: Format) -> Result<String> {
        self.images += 1;
        if self.images > LONGEST_CHAIN {
            return Err(Error::new(
                "read the disk",
                path,
                format!("it is based on more than {LONGEST_CHAIN} images, or on itself"),
            )
            .hint(convert(path)));
        }
        match format {
            Format::Qcow2 => {
                let header = qcow2::read(Region::whole(&file, path)?, path)?;
                let backing =
                    self.backing(path, header.backing.as_deref(), header.backing_format.as_deref())?;
                let data = match &header.data_file {
                    Some(name) => {
                        let (data, _) = self.files.open(path, name, "data file")?;
                        format!(r#","data-file":{}"#, self.file(data))
                    }
                    None => String::new(),
                };
                Ok(self.node("qcow2", file, &format!(r#","backing":{backing}{data}"#)))
            }
            Format::Qed => {
                let header = qed::read(Region::whole(&file, path)?, path)?;
                let format = header.backing_is_raw.then_some("raw");
                let backing = self.backing(path, header.backing.as_deref(), format)?;
                Ok(self.node("qed", file, &format!(r#","backing":{backing}"#)))
            }
            Format::Vmdk => {
                let parent = vmdk::parent(Region::whole(&file, path)?, path)?;
                let backing = self.backing(path, parent.as_deref(), None)?;
                Ok(self.node("vmdk", file, &format!(r#","backing":{backing}"#)))
            }
            Format::VmdkDescriptor => {
                let descriptor = vmdk::Descriptor::read(Region::whole(&file, path)?, path)?;
                let backing = self.backing(path, descriptor.parent.as_deref(), None)?;
                let rewritten = self.rewritten(&descriptor, path)?;
                let filename = json(&rewritten)?;
                Ok(format!(
                    r#"{{"driver":"vmdk","read-only":true,"backing":{backing},"file":{{"driver":"file","read-only":true,"filename":{filename}}}}}"#
                ))
            }
            Format::Vdi => {
                vdi::check(Region::whole(&file, path)?, path)?;
                Ok(self.node("vdi", file, ""))
            }
            Format::Vhd => Ok(self.node("vpc", file, "")),
            Format::Vhdx => Ok(self.node("vhdx", file, "")),
            Format::VhdFixed | Format::Other(_) => {
                Err(Error::new("read the disk", path, format!("an image is based on this {format} image"))
                    .hint(convert(path)))
            }
        }
    }

    /// The node of what an image is based on; JSON's `null`, which keeps QEMU from looking for itself, if
    /// that is nothing.
    fn backing(&mut self, image: &Path, name: Option<&[u8]>, format: Option<&str>) -> Result<String> {
        let Some(name) = name else { return Ok("null".to_owned()) };
        let (file, path) = self.files.open(image, name, "backing file")?;
        let format = match format {
            // Where the image does not say, its content does, as with the image itself.
            None => Format::detect(Region::whole(&file, &path)?)?,
            Some("raw" | "file" | "host_device") => None,
            Some(named) => {
                let found = Format::detect(Region::whole(&file, &path)?)?;
                let is = |format: Format| format.to_string().eq_ignore_ascii_case(named);
                if !found.is_some_and(|found| is(found) || (named == "vpc" && found == Format::Vhd)) {
                    return Err(Error::new(
                        "use the backing file of",
                        image,
                        format!("{} should be {}, but is not", shown(&path), shown(named)),
                    ));
                }
                found
            }
        };
        match format {
            Some(format) => self.disk(file, &path, format),
            None => Ok(self.node("raw", file, "")),
        }
    }

    /// A descriptor of our own making that names the extents by links to their open files.
    fn rewritten(&mut self, descriptor: &vmdk::Descriptor, path: &Path) -> Result<PathBuf> {
        let folder = self.place.join(format!("vmdk{}", self.images));
        let failed = |source: std::io::Error| Error::io("write", &folder, source);
        std::fs::create_dir(&folder).map_err(failed)?;
        let mut extents = Vec::new();
        for (number, extent) in descriptor.extents.iter().enumerate() {
            let Some(name) = &extent.file else {
                extents.push(None);
                continue;
            };
            let (file, extent_path) = self.files.open(path, name, "extent")?;
            extent.check(Region::whole(&file, &extent_path)?, &extent_path)?;
            let link = format!("extent{number}");
            std::os::unix::fs::symlink(self.inherited(file), folder.join(&link)).map_err(failed)?;
            extents.push(Some(link));
        }
        let file = folder.join("descriptor.vmdk");
        std::fs::write(&file, descriptor.with_files(&extents)).map_err(failed)?;
        Ok(file)
    }

    fn node(&mut self, driver: &str, file: File, more: &str) -> String {
        let file = self.file(file);
        format!(r#"{{"driver":"{driver}","read-only":true,"file":{file}{more}}}"#)
    }

    fn file(&mut self, file: File) -> String {
        use std::os::unix::fs::FileTypeExt;
        let is_device = file.metadata().is_ok_and(|metadata| metadata.file_type().is_block_device());
        let driver = if is_device { "host_device" } else { "file" };
        let name = self.inherited(file);
        format!(r#"{{"driver":"{driver}","read-only":true,"filename":"{name}"}}"#)
    }

    /// The name by which QEMU finds a file that it inherits.
    fn inherited(&mut self, file: File) -> String {
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        self.open.push(file.into());
        name
    }
}

/// A path as a JSON string.
pub(super) fn json(path: &Path) -> Result<String> {
    let Some(text) = path.to_str() else {
        return Err(Error::new("tell QEMU about", path, "its name is not UTF-8")
            .hint("set TMPDIR to a directory whose name is"));
    };
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            _ if character.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => out.push(character),
        }
    }
    out.push('"');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_json() {
        assert_eq!(json(Path::new("/a \"b\\\n")).unwrap(), "\"/a \\\"b\\\\\\u000a\"");
        use std::os::unix::ffi::OsStrExt;
        assert!(json(Path::new(std::ffi::OsStr::from_bytes(b"\xff"))).is_err());
    }
}
