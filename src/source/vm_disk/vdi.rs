//! The header of VirtualBox's images (its VDICore.h), and whether all of an image is there.

use std::path::Path;

use crate::error::{Error, Result};
use crate::source::region::{Region, le32};
use crate::source::vm_disk::convert;

/// Refuses an image that is a snapshot, or of which the end is missing.
pub(super) fn check(region: Region<'_>, path: &Path) -> Result<()> {
    let failed = |reason: &str| Error::new("read the VDI disk", path, reason);
    let Some(header) = region.read(0, 400)? else { return Err(failed("its header is damaged")) };
    // The images of a virtual machine with snapshots refer to each other by identifiers.
    if !matches!(le32(&header, 76), 1 | 2) {
        return Err(failed("it is a snapshot, which means nothing without the disk that it is based on")
            .hint("merge the snapshots in VirtualBox, or clone the machine with its current state only"));
    }
    let (data, block, count) = (le32(&header, 344), le32(&header, 376), le32(&header, 388));
    let blocks = u64::from(block).checked_mul(u64::from(count));
    let needed = blocks.and_then(|size| size.checked_add(u64::from(data)));
    match needed {
        Some(needed) if needed <= region.size => Ok(()),
        Some(needed) => Err(failed(&format!("it is truncated: of {needed} bytes there are {}", region.size))
            .hint("copy it again from where it came from")),
        None => Err(failed("its header is damaged").hint(convert(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    fn checked(kind: u8, count: u32, size: u64) -> Result<()> {
        let block = (1u32 << 20).to_le_bytes();
        let contents: [(u64, &[u8]); 4] =
            [(76, &[kind]), (344, &[0, 16]), (376, &block), (388, &count.to_le_bytes())];
        check(region(&file(size, &contents)), Path::new("x.vdi"))
    }

    #[test]
    fn snapshots_and_truncated_images_are_refused() {
        checked(1, 2, 4096 + (2 << 20)).unwrap();
        checked(2, 0, 4096).unwrap();
        assert!(checked(1, 2, 4095 + (2 << 20)).unwrap_err().to_string().contains("truncated"));
        assert!(checked(4, 0, 4096).unwrap_err().to_string().contains("snapshot"));
        assert!(checked(1, u32::MAX, 4096).is_err());
        assert!(check(region(&file(100, &[])), Path::new("x.vdi")).is_err());
    }
}
