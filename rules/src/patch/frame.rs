//! Bytes in fewer bytes: zstd, alone or against other bytes.

use std::io::{self, Read};

use zstd::stream::raw::{CParameter, DParameter};
use zstd::stream::{read::Decoder, write::Encoder};

/// A patch is made once and carried often.
const LEVEL: i32 = 19;
/// What zstd can look back at, as a power of two.
const WINDOWS: std::ops::RangeInclusive<u32> = 17..=31;
/// Two files that are larger together are not compared: the difference is taken in memory.
pub(super) const LARGEST: u64 = 1 << 30;

/// How far has to be looked back, as a power of two, for so many bytes.
fn window(bytes: u64) -> u32 {
    let log = u64::BITS - bytes.leading_zeros();
    log.clamp(*WINDOWS.start(), *WINDOWS.end())
}

/// Whether a difference between files of these sizes is taken.
pub(super) fn comparable(old: u64, new: u64) -> bool {
    old > 0 && old.saturating_add(new) <= LARGEST
}

/// What `new` becomes where `old` is known; nothing is known of an empty one.
pub(super) fn compress(old: &[u8], new: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::with_ref_prefix(Vec::new(), LEVEL, old)?;
    encoder.set_parameter(CParameter::WindowLog(window((old.len() + new.len()) as u64)))?;
    if old.len() > 1 << 20 {
        encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
    }
    encoder.set_pledged_src_size(Some(new.len() as u64))?;
    io::Write::write_all(&mut encoder, new)?;
    encoder.finish()
}

/// Hands what a frame becomes to `write`, piece by piece: no more than `size` bytes, whatever the frame says, and no fewer.
pub(super) fn expand(
    frame: impl Read,
    old: &[u8],
    size: u64,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut decoder = Decoder::with_ref_prefix(io::BufReader::new(frame), old)?;
    decoder.set_parameter(DParameter::WindowLogMax(window((old.len() as u64).saturating_add(size))))?;
    let mut piece = vec![0; 1 << 16];
    let mut left = size;
    loop {
        let read = decoder.read(&mut piece)?;
        if read == 0 {
            break;
        }
        left = left.checked_sub(read as u64).ok_or_else(|| other("it holds more than it announces"))?;
        write(&piece[..read])?;
    }
    if left > 0 { Err(other("it holds less than it announces")) } else { Ok(()) }
}

fn other(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(frame: &[u8], old: &[u8], size: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        expand(frame, old, size, |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn noise(length: u32) -> Vec<u8> {
        let mut state = 7u32;
        (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect()
    }

    #[test]
    fn a_difference_is_small_and_becomes_the_new_bytes() {
        let old = noise(3 << 20);
        let mut new = old.clone();
        new.splice(1000..1010, *b"inserted here");
        new[2 << 20] ^= 1;
        let frame = compress(&old, &new).unwrap();
        assert!(frame.len() < 2000, "{}", frame.len());
        assert_eq!(expanded(&frame, &old, new.len() as u64).unwrap(), new);
        assert!(!expanded(&frame, &noise(100), new.len() as u64).is_ok_and(|bytes| bytes == new));
        let whole = compress(&[], &new).unwrap();
        assert_eq!(expanded(&whole, &[], new.len() as u64).unwrap(), new);
        assert_eq!(expanded(&compress(&old, &[]).unwrap(), &old, 0).unwrap(), b"");
    }

    #[test]
    fn a_frame_holds_what_was_announced() {
        let frame = compress(&[], &[0; 1 << 20]).unwrap();
        assert!(frame.len() < 200);
        assert!(expanded(&frame, &[], (1 << 20) - 1).is_err());
        assert!(expanded(&frame, &[], (1 << 20) + 1).is_err());
        assert!(expanded(&frame[..frame.len() - 1], &[], 1 << 20).is_err());
        assert!(expanded(b"no frame at all", &[], 4).is_err());
    }
}
