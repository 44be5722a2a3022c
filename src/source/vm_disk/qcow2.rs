//! The header of qcow2 images (QEMU's docs/interop/qcow2.rst), and whether all of an image is there.

use std::collections::BTreeSet;
use std::path::Path;

use crate::error::{Error, Result};
use crate::source::region::{Region, be32, be64};
use crate::source::vm_disk::convert;

/// QEMU's own limits: of a name in bytes, and of the first table in entries.
const LONGEST_NAME: usize = 1023;
const LARGEST_L1: u64 = (32 << 20) / 8;

/// What of a header says which other files are needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) backing: Option<Vec<u8>>,
    pub(super) backing_format: Option<String>,
    pub(super) data_file: Option<Vec<u8>>,
}

/// Reads the header of an image.
///
/// # Errors
/// When it is damaged, the image is encrypted, or something at its end is missing.
pub(super) fn read(region: Region<'_>, path: &Path) -> Result<Header> {
    let failed = |reason: &str| Error::new("read the qcow2 disk", path, reason);
    let damaged = || failed("its header is damaged").hint("try `qemu-img check`");
    let header = region.read(0, 72)?.ok_or_else(damaged)?;
    let version = be32(&header, 4);
    let cluster_bits = be32(&header, 20);
    if !(9..=21).contains(&cluster_bits) {
        return Err(damaged());
    }
    match be32(&header, 32) {
        0 => {}
        _ => return Err(failed("it is encrypted").hint(convert(path))),
    }
    // Version 3 has longer headers, with features.
    let long = if version >= 3 { region.read(72, 32)?.ok_or_else(damaged)? } else { Vec::new() };
    let features = if version >= 3 { be64(&long, 0) } else { 0 };
    let length = if version >= 3 { u64::from(be32(&long, 28)) } else { 72 };
    let name_at = be64(&header, 8);
    let mut found = Header::default();
    if name_at != 0 {
        let size = usize::try_from(be32(&header, 16)).ok().filter(|&size| size <= LONGEST_NAME);
        let name = region.read(name_at, size.ok_or_else(damaged)?)?.ok_or_else(damaged)?;
        found.backing = Some(name);
    }
    let end = if name_at == 0 { 1 << cluster_bits } else { name_at };
    extensions(region, length, end, &mut found)?;
    let external = features & 4 != 0;
    if !external {
        found.data_file = None;
    } else if found.data_file.is_none() {
        return Err(failed("its data are in another file, which it does not name"));
    }
    check_complete(region, path, &header, features, external)?;
    Ok(found)
}

/// The header extensions: type and length, both big-endian, then data, padded to eight bytes.
fn extensions(region: Region<'_>, start: u64, end: u64, found: &mut Header) -> Result<()> {
    let mut at = start;
    for _ in 0..64 {
        let head = region.read(at, 8)?.filter(|_| at + 8 <= end);
        let Some(head) = head else { return Ok(()) };
        let size = u64::from(be32(&head, 4));
        let value = || region.read(at + 8, usize::try_from(size.min(4096)).unwrap_or(0));
        match be32(&head, 0) {
            0 => return Ok(()),
            0xe279_2aca => {
                found.backing_format = value()?.map(|name| String::from_utf8_lossy(&name).into_owned());
            }
            0x4441_5441 => found.data_file = value()?,
            _ => {}
        }
        at += 8 + size.next_multiple_of(8);
    }
    Ok(())
}

