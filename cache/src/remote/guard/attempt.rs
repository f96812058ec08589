//! One attempt of a call: [`Attempt`], which the breaker always learns the end of.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::breaker::{Breaker, Direction, Outcome, Pass};
use super::policy::Timing;
use crate::remote::{RemoteError, RemoteErrorKind};

/// An attempt that goes on. Dropped before its end, as when the caller panics, it gives its pass back.
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    timing: &'a dyn Timing,
    began: Duration,
    state: Mutex<State>,
}

struct State {
    pass: Option<Pass>,
    moved: Option<Duration>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(breaker: &'a Breaker, timing: &'a dyn Timing, pass: Pass) -> Attempt<'a> {
        let state = Mutex::new(State { pass: Some(pass), moved: None });
        Attempt { breaker, timing, began: timing.now(), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something arrived.
    pub(super) fn moves(&self) {
        let mut state = self.state();
        state.moved = Some(self.timing.now());
        if let Some(pass) = &mut state.pass {
            self.breaker.answers(pass);
        }
    }

    /// When something arrived last.
    pub(super) fn moved(&self) -> Option<Duration> {
        self.state().moved
    }

    /// Tells the breaker what came of it.
    pub(super) fn end(self, direction: Direction, error: Option<&RemoteError>) {
        let now = self.timing.now();
        let mut state = self.state();
        let Some(pass) = state.pass.take() else { return };
        let outcome = match error {
            Some(error) if error.kind.is_passing() => {
                let cost = match direction {
                    Direction::Read => now.saturating_sub(state.moved.unwrap_or(self.began)),
                    // Nobody waits for it.
                    Direction::Write => Duration::ZERO,
                };
                Outcome::Failed { error, cost }
            }
            Some(error) if matches!(error.kind, RemoteErrorKind::Local | RemoteErrorKind::Config) => {
                Outcome::Unknown
            }
            _ => Outcome::Answered,
        };
        self.breaker.report(pass, now, outcome);
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        let pass = self.state().pass.take();
        if let Some(pass) = pass {
            self.breaker.report(pass, self.timing.now(), Outcome::Unknown);
        }
    }
}
