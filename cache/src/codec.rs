//! The wire form that every relgraph file shares: a magic line, fixed little-endian numbers, length-prefixed bytes.
//!
//! There is one way to write a value, so equal values have equal bytes; [`Reader`] refuses everything else.

use crate::Digest;

/// Why bytes could not be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The first line is not the one expected: another kind of file, or another version of it.
    #[error("it does not begin with `{expected}`")]
    Magic {
        /// The line that should have been there, without its newline.
        expected: String,
    },
    /// The bytes end inside a value.
    #[error("it ends early, at byte {at}")]
    Short {
        /// Offset at which more was needed.
        at: usize,
    },
    /// There are bytes after the last value.
    #[error("{count} bytes are left over at the end")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// A value that no writer makes.
    #[error("{what} is not valid, at byte {at}")]
    Invalid {
        /// Which value.
        what: &'static str,
        /// Offset just behind it.
        at: usize,
    },
    /// The checksum at the end does not match what stands before it.
    #[error("its checksum does not match")]
    Checksum,
}

/// Appends values to a buffer.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Starts with the magic line (`magic` without its newline).
    pub fn new(magic: &str) -> Writer {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(magic.as_bytes());
        bytes.push(b'\n');
        Writer { bytes }
    }

    /// One byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// A truth value, as 0 or 1.
    pub fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Eight bytes, little-endian, two's complement.
    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// The length as [`Writer::u64`], then the bytes.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u64(value.len() as u64);
        self.bytes.extend_from_slice(value);
        self
    }

    /// Text, as its UTF-8 bytes.
    pub fn str(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// A digest: 32 bytes of hash, then the size.
    pub fn digest(&mut self, value: &Digest) -> &mut Self {
        self.bytes.extend_from_slice(&value.hash);
        self.u64(value.size)
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }

    /// What was written, with its BLAKE3 hash appended: for files that must notice when they were torn.
    pub fn finish_checked(mut self) -> Vec<u8> {
        let sum = blake3::hash(&self.bytes);
        self.bytes.extend_from_slice(sum.as_bytes());
        self.bytes
    }
}

/// Takes values from the front of a buffer.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Checks the magic line and stands behind it.
    pub fn new(bytes: &'a [u8], magic: &str) -> Result<Reader<'a>, CodecError> {
        let expected = magic.as_bytes();
        if bytes.len() <= expected.len() || !bytes.starts_with(expected) || bytes[expected.len()] != b'\n' {
            return Err(CodecError::Magic { expected: magic.to_owned() });
        }
        Ok(Reader { bytes, at: expected.len() + 1 })
    }

    /// As [`Reader::new`], for bytes of [`Writer::finish_checked`].
    pub fn new_checked(bytes: &'a [u8], magic: &str) -> Result<Reader<'a>, CodecError> {
        let split = bytes.len().checked_sub(32).ok_or(CodecError::Short { at: bytes.len() })?;
        let (body, sum) = bytes.split_at(split);
        let reader = Reader::new(body, magic)?;
        if blake3::hash(body).as_bytes() != sum {
            return Err(CodecError::Checksum);
        }
        Ok(reader)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], CodecError> {
        let end = self.at.checked_add(count).ok_or(CodecError::Short { at: self.at })?;
        let taken = self.bytes.get(self.at..end).ok_or(CodecError::Short { at: self.at })?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        let mut value = [0; N];
        value.copy_from_slice(self.take(N)?);
        Ok(value)
    }

    /// The error for a value just read that no writer makes.
    pub fn invalid(&self, what: &'static str) -> CodecError {
        CodecError::Invalid { what, at: self.at }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, CodecError> {
        Ok(self.array::<1>()?[0])
    }

    /// A truth value; anything but 0 and 1 is refused.
    pub fn bool(&mut self) -> Result<bool, CodecError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid("a truth value")),
        }
    }

    /// Four bytes, little-endian.
    pub fn u32(&mut self) -> Result<u32, CodecError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian.
    pub fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Eight bytes, little-endian, two's complement.
    pub fn i64(&mut self) -> Result<i64, CodecError> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// Length-prefixed bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let length = self.u64()?;
        let length = usize::try_from(length).map_err(|_| CodecError::Short { at: self.at })?;
        self.take(length)
    }

    /// Length-prefixed text.
    pub fn str(&mut self) -> Result<&'a str, CodecError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.invalid("text"))
    }

    /// A digest.
    pub fn digest(&mut self) -> Result<Digest, CodecError> {
        Ok(Digest { hash: self.array()?, size: self.u64()? })
    }

    /// A count of values that follow; refused when the bytes left could not hold that many of `least` bytes each, so
    /// that a garbled count never asks for memory.
    pub fn count(&mut self, least: usize) -> Result<usize, CodecError> {
        let count = self.u64()?;
        let room = (self.bytes.len() - self.at) / least.max(1);
        match usize::try_from(count) {
            Ok(count) if count <= room => Ok(count),
            _ => Err(CodecError::Short { at: self.at }),
        }
    }

    /// True when everything was read.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Ends reading: nothing may be left.
    pub fn finish(self) -> Result<(), CodecError> {
        match self.bytes.len() - self.at {
            0 => Ok(()),
            count => Err(CodecError::Trailing { count }),
        }
    }
}
