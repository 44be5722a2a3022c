//! A stretch of a file or block device that is looked into without being mounted.
//!
//! What is in it may have been made to harm us: every read is bounded, and every number that was read is
//! checked before it is used.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::error::{During, Error, Result};

/// Bytes `start` to `start + size` of a file.
#[derive(Debug, Clone, Copy)]
pub struct Region<'a> {
    file: &'a File,
    name: &'a Path,
    /// Where it begins in the file, in bytes.
    pub start: u64,
    /// Its length in bytes.
    pub size: u64,
}

impl<'a> Region<'a> {
    /// All of a regular file or block device. `name` is for messages.
    ///
    /// # Errors
    /// When its size cannot be told.
    pub fn whole(file: &'a File, name: &'a Path) -> Result<Self> {
        // The end of a block device is its size, which its metadata do not tell.
        let size =
            rustix::fs::seek(file, rustix::fs::SeekFrom::End(0)).during("look up the size of", name)?;
        Ok(Self { file, name, start: 0, size })
    }

    /// `size` bytes from `start`, counted from the beginning of this region; none if they do not lie
    /// in it.
    pub fn part(self, start: u64, size: u64) -> Option<Self> {
        let end = start.checked_add(size)?;
        (end <= self.size).then_some(Self { start: self.start.checked_add(start)?, size, ..self })
    }

    /// The bytes at `at`; none if there are not that many.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn read(self, at: u64, size: usize) -> Result<Option<Vec<u8>>> {
        let Some(part) = u64::try_from(size).ok().and_then(|size| self.part(at, size)) else {
            return Ok(None);
        };
        let mut bytes = vec![0; size];
        match self.file.read_exact_at(&mut bytes, part.start) {
            Ok(()) => Ok(Some(bytes)),
            // It has become shorter since its size was told.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(Error::io("read", self.name, error)),
        }
    }

    /// Whether these bytes are at `at`.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn has(self, at: u64, bytes: &[u8]) -> Result<bool> {
        Ok(self.read(at, bytes.len())?.is_some_and(|found| found == bytes))
    }
}

/// A field of `N` bytes; zeros where the bytes end before it.
///
/// Structures are read whole, so that a missing field is a mistake of ours, which a test would show.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let found = at.checked_add(N).and_then(|end| bytes.get(at..end));
    found.and_then(|found| found.try_into().ok()).unwrap_or([0; N])
}

/// A little-endian number of 16 bits.
pub fn le16(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(field(bytes, at))
}

/// A little-endian number of 32 bits.
pub fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(field(bytes, at))
}

/// A little-endian number of 64 bits.
pub fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(field(bytes, at))
}

/// A big-endian number of 32 bits.
pub fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(field(bytes, at))
}

/// A big-endian number of 64 bits.
pub fn be64(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(field(bytes, at))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A file of `size` bytes with these ones in it.
    pub fn file(size: u64, contents: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(size).unwrap();
        for (at, bytes) in contents {
            file.write_all_at(bytes, *at).unwrap();
        }
        file
    }

    pub fn region(file: &File) -> Region<'_> {
        Region::whole(file, Path::new("test.img")).unwrap()
    }

    /// Looks at `count` variants of an image, each with some bytes changed where it has any: in this many
    /// bytes from its beginning. A panic in `look`, also one for an overflow, fails the test.
    pub fn damaged(image: &File, count: u64, bytes: u64, look: impl Fn(Region<'_>)) {
        let size = image.metadata().unwrap().len();
        let mut start = vec![0; usize::try_from(size.min(bytes)).unwrap()];
        image.read_exact_at(&mut start, 0).unwrap();
        let used: Vec<usize> = (0..start.len()).filter(|&at| start[at] != 0).collect();
        // A generator of random numbers (xorshift64) that always gives the same ones.
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
        };
        for _ in 0..count {
            let mut changed = start.clone();
            for _ in 0..=random(4) {
                let at = (used[random(used.len())] + random(8)).min(changed.len() - 1);
                changed[at] = [0, 1, 0x7f, 0x80, 0xff, u8::try_from(random(256)).unwrap()][random(6)];
            }
            let copy = file(size, &[(0, &changed)]);
            look(region(&copy));
        }
    }

    #[test]
    fn nothing_is_read_outside_of_a_region() {
        let file = file(100, &[(10, b"abc")]);
        let part = region(&file).part(10, 20).unwrap();
        assert_eq!(part.read(0, 3).unwrap().unwrap(), b"abc");
        assert_eq!(part.read(18, 3).unwrap(), None);
        assert_eq!(part.read(u64::MAX, 3).unwrap(), None);
        assert!(region(&file).part(90, 11).is_none());
        assert!(part.part(1, u64::MAX).is_none());
        assert!(!part.has(19, b"\0\0").unwrap());
        file.set_len(12).unwrap();
        assert_eq!(part.read(0, 3).unwrap(), None);
    }

    #[test]
    fn numbers_have_their_byte_order() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!((le16(&bytes, 6), le32(&bytes, 0), be32(&bytes, 4)), (0x0807, 0x0403_0201, 0x0506_0708));
        assert_eq!((le64(&bytes, 0), be64(&bytes, 0)), (0x0807_0605_0403_0201, 0x0102_0304_0506_0708));
        assert_eq!(le64(&bytes, 1), 0);
    }
}
