//! The compressors that an image can use, and their options on disk.
//!
//! An image names one compressor for everything; a block that does not shrink is stored as it is
//! (squashfs-tools-ng, doc/format.adoc, "Supported Compressors" and "Compression Options").

use super::le::{put_u16, put_u32};
use super::metadata::UNCOMPRESSED_METADATA;
use crate::error::{Error, Result};

mod pack;
mod unpack;

pub use pack::Compressor;
pub use unpack::Decompressor;

/// With libdeflate's level 5, and like files side by side, images are about as small as with zlib's
/// level 9, which mksquashfs uses; level 6 saves another 0.5 % in a sixth more time.
const DEFAULT_GZIP_LEVEL: u8 = 5;
/// The default of mksquashfs; an image made with it carries no compressor options.
const DEFAULT_ZSTD_LEVEL: u8 = 15;
/// The level that an image without compressor options is taken to have (format.adoc, "GZIP").
const UNSAID_GZIP_LEVEL: u8 = 9;
/// zlib's default window, which libdeflate uses too: 2^15 bytes.
const GZIP_WINDOW: u16 = 15;
/// The only version of lz4 data that squashfs knows (format.adoc, "LZ4").
const LZ4_VERSION: u32 = 1;
const LZ4_HIGH: u32 = 1;

/// The compressor of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib streams made by libdeflate, `level` 1 to 12. Every kernel with squashfs reads them.
    Gzip {
        /// 1 (fast) to 12 (small), as libdeflate counts.
        level: u8,
    },
    /// xz with a dictionary as long as a block.
    Xz,
    /// lz4.
    Lz4 {
        /// Search longer for smaller blocks.
        high: bool,
    },
    /// Zstandard, `level` 1 to 22.
    Zstd {
        /// 1 (fast) to 22 (small).
        level: u8,
    },
}

impl Default for Compression {
    fn default() -> Self {
        Self::Gzip { level: DEFAULT_GZIP_LEVEL }
    }
}

impl Compression {
    /// The compressor that mksquashfs calls `name`, at its default level.
    ///
    /// # Errors
    /// The name is none of gzip, xz, lz4 and zstd.
    pub fn named(name: &str) -> Result<Self> {
        match name {
            "gzip" => Ok(Self::default()),
            "xz" => Ok(Self::Xz),
            "lz4" => Ok(Self::Lz4 { high: false }),
            "zstd" => Ok(Self::Zstd { level: DEFAULT_ZSTD_LEVEL }),
            _ => Err(Error::said(format!("the built-in squashfs writer has no compressor {name:?}"))
                .hint("it has gzip, xz, lz4 and zstd")),
        }
    }

    /// This compressor at another level.
    ///
    /// # Errors
    /// The compressor has no such level, or no levels at all.
    pub fn with_level(self, level: u8) -> Result<Self> {
        match self {
            Self::Gzip { .. } if (1..=12).contains(&level) => Ok(Self::Gzip { level }),
            Self::Zstd { .. } if (1..=22).contains(&level) => Ok(Self::Zstd { level }),
            Self::Gzip { .. } => Err(Error::said(format!("gzip has the levels 1 to 12, not {level}"))),
            Self::Zstd { .. } => Err(Error::said(format!("zstd has the levels 1 to 22, not {level}"))),
            Self::Xz | Self::Lz4 { .. } => Err(Error::said("xz and lz4 have no compression levels")),
        }
    }

    /// The compressor's number in the superblock.
    pub fn number(self) -> u16 {
        match self {
            Self::Gzip { .. } => 1,
            Self::Xz => 4,
            Self::Lz4 { .. } => 5,
            Self::Zstd { .. } => 6,
        }
    }

    /// The compressor's name, as [`Compression::named`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip { .. } => "gzip",
            Self::Xz => "xz",
            Self::Lz4 { .. } => "lz4",
            Self::Zstd { .. } => "zstd",
        }
    }

    /// The compressor with this number, for reading; levels are of no interest then.
    pub fn numbered(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::default()),
            4 => Some(Self::Xz),
            5 => Some(Self::Lz4 { high: false }),
            6 => Some(Self::Zstd { level: DEFAULT_ZSTD_LEVEL }),
            _ => None,
        }
    }

    /// How many bytes the options of this compressor have, if an image has any.
    pub(super) fn options_size(self) -> usize {
        match self {
            Self::Gzip { .. } | Self::Xz | Self::Lz4 { .. } => 8,
            Self::Zstd { .. } => 4,
        }
    }

    /// The metadata block that follows the superblock, if this compressor needs to say anything.
    /// Only lz4 must; the others say how they differ from what mksquashfs would have done.
    pub(super) fn options(self) -> Option<Vec<u8>> {
        let mut payload = Vec::new();
        match self {
            Self::Gzip { level } => {
                // Levels above 9 are libdeflate's own; tools that show the field know 1 to 9.
                put_u32(&mut payload, u32::from(level.min(UNSAID_GZIP_LEVEL)));
                put_u16(&mut payload, GZIP_WINDOW);
                put_u16(&mut payload, 0);
                if level == UNSAID_GZIP_LEVEL {
                    return None;
                }
            }
            Self::Zstd { level: DEFAULT_ZSTD_LEVEL } | Self::Xz => return None,
            Self::Zstd { level } => put_u32(&mut payload, u32::from(level)),
            Self::Lz4 { high } => {
                put_u32(&mut payload, LZ4_VERSION);
                put_u32(&mut payload, if high { LZ4_HIGH } else { 0 });
            }
        }
        let mut block = Vec::new();
        // The payload is 4 or 8 bytes long.
        put_u16(&mut block, UNCOMPRESSED_METADATA | u16::try_from(payload.len()).unwrap_or(0));
        block.extend_from_slice(&payload);
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_written_where_the_format_wants_them() {
        let cases: [(Compression, Option<&[u8]>); 6] = [
            (Compression::Gzip { level: 9 }, None),
            (Compression::Gzip { level: 6 }, Some(&[8, 0x80, 6, 0, 0, 0, 15, 0, 0, 0])),
            (Compression::Xz, None),
            (Compression::Lz4 { high: true }, Some(&[8, 0x80, 1, 0, 0, 0, 1, 0, 0, 0])),
            (Compression::Zstd { level: 15 }, None),
            (Compression::Zstd { level: 3 }, Some(&[4, 0x80, 3, 0, 0, 0])),
        ];
        for (compression, expected) in cases {
            assert_eq!(compression.options().as_deref(), expected, "{compression:?}");
        }
    }

    #[test]
    fn levels_have_their_limits() {
        assert!(Compression::named("gzip").unwrap().with_level(9).is_ok());
        assert!(Compression::named("gzip").unwrap().with_level(0).is_err());
        assert!(Compression::named("zstd").unwrap().with_level(23).is_err());
        assert!(Compression::named("xz").unwrap().with_level(6).is_err());
        assert!(Compression::named("lzo").is_err());
    }
}
