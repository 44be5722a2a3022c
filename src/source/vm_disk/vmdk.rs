//! VMware's disks: descriptors, and what headers say (the Virtual Disk Format 5.0 specification).

use std::fs::File;
use std::path::Path;

use crate::error::{Error, Result, shown};
use crate::source::region::Region;
use crate::source::vm_disk::files::Files;
use crate::source::vm_disk::{convert, vmdk_sparse};

/// The unit of all sizes, in bytes.
const SECTOR: u64 = 512;

/// As QEMU limits it, in bytes.
const LONGEST_DESCRIPTOR: u64 = 1 << 20;

const MANY_EXTENTS: usize = 4096;

/// Whether a file begins like a descriptor.
pub(super) fn is_descriptor(start: &[u8]) -> bool {
    let mark = b"# disk descriptorfile";
    start.trim_ascii_start().get(..mark.len()).is_some_and(|found| found.eq_ignore_ascii_case(mark))
}

/// What a descriptor says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Descriptor {
    pub(super) parent: Option<Vec<u8>>,
    pub(super) extents: Vec<Extent>,
    /// Checked by QEMU against what the child says.
    cid: u32,
    parent_cid: u32,
}

/// One stretch of a disk.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Extent {
    kind: Kind,
    /// In sectors.
    size: u64,
    /// The file; none for zeros.
    pub(super) file: Option<Vec<u8>>,
    /// Where in the file, in sectors.
    offset: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Flat,
    Sparse,
    Zero,
}

/// A file that is a disk, or a part of one that is.
pub(super) struct FlatExtent {
    pub(super) file: File,
    /// Where it begins, in bytes.
    pub(super) start: u64,
    /// In bytes.
    pub(super) size: u64,
}

/// The extent of a disk that has one only and needs no unpacking; none if it is not such a disk.
pub(super) fn only_flat_extent(file: &File, path: &Path, files: &Files) -> Result<Option<FlatExtent>> {
    let descriptor = Descriptor::read(Region::whole(file, path)?, path)?;
    let [Extent { kind: Kind::Flat, size, file: Some(name), offset }] = &*descriptor.extents else {
        return Ok(None);
    };
    let (Some(start), Some(size)) = (offset.checked_mul(SECTOR), size.checked_mul(SECTOR)) else {
        return Err(damaged(path));
    };
    if descriptor.parent.is_some() {
        return Ok(None);
    }
    let (file, _) = files.open(path, name, "extent")?;
    Ok(Some(FlatExtent { file, start, size }))
}

/// The parent of a disk in one file, which has its descriptor in it.
///
/// # Errors
/// When the file is damaged, truncated, or one that only describes others.
pub(super) fn parent(region: Region<'_>, path: &Path) -> Result<Option<Vec<u8>>> {
    let Some((start, size)) = vmdk_sparse::check(region, path)? else { return Ok(None) };
    let text = region.part(start, size).filter(|_| size <= LONGEST_DESCRIPTOR);
    Ok(Descriptor::read(text.ok_or_else(|| damaged(path))?, path)?.parent)
}

fn damaged(path: &Path) -> Error {
    Error::new("read the VMDK disk", path, "its header or descriptor is damaged")
}

impl Extent {
    /// Refuses a file that is not what the descriptor says.
    pub(super) fn check(&self, region: Region<'_>, path: &Path) -> Result<()> {
        match self.kind {
            Kind::Sparse => vmdk_sparse::check(region, path).map(drop),
            Kind::Flat => {
                let bytes = |sectors: u64| sectors.checked_mul(SECTOR);
                let inside =
                    bytes(self.offset).zip(bytes(self.size)).and_then(|(at, size)| region.part(at, size));
                match inside {
                    Some(_) => Ok(()),
                    None => Err(Error::new("read the VMDK disk", path, "it is truncated")
                        .hint("copy it again from where it came from")),
                }
            }
            Kind::Zero => Ok(()),
        }
    }
}

