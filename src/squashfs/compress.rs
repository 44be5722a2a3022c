//! The compressors that an image can use, and their options on disk.
//!
//! An image names one compressor for everything; a block that does not shrink is stored as it is
//! (squashfs-tools-ng, doc/format.adoc, "Supported Compressors" and "Compression Options").

use super::le::{narrow, put_u16, put_u32};
use super::metadata::{METADATA_SIZE, UNCOMPRESSED_METADATA};
use crate::error::{Error, Result};

/// With libdeflate's level 5, and like files side by side, images are a little smaller than with zlib's
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
/// What `lz4 -12` and mksquashfs -Xhc use.
const LZ4_HIGH_LEVEL: i32 = 12;
/// The preset of xz-utils that mksquashfs uses.
const XZ_PRESET: u32 = 6;
/// xz decoding needs the dictionary, at most one block here, plus fixed tables far below this.
const XZ_MEMORY: u64 = 64 << 20;

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

/// A compressor at work, one for each thread.
pub struct Compressor {
    method: Method,
}

enum Method {
    Gzip(libdeflater::Compressor),
    Xz(liblzma::stream::Filters),
    Lz4(lz4::block::CompressionMode),
    Zstd(zstd_safe::CCtx<'static>),
}

impl Compressor {
    /// Sets up `compression` for blocks of at most `block_size` bytes.
    ///
    /// # Errors
    /// The compressor refuses its level or lacks memory.
    pub fn new(compression: Compression, block_size: u32) -> Result<Self> {
        let method = match compression {
            Compression::Gzip { level } => {
                let level = libdeflater::CompressionLvl::new(i32::from(level))
                    .map_err(|_| Error::said(format!("libdeflate has no level {level}")))?;
                Method::Gzip(libdeflater::Compressor::new(level))
            }
            Compression::Xz => {
                let mut options =
                    liblzma::stream::LzmaOptions::new_preset(XZ_PRESET).map_err(|e| failed("xz", e))?;
                // The kernel's decoder allocates one block, and metadata blocks at least.
                options.dict_size(block_size.max(u32::try_from(METADATA_SIZE).unwrap_or(u32::MAX)));
                let mut filters = liblzma::stream::Filters::new();
                filters.lzma2(&options);
                Method::Xz(filters)
            }
            Compression::Lz4 { high: false } => Method::Lz4(lz4::block::CompressionMode::DEFAULT),
            Compression::Lz4 { high: true } => {
                Method::Lz4(lz4::block::CompressionMode::HIGHCOMPRESSION(LZ4_HIGH_LEVEL))
            }
            Compression::Zstd { level } => {
                let mut context =
                    zstd_safe::CCtx::try_create().ok_or_else(|| failed("zstd", "not enough memory"))?;
                context
                    .set_parameter(zstd_safe::CParameter::CompressionLevel(i32::from(level)))
                    .map_err(|code| failed("zstd", zstd_safe::get_error_name(code)))?;
                Method::Zstd(context)
            }
        };
        Ok(Self { method })
    }

