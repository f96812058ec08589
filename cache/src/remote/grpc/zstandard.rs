//! Compression on the way, for blobs that are not compressed by themselves, where the server takes it.

use std::io::{self, Read, Write};

/// Fast: this is for lines that are slower than a disk.
const LEVEL: i32 = 3;

/// How far back a frame may refer, as a power of two: so much memory may it ask for. RFC 8878 wants 8 MiB at least.
const WINDOW: u32 = 24;

/// Smaller blobs are sent as they are.
const WORTHWHILE: usize = 1 << 10;

/// These bytes as a frame, when that is shorter.
pub(super) fn compress(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < WORTHWHILE {
        return None;
    }
    zstd::bulk::compress(bytes, LEVEL).ok().filter(|frame| frame.len() < bytes.len())
}

/// What reads a file as a frame.
pub(super) fn compressing(file: impl Read) -> io::Result<impl Read> {
    zstd::stream::read::Encoder::new(file, LEVEL)
}

/// The bytes of a frame, of which there must be `size`.
pub(super) fn decompress(frame: &[u8], size: usize) -> io::Result<Vec<u8>> {
    let mut writer = decompressing(Bounded::new(Vec::new(), size as u64))?;
    writer.write_all(frame)?;
    writer.flush()?;
    Ok(writer.into_inner().into_inner())
}

/// What writes the bytes of a frame that is written to it.
pub(super) fn decompressing<W: Write>(to: W) -> io::Result<zstd::stream::write::Decoder<'static, W>> {
    let mut decoder = zstd::stream::write::Decoder::new(to)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}

/// Takes so many bytes, and fails when there are more.
pub(super) struct Bounded<W> {
    to: W,
    left: u64,
}

impl<W> Bounded<W> {
    pub fn new(to: W, limit: u64) -> Bounded<W> {
        Bounded { to, left: limit }
    }

    /// How many are still expected.
    pub fn left(&self) -> u64 {
        self.left
    }

    pub fn get(&self) -> &W {
        &self.to
    }

    pub fn into_inner(self) -> W {
        self.to
    }
}

impl<W: Write> Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than its digest says"));
        }
        let written = self.to.write(bytes)?;
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bomb_is_stopped_at_the_size_that_was_announced() {
        let bomb = compress(&vec![0; 64 << 20]).unwrap();
        assert!(bomb.len() < 64 << 10);
        assert!(decompress(&bomb, 1 << 20).is_err());
        assert_eq!(decompress(&bomb, 64 << 20).unwrap().len(), 64 << 20);
    }

    #[test]
    fn what_gets_no_shorter_is_left_alone() {
        assert_eq!(compress(b"short"), None);
        let frame = compress(&[7; 5000]).unwrap();
        assert_eq!(decompress(&frame, 5000).unwrap(), [7; 5000]);
        assert_eq!(compress(&blake3::Hasher::new().finalize_xof().fill_vec()), None);
    }

    trait FillVec {
        fn fill_vec(self) -> Vec<u8>;
    }

    impl FillVec for blake3::OutputReader {
        fn fill_vec(mut self) -> Vec<u8> {
            let mut bytes = vec![0; 10_000];
            self.fill(&mut bytes);
            bytes
        }
    }
}
