//! What a remote can do for us, by trying it: for `doctor`.

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;

use super::{Access, Body, Condition, EntryName, Remote, RemoteError, RemoteErrorKind};
use crate::Digest;

/// How much is sent and received to see how fast that goes.
const PIECE: usize = 4 << 20;

/// How many small questions are asked to see how long one takes.
const QUESTIONS: usize = 5;

/// What every look at a remote reads, and those who may write leave there for the others: an entry and its blob.
const SAMPLE: &str = "relgraph doctor 1";

/// What was found out about a remote.
#[derive(Debug, Clone, Default)]
pub struct Checkup {
    /// What it says of itself, in words.
    pub facts: Vec<String>,
    /// What is wrong with it as a whole; nothing else was tried then.
    pub trouble: Option<RemoteError>,
    /// What came of reading an entry.
    pub read: Option<Result<(), RemoteError>>,
    /// What came of writing an entry and a blob and of reading them back; `None`: that was not tried.
    pub write: Option<Result<(), RemoteError>>,
    /// How long a small question takes: the median of a few.
    pub round_trip: Option<Duration>,
    /// Bytes in a second on the way there.
    pub up: Option<u64>,
    /// Bytes in a second on the way back.
    pub down: Option<u64>,
    /// How far its clock is ahead of ours, in seconds, where it tells the time.
    pub clock: Option<i64>,
}

impl Checkup {
    /// Looks at a remote. With [`Access::ReadWrite`] it writes an entry and a blob of 4 MiB under a name that nobody asks for.
    /// Files are made in `scratch`.
    pub fn of(remote: &dyn Remote, access: Access, scratch: &Path) -> Checkup {
        let mut found = Checkup::default();
        match remote.describe() {
            Ok(facts) => found.facts = facts,
            // A remote that lets us read may yet refuse to be described, or written to.
            Err(error) if error.kind == RemoteErrorKind::Denied => found.facts.clear(),
            Err(error) => {
                found.trouble = Some(error);
                return found;
            }
        }
        let sample = EntryName(*blake3::hash(SAMPLE.as_bytes()).as_bytes());
        let mut times = Vec::with_capacity(QUESTIONS);
        let mut entry = None;
        for _ in 0..QUESTIONS {
            let began = Instant::now();
            match remote.get(&sample) {
                Ok(it) => entry = it,
                Err(error) => {
                    found.read = Some(Err(error));
                    return found;
                }
            }
            times.push(began.elapsed());
        }
        times.sort();
        found.round_trip = times.get(QUESTIONS / 2).copied();
        found.read = Some(Ok(()));
        // Only a warning hangs on it.
        if let Ok(Some((theirs, ours))) = clock(remote) {
            found.clock = Some(seconds(theirs) - seconds(ours));
        }
        let bytes = piece(SAMPLE.as_bytes());
        let digest = Digest::of(&bytes);
        if access == Access::ReadWrite {
            found.write = Some(found.write(remote, scratch));
            if entry.is_none() && found.write == Some(Ok(())) {
                // For those who only read. Without it, they do not learn how fast it is.
                let _ = remote
                    .store(vec![(digest, Body::Bytes(bytes))])
                    .and_then(|()| remote.put(&sample, SAMPLE.as_bytes(), &[digest], &Condition::Absent));
            }
        } else if entry.is_some_and(|entry| entry.bytes == SAMPLE.as_bytes())
            && remote.missing(&[digest]).is_ok_and(|missing| missing.is_empty())
        {
            let began = Instant::now();
            if fetched(remote, &digest, scratch).is_ok() {
                found.down = Some(speed(began.elapsed()));
            }
        }
        found
    }

    /// Writes what nobody has written before, and reads it back.
    fn write(&mut self, remote: &dyn Remote, scratch: &Path) -> Result<(), RemoteError> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|error| {
            RemoteError::new(RemoteErrorKind::Local, format!("the system gives no random numbers: {error}"))
        })?;
        let bytes = piece(&seed);
        let digest = Digest::of(&bytes);
        let name = EntryName(*blake3::hash(&seed).as_bytes());
        let began = Instant::now();
        remote.store(vec![(digest, Body::Bytes(bytes))])?;
        let up = speed(began.elapsed());
        remote.put(&name, SAMPLE.as_bytes(), &[digest], &Condition::Always)?;
        let broken = |what: &str| RemoteError::new(RemoteErrorKind::Broken, what);
        match remote.get(&name)? {
            Some(entry) if entry.bytes == SAMPLE.as_bytes() => {}
            Some(_) => return Err(broken("an entry that was just written came back with other bytes")),
            None => return Err(broken("an entry that was just written is not there")),
        }
        let began = Instant::now();
        fetched(remote, &digest, scratch)?;
        (self.up, self.down) = (Some(up), Some(speed(began.elapsed())));
        Ok(())
    }
}

/// The time there, and here at about the same moment.
fn clock(remote: &dyn Remote) -> Result<Option<(SystemTime, SystemTime)>, RemoteError> {
    let began = SystemTime::now();
    let theirs = remote.clock()?;
    let ours = began + SystemTime::now().duration_since(began).unwrap_or_default() / 2;
    Ok(theirs.map(|theirs| (theirs, ours)))
}

fn seconds(time: SystemTime) -> i64 {
    let whole = |span: Duration| i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(span) => whole(span),
        Err(before) => -whole(before.duration()),
    }
}

/// Bytes that cannot be compressed.
fn piece(seed: &[u8]) -> Bytes {
    let mut bytes = vec![0; PIECE];
    blake3::Hasher::new().update(seed).finalize_xof().fill(&mut bytes);
    bytes.into()
}

fn speed(time: Duration) -> u64 {
    (PIECE as f64 / time.as_secs_f64().max(1e-6)) as u64
}

/// Fetches a blob, and looks whether it is the right one.
fn fetched(remote: &dyn Remote, digest: &Digest, scratch: &Path) -> Result<(), RemoteError> {
    let arrived: Mutex<Option<Body>> = Mutex::new(None);
    remote.fetch(&[*digest], scratch, &|_, body| {
        if let Ok(mut arrived) = arrived.lock() {
            *arrived = body;
        }
    })?;
    let body = arrived.into_inner().ok().flatten();
    let local = |error: std::io::Error| RemoteError::new(RemoteErrorKind::Local, error.to_string());
    let came = match &body {
        Some(Body::Bytes(bytes)) => Digest::of(bytes),
        Some(Body::File(path)) => {
            let bytes = std::fs::read(path).map_err(local)?;
            let _ = std::fs::remove_file(path);
            Digest::of(&bytes)
        }
        None => {
            return Err(RemoteError::new(
                RemoteErrorKind::Broken,
                "a blob that was just written is not there",
            ));
        }
    };
    if came == *digest {
        return Ok(());
    }
    Err(RemoteError::new(RemoteErrorKind::Broken, "a blob that was just written came back with other bytes"))
}
