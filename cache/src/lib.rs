//! The store of relgraph: digests, blobs, trees, records, materialising, garbage collection.
//!
//! A [`Store`] holds raw blobs by [`Digest`], directories ([`Directory`]) as blobs of a canonical encoding, and small
//! records by key. It knows nothing of steps: what a record means is its writer's business.
//!
//! What is on disk is described in `docs/formats/` (digest, tree, manifest, store, stat-cache), and the tests read the
//! golden vectors from there.

pub mod codec;
mod digest;
mod error;
mod fsutil;
pub mod gc;
mod index;
mod manifest;
mod parallel;
mod probe;
mod record;
pub mod remote;
mod salt;
pub mod serve;
mod stamp;
mod stat_cache;
mod store;
mod swap;
mod tree;
mod tree_builder;
mod verify;

pub use digest::{Digest, DigestParseError, Hasher};
pub use error::{Result, StoreError};
pub use fsutil::remove_tree;
pub use index::{Index, ReleaseRow, RunRow};
pub use manifest::{Alternative, MAX_ALTERNATIVES, MAX_PROBES, Manifest, ManifestError, Mismatch};
pub use probe::{Answer, FileKind, Probe};
pub use record::{RecordEntry, RecordKind};
pub use salt::{SALT_FILE, salt};
pub use stamp::{FileStamp, stamp, stamp_at};
pub use stat_cache::{GRANULARITY, StatCache};
pub use store::{Link, Scratch, Source, Store};
pub use swap::swap_in;
pub use tree::{Directory, Node, TreeError};
pub use tree_builder::TreeBuilder;
pub use verify::{KindStatus, Report, Status, status, verify};
