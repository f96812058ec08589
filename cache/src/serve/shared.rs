//! What every request needs: [`Shared`].

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::Semaphore;

use super::disk::{Disk, FoundEntry, Opened};
use super::error::PutError;
use super::metrics::Metrics;
use super::names::{BlobName, EntryId};
use super::tokens::{Grant, Tokens};
use super::upload::blocking;

/// How long nothing may come while something is uploaded.
pub(super) const IDLE: Duration = Duration::from_secs(60);
/// How many requests may hold a whole message in memory at a time. Others wait.
const HEAVY: usize = 16;
/// How many streams may be compressed or decompressed at a time: more than `HEAVY`, because they take as long as the client
/// does.
const CODERS: usize = 96;

/// Something that whoever runs the server may want to write down. Holds no token.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Something is not as it should be.
    Warning(String),
    /// Files of tokens or certificates were read again.
    Reloaded,
    /// A request has ended.
    Request {
        /// The name of the token that was shown, or `anonymous`, or `?`.
        token: String,
        /// What was asked for: a method and a path.
        target: String,
        /// The status of HTTP, or the name of gRPC's.
        status: String,
        /// How long it took.
        took: Duration,
        /// Bytes of the body that was received.
        received: u64,
        /// Bytes of the body that was sent.
        sent: u64,
    },
}

/// Where events go.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

pub(super) struct Shared {
    pub disk: Arc<Disk>,
    pub tokens: RwLock<Arc<Tokens>>,
    pub metrics: Metrics,
    /// The budget, in bytes.
    pub max_size: u64,
    /// The largest entry, in bytes.
    pub max_entry: u64,
    pub heavy: Arc<Semaphore>,
    pub coders: Arc<Semaphore>,
    pub log_requests: bool,
    pub on_event: OnEvent,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("disk", &self.disk).finish_non_exhaustive()
    }
}

impl Shared {
    pub fn new(
        disk: Disk,
        tokens: Tokens,
        (max_size, max_entry): (u64, u64),
        log_requests: bool,
        on_event: OnEvent,
    ) -> Shared {
        Shared {
            disk: Arc::new(disk),
            tokens: RwLock::new(Arc::new(tokens)),
            metrics: Metrics::new(),
            max_size,
            max_entry,
            heavy: Arc::new(Semaphore::new(HEAVY)),
            coders: Arc::new(Semaphore::new(CODERS)),
            log_requests,
            on_event,
        }
    }

    pub fn warn(&self, text: impl Into<String>) {
        (self.on_event)(Event::Warning(text.into()));
    }

    pub fn tokens(&self) -> Arc<Tokens> {
        self.tokens.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_tokens(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// Finds an entry, and counts whether it was there.
    pub async fn entry(&self, grant: &Grant, id: EntryId) -> Result<Option<FoundEntry>, PutError> {
        let disk = self.disk.clone();
        let found = blocking(move || disk.open_entry(&id).map_err(PutError::Io)).await?;
        self.metrics.person(&grant.name, |person| match &found {
            Some(entry) => {
                person.hits += 1;
                person.saved += entry.duration;
            }
            None => person.misses += 1,
        });
        Ok(found)
    }

    /// Opens a blob that has bytes, and counts whether it was there.
    pub async fn blob(
        &self,
        grant: &Grant,
        name: BlobName,
        from: u64,
        to: Option<u64>,
    ) -> Result<Option<Opened>, PutError> {
        let disk = self.disk.clone();
        let found = blocking(move || disk.open_blob(&name, from, to).map_err(PutError::Io)).await?;
        self.metrics.person(&grant.name, |person| match &found {
            Some(_) => person.blob_hits += 1,
            None => person.blob_misses += 1,
        });
        Ok(found)
    }
}

/// The bytes of a file, piece by piece. An error ends it early.
pub(super) fn pieces(opened: Opened) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let Opened { first, file, at, end, .. } = opened;
    stream::unfold(Some((first, Arc::new(file), at)), move |state| async move {
        let (next, file, at) = state?;
        if !next.is_empty() {
            return Some((Ok(next), Some((Bytes::new(), file, at))));
        }
        if at >= end {
            return None;
        }
        let reading = file.clone();
        let read = tokio::task::spawn_blocking(move || Opened::read(&reading, at, end)).await;
        match read.unwrap_or_else(|_| Err(io::Error::other("the server is shutting down"))) {
            Ok(bytes) => {
                let at = at + bytes.len() as u64;
                Some((Ok(bytes), Some((Bytes::new(), file, at))))
            }
            Err(error) => Some((Err(error), None)),
        }
    })
}
