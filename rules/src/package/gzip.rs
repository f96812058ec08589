//! One gzip member made by several threads.

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};
use rayon::prelude::*;

/// Bytes that are compressed by themselves. Larger blocks compress hardly better, smaller ones worse.
pub(super) const BLOCK: usize = 1 << 20;

pub(super) struct Gzip {
    level: u32,
    crc: Crc,
}

impl Gzip {
    pub(super) fn new(level: u32) -> Gzip {
        Gzip { level, crc: Crc::new() }
    }

    /// Neither name nor time; "unknown" for the system it was made on.
    pub(super) fn header() -> [u8; 10] {
        [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]
    }

    /// The bytes as parts of the stream, in order. They are cut from their start on, so all but the last call should
    /// hand in whole blocks.
    pub(super) fn compress(&mut self, bytes: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let level = Compression::new(self.level);
        let blocks: Vec<(Vec<u8>, Crc)> =
            bytes.par_chunks(BLOCK).map(|block| deflate(block, level)).collect::<io::Result<_>>()?;
        blocks.iter().for_each(|(_, crc)| self.crc.combine(crc));
        Ok(blocks.into_iter().map(|(bytes, _)| bytes).collect())
    }

    /// An empty last block, the checksum and the size.
    pub(super) fn trailer(&self) -> Vec<u8> {
        let mut out = vec![3, 0];
        out.extend(self.crc.sum().to_le_bytes());
        out.extend(self.crc.amount().to_le_bytes());
        out
    }
}

/// A part of a deflate stream that refers to nothing before it and ends on a byte.
fn deflate(block: &[u8], level: Compression) -> io::Result<(Vec<u8>, Crc)> {
    let mut crc = Crc::new();
    crc.update(block);
    let mut compress = Compress::new(level, false);
    let mut out = Vec::with_capacity(block.len() / 2 + 128);
    loop {
        let read = compress.total_in() as usize;
        let status =
            compress.compress_vec(&block[read..], &mut out, FlushCompress::Sync).map_err(io::Error::other)?;
        let all_read = compress.total_in() as usize == block.len();
        // A flush is complete when there was room left for it.
        if all_read && out.len() < out.capacity() {
            return Ok((out, crc));
        }
        if status == Status::StreamEnd {
            return Err(io::Error::other("the compressor stopped early"));
        }
        out.reserve(64 << 10);
    }
}
