//! Homes of results beside this machine's store: the trait [`Remote`], what passes through it, and [`connect`].
//!
//! A remote keeps two things. *Blobs* are named by their [`Digest`] and never change; whoever fetches one hashes it before
//! using it. *Entries* are small values under an [`EntryName`], and say which blobs belong together; whoever reads one
//! looks at its signature first. All calls block; what is asynchronous happens on threads of [`runtime`].
//!
//! A remote that names blobs by SHA-256 learns how a [`Digest`] translates when a blob is stored, and keeps the translation
//! beside the entry that speaks of it: whoever reads the entry knows it as well. It is never trusted: bytes that arrive have
//! the BLAKE3 hash that was asked for, or they are not used.

mod checkup;
mod client;
mod deliver;
mod doubts;
mod folder;
mod grpc;
mod guard;
mod http;
mod keys;
mod moving;
pub mod netrc;
mod object;
mod pack;
mod parcel;
pub mod runtime;
mod shared;
mod spec;
mod trust;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use bytes::Bytes;

use crate::Digest;
pub use checkup::Checkup;
pub use guard::{Direction, Guarded, Notice, Notices, Policy, Timing, Traffic};
pub use keys::{KeyError, MAX_KEY_NAME, PublicKey, SecretKey, is_key_name};
pub use pack::{MAX_FILE, MAX_TREE};
pub use shared::{Counters, Event, Events, Found, Over, Put, Shared, Tier, Tiers, Waiting};
pub use spec::{Access, Credentials, Limits, RemoteSpec, Secret, Variables};
pub use trust::{Distrust, MAX_SIGNATURES, Opened, Trust};

/// The largest entry that is read or written, in bytes.
pub const MAX_ENTRY: usize = 16 << 20;

/// Blobs up to this size travel in memory, larger ones by way of a file.
pub const IN_MEMORY: u64 = 8 << 20;

/// The header in which whoever stores an entry says how long it took to make what it speaks of, in milliseconds. The same name
/// is used for gRPC's metadata.
pub const DURATION_HEADER: &str = "relgraph-duration-ms";

/// The name of an entry: 32 bytes that say nothing of what it is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryName(pub [u8; 32]);

impl EntryName {
    /// 64 lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Debug for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hex())
    }
}

/// An entry as a remote holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub bytes: Vec<u8>,
    /// What stands for this very value, for [`Condition::Unchanged`]; `None` where the remote has no such thing.
    pub version: Option<String>,
}

/// On what condition an entry is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    Always,
    /// When there is none. A remote that cannot tell writes it: the first and the second are equally good.
    Absent,
    /// When it is as it was read. A remote that cannot tell writes it, and the other's change is lost: that costs a miss.
    Unchanged(String),
}

/// The bytes of a blob on their way.
#[derive(Debug, Clone)]
pub enum Body {
    /// At most [`IN_MEMORY`] of them.
    Bytes(Bytes),
    /// A file with nothing else in it. One that a remote made belongs to whoever gets it.
    File(PathBuf),
}

/// Takes blobs as they arrive, from any thread; `None`: the remote does not have it. What arrives is not yet verified.
pub type Arrived<'a> = &'a (dyn Fn(&Digest, Option<Body>) + Sync);

/// A home of results that others can reach. Implementations hold to [`Limits`], and leave retries to whoever calls.
pub trait Remote: Send + Sync + fmt::Debug {
    /// Where it is, without credentials: for messages.
    fn url(&self) -> &str;

    /// Reads an entry; `None` when there is none.
    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError>;

    /// Writes an entry of at most [`MAX_ENTRY`] bytes; `blobs` are what it speaks of, and were stored before. False: the
    /// condition did not hold.
    fn put(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
    ) -> Result<bool, RemoteError>;

    /// As [`Remote::put`], saying how long it took to make what the entry speaks of. Servers that count what they save hear of it.
    fn put_made(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        _took: Duration,
    ) -> Result<bool, RemoteError> {
        self.put(name, bytes, blobs, condition)
    }

    /// Which of these blobs, that an entry read here or written here speaks of, it does not have any more.
    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError>;

    /// Fetches blobs, several at a time; each is handed to `arrived` once. Files are made in `scratch`. An error may come
    /// after some have arrived. Never more bytes are taken in than a digest says.
    fn fetch(&self, blobs: &[Digest], scratch: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError>;

    /// Stores blobs, several at a time; what it has already is not sent again. An error may come after some were stored.
    fn store(&self, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError>;

    /// Asks the remote what it is and can do: for `doctor`. Facts in words, such as `SHA-256`, `at most 4 MiB in a batch`.
    fn describe(&self) -> Result<Vec<String>, RemoteError>;

    /// What time it is there, for `doctor`; `None` where the remote does not tell.
    fn clock(&self) -> Result<Option<SystemTime>, RemoteError> {
        Ok(None)
    }
}

/// What kind of trouble there was with a remote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RemoteErrorKind {
    /// Nobody answers there, or the connection broke.
    Unreachable,
    /// No answer within the time allowed.
    Timeout,
    /// It does not know us, or does not let us: 401, 403.
    Denied,
    /// It has no room left: 507, `RESOURCE_EXHAUSTED`.
    Full,
    /// It failed: 5xx, `UNAVAILABLE`, `INTERNAL`.
    Failed,
    /// It refuses what was asked, and would again.
    Refused,
    /// Its answer is not what the protocol says.
    Broken,
    /// How to reach it was described wrongly.
    Config,
    /// Something on this machine failed: a file, a folder.
    Local,
}

impl RemoteErrorKind {
    /// Whether the same call may succeed a moment later.
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout | Self::Failed | Self::Broken)
    }
}

/// Why a call to a remote came to nothing. The message never holds a credential.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    /// What kind of trouble.
    pub kind: RemoteErrorKind,
    /// What happened, in words.
    pub message: String,
}

impl RemoteError {
    /// An error of a kind.
    pub fn new(kind: RemoteErrorKind, message: impl Into<String>) -> RemoteError {
        RemoteError { kind, message: message.into() }
    }
}

/// Makes ready to use a remote: `file://`, `http(s)://`, `grpc(s)://`, `s3://`, `gs://`, `az://`. Nothing is sent yet.
/// `variables` are the user's environment, for clouds that are described by it.
pub fn connect(spec: &RemoteSpec, variables: &Variables) -> Result<Arc<dyn Remote>, RemoteError> {
    let scheme = spec.url.split_once("://").map_or("", |(scheme, _)| scheme);
    match scheme {
        "file" => folder::connect(spec),
        "http" | "https" => http::connect(spec, variables),
        "grpc" | "grpcs" => grpc::connect(spec),
        "s3" | "gs" | "az" => object::connect(spec, variables),
        _ => Err(RemoteError::new(
            RemoteErrorKind::Config,
            format!(
                "`{}` is not the address of a remote: file://, http(s)://, grpc(s)://, s3://, gs:// or az:// is expected",
                spec.shown()
            ),
        )),
    }
}
