//! How many steps work at once, where more than that may be looked up: [`Permits`], given to the longest path first.

use std::collections::BinaryHeap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// So many may work. The next one is whoever has most after it.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    state: Mutex<State>,
    given: Condvar,
}

#[derive(Debug, Default)]
struct State {
    free: usize,
    taken: usize,
    waiting: BinaryHeap<(u64, u64)>,
    next: u64,
    closed: bool,
}

/// Holds a permit until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit<'a>(&'a Permits);

impl Permits {
    /// Allows so many from now on.
    pub fn allow(&self, count: usize) {
        let mut state = self.state();
        state.free = count.saturating_sub(state.taken);
        state.closed = false;
        self.given.notify_all();
    }

    /// Gives none any more, until [`Permits::allow`].
    pub fn close(&self) {
        self.state().closed = true;
        self.given.notify_all();
    }

    /// Waits for a permit; `None`: there will be none.
    pub fn take(&self, priority: u64) -> Option<Permit<'_>> {
        let mut state = self.state();
        state.next += 1;
        // Among equals, who came first: the heap gives the greatest.
        let me = (priority, u64::MAX - state.next);
        state.waiting.push(me);
        while !state.closed && (state.free == 0 || state.waiting.peek() != Some(&me)) {
            state = self.given.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            state.waiting.retain(|waiting| *waiting != me);
            return None;
        }
        state.waiting.pop();
        state.free -= 1;
        state.taken += 1;
        drop(state);
        // The next in line may be allowed as well.
        self.given.notify_all();
        Some(Permit(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.taken -= 1;
        state.free += 1;
        drop(state);
        self.0.given.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_has_the_longest_path_is_next() {
        let permits = Permits::default();
        permits.allow(1);
        let (sender, receiver) = mpsc::channel();
        let first = permits.take(0).unwrap();
        std::thread::scope(|scope| {
            for (count, priority) in [3, 9, 5].into_iter().enumerate() {
                let (permits, sender) = (&permits, sender.clone());
                scope.spawn(move || {
                    let _permit = permits.take(priority).unwrap();
                    sender.send(priority).unwrap();
                });
                while permits.state().waiting.len() <= count {
                    std::thread::yield_now();
                }
            }
            drop(first);
        });
        drop(sender);
        assert_eq!(receiver.iter().collect::<Vec<_>>(), [9, 5, 3]);
    }

    #[test]
    fn who_waits_when_it_is_over_gets_none() {
        let permits = Permits::default();
        permits.allow(1);
        let held = permits.take(0);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| permits.take(1).is_none());
            while permits.state().waiting.is_empty() {
                std::thread::yield_now();
            }
            permits.close();
            assert!(waiting.join().unwrap());
        });
        drop(held);
        permits.allow(1);
        assert!(permits.take(0).is_some());
    }
}
