//! The byte encoding that keys, results, checkout files and state files share: little-endian numbers, length-prefixed bytes.
//!
//! One value has one encoding, and a reader refuses everything else: short input, trailing bytes, lengths that
//! reach past the end, text that is not UTF-8.

use relgraph_cache::{Answer, Digest, FileKind, Probe};

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem} at byte {at}")]
pub struct DecodeError {
    /// What was being read: "key parts", "result", …
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
    /// Where in the input.
    pub at: usize,
}

/// Appends values to a buffer.
#[derive(Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub fn with_magic(magic: &[u8]) -> Self {
        Writer(magic.to_vec())
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    pub fn bool(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    pub fn len(&mut self, value: usize) {
        self.u64(value as u64);
    }

    pub fn bytes(&mut self, value: &[u8]) {
        self.len(value.len());
        self.0.extend_from_slice(value);
    }

    pub fn raw(&mut self, value: &[u8]) {
        self.0.extend_from_slice(value);
    }

    pub fn text(&mut self, value: &str) {
        self.bytes(value.as_bytes());
    }

    pub fn digest(&mut self, value: &Digest) {
        self.raw(&value.hash);
        self.u64(value.size);
    }

    pub fn probe(&mut self, probe: &Probe) {
        let (tag, text) = match probe {
            Probe::Content(path) => (0, path),
            Probe::Kind(path) => (1, path),
            Probe::Listing(path) => (2, path),
            Probe::Tree(path) => (3, path),
            Probe::Env(name) => (4, name),
        };
        self.u8(tag);
        self.text(text);
    }

    pub fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Absent => self.u8(0),
            Answer::File { digest, executable } => {
                self.u8(1);
                self.digest(digest);
                self.bool(*executable);
            }
            Answer::Directory => self.u8(2),
            Answer::Symlink(target) => {
                self.u8(3);
                self.text(target);
            }
            Answer::Listing(digest) => {
                self.u8(4);
                self.digest(digest);
            }
            Answer::Tree(digest) => {
                self.u8(5);
                self.digest(digest);
            }
            Answer::Value(digest) => {
                self.u8(6);
                self.digest(digest);
            }
            Answer::Exists(kind) => {
                self.u8(7);
                self.u8(match kind {
                    FileKind::File => 0,
                    FileKind::Directory => 1,
                    FileKind::Symlink => 2,
                    _ => 3,
                });
            }
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Takes values from a buffer, in the order in which they were written.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, bytes, at: 0 }
    }

    pub fn error(&self, problem: &'static str) -> DecodeError {
        DecodeError { what: self.what, problem, at: self.at }
    }

    pub fn magic(&mut self, magic: &[u8]) -> Result<(), DecodeError> {
        if self.bytes.get(self.at..self.at + magic.len()) != Some(magic) {
            return Err(self.error("another format or version"));
        }
        self.at += magic.len();
        Ok(())
    }

    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).ok_or_else(|| self.error("length too large"))?;
        let taken = self.bytes.get(self.at..end).ok_or_else(|| self.error("ends too early"))?;
        self.at = end;
        Ok(taken)
    }

    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.raw(1)?[0])
    }

    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.error("neither true nor false")),
        }
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        let mut buffer = [0; 4];
        buffer.copy_from_slice(self.raw(4)?);
        Ok(u32::from_le_bytes(buffer))
    }

    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        let mut buffer = [0; 8];
        buffer.copy_from_slice(self.raw(8)?);
        Ok(u64::from_le_bytes(buffer))
    }

    /// A count of things that take at least one byte each, so that a garbled count cannot ask for memory.
    pub fn len(&mut self) -> Result<usize, DecodeError> {
        let len = self.u64()?;
        let left = (self.bytes.len() - self.at) as u64;
        if len > left { Err(self.error("length past the end")) } else { Ok(len as usize) }
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.len()?;
        self.raw(len)
    }

    pub fn str(&mut self) -> Result<&'a str, DecodeError> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text is not UTF-8"))
    }

    pub fn text(&mut self) -> Result<String, DecodeError> {
        self.str().map(str::to_owned)
    }

    pub fn hash(&mut self) -> Result<[u8; 32], DecodeError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.raw(32)?);
        Ok(hash)
    }

    pub fn digest(&mut self) -> Result<Digest, DecodeError> {
        let hash = self.hash()?;
        Ok(Digest { hash, size: self.u64()? })
    }

    pub fn probe(&mut self) -> Result<Probe, DecodeError> {
        let tag = self.u8()?;
        let text = self.text()?;
        match tag {
            0 => Ok(Probe::Content(text)),
            1 => Ok(Probe::Kind(text)),
            2 => Ok(Probe::Listing(text)),
            3 => Ok(Probe::Tree(text)),
            4 => Ok(Probe::Env(text)),
            _ => Err(self.error("unknown probe")),
        }
    }

    pub fn answer(&mut self) -> Result<Answer, DecodeError> {
        match self.u8()? {
            0 => Ok(Answer::Absent),
            1 => Ok(Answer::File { digest: self.digest()?, executable: self.bool()? }),
            2 => Ok(Answer::Directory),
            3 => Ok(Answer::Symlink(self.text()?)),
            4 => Ok(Answer::Listing(self.digest()?)),
            5 => Ok(Answer::Tree(self.digest()?)),
            6 => Ok(Answer::Value(self.digest()?)),
            7 => match self.u8()? {
                0 => Ok(Answer::Exists(FileKind::File)),
                1 => Ok(Answer::Exists(FileKind::Directory)),
                2 => Ok(Answer::Exists(FileKind::Symlink)),
                _ => Err(self.error("unknown kind of file")),
            },
            _ => Err(self.error("unknown answer")),
        }
    }

    pub fn end(&self) -> Result<(), DecodeError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error("bytes after the end")) }
    }
}
