//! A remote that answers from a list, and a clock that only moves when it is told to.

mod alone;
mod steps;
mod together;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Guarded, Notice, Notices, Policy, Timing, lock};
use crate::Digest;
use crate::remote::{Arrived, Body, Condition, Entry, EntryName, Remote, RemoteError, RemoteErrorKind};

/// A clock that stands still, but for what sleeps and calls take. Its dice always show the most.
#[derive(Debug, Default)]
struct Clock {
    now: Mutex<Duration>,
    slept: Mutex<Vec<Duration>>,
}

impl Clock {
    fn pass(&self, time: Duration) {
        *lock(&self.now) += time;
    }

    fn slept(&self) -> Vec<Duration> {
        std::mem::take(&mut *lock(&self.slept))
    }
}

impl Timing for Clock {
    fn now(&self) -> Duration {
        *lock(&self.now)
    }

    fn sleep(&self, time: Duration) {
        lock(&self.slept).push(time);
        self.pass(time);
    }

    fn jitter(&self, most: Duration) -> Duration {
        most
    }
}

/// What the remote answers to one attempt.
#[derive(Debug, Clone, Default)]
struct Answer {
    /// How long it takes before anything arrives, and how long after that.
    before: Duration,
    takes: Duration,
    /// How many of the blobs asked for arrive.
    brings: usize,
    /// With what error it ends.
    error: Option<RemoteErrorKind>,
    /// Whether it ends in a panic.
    panics: bool,
}

fn fine() -> Answer {
    Answer { brings: usize::MAX, ..Answer::default() }
}

fn fails(kind: RemoteErrorKind) -> Answer {
    Answer { error: Some(kind), ..Answer::default() }
}

fn slowly(kind: RemoteErrorKind, takes: Duration) -> Answer {
    Answer { takes, ..fails(kind) }
}

/// A remote that answers from a list, and well when that has come to its end.
#[derive(Debug)]
struct Scripted {
    clock: Arc<Clock>,
    answers: Mutex<VecDeque<Answer>>,
    /// The attempts that were made.
    asked: Mutex<Vec<String>>,
}

impl Scripted {
    fn answer(&self, what: String) -> Answer {
        lock(&self.asked).push(what);
        let answer = lock(&self.answers).pop_front().unwrap_or_else(fine);
        self.clock.pass(answer.before);
        answer
    }

    fn end(&self, answer: &Answer) -> Result<(), RemoteError> {
        assert!(!answer.panics, "as the test wants it");
        self.clock.pass(answer.takes);
        answer.error.map_or(Ok(()), |kind| Err(RemoteError::new(kind, format!("{kind:?}"))))
    }
}

impl Remote for Scripted {
    fn url(&self) -> &str {
        "http://cache.test"
    }

    fn get(&self, _: &EntryName) -> Result<Option<Entry>, RemoteError> {
        self.end(&self.answer("get".into()))?;
        Ok(Some(Entry { bytes: b"entry".to_vec(), version: None }))
    }

    fn put(&self, _: &EntryName, _: &[u8], _: &[Digest], _: &Condition) -> Result<bool, RemoteError> {
        self.end(&self.answer("put".into())).map(|()| true)
    }

    fn missing(&self, _: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        self.end(&self.answer("missing".into())).map(|()| Vec::new())
    }

    fn fetch(&self, blobs: &[Digest], _: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        let answer = self.answer(format!("fetch {}", blobs.len()));
        for blob in blobs.iter().take(answer.brings) {
            arrived(blob, Some(Body::Bytes(vec![0; blob.size as usize].into())));
        }
        self.end(&answer)
    }

    fn store(&self, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        self.end(&self.answer(format!("store {}", blobs.len())))
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        self.end(&self.answer("describe".into())).map(|()| Vec::new())
    }
}

/// A remote that hands each blob over twice, in files of this folder.
#[derive(Debug)]
struct Twice(PathBuf);

impl Remote for Twice {
    fn url(&self) -> &str {
        "http://cache.test"
    }

    fn get(&self, _: &EntryName) -> Result<Option<Entry>, RemoteError> {
        Ok(None)
    }

    fn put(&self, _: &EntryName, _: &[u8], _: &[Digest], _: &Condition) -> Result<bool, RemoteError> {
        Ok(true)
    }

    fn missing(&self, _: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        Ok(Vec::new())
    }

    fn fetch(&self, blobs: &[Digest], _: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        for blob in blobs {
            for file in ["first", "second"] {
                let file = self.0.join(file);
                std::fs::write(&file, [0]).expect("a file");
                arrived(blob, Some(Body::File(file)));
            }
        }
        Ok(())
    }

    fn store(&self, _: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        Ok(())
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        Ok(Vec::new())
    }
}

/// A guarded remote with everything around it.
struct Scene {
    clock: Arc<Clock>,
    remote: Arc<Scripted>,
    guarded: Guarded,
    notices: Arc<Mutex<Vec<Notice>>>,
}

impl Scene {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Scene {
        let clock = Arc::new(Clock::default());
        let remote = Arc::new(Scripted {
            clock: clock.clone(),
            answers: Mutex::new(answers.into_iter().collect()),
            asked: Mutex::default(),
        });
        let (guarded, notices) = guard(remote.clone(), clock.clone());
        Scene { clock, remote, guarded, notices }
    }

    fn will(&self, answers: impl IntoIterator<Item = Answer>) {
        *lock(&self.remote.answers) = answers.into_iter().collect();
    }

    fn get(&self) -> Result<(), RemoteErrorKind> {
        self.guarded.get(&name()).map(|_| ()).map_err(|error| error.kind)
    }

    fn put(&self) -> Result<(), RemoteErrorKind> {
        self.guarded.put(&name(), b"entry", &[], &Condition::Always).map(|_| ()).map_err(|error| error.kind)
    }

    /// The attempts since this was asked last.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.remote.asked))
    }

    fn told(&self) -> Vec<String> {
        lock(&self.notices).iter().map(ToString::to_string).collect()
    }
}

fn guard(remote: Arc<dyn Remote>, clock: Arc<Clock>) -> (Guarded, Arc<Mutex<Vec<Notice>>>) {
    let notices: Arc<Mutex<Vec<Notice>>> = Arc::default();
    let heard = notices.clone();
    let hear: Notices = Arc::new(move |notice| lock(&heard).push(notice));
    (Guarded::with(remote, Policy::default(), clock, hear), notices)
}

fn name() -> EntryName {
    EntryName([7; 32])
}

fn digests(count: u8) -> Vec<Digest> {
    (0..count).map(|n| Digest::of(&[n])).collect()
}

fn ms(time: u64) -> Duration {
    Duration::from_millis(time)
}

fn secs(time: u64) -> Duration {
    Duration::from_secs(time)
}
