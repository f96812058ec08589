//! Releases in a file of their own, for machines without a network (docs/formats/export.md).
//!
//! The first member says which releases there are, in a signed envelope; the others are their directories and files by hash.
//! Whoever reads it hashes each before it is used, takes none that no release asks for, and changes nothing in the store until
//! all of it is good.

mod read;
mod write;

use std::io;

use relgraph_cache::remote::{Distrust, EntryName};
use relgraph_cache::{Digest, StoreError};
use serde::{Deserialize, Serialize};

use crate::record::ReleaseRecord;
pub use read::import;
pub use write::export;

/// The schema of the first member.
const SCHEMA: &str = "relgraph.export/1";

/// What the first member is called, before the number of its version.
const INDEX: &str = "relgraph-export-";

/// The version that is written and read.
const VERSION: &str = "1";

/// What the names of all others begin with.
const BLOBS: &str = "blobs/";

/// The longest first member that is read, in bytes.
const MAX_INDEX: u64 = 64 << 20;

/// The most that all directories may have, in bytes.
const MAX_DIRECTORIES: u64 = 256 << 20;

/// What the first member says.
#[derive(Debug, Serialize, Deserialize)]
struct Index {
    schema: String,
    releases: Vec<ReleaseRecord>,
}

/// The place that a signature is for: one that was made for an entry of a remote is not one for a file.
fn place() -> EntryName {
    EntryName(blake3::derive_key("relgraph export v1", b""))
}

/// A file of releases that was written or read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The releases, by name, version and environment.
    pub releases: Vec<ReleaseRecord>,
    /// How many directories and files are in it.
    pub blobs: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// The name of the key that signed it; of one that was read, only where keys are trusted.
    pub signed_by: Option<String>,
}

/// Why releases were not written to a file, or not taken from one.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store could not give or take something.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file could not be written.
    #[error("cannot write it: {0}")]
    Write(io::Error),
    /// It begins with something else.
    #[error("it is not a file that `relgraph cache export` wrote")]
    Foreign,
    /// It was written by a later relgraph.
    #[error("it was written by a newer relgraph, in version {0} of the format")]
    Newer(String),
    /// It ends too early, was changed, or was made to do harm.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// Nobody signed it who is trusted.
    #[error("its releases are not taken: {0}")]
    Distrusted(Distrust),
    /// A release of this version is here already, and is another one.
    #[error("{name} {version} ({environment}) is here already, and is made of other bytes")]
    Known {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// `MIX_ENV`.
        environment: String,
        /// The one that is here.
        here: Digest,
    },
}
