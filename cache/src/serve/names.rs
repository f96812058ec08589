//! What things are called on the server: [`BlobName`], [`Partition`], [`EntryId`]. Whatever a client sends becomes one of
//! these or is refused, and only these become paths.

use std::fmt;
use std::sync::{Arc, LazyLock};

use crate::digest::parse_hash;

/// The most characters that the name of a partition may have.
const LONGEST_PARTITION: usize = 200;

/// A hash function that names blobs. Both are 32 bytes long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Function {
    Sha256,
    Blake3,
}

impl Function {
    pub const ALL: [Function; 2] = [Function::Sha256, Function::Blake3];

    /// As in folders and in resource names.
    pub fn word(self) -> &'static str {
        match self {
            Function::Sha256 => "sha256",
            Function::Blake3 => "blake3",
        }
    }

    /// As in an entry's file.
    pub fn code(self) -> u8 {
        match self {
            Function::Sha256 => 1,
            Function::Blake3 => 2,
        }
    }

    pub fn from_code(code: u8) -> Option<Function> {
        Function::ALL.into_iter().find(|function| function.code() == code)
    }
}

/// The name of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlobName {
    pub function: Function,
    pub hash: [u8; 32],
}

impl BlobName {
    /// The name that this text stands for: 64 hexadecimal digits in lower case.
    pub fn parse(function: Function, hex: &str) -> Option<BlobName> {
        Some(BlobName { function, hash: parse_hash(hex)? })
    }

    pub fn hex(&self) -> String {
        hex(&self.hash)
    }

    /// Whether it names no bytes at all. That blob is always there, and nowhere on disk.
    pub fn is_empty(&self) -> bool {
        static NOTHING: LazyLock<[BlobName; 2]> = LazyLock::new(|| Both::default().finish());
        NOTHING.contains(self)
    }
}

impl fmt::Debug for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.function.word(), self.hex())
    }
}

/// 64 hexadecimal digits in lower case.
pub(super) fn hex(hash: &[u8; 32]) -> String {
    blake3::Hash::from_bytes(*hash).to_hex().to_string()
}

/// Both names of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub(super) struct Both {
    sha256: sha2::Sha256,
    blake3: blake3::Hasher,
}

impl Both {
    pub fn update(&mut self, bytes: &[u8]) {
        sha2::Digest::update(&mut self.sha256, bytes);
        self.blake3.update(bytes);
    }

    pub fn finish(self) -> [BlobName; 2] {
        let sha256 = sha2::Digest::finalize(self.sha256).into();
        [
            BlobName { function: Function::Sha256, hash: sha256 },
            BlobName { function: Function::Blake3, hash: *self.blake3.finalize().as_bytes() },
        ]
    }
}

/// Hashes with one function, or with both where it is not known which one is meant.
#[derive(Clone)]
pub(super) enum Hashing {
    Sha256(sha2::Sha256),
    Blake3(Box<blake3::Hasher>),
    Both(Box<Both>),
}

impl Hashing {
    pub fn new(function: Option<Function>) -> Hashing {
        match function {
            Some(Function::Sha256) => Hashing::Sha256(sha2::Digest::new()),
            Some(Function::Blake3) => Hashing::Blake3(Box::default()),
            None => Hashing::Both(Box::default()),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Hashing::Sha256(hasher) => sha2::Digest::update(hasher, bytes),
            Hashing::Blake3(hasher) => {
                hasher.update(bytes);
            }
            Hashing::Both(both) => both.update(bytes),
        }
    }

    /// The function by which the bytes have this hash, if there is one.
    pub fn which(self, hash: &[u8; 32]) -> Option<Function> {
        let found = |function, made: [u8; 32]| (made == *hash).then_some(function);
        match self {
            Hashing::Sha256(hasher) => found(Function::Sha256, sha2::Digest::finalize(hasher).into()),
            Hashing::Blake3(hasher) => found(Function::Blake3, *hasher.finalize().as_bytes()),
            Hashing::Both(both) => {
                both.finish().into_iter().find(|name| name.hash == *hash).map(|name| name.function)
            }
        }
    }
}

impl Hashing {
    /// The BLAKE3 hash, where that is what is made.
    pub fn blake3(&self) -> Option<[u8; 32]> {
        match self {
            Hashing::Blake3(hasher) => Some(*hasher.finalize().as_bytes()),
            Hashing::Sha256(_) | Hashing::Both(_) => None,
        }
    }
}

/// A part of the entries that is apart from the others. The main one has an empty name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(Arc<str>);

impl Partition {
    /// The one without a name.
    pub fn main() -> Partition {
        Partition("".into())
    }

    /// A partition's name is made of one to four parts with `/` between them; a part begins with a letter or digit and has
    /// only letters, digits, `.`, `_` and `-`. The empty text is the main partition.
    pub fn parse(text: &str) -> Option<Partition> {
        let part = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        let good = text.is_empty()
            || (text.len() <= LONGEST_PARTITION && text.split('/').count() <= 4 && text.split('/').all(part));
        good.then(|| Partition(text.into()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The name of its folder: no part of what a client sent.
    pub(super) fn folder(&self) -> String {
        blake3::hash(self.0.as_bytes()).to_hex()[..32].to_owned()
    }
}

/// The name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct EntryId {
    pub partition: Partition,
    pub hash: [u8; 32],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_are_plain_names() {
        for good in ["", "main", "pr/12", "a.b-c_d/1/2/3"] {
            assert_eq!(Partition::parse(good).expect("a partition").name(), good);
        }
        let long = "x".repeat(201);
        for bad in
            ["/", "a/", "/a", "..", "a/../b", "a//b", ".a", "a b", "ä", "a\0", "a\\b", "1/2/3/4/5", &long]
        {
            assert_eq!(Partition::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn nothing_has_two_names() {
        let [sha256, blake3] = Both::default().finish();
        assert!(sha256.is_empty() && blake3.is_empty());
        assert!(sha256.hex().starts_with("e3b0c442") && blake3.hex().starts_with("af1349b9"));
        assert!(!BlobName { function: Function::Sha256, hash: blake3.hash }.is_empty());
    }
}
