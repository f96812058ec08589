//! What stands between callers and a remote: [`Guarded`] retries what may be retried, and stops asking a remote that fails.
//!
//! A call is made up of attempts. Each needs a pass of the breaker, so that callers at the same time share what they find out: a
//! remote that nobody can reach costs one round of retries, not one for each of them.

mod attempt;
mod breaker;
mod notice;
mod policy;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Arrived, Body, Condition, Entry, EntryName, Remote, RemoteError, RemoteErrorKind};
use crate::Digest;
use attempt::Attempt;
use breaker::Breaker;
use notice::Counters;

pub use breaker::Direction;
pub use notice::{Notice, Notices, Traffic};
pub use policy::{Policy, Timing};

/// A remote that is asked with patience, up to a point.
pub struct Guarded {
    remote: Arc<dyn Remote>,
    policy: Policy,
    timing: Arc<dyn Timing>,
    notices: Notices,
    breaker: Breaker,
    counters: Counters,
    told: Mutex<HashSet<Discriminant<Notice>>>,
}

impl std::fmt::Debug for Guarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guarded").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl Guarded {
    /// Guards a remote. `notices` hears of trouble.
    pub fn new(remote: Arc<dyn Remote>, notices: Notices) -> Guarded {
        Guarded::with(remote, Policy::default(), Arc::new(policy::Machine::new()), notices)
    }

    /// Guards a remote by other rules or another clock.
    pub fn with(
        remote: Arc<dyn Remote>,
        policy: Policy,
        timing: Arc<dyn Timing>,
        notices: Notices,
    ) -> Guarded {
        Guarded {
            remote,
            policy,
            timing,
            notices,
            breaker: Breaker::new(policy),
            counters: Counters::default(),
            told: Mutex::default(),
        }
    }

    /// What went over the wire so far, and what it cost.
    pub fn counters(&self) -> Traffic {
        self.counters.read()
    }

    /// Makes attempts until one succeeds, or there is no sense in another.
    fn call<T>(
        &self,
        direction: Direction,
        mut make: impl FnMut(&Attempt<'_>) -> Result<T, RemoteError>,
    ) -> Result<T, RemoteError> {
        let began = self.timing.now();
        // When it began, or something arrived last.
        let mut since = began;
        let mut tries = 0;
        let mut last: Option<RemoteError> = None;
        let result = loop {
            let pass = match (self.breaker.admit(direction, self.timing.now()), last) {
                (Ok(pass), None) => {
                    Counters::add(&self.counters.calls, 1);
                    pass
                }
                (Ok(pass), Some(_)) => {
                    Counters::add(&self.counters.retries, 1);
                    pass
                }
                (Err(error), None) => {
                    Counters::add(&self.counters.skipped, 1);
                    return Err(error);
                }
                // Others found out meanwhile that there is no sense in it.
                (Err(_), Some(error)) => break Err(error),
            };
            let attempt = Attempt::new(&self.breaker, &*self.timing, pass);
            let made = make(&attempt);
            if let Some(moved) = attempt.moved() {
                (since, tries) = (moved, 0);
            }
            attempt.end(direction, made.as_ref().err());
            let error = match made {
                Ok(made) => break Ok(made),
                Err(error) => error,
            };
            Counters::add(&self.counters.failures, 1);
            tries += 1;
            let wait = self.timing.jitter(self.longest_wait(tries));
            let now = self.timing.now();
            if !error.kind.is_passing()
                || tries >= self.policy.attempts
                || now.saturating_sub(since).saturating_add(wait) > self.budget(direction)
                || self.breaker.rest(now).is_some()
            {
                break Err(error);
            }
            self.timing.sleep(wait);
            last = Some(error);
        };
        self.counters.wait(self.timing.now().saturating_sub(began));
        if let Err(error) = &result {
            self.judge(direction, error);
        }
        result
    }

    /// How long the wait after so many tries may be.
    fn longest_wait(&self, tries: u32) -> Duration {
        let doubled = 1_u32.checked_shl(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        self.policy.base.saturating_mul(doubled).min(self.policy.longest)
    }

    fn budget(&self, direction: Direction) -> Duration {
        match direction {
            Direction::Read => self.policy.read,
            Direction::Write => self.policy.write,
        }
    }

    /// Draws conclusions from a call that came to nothing, and tells of it.
    fn judge(&self, direction: Direction, error: &RemoteError) {
        let (url, error) = (self.url().to_owned(), error.clone());
        let notice = match error.kind {
            RemoteErrorKind::Denied => {
                self.breaker.shut(direction, &error);
                Notice::Denied { url, error, direction }
            }
            RemoteErrorKind::Full => {
                self.breaker.shut(Direction::Write, &error);
                Notice::Full { url, error }
            }
            kind if kind.is_passing() => {
                let pause = self.breaker.rest(self.timing.now()).filter(|pause| !pause.is_zero());
                Notice::Unavailable { url, error, pause }
            }
            _ => return,
        };
        if lock(&self.told).insert(discriminant(&notice)) {
            (self.notices)(notice);
        }
    }
}

impl Remote for Guarded {
    fn url(&self) -> &str {
        self.remote.url()
    }

    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        let entry = self.call(Direction::Read, |_| self.remote.get(name))?;
        let size = entry.as_ref().map_or(0, |entry| entry.bytes.len());
        Counters::add(&self.counters.bytes_in, size as u64);
        Ok(entry)
    }

    fn put(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
    ) -> Result<bool, RemoteError> {
        let written = self.call(Direction::Write, |_| self.remote.put(name, bytes, blobs, condition))?;
        Counters::add(&self.counters.bytes_out, bytes.len() as u64);
        Ok(written)
    }

    fn put_made(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        took: Duration,
    ) -> Result<bool, RemoteError> {
        let put = |_: &Attempt<'_>| self.remote.put_made(name, bytes, blobs, condition, took);
        let written = self.call(Direction::Write, put)?;
        Counters::add(&self.counters.bytes_out, bytes.len() as u64);
        Ok(written)
    }

    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        self.call(Direction::Read, |_| self.remote.missing(blobs))
    }

    fn fetch(&self, blobs: &[Digest], scratch: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        let here: Mutex<HashSet<Digest>> = Mutex::default();
        self.call(Direction::Read, |attempt| {
            let left: Vec<Digest> = {
                let here = lock(&here);
                blobs.iter().filter(|blob| !here.contains(blob)).copied().collect()
            };
            if left.is_empty() {
                return Ok(());
            }
            self.remote.fetch(&left, scratch, &|digest, body| {
                attempt.moves();
                if lock(&here).insert(*digest) {
                    if body.is_some() {
                        Counters::add(&self.counters.bytes_in, digest.size);
                    }
                    arrived(digest, body);
                } else if let Some(Body::File(file)) = body {
                    // It came twice: nobody else will remove it.
                    let _ = std::fs::remove_file(file);
                }
            })
        })
    }

    fn store(&self, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        // Bodies are shared memory, or the names of files.
        self.call(Direction::Write, |_| self.remote.store(blobs.clone()))?;
        Counters::add(&self.counters.bytes_out, blobs.iter().map(|(digest, _)| digest.size).sum());
        Ok(())
    }

    /// As it is, once, whatever was found out before: who asks this wants to know what is wrong.
    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        self.remote.describe()
    }

    fn clock(&self) -> Result<Option<SystemTime>, RemoteError> {
        self.remote.clock()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
