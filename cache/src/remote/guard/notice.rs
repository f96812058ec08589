//! What a [`Guarded`](super::Guarded) tells of: [`Notice`], and [`Traffic`].

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Direction;
use crate::remote::{RemoteError, RemoteErrorKind};

/// Something about a remote that the user should know. Each kind is told once for each remote, however many calls it concerns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A call came to nothing, after retries: nobody answers, not in time, or not as it should be.
    Unavailable {
        /// Where.
        url: String,
        /// Why.
        error: RemoteError,
        /// How long it is not asked from now on, if it is not.
        pause: Option<Duration>,
    },
    /// It does not let us read, or write. It is not asked for that again by this process.
    Denied {
        /// Where.
        url: String,
        /// Why.
        error: RemoteError,
        /// What it does not let us do.
        direction: Direction,
    },
    /// It has no room left. Nothing more is written to it by this process.
    Full {
        /// Where.
        url: String,
        /// Why.
        error: RemoteError,
    },
}

/// Hears of notices, from any thread.
pub type Notices = Arc<dyn Fn(Notice) + Send + Sync>;

impl Notice {
    /// Whether trouble of a kind is told of here; whoever calls need not tell of it again.
    pub fn covers(kind: RemoteErrorKind) -> bool {
        kind.is_passing() || matches!(kind, RemoteErrorKind::Denied | RemoteErrorKind::Full)
    }

    /// What can be done about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Notice::Unavailable { error, .. } => match error.kind {
                RemoteErrorKind::Unreachable => "see whether it runs and can be reached from here",
                RemoteErrorKind::Timeout => {
                    "see whether it is overloaded, or a firewall swallows what is sent"
                }
                RemoteErrorKind::Broken => {
                    "see whether this is the address of a cache, and no proxy answers in its place"
                }
                _ => "its own log should say more",
            },
            Notice::Denied { direction: Direction::Read, .. } => {
                "see whether the token or password is there, is right and has not expired"
            }
            Notice::Denied { direction: Direction::Write, .. } => {
                "use credentials that may write, or only read from it"
            }
            Notice::Full { .. } => "make room there, or let it remove what is old",
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Some say where it was themselves.
        let why = |url: &str, error: &RemoteError| match error.message.strip_prefix(url) {
            Some(rest) => rest.trim_start_matches([':', ' ']).to_owned(),
            None => error.message.clone(),
        };
        match self {
            Notice::Unavailable { url, error, pause: None } => write!(f, "{url}: {}", why(url, error)),
            Notice::Unavailable { url, error, pause: Some(pause) } => {
                let pause = pause.as_secs_f64().ceil();
                write!(f, "{url} is not used for {pause} s: {}", why(url, error))
            }
            Notice::Denied { url, error, direction: Direction::Read } => {
                write!(f, "{url} does not let us read: {}", why(url, error))
            }
            Notice::Denied { url, error, direction: Direction::Write } => {
                write!(f, "{url} does not let us write: {}", why(url, error))
            }
            Notice::Full { url, error } => write!(f, "{url} is full: {}", why(url, error)),
        }
    }
}

/// What went between a remote and this process so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Calls, without those that were not made because the remote was not asked.
    pub calls: u64,
    /// Attempts beyond the first of a call.
    pub retries: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Calls that were not made because the remote was not asked.
    pub skipped: u64,
    /// Bytes of entries and blobs that arrived, as they were sent.
    pub bytes_in: u64,
    /// Bytes of entries and blobs that were handed over, whether the remote had them or not.
    pub bytes_out: u64,
    /// The time that threads spent in calls, waiting for the next attempt included.
    pub waited: Duration,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) calls: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) failures: AtomicU64,
    pub(super) skipped: AtomicU64,
    pub(super) bytes_in: AtomicU64,
    pub(super) bytes_out: AtomicU64,
    pub(super) waited: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, amount: u64) {
        counter.fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn wait(&self, time: Duration) {
        Counters::add(&self.waited, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn read(&self) -> Traffic {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            calls: of(&self.calls),
            retries: of(&self.retries),
            failures: of(&self.failures),
            skipped: of(&self.skipped),
            bytes_in: of(&self.bytes_in),
            bytes_out: of(&self.bytes_out),
            waited: Duration::from_nanos(of(&self.waited)),
        }
    }
}
