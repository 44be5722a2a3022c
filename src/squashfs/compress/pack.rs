//! Compressing blocks.

use super::super::le::narrow;
use super::super::metadata::METADATA_SIZE;
use super::super::noise::is_noise;
use super::Compression;
use crate::error::{Error, Result};

/// What `lz4 -12` and mksquashfs -Xhc use.
const LZ4_HIGH_LEVEL: i32 = 12;
/// The preset of xz-utils that mksquashfs uses.
const XZ_PRESET: u32 = 6;

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
        if is_noise(input) {
            return Ok(None);
        }
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

fn failed(library: &str, reason: impl ToString) -> Error {
    Error::action(format!("compress with {library}"), reason.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{DEFAULT_GZIP_LEVEL, DEFAULT_ZSTD_LEVEL, Decompressor};
    use super::*;

    /// One of each kind.
    const ALL: [Compression; 5] = [
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
}