    /// Compresses `input` into the front of `out`, which is at least as long. `None`: it would not
    /// become smaller, so it has to be stored as it is.
    ///
    /// # Errors
    /// The compressor lacks memory.
    pub fn compress(&mut self, input: &[u8], out: &mut [u8]) -> Result<Option<usize>> {
        let Some(room) = input.len().checked_sub(1) else { return Ok(None) };
        let out = &mut out[..room];
        match &mut self.method {
            Method::Gzip(compressor) => Ok(compressor.zlib_compress(input, out).ok()),
            Method::Lz4(mode) => Ok(lz4::block::compress_to_buffer(input, Some(*mode), false, out).ok()),
            Method::Zstd(context) => match context.compress2(out, input) {
                Ok(length) => Ok(Some(length)),
                Err(code) if zstd_safe::get_error_name(code) == ZSTD_NO_ROOM => Ok(None),
                Err(code) => Err(failed("zstd", zstd_safe::get_error_name(code))),
            },
            Method::Xz(filters) => {
                use liblzma::stream::{Action, Check, Status, Stream};
                // Squashfs knows only this check (format.adoc, "Supported Compressors").
                let mut stream =
                    Stream::new_stream_encoder(filters, Check::Crc32).map_err(|e| failed("xz", e))?;
                match stream.process(input, out, Action::Finish) {
                    Ok(Status::StreamEnd) => Ok(Some(narrow(stream.total_out()))),
                    Ok(_) | Err(liblzma::stream::Error::Mem) => match stream.total_out() {
                        // The output is full.
                        length if narrow(length) == room => Ok(None),
                        _ => Err(failed("xz", "not enough memory")),
                    },
                    Err(error) => Err(failed("xz", error)),
                }
            }
        }
    }
}

/// How zstd names the error of an output buffer that is too small.
const ZSTD_NO_ROOM: &str = "Destination buffer is too small";

/// A decompressor at work.
pub struct Decompressor {
    method: Undo,
}

enum Undo {
    Gzip(libdeflater::Decompressor),
    Xz,
    Lz4,
    Zstd(zstd_safe::DCtx<'static>),
}

impl Decompressor {
    /// Sets up the reverse of `compression`.
    pub fn new(compression: Compression) -> Self {
        let method = match compression {
            Compression::Gzip { .. } => Undo::Gzip(libdeflater::Decompressor::new()),
            Compression::Xz => Undo::Xz,
            Compression::Lz4 { .. } => Undo::Lz4,
            Compression::Zstd { .. } => Undo::Zstd(zstd_safe::DCtx::create()),
        };
        Self { method }
    }

    /// Decompresses `input` into the front of `out`; returns how long the result is. `None`: the data
    /// is damaged or does not fit into `out`.
    pub fn decompress(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        match &mut self.method {
            Undo::Gzip(decompressor) => decompressor.zlib_decompress(input, out).ok(),
            Undo::Zstd(context) => context.decompress(out, input).ok(),
            Undo::Lz4 => {
                let room = i32::try_from(out.len()).ok()?;
                lz4::block::decompress_to_buffer(input, Some(room), out).ok()
            }
            Undo::Xz => {
                use liblzma::stream::{Action, Status, Stream};
                let mut stream = Stream::new_stream_decoder(XZ_MEMORY, 0).ok()?;
                match stream.process(input, out, Action::Finish) {
                    Ok(Status::StreamEnd) => usize::try_from(stream.total_out()).ok(),
                    _ => None,
                }
            }
        }
    }
}

fn failed(library: &str, reason: impl ToString) -> Error {
    Error::action(format!("compress with {library}"), reason.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// One of each kind.
    pub(in super::super) const ALL: [Compression; 5] = [
        Compression::Gzip { level: DEFAULT_GZIP_LEVEL },
        Compression::Xz,
        Compression::Lz4 { high: false },
        Compression::Lz4 { high: true },
        Compression::Zstd { level: DEFAULT_ZSTD_LEVEL },
    ];

    #[test]
    fn every_compressor_gives_back_what_went_in() {
        let input: Vec<u8> = (0..100_000_u32).flat_map(|n| (n / 7).to_le_bytes()).take(131_072).collect();
        for compression in ALL {
            let mut packed = vec![0; input.len()];
            let mut compressor = Compressor::new(compression, 131_072).unwrap();
            let length = compressor.compress(&input, &mut packed).unwrap().expect("it shrinks");
            assert!(length < input.len() / 2, "{compression:?}: {length}");
            let mut unpacked = vec![0; input.len()];
            let mut decompressor = Decompressor::new(compression);
            assert_eq!(decompressor.decompress(&packed[..length], &mut unpacked), Some(input.len()));
            assert!(unpacked == input, "{compression:?}");
            packed[length / 2] ^= 0x55;
            packed[length - 2] ^= 0x55;
            let damaged = decompressor.decompress(&packed[..length], &mut unpacked);
            assert!(damaged.is_none() || unpacked != input, "{compression:?}");
        }
    }

    #[test]
    fn data_that_does_not_shrink_is_left_alone() {
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state.to_be_bytes()[0]
        })
        .take(70_000)
        .collect();
        for compression in ALL {
            let mut compressor = Compressor::new(compression, 131_072).unwrap();
            for length in [0, 1, 2, 5, 8192, 70_000] {
                let result = compressor.compress(&noise[..length], &mut vec![0; length]).unwrap();
                assert_eq!(result, None, "{compression:?}, {length} bytes");
            }
        }
    }

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
