//! The header of QED images (QEMU's docs/interop/qed_spec.rst).

use std::path::Path;

use crate::error::{Error, Result};
use crate::source::region::{Region, le32, le64};

/// Longer names are not possible (QEMU's PATH_MAX).
const LONGEST_NAME: usize = 4096;

/// What of a header says which other file is needed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) backing: Option<Vec<u8>>,
    pub(super) backing_is_raw: bool,
}

pub(super) fn read(region: Region<'_>, path: &Path) -> Result<Header> {
    let damaged = || Error::new("read the QED disk", path, "its header is damaged");
    let bytes = region.read(0, 64)?.ok_or_else(damaged)?;
    let features = le64(&bytes, 16);
    if features & 1 == 0 {
        return Ok(Header::default());
    }
    let size = usize::try_from(le32(&bytes, 60)).ok().filter(|&size| size <= LONGEST_NAME);
    let name = region.read(u64::from(le32(&bytes, 56)), size.ok_or_else(damaged)?)?.ok_or_else(damaged)?;
    Ok(Header { backing: Some(name), backing_is_raw: features & 4 != 0 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::region::tests::{file, region};

    #[test]
    fn the_backing_file_is_read_and_checked() {
        let path = Path::new("x.qed");
        let disk =
            file(200, &[(0, b"QED\0"), (16, &[5]), (56, &[100, 0, 0, 0, 8, 0, 0, 0]), (100, b"base.img")]);
        let header = read(region(&disk), path).unwrap();
        assert_eq!(header, Header { backing: Some(b"base.img".to_vec()), backing_is_raw: true });
        let none = file(200, &[(0, b"QED\0")]);
        assert_eq!(read(region(&none), path).unwrap(), Header::default());
        let far = file(200, &[(16, &[1]), (56, &[0xff; 8])]);
        assert!(read(region(&far), path).is_err());
        assert!(read(region(&file(10, &[])), path).is_err());
    }
}
