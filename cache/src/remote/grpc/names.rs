//! How a server names blobs: [`Name`], and the translation from our [`Digest`] to it: [`Names`].

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use sha2::{Digest as _, Sha256};

use super::super::Body;
use crate::Digest;

/// The function by which a server names blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Blake3,
    Sha256,
}

impl Function {
    /// Its number in the protocol.
    pub fn number(self) -> i32 {
        match self {
            Function::Blake3 => api::digest_function::Value::Blake3 as i32,
            Function::Sha256 => api::digest_function::Value::Sha256 as i32,
        }
    }

    /// Its part in the names of ByteStream's resources; functions that are as old as the protocol have none.
    pub fn in_resource(self) -> &'static str {
        match self {
            Function::Blake3 => "blake3/",
            Function::Sha256 => "",
        }
    }

    pub fn name(self, bytes: &[u8]) -> Name {
        let hash = match self {
            Function::Blake3 => *blake3::hash(bytes).as_bytes(),
            Function::Sha256 => Sha256::digest(bytes).into(),
        };
        Name { hash, size: bytes.len() as u64 }
    }
}

/// A blob as a server names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub hash: [u8; 32],
    pub size: u64,
}

impl Name {
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.hash).to_hex().to_string()
    }

    pub fn message(&self) -> api::Digest {
        // No file has more than 2^63 bytes.
        api::Digest { hash: self.hex(), size_bytes: i64::try_from(self.size).unwrap_or(i64::MAX) }
    }

    pub fn read(message: &api::Digest) -> Option<Name> {
        Some(Name {
            hash: crate::digest::parse_hash(&message.hash)?,
            size: u64::try_from(message.size_bytes).ok()?,
        })
    }
}

/// What is known of a blob.
#[derive(Debug, Clone, Copy)]
struct Known {
    hash: [u8; 32],
    /// Computed here, and not read in an entry.
    ours: bool,
    /// It is not compressed by itself.
    plain: bool,
}

/// What blobs are called on a server that does not know BLAKE3: learned when they are stored, and from entries. What entries say
/// may be a lie, which costs a download: what arrives is hashed by whoever asked for it. It never takes the place of what was
/// computed here.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: Mutex<HashMap<Digest, Known>>,
}

impl Names {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's name of a blob; `None` when nobody has told.
    pub fn get(&self, function: Function, blob: &Digest) -> Option<Name> {
        match function {
            Function::Blake3 => Some(Name { hash: blob.hash, size: blob.size }),
            Function::Sha256 => self.lock().get(blob).map(|known| Name { hash: known.hash, size: blob.size }),
        }
    }

    /// Whether a blob is known not to be compressed by itself.
    pub fn is_plain(&self, blob: &Digest) -> bool {
        self.lock().get(blob).is_some_and(|known| known.plain)
    }

    /// Remembers what an entry says.
    pub fn learn(&self, blobs: impl Iterator<Item = (Digest, Name, bool)>) {
        let mut known = self.lock();
        for (blob, name, plain) in blobs {
            if !known.get(&blob).is_some_and(|known| known.ours) {
                known.insert(blob, Known { hash: name.hash, ours: false, plain });
            }
        }
    }

    /// The server's name of a blob that is at hand.
    pub fn compute(&self, function: Function, blob: &Digest, body: &Body) -> io::Result<Name> {
        if let Some(known) = self.lock().get(blob).filter(|known| known.ours) {
            return Ok(Name { hash: known.hash, size: blob.size });
        }
        let (hash, size) = match (function, body) {
            (Function::Blake3, Body::Bytes(bytes)) => (blob.hash, bytes.len() as u64),
            (Function::Blake3, Body::File(path)) => (blob.hash, std::fs::metadata(path)?.len()),
            (Function::Sha256, Body::Bytes(bytes)) => (Sha256::digest(bytes).into(), bytes.len() as u64),
            (Function::Sha256, Body::File(path)) => sha256_of(&mut File::open(path)?)?,
        };
        if size != blob.size {
            let text = format!("{size} bytes were handed in for a blob of {}", blob.size);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let plain = !begins_as_frame(body)?;
        self.lock().insert(*blob, Known { hash, ours: true, plain });
        Ok(Name { hash, size })
    }
}

fn sha256_of(file: &mut File) -> io::Result<([u8; 32], u64)> {
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 128 * 1024];
    let mut size = 0;
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok((hasher.finalize().into(), size)),
            Ok(count) => {
                hasher.update(&chunk[..count]);
                size += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether these bytes begin as a frame of zstd does (RFC 8878, 3.1.1).
fn begins_as_frame(body: &Body) -> io::Result<bool> {
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    match body {
        Body::Bytes(bytes) => Ok(bytes.starts_with(&MAGIC)),
        Body::File(path) => {
            let mut first = Vec::new();
            File::open(path)?.take(4).read_to_end(&mut first)?;
            Ok(first == MAGIC)
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn names_are_those_of_the_protocol() {
        // FIPS 180-2, B.1.
        let name = Function::Sha256.name(b"abc");
        assert_eq!(name.hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(Name::read(&name.message()), Some(name));
        assert_eq!(Function::Blake3.name(b"abc").hex(), Digest::of(b"abc").hex());
        assert_eq!(Name::read(&api::Digest { hash: "ba78".into(), size_bytes: 3 }), None);
        assert_eq!(Name::read(&api::Digest { hash: name.hex(), size_bytes: -3 }), None);
    }

    #[test]
    fn what_was_computed_is_not_overwritten_by_what_is_told() {
        let (names, blob) = (Names::default(), Digest::of(b"abc"));
        let lie = Name { hash: [7; 32], size: 3 };
        assert_eq!(names.get(Function::Sha256, &blob), None);
        names.learn([(blob, lie, false)].into_iter());
        assert_eq!(names.get(Function::Sha256, &blob), Some(lie));
        let body = Body::Bytes(Bytes::from_static(b"abc"));
        let name = names.compute(Function::Sha256, &blob, &body).unwrap();
        assert_eq!(name, Function::Sha256.name(b"abc"));
        names.learn([(blob, lie, false)].into_iter());
        assert_eq!(names.get(Function::Sha256, &blob), Some(name));
        assert!(names.is_plain(&blob));
    }

    #[test]
    fn a_body_of_another_length_is_noticed() {
        let body = Body::Bytes(Bytes::from_static(b"abcd"));
        for function in [Function::Blake3, Function::Sha256] {
            assert!(Names::default().compute(function, &Digest::of(b"abc"), &body).is_err());
        }
    }
}