impl Descriptor {
    /// Reads a descriptor.
    ///
    /// # Errors
    /// When it is damaged, or has extents of a kind that is not read here.
    pub(super) fn read(region: Region<'_>, path: &Path) -> Result<Self> {
        let size = region.size.min(LONGEST_DESCRIPTOR);
        let text = region.read(0, usize::try_from(size).unwrap_or(0))?.ok_or_else(|| damaged(path))?;
        // In a larger file it is followed by zeros.
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        Self::parse(text, path)
    }

    fn parse(text: &[u8], path: &Path) -> Result<Self> {
        let mut found = Self { parent: None, extents: Vec::new(), cid: u32::MAX, parent_cid: u32::MAX };
        let mut hint = None;
        for line in text.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii) {
            if line.is_empty() || line.starts_with(b"#") {
                continue;
            }
            if let Some(extent) = extent(line, path)? {
                found.extents.push(extent);
                continue;
            }
            let Some(at) = line.iter().position(|&byte| byte == b'=') else { continue };
            let (key, value) = (line[..at].trim_ascii_end(), unquoted(line[at + 1..].trim_ascii_start()));
            let number = || {
                let text = std::str::from_utf8(value).ok()?;
                u32::from_str_radix(text, 16).ok()
            };
            match &*key.to_ascii_lowercase() {
                b"cid" => found.cid = number().ok_or_else(|| damaged(path))?,
                b"parentcid" => found.parent_cid = number().ok_or_else(|| damaged(path))?,
                b"parentfilenamehint" => hint = Some(value.to_vec()),
                _ => {}
            }
        }
        if found.parent_cid != u32::MAX {
            let reason = "it is a snapshot that does not name the disk it is based on";
            found.parent =
                Some(hint.ok_or_else(|| Error::new("read the VMDK disk", path, reason).hint(convert(path)))?);
        }
        if found.extents.len() > MANY_EXTENTS {
            return Err(damaged(path));
        }
        Ok(found)
    }

    /// The same for QEMU, with other names for the extents: one for each that has a file.
    pub(super) fn with_files(&self, names: &[Option<String>]) -> String {
        let mut text = format!(
            "# Disk DescriptorFile\nversion=1\nCID={:08x}\nparentCID={:08x}\ncreateType=\"{}\"\n",
            self.cid,
            self.parent_cid,
            match self.extents.iter().any(|extent| extent.kind == Kind::Sparse) {
                true => "twoGbMaxExtentSparse",
                false => "twoGbMaxExtentFlat",
            }
        );
        // QEMU passes over extents that are not RW.
        for (extent, name) in self.extents.iter().zip(names) {
            let name = name.as_deref().unwrap_or_default();
            text.push_str(&match extent.kind {
                Kind::Flat => format!("RW {} FLAT \"{name}\" {}\n", extent.size, extent.offset),
                Kind::Sparse => format!("RW {} SPARSE \"{name}\"\n", extent.size),
                Kind::Zero => format!("RW {} ZERO\n", extent.size),
            });
        }
        text
    }
}

/// A line such as `RW 4192256 SPARSE "disk-s001.vmdk"` or `RW 2048 FLAT "disk-flat.vmdk" 0`; none if it is
/// no such line.
fn extent(line: &[u8], path: &Path) -> Result<Option<Extent>> {
    let text = String::from_utf8_lossy(line);
    let mut words = text.splitn(4, char::is_whitespace);
    let access = words.next();
    if !matches!(access, Some("RW" | "RDONLY" | "NOACCESS")) {
        return Ok(None);
    }
    let size = words.next().and_then(|word| word.parse().ok()).ok_or_else(|| damaged(path))?;
    let kind = match words.next() {
        Some("FLAT" | "VMFS") => Kind::Flat,
        Some("SPARSE") => Kind::Sparse,
        Some("ZERO") => Kind::Zero,
        other => {
            let reason = format!("it has an extent of the kind {}", shown(other.unwrap_or("unknown")));
            return Err(Error::new("read the VMDK disk", path, reason).hint(convert(path)));
        }
    };
    if kind == Kind::Zero || access == Some("NOACCESS") {
        return Ok(Some(Extent { kind: Kind::Zero, size, file: None, offset: 0 }));
    }
    // The name may hold blanks, and is not always UTF-8.
    let open = line.iter().position(|&byte| byte == b'"').ok_or_else(|| damaged(path))?;
    let close = line.iter().rposition(|&byte| byte == b'"').filter(|&close| close > open);
    let close = close.ok_or_else(|| damaged(path))?;
    let rest = String::from_utf8_lossy(&line[close + 1..]);
    let offset = match rest.split_whitespace().next() {
        Some(word) if kind == Kind::Flat => word.parse().map_err(|_| damaged(path))?,
        _ => 0,
    };
    Ok(Some(Extent { kind, size, file: Some(line[open + 1..close].to_vec()), offset }))
}

fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID = ffffffff\n\
        createType=\"twoGbMaxExtentSparse\"\n\n# Extent description\nRW 4192256 SPARSE \"my disk-s001.vmdk\"\n\
        RW 100 FLAT \"x-flat.vmdk\" 20\nRW 8 ZERO\n\nddb.adapterType = \"ide\"\n";

    fn parse(text: &str) -> Result<Descriptor> {
        Descriptor::parse(text.as_bytes(), Path::new("x.vmdk"))
    }

    #[test]
    fn a_descriptor_is_read_and_written_with_other_names() {
        assert!(is_descriptor(TEXT.as_bytes()));
        let found = parse(TEXT).unwrap();
        assert_eq!(found.parent, None);
        let extents: Vec<_> = found.extents.iter().map(|e| (e.kind, e.size, e.offset)).collect();
        assert_eq!(extents, [(Kind::Sparse, 4_192_256, 0), (Kind::Flat, 100, 20), (Kind::Zero, 8, 0)]);
        assert_eq!(found.extents[0].file.as_deref(), Some(&b"my disk-s001.vmdk"[..]));
        let written = found.with_files(&[Some("a".to_owned()), Some("b".to_owned()), None]);
        let again = parse(&written).unwrap();
        assert_eq!(
            again.extents[1],
            Extent { file: Some(b"b".to_vec()), ..parse(TEXT).unwrap().extents.remove(1) }
        );
        assert!(written.contains("CID=fffffffe\nparentCID=ffffffff\n"), "{written}");
    }

    #[test]
    fn a_snapshot_names_its_parent() {
        let text =
            TEXT.replace("parentCID = ffffffff", "parentCID=12345678\nparentFileNameHint=\"base.vmdk\"");
        assert_eq!(parse(&text).unwrap().parent.as_deref(), Some(&b"base.vmdk"[..]));
        assert!(parse(&text.replace("Hint", "x")).is_err());
    }

    #[test]
    fn descriptors_that_cannot_be_followed_are_refused() {
        for line in [
            "RW x FLAT \"a\" 0",
            "RW 1 FLAT a 0",
            "RW 1 FLAT \"a",
            "RW 1 FLAT \"a\" x",
            "RW 1 VMFSRDM \"a\"",
            "RW",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        assert!(parse("parentCID=xyz").is_err());
    }

    #[test]
    fn a_file_with_data_tells_its_parent_in_a_descriptor_of_its_own() {
        let path = Path::new("x.vmdk");
        let header = [(0, &b"KDMV"[..]), (12, &[1]), (20, &[128]), (44, &[0, 2]), (56, &[7])];
        let with = |more: &[(u64, &[u8])]| {
            let contents: Vec<_> = header.into_iter().chain(more.iter().copied()).collect();
            let image = file(4096, &contents);
            parent(region(&image), path)
        };
        let snapshot = TEXT.replace("parentCID = ffffffff", "parentCID=1\nparentFileNameHint=\"base.vmdk\"");
        assert_eq!(with(&[(28, &[1]), (36, &[1]), (512, TEXT.as_bytes())]).unwrap(), None);
        let found = with(&[(28, &[1]), (36, &[1]), (512, snapshot.as_bytes())]).unwrap();
        assert_eq!(found.as_deref(), Some(&b"base.vmdk"[..]));
        assert!(with(&[(28, &[100]), (36, &[1])]).is_err());
        assert_eq!(with(&[]).unwrap(), None);
    }
}
