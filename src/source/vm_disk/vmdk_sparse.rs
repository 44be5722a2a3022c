//! The header of VMware's sparse files, and whether all of a file is there (the Virtual Disk Format 5.0
//! specification, "Hosted Sparse Extents").

use std::path::Path;

use crate::error::{Error, Result};
use crate::source::region::{Region, le32, le64};

/// The unit of all sizes and offsets, in bytes.
const SECTOR: u64 = 512;

/// More tables are needed for no disk that QEMU reads (it limits the directory to 512 MiB of entries).
const MOST_TABLES: u64 = 1 << 20;

/// Checks a file, and gives the place of the descriptor in it (start and size in bytes) if it has one.
///
/// # Errors
/// When it is damaged or truncated, or only describes other files, which the format allows.
pub(super) fn check(region: Region<'_>, path: &Path) -> Result<Option<(u64, u64)>> {
    let damaged = || Error::new("read the VMDK disk", path, "its header is damaged");
    let header = region.read(0, 512)?.ok_or_else(damaged)?;
    if header.starts_with(b"COWD") {
        return Ok(None); // ESX's, without a descriptor
    }
    if !header.starts_with(b"KDMV") {
        return Err(damaged());
    }
    let capacity = le64(&header, 12);
    // QEMU takes a header without capacity for a descriptor, and follows that wherever it leads.
    if capacity == 0 {
        return Err(damaged());
    }
    check_complete(region, path, &header, capacity)?;
    let place = le64(&header, 28).checked_mul(SECTOR).zip(le64(&header, 36).checked_mul(SECTOR));
    let (start, size) = place.ok_or_else(damaged)?;
    Ok((start != 0 && size != 0).then_some((start, size)))
}

/// Refuses a file of which the end is missing: QEMU would show zeros there.
fn check_complete(region: Region<'_>, path: &Path, header: &[u8], capacity: u64) -> Result<()> {
    let failed = |reason: &str| Error::new("read the VMDK disk", path, reason);
    let truncated = || failed("it is truncated").hint("copy it again from where it came from");
    let directory = le64(header, 56);
    if directory == u64::MAX {
        return Ok(()); // written as a stream: QEMU needs what is at its end
    }
    let (grain, entries) = (le64(header, 20), u64::from(le32(header, 44)));
    let covered = grain.checked_mul(entries).filter(|&covered| covered > 0);
    let tables = covered.map(|covered| capacity.div_ceil(covered)).filter(|&tables| tables <= MOST_TABLES);
    let (Some(tables), Ok(table_size)) = (tables, usize::try_from(entries * 4)) else {
        return Err(failed("its header is damaged"));
    };
    // QEMU reads no other size either.
    if entries > 512 {
        return Err(failed("its header is damaged"));
    }
    let at = directory.checked_mul(SECTOR).ok_or_else(truncated)?;
    let size = usize::try_from(tables * 4).unwrap_or(usize::MAX);
    let directory = region.read(at, size)?.ok_or_else(truncated)?;
    for table in directory.chunks_exact(4).map(|entry| le32(entry, 0)).filter(|&at| at != 0) {
        let table = region.read(u64::from(table) * SECTOR, table_size)?.ok_or_else(truncated)?;
        let last = table.chunks_exact(4).map(|entry| u64::from(le32(entry, 0))).max().unwrap_or(0);
        // The last grain may be compressed, or not whole.
        if last * SECTOR >= region.size && last > 1 {
            return Err(truncated());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    fn checked(contents: &[(u64, &[u8])]) -> Result<Option<(u64, u64)>> {
        check(region(&file(8192, contents)), Path::new("x.vmdk"))
    }

    // A directory at sector 4 with one table at sector 5, for a disk of one grain of 128 sectors.
    const HEADER: [(u64, &[u8]); 5] = [(0, b"KDMV"), (12, &[128]), (20, &[128]), (44, &[0, 2]), (56, &[4])];

    fn with<'a>(more: &[(u64, &'a [u8])]) -> Vec<(u64, &'a [u8])> {
        HEADER.into_iter().chain(more.iter().copied()).collect()
    }

    #[test]
    fn the_descriptor_is_found() {
        assert_eq!(checked(&HEADER).unwrap(), None);
        assert_eq!(checked(&with(&[(28, &[1]), (36, &[2])])).unwrap(), Some((512, 1024)));
        assert_eq!(checked(&[(0, b"COWD")]).unwrap(), None);
    }

    #[test]
    fn a_file_of_which_the_end_is_missing_is_refused() {
        checked(&with(&[(2048, &[5]), (2560, &[15])])).unwrap();
        for (contents, what) in [
            (with(&[(2048, &[5]), (2560, &[16])]), "a grain"),
            (with(&[(2048, &[100])]), "a table"),
            (with(&[(56, &[100])]), "the directory"),
        ] {
            let error = checked(&contents).unwrap_err().to_string();
            assert!(error.contains("truncated"), "{what}: {error}");
        }
    }

    #[test]
    fn headers_that_make_no_sense_are_refused() {
        for contents in [
            vec![(0, &b"KDMV"[..])],
            with(&[(12, &[0])]),
            with(&[(12, &[0xff; 8])]),
            with(&[(20, &[0])]),
            with(&[(44, &[0xff; 4])]),
            with(&[(28, &[0xff; 16])]),
            vec![(0, b"KDM")],
        ] {
            assert!(checked(&contents).is_err());
        }
    }
}
