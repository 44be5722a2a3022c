//! Decompressing blocks.

use super::Compression;

/// xz decoding needs the dictionary, at most one block here, plus fixed tables far below this.
const XZ_MEMORY: u64 = 64 << 20;

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
