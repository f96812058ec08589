//! One directory as a value: [`Directory`], its canonical encoding, and the names it allows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;
use crate::codec::{CodecError, Reader, Writer};

const MAGIC: &str = "relgraph tree 1";
const FILE: u8 = 1;
const EXECUTABLE: u8 = 2;
const DIRECTORY: u8 = 3;
const SYMLINK: u8 = 4;

/// One directory. Its encoding is a blob like any other, so a whole tree is named by the digest of its root.
///
/// Empty directories are there like any other; of a file's mode only the executable bit is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Directory {
    /// What is in it, by name.
    pub entries: BTreeMap<String, Node>,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Node {
    /// A regular file.
    File {
        /// Its content.
        digest: Digest,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A directory.
    Directory {
        /// The digest of its encoding.
        digest: Digest,
    },
    /// A symbolic link, never followed.
    Symlink {
        /// Where it points, as written.
        target: String,
    },
}

/// Why bytes are not a directory, or a tree cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The encoding is damaged.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A name that no directory may hold.
    #[error("`{name}` cannot be a name in a tree")]
    Name {
        /// The name.
        name: String,
    },
    /// Entries that are not in strict byte order: unsorted, or the same name twice.
    #[error("the entry `{name}` is out of order")]
    Order {
        /// The entry that does not come after the one before it.
        name: String,
    },
    /// A symlink to nothing, or with a NUL in its target.
    #[error("`{name}` is a symlink with a target that cannot be")]
    Target {
        /// The symlink's name.
        name: String,
    },
    /// A file where a directory is, or the other way round.
    #[error("`{path}` is a directory in one place and a file in another")]
    Conflict {
        /// The path in the tree.
        path: String,
    },
}

/// Whether a directory may hold an entry of this name.
pub(crate) fn check_name(name: &str) -> Result<(), TreeError> {
    let refused = name.is_empty() || name == "." || name == ".." || name.bytes().any(|b| b == b'/' || b == 0);
    if refused { Err(TreeError::Name { name: name.to_owned() }) } else { Ok(()) }
}

pub(crate) fn check_target(name: &str, target: &str) -> Result<(), TreeError> {
    if target.is_empty() || target.bytes().any(|b| b == 0) {
        return Err(TreeError::Target { name: name.to_owned() });
    }
    Ok(())
}

impl Directory {
    /// The canonical bytes: equal directories have equal bytes. A directory with a name that [`Directory::decode`]
    /// refuses still encodes; [`crate::Store::put_directory`] does not take it.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.u64(self.entries.len() as u64);
        for (name, node) in &self.entries {
            match node {
                Node::File { digest, executable } => {
                    out.u8(if *executable { EXECUTABLE } else { FILE }).str(name).digest(digest);
                }
                Node::Directory { digest } => {
                    out.u8(DIRECTORY).str(name).digest(digest);
                }
                Node::Symlink { target } => {
                    out.u8(SYMLINK).str(name).str(target);
                }
            }
        }
        out.finish()
    }

    /// Reads what [`Directory::encode`] wrote, and nothing else: every directory has one encoding.
    pub fn decode(bytes: &[u8]) -> Result<Directory, TreeError> {
        // They come in order: a map is made of them at once, and much faster than one by one.
        let mut entries = Vec::new();
        Directory::visit(bytes, &mut |name, node| entries.push((name.to_owned(), node)))?;
        Ok(Directory { entries: entries.into_iter().collect() })
    }

    /// Shows the entries of an encoded directory one after the other, as [`Directory::decode`] reads them. Where it fails, some
    /// may have been shown.
    pub(crate) fn visit(bytes: &[u8], each: &mut dyn FnMut(&str, Node)) -> Result<(), TreeError> {
        let mut reader = Reader::new(bytes, MAGIC)?;
        let count = reader.count(17)?;
        let mut last: Option<&str> = None;
        for _ in 0..count {
            let kind = reader.u8()?;
            let name = reader.str()?;
            check_name(name)?;
            if last.is_some_and(|last| last >= name) {
                return Err(TreeError::Order { name: name.to_owned() });
            }
            last = Some(name);
            let node = match kind {
                FILE | EXECUTABLE => Node::File { digest: reader.digest()?, executable: kind == EXECUTABLE },
                DIRECTORY => Node::Directory { digest: reader.digest()? },
                SYMLINK => {
                    let target = reader.str()?;
                    check_target(name, target)?;
                    Node::Symlink { target: target.to_owned() }
                }
                _ => return Err(reader.invalid("the kind of an entry").into()),
            };
            each(name, node);
        }
        Ok(reader.finish()?)
    }

    /// The digest of the encoding.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encode())
    }

    /// Whether every name and target may be in a tree.
    pub(crate) fn check(&self) -> Result<(), TreeError> {
        for (name, node) in &self.entries {
            check_name(name)?;
            if let Node::Symlink { target } = node {
                check_target(name, target)?;
            }
        }
        Ok(())
    }
}
