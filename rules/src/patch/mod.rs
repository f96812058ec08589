//! Patches: what has to be carried to a machine that has one version of a release, so that the next one can be made there.
//!
//! A patch is for one old version. It names every file of the old one that it needs and every file that it makes, each by
//! its digest, and holds what is new: whole, or as the difference from an old file (docs/formats/patch.md). It is applied to
//! the folder of a release: the new version then lies beside the old one ([`apply::beside`]), or in a folder of its own
//! ([`apply::into`]).

pub mod apply;
mod base;
mod format;
mod frame;
mod make;
mod paths;
mod place;
mod plain;

mod records;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, StoreError};
use thiserror::Error;

use crate::compare::CompareError;

pub use format::{MAGIC, decode_header, read_header};
pub use make::{Counts, Made, make};
pub use plain::plain;

/// One of the two versions that a patch leads between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The name of the release.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its runtime system; empty where it says none.
    pub erts: String,
}

/// What a patch says, without what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// What it is applied to.
    pub old: Version,
    /// What it makes.
    pub new: Version,
    /// Folders that both versions have under one name and with other files: beside each other they cannot lie.
    pub conflicts: Vec<String>,
    /// Everything that the new version consists of, by path.
    pub entries: BTreeMap<String, Entry>,
    /// What the patch holds: all frames, one behind the other in the order of their paths.
    pub payload: Digest,
}

/// What the new version has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A folder.
    Folder,
    /// A symlink.
    Symlink {
        /// Its target, as written.
        target: String,
    },
    /// A file.
    File {
        /// Its content.
        digest: Digest,
        /// Whether it may be executed.
        executable: bool,
        /// Where its content comes from.
        from: Source,
        /// The content of the old version's file at the same path, where that is another.
        before: Option<Digest>,
    },
}

/// Where the content of a file comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The old version has the same file at the same path.
    Kept,
    /// The old version has the same content at another path.
    Copy {
        /// That path.
        path: String,
    },
    /// The patch holds it.
    Whole {
        /// How many bytes of the payload.
        length: u64,
    },
    /// The patch holds the difference from a file of the old version.
    Difference {
        /// The old file.
        path: String,
        /// Its content.
        digest: Digest,
        /// How many bytes of the payload.
        length: u64,
    },
}

/// A file of the old version that is not as the patch expects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfit {
    /// Its path in the release.
    pub path: String,
    /// What is wrong with it.
    pub why: Misfit,
}

/// Why an old file does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit {
    /// It is not there.
    Missing,
    /// It has another content.
    Differs,
    /// It, or a folder on the way to it, is a symlink, or it is no file.
    NotAFile,
}

impl Misfit {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Misfit::Missing => "missing",
            Misfit::Differs => "another content",
            Misfit::NotAFile => "not a plain file in plain folders",
        }
    }
}

/// Why a patch was not made or not applied.
#[derive(Debug, Error)]
pub enum PatchError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A release cannot be read.
    #[error(transparent)]
    Compare(#[from] CompareError),
    /// A file or folder.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The verb.
        action: &'static str,
        /// What it is about.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Two versions between which there is no patch.
    #[error("there is no patch from one to the other: {0}")]
    Pair(String),
    /// It is no patch, or a damaged one, or one that is not meant well.
    #[error("{} cannot be applied: {reason}", path.display())]
    Refused {
        /// The patch.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The folder holds no release.
    #[error("{} is not the folder of a release: it has no folder `releases`", path.display())]
    NotARelease {
        /// The folder.
        path: PathBuf,
    },
    /// What lies there is not what the patch was made for.
    #[error("the patch is not for what lies in {}", path.display())]
    Base {
        /// The folder.
        path: PathBuf,
        /// The files that do not fit.
        unfit: Vec<Unfit>,
    },
    /// The two versions cannot lie beside each other.
    #[error("the two versions cannot lie beside each other: both have {}, with other files", .0.join(", "))]
    Conflict(Vec<String>),
    /// Something lies where the new version has to be put.
    #[error("{} is there already, and is not what the patch makes", path.display())]
    Occupied {
        /// What lies there.
        path: PathBuf,
    },
    /// Another process applies a patch there.
    #[error("another patch is being applied to {}", path.display())]
    Busy {
        /// The release.
        path: PathBuf,
    },
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PatchError + use<> {
    let path = path.to_owned();
    move |source| PatchError::Io { action, path, source }
}
