//! Whether a remote is asked at all: [`Breaker`], with no clock of its own and no thread.
//!
//! Closed, every call goes through. Failures in a row open it: for a while every call fails at once. After that one call, the
//! probe, goes through; when the remote answers, it is closed again, and else open for twice as long. Every change begins a new
//! *generation*: what comes of a call that began in an earlier one changes nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Policy;
use crate::remote::{RemoteError, RemoteErrorKind};

/// What a call does: a remote that does not let us write may still be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Entries, blobs, and which of them are there.
    Read,
    /// Entries and blobs.
    Write,
}

/// Leave to make one attempt, in a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pass(u64);

/// What came of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome<'a> {
    /// The remote answered, if only to refuse.
    Answered,
    /// It failed, and that cost so much waiting.
    Failed { error: &'a RemoteError, cost: Duration },
    /// Nothing was learned about the remote.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Breaker {
    policy: Policy,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: State,
    generation: u64,
    /// Failures since the last answer, and the waiting that they cost.
    row: u32,
    cost: Duration,
    /// How long it is open when it opens next.
    pause: Duration,
    shut_read: Option<RemoteError>,
    shut_write: Option<RemoteError>,
}

#[derive(Debug, Clone)]
enum State {
    Closed,
    /// Until a time on the caller's clock, because of an error.
    Open(Duration, RemoteError),
    /// The probe is on its way.
    Probing(RemoteError),
}

impl Breaker {
    pub(super) fn new(policy: Policy) -> Breaker {
        let inner = Inner {
            state: State::Closed,
            generation: 0,
            row: 0,
            cost: Duration::ZERO,
            pause: policy.pause,
            shut_read: None,
            shut_write: None,
        };
        Breaker { policy, inner: Mutex::new(inner) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an attempt may be made at this time. The error is the one that shut or opened it. Whoever gets a pass must
    /// [`report`](Breaker::report) what came of it.
    pub(super) fn admit(&self, direction: Direction, now: Duration) -> Result<Pass, RemoteError> {
        let mut inner = self.inner();
        let shut = match direction {
            Direction::Read => &inner.shut_read,
            Direction::Write => &inner.shut_write,
        };
        if let Some(error) = shut {
            return Err(error.clone());
        }
        match &inner.state {
            State::Closed => Ok(Pass(inner.generation)),
            State::Open(until, error) if now >= *until => {
                let error = error.clone();
                inner.enter(State::Probing(error));
                Ok(Pass(inner.generation))
            }
            State::Open(_, error) | State::Probing(error) => Err(error.clone()),
        }
    }

    /// Learns what came of an attempt.
    pub(super) fn report(&self, pass: Pass, now: Duration, outcome: Outcome<'_>) {
        let mut inner = self.inner();
        if pass.0 != inner.generation {
            return;
        }
        match (outcome, inner.state.clone()) {
            (Outcome::Answered, _) => inner.close(self.policy.pause),
            // The next call is the probe.
            (Outcome::Unknown, State::Probing(error)) => inner.enter(State::Open(now, error)),
            (Outcome::Unknown, _) => {}
            (Outcome::Failed { error, .. }, State::Probing(_)) => {
                inner.open(now, error, self.policy.longest_pause);
            }
            (Outcome::Failed { error, cost }, State::Closed) => {
                inner.row += 1;
                if matches!(error.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Timeout) {
                    inner.cost = inner.cost.saturating_add(cost);
                }
                if inner.row >= self.policy.failures || inner.cost >= self.policy.patience {
                    inner.open(now, error, self.policy.longest_pause);
                }
            }
            // Nobody has a pass of this generation.
            (Outcome::Failed { .. }, State::Open(..)) => {}
        }
    }

    /// The remote answered while an attempt goes on; the pass is good for the rest of it.
    pub(super) fn answers(&self, pass: &mut Pass) {
        let mut inner = self.inner();
        if pass.0 == inner.generation {
            inner.close(self.policy.pause);
            *pass = Pass(inner.generation);
        }
    }

    /// How long nothing is asked from now on, if that is so.
    pub(super) fn rest(&self, now: Duration) -> Option<Duration> {
        match &self.inner().state {
            State::Closed => None,
            State::Open(until, _) => Some(until.saturating_sub(now)),
            State::Probing(_) => Some(Duration::ZERO),
        }
    }

    /// Closes one direction for good.
    pub(super) fn shut(&self, direction: Direction, error: &RemoteError) {
        let mut inner = self.inner();
        let shut = match direction {
            Direction::Read => &mut inner.shut_read,
            Direction::Write => &mut inner.shut_write,
        };
        shut.get_or_insert_with(|| error.clone());
    }
}

impl Inner {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation += 1;
    }

    fn open(&mut self, now: Duration, error: &RemoteError, longest: Duration) {
        self.enter(State::Open(now.saturating_add(self.pause), error.clone()));
        self.pause = self.pause.saturating_mul(2).min(longest);
    }

    /// After an answer, earlier failures are forgotten.
    fn close(&mut self, first_pause: Duration) {
        (self.row, self.cost, self.pause) = (0, Duration::ZERO, first_pause);
        if !matches!(self.state, State::Closed) {
            self.enter(State::Closed);
        }
    }
}
