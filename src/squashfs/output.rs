//! The image file, written from front to back in large pieces.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::le::wide;
use crate::error::{During, Result};

/// Bytes that are written at once.
const PIECE: usize = 1 << 20;
/// An image on a block device is read in pages.
const PADDING: u64 = 4096;

/// See the module.
pub(super) struct Output<'a> {
    file: &'a File,
    path: PathBuf,
    /// Not written yet.
    waiting: Vec<u8>,
    /// Where `waiting` starts in the file.
    written: u64,
}

impl<'a> Output<'a> {
    /// Starts at the front of `file`, whose former content is gone; `path` is its name for errors.
    pub(super) fn new(file: &'a File, path: &Path) -> Result<Self> {
        file.set_len(0).during("empty", path)?;
        Ok(Self { file, path: path.to_owned(), waiting: Vec::with_capacity(PIECE), written: 0 })
    }

    /// Where the next byte goes.
    pub(super) fn position(&self) -> u64 {
        self.written + wide(self.waiting.len())
    }

    pub(super) fn append(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.waiting.len()));
            self.waiting.extend_from_slice(now);
            bytes = later;
            if self.waiting.len() == PIECE {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.waiting, self.written).during("write", &self.path)?;
        self.written += wide(self.waiting.len());
        self.waiting.clear();
        Ok(())
    }

    /// Writes what is left, then `head` over the front. Returns the length of the file.
    pub(super) fn finish(mut self, head: &[u8], pad: bool) -> Result<u64> {
        if pad {
            let rest = self.position().next_multiple_of(PADDING) - self.position();
            self.append(&vec![0; usize::try_from(rest).unwrap_or(0)])?;
        }
        self.flush()?;
        self.file.write_all_at(head, 0).during("write", &self.path)?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_lies_in_the_file_and_the_head_before_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, b"something older and longer").unwrap();
        let mut output = Output::new(file.as_file(), file.path()).unwrap();
        let long = vec![7; PIECE + 5];
        output.append(b"....").unwrap();
        output.append(&long).unwrap();
        assert_eq!(output.position(), wide(PIECE) + 9);
        let length = output.finish(b"head", true).unwrap();
        assert_eq!(length, wide(PIECE) + 4096);
        let content = std::fs::read(file.path()).unwrap();
        assert_eq!(wide(content.len()), length);
        assert_eq!(&content[..4], b"head");
        assert_eq!(content[4..PIECE + 9], long);
        assert!(content[PIECE + 9..].iter().all(|&byte| byte == 0));
    }
}