/// Refuses an image of which the end is missing. QEMU would show zeros there: a disk that can be mounted,
/// with files that are empty.
fn check_complete(
    region: Region<'_>,
    path: &Path,
    header: &[u8],
    features: u64,
    external: bool,
) -> Result<()> {
    let truncated = || {
        Error::new("read the qcow2 disk", path, "it is truncated: what its tables name lies behind its end")
            .hint("copy it again; `qemu-img check` tells what is missing")
    };
    const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
    let cluster_bits = be32(header, 20);
    let cluster = 1u64 << cluster_bits;
    let entries = u64::from(be32(header, 36));
    if entries > LARGEST_L1 {
        return Err(Error::new("read the qcow2 disk", path, "its header is damaged"));
    }
    let l1 = region.read(be64(header, 40), usize::try_from(entries * 8).unwrap_or(usize::MAX))?;
    let l1 = l1.ok_or_else(truncated)?;
    // Every table once, however often it is named.
    let tables: BTreeSet<u64> = l1.chunks_exact(8).map(|entry| be64(entry, 0) & OFFSET).collect();
    let entry_size = if features & 16 != 0 { 16 } else { 8 };
    // A compressed cluster's entry has as many bits less for the offset as it needs for its size.
    let compressed_offset = (1u64 << (62 - (cluster_bits - 8))) - 1;
    for table in tables.into_iter().filter(|&at| at != 0) {
        let table =
            region.read(table, usize::try_from(cluster).unwrap_or(usize::MAX))?.ok_or_else(truncated)?;
        let last = table.chunks_exact(entry_size).map(|entry| {
            let entry = be64(entry, 0);
            match entry >> 62 & 1 {
                1 => entry & compressed_offset,
                _ if external => 0,
                _ => entry & OFFSET,
            }
        });
        // The last cluster need not be whole.
        if last.max().is_some_and(|at| at != 0 && at >= region.size) {
            return Err(truncated());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::region;
    use std::fs::File;
    use std::os::unix::fs::FileExt;
    use std::process::Command;

    fn qemu_img(dir: &Path, line: &str) {
        let done = Command::new("sh").args(["-c", line]).current_dir(dir).output().unwrap();
        assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
    }

    fn header(dir: &Path, name: &str) -> Result<Header> {
        let file = File::open(dir.join(name)).unwrap();
        read(region(&file), Path::new(name))
    }

    #[test]
    fn the_files_that_an_image_needs_are_read() {
        let dir = tempfile::tempdir().unwrap();
        qemu_img(
            dir.path(),
            "qemu-img create -q -f qcow2 base 10M && qemu-img create -q -f qcow2 -F qcow2 -b base new &&
             qemu-img create -q -f qcow2 -o compat=0.10 -F raw -b base old &&
             qemu-img create -q -f qcow2 -o data_file=data.raw external 10M",
        );
        assert_eq!(header(dir.path(), "base").unwrap(), Header::default());
        for (name, format) in [("new", "qcow2"), ("old", "raw")] {
            let expected = Header {
                backing: Some(b"base".to_vec()),
                backing_format: Some(format.to_owned()),
                data_file: None,
            };
            assert_eq!(header(dir.path(), name).unwrap(), expected);
        }
        assert_eq!(header(dir.path(), "external").unwrap().data_file.as_deref(), Some(&b"data.raw"[..]));
    }

    #[test]
    fn an_image_whose_end_is_missing_is_refused_whatever_kind_of_clusters_it_has() {
        let dir = tempfile::tempdir().unwrap();
        let data: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        std::fs::write(dir.path().join("raw"), data).unwrap();
        for options in
            ["", "-c", "-o cluster_size=512", "-o extended_l2=on,cluster_size=16k", "-o compat=0.10"]
        {
            qemu_img(dir.path(), &format!("qemu-img convert -O qcow2 {options} raw whole"));
            header(dir.path(), "whole").unwrap();
            let bytes = std::fs::read(dir.path().join("whole")).unwrap();
            for part in [2, 3] {
                std::fs::write(dir.path().join("part"), &bytes[..bytes.len() * (part - 1) / part]).unwrap();
                let error = header(dir.path(), "part").unwrap_err().to_string();
                assert!(error.contains("truncated"), "{options}: {error}");
            }
        }
    }

    #[test]
    fn encrypted_and_damaged_images_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        qemu_img(dir.path(), "qemu-img create -q -f qcow2 sound 10M");
        let sound = std::fs::read(dir.path().join("sound")).unwrap();
        let mut locked = sound.clone();
        locked[32..36].copy_from_slice(&[0, 0, 0, 2]); // LUKS
        std::fs::write(dir.path().join("locked"), locked).unwrap();
        assert!(header(dir.path(), "locked").unwrap_err().to_string().contains("encrypted"));
        for (at, bytes) in [
            (8, &[0xff; 12][..]), // the backing file's name
            (20, &[0xff; 4]),     // the cluster size
            (36, &[0xff; 4]),     // the first table's length
            (40, &[0x7f; 8]),     // and its place
        ] {
            let path = dir.path().join("damaged");
            std::fs::write(&path, &sound).unwrap();
            File::options().write(true).open(&path).unwrap().write_all_at(bytes, at).unwrap();
            assert!(header(dir.path(), "damaged").is_err(), "{at}");
        }
        std::fs::write(dir.path().join("short"), &sound[..50]).unwrap();
        assert!(header(dir.path(), "short").is_err());
    }
}
