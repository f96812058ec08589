//! What names content: [`Digest`], a BLAKE3 hash with the length of what was hashed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// BLAKE3 of some bytes, and how many they were. Its text form is `HEX/SIZE`.
///
/// The size travels with the hash so that a torn file is noticed without reading it, and so that budgets need no stats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    /// The 32 bytes of the BLAKE3 hash.
    pub hash: [u8; 32],
    /// The length in bytes.
    pub size: u64,
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest { hash: *blake3::hash(bytes).as_bytes(), size: bytes.len() as u64 }
    }

    /// The digest of a file's content; symlinks are followed.
    pub fn of_file(path: &Path) -> io::Result<Digest> {
        Digest::of_reader(&mut File::open(path)?)
    }

    /// The digest of everything that is left to read.
    pub fn of_reader(reader: &mut impl Read) -> io::Result<Digest> {
        let mut hasher = Hasher::new();
        let mut chunk = vec![0; 128 * 1024];
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(count) => {
                    hasher.update(&chunk[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The hash alone, as 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        const DIGITS: [char; 16] =
            ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
        let mut text = String::with_capacity(64);
        for byte in self.hash {
            text.push(DIGITS[usize::from(byte >> 4)]);
            text.push(DIGITS[usize::from(byte & 15)]);
        }
        text
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.hex(), self.size)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A text that is not `HEX/SIZE`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest: 64 hexadecimal digits in lower case, a slash and a size are expected")]
pub struct DigestParseError {
    /// The text.
    pub text: String,
}

impl FromStr for Digest {
    type Err = DigestParseError;

    fn from_str(text: &str) -> Result<Digest, DigestParseError> {
        parse(text).ok_or_else(|| DigestParseError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Digest> {
    let (hex, size) = text.split_once('/')?;
    // One digest has one text: no sign, no leading zero.
    let canonical = size == "0"
        || (!size.starts_with('0') && size.bytes().all(|b| b.is_ascii_digit()) && !size.is_empty());
    if !canonical {
        return None;
    }
    Some(Digest { hash: parse_hash(hex)?, size: size.parse().ok()? })
}

/// 64 lower-case hexadecimal digits, as the 32 bytes they stand for.
pub(crate) fn parse_hash(hex: &str) -> Option<[u8; 32]> {
    let digits = hex.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(hash)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Makes a [`Digest`] of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct Hasher {
    inner: blake3::Hasher,
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new() -> Hasher {
        Hasher::default()
    }

    /// The next piece.
    pub fn update(&mut self, bytes: &[u8]) -> &mut Hasher {
        self.inner.update(bytes);
        self
    }

    /// The digest of all pieces so far.
    pub fn finish(&self) -> Digest {
        Digest { hash: *self.inner.finalize().as_bytes(), size: self.inner.count() }
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hasher").field("bytes", &self.inner.count()).finish()
    }
}
