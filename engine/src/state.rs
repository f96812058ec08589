//! The state file: what a checkout looked like when it was last built, for finding out fast that nothing moved
//! (docs/formats/state.md).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, FileStamp};

use crate::codec::{DecodeError, Reader, Writer};
use crate::error::EngineError;
use crate::files;

const MAGIC: &[u8] = b"relgraph state 1\n";

/// What is expected at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A file or symlink with this stamp.
    Stamp(FileStamp),
    /// A directory with this stamp: nothing was added to it or removed from it.
    Directory(FileStamp),
    /// Nothing.
    Absent,
}

/// What a checkout looked like after a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which relgraph wrote it: another one does not trust it.
    pub identity: Digest,
    /// What was asked for: another request is not answered by it.
    pub request: Digest,
    /// The folder that relative paths start from.
    pub root: PathBuf,
    /// What is expected where, sorted by path.
    pub entries: Vec<(String, Expect)>,
    /// Environment variables that were read, with the digests of their values.
    pub env: Vec<(String, Option<Digest>)>,
    /// Whatever the command wants to say again.
    pub summary: Vec<u8>,
    /// When it was saved, in nanoseconds: stamps that are not older prove nothing.
    pub saved_ns: i64,
}

/// Whether anything moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing did.
    Fresh,
    /// This path (or `env NAME`) did: the first one in order.
    Moved(String),
}
