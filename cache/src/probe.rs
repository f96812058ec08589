//! The questions that steps turn out to ask, [`Probe`], and what they are told, [`Answer`].

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::codec::{CodecError, Reader, Writer};

/// A question that a step turned out to ask.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// What is in the file at this path?
    Content(String),
    /// What kind of thing is at this path?
    Kind(String),
    /// Which names are in this folder?
    Listing(String),
    /// What is in the whole tree below this path?
    Tree(String),
    /// What does this environment variable say?
    Env(String),
}

/// What a [`Probe`] is told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// Nothing is there.
    Absent,
    /// A file with this content.
    File {
        /// Its content.
        digest: Digest,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A folder.
    Directory,
    /// A symlink with this target.
    Symlink(String),
    /// The digest of the sorted names.
    Listing(Digest),
    /// The digest of the tree.
    Tree(Digest),
    /// The digest of the value, so that no secret is written down.
    Value(Digest),
    /// Something of this kind is there.
    Exists(FileKind),
}

/// What kind of thing a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Directory,
    /// A symlink.
    Symlink,
    /// A socket, pipe or device.
    Other,
}

impl Probe {
    /// Appends the probe.
    pub fn write(&self, out: &mut Writer) {
        let (kind, text) = match self {
            Probe::Content(path) => (1, path),
            Probe::Kind(path) => (2, path),
            Probe::Listing(path) => (3, path),
            Probe::Tree(path) => (4, path),
            Probe::Env(name) => (5, name),
        };
        out.u8(kind).str(text);
    }

    /// Takes what [`Probe::write`] appended.
    pub fn read(reader: &mut Reader<'_>) -> Result<Probe, CodecError> {
        let make = match reader.u8()? {
            1 => Probe::Content,
            2 => Probe::Kind,
            3 => Probe::Listing,
            4 => Probe::Tree,
            5 => Probe::Env,
            _ => return Err(reader.invalid("the kind of a probe")),
        };
        Ok(make(reader.str()?.to_owned()))
    }
}

impl std::fmt::Display for Probe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Probe::Content(path) => write!(f, "the content of {path}"),
            Probe::Kind(path) => write!(f, "what {path} is"),
            Probe::Listing(path) => write!(f, "the names in {path}"),
            Probe::Tree(path) => write!(f, "the tree {path}"),
            Probe::Env(name) => write!(f, "the variable {name}"),
        }
    }
}

impl Answer {
    /// Appends the answer.
    pub fn write(&self, out: &mut Writer) {
        match self {
            Answer::Absent => out.u8(1),
            Answer::File { digest, executable } => out.u8(2).digest(digest).bool(*executable),
            Answer::Directory => out.u8(3),
            Answer::Symlink(target) => out.u8(4).str(target),
            Answer::Listing(digest) => out.u8(5).digest(digest),
            Answer::Tree(digest) => out.u8(6).digest(digest),
            Answer::Value(digest) => out.u8(7).digest(digest),
            Answer::Exists(kind) => out.u8(8).u8(match kind {
                FileKind::File => 1,
                FileKind::Directory => 2,
                FileKind::Symlink => 3,
                FileKind::Other => 4,
            }),
        };
    }

    /// Takes what [`Answer::write`] appended.
    pub fn read(reader: &mut Reader<'_>) -> Result<Answer, CodecError> {
        Ok(match reader.u8()? {
            1 => Answer::Absent,
            2 => Answer::File { digest: reader.digest()?, executable: reader.bool()? },
            3 => Answer::Directory,
            4 => Answer::Symlink(reader.str()?.to_owned()),
            5 => Answer::Listing(reader.digest()?),
            6 => Answer::Tree(reader.digest()?),
            7 => Answer::Value(reader.digest()?),
            8 => Answer::Exists(match reader.u8()? {
                1 => FileKind::File,
                2 => FileKind::Directory,
                3 => FileKind::Symlink,
                4 => FileKind::Other,
                _ => return Err(reader.invalid("the kind of a file")),
            }),
            _ => return Err(reader.invalid("the kind of an answer")),
        })
    }
}
