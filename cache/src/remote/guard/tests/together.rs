//! Many callers at once, held up by gates and not by time.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;

use super::super::lock;
use super::{Clock, Guarded, guard, name, secs};
use crate::Digest;
use crate::remote::{Arrived, Body, Condition, Entry, EntryName, Remote, RemoteError, RemoteErrorKind};

const CALLERS: usize = 16;

/// A remote whose answers wait at a gate.
#[derive(Debug, Default)]
struct Gated {
    asked: AtomicUsize,
    works: AtomicBool,
    /// How many must have come in before any gets its answer.
    together: AtomicUsize,
    inside: Mutex<usize>,
    moved: Condvar,
}

impl Gated {
    fn answer(&self) -> Result<(), RemoteError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mut inside = lock(&self.inside);
        *inside += 1;
        self.moved.notify_all();
        while *inside < self.together.load(Ordering::SeqCst) {
            inside = self.moved.wait(inside).unwrap();
        }
        drop(inside);
        if self.works.load(Ordering::SeqCst) {
            Ok(())
        } else {
            Err(RemoteError::new(RemoteErrorKind::Unreachable, "refused"))
        }
    }

    /// From now on, answers come when so many are in.
    fn gather(&self, together: usize) {
        *lock(&self.inside) = 0;
        self.together.store(together, Ordering::SeqCst);
    }

    /// Lets all go.
    fn release(&self) {
        self.together.store(0, Ordering::SeqCst);
        self.moved.notify_all();
    }

    /// Waits until somebody is in.
    fn wait_for_one(&self) {
        let mut inside = lock(&self.inside);
        while *inside == 0 {
            inside = self.moved.wait(inside).unwrap();
        }
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

impl Remote for Gated {
    fn url(&self) -> &str {
        "http://cache.test"
    }

    fn get(&self, _: &EntryName) -> Result<Option<Entry>, RemoteError> {
        self.answer().map(|()| None)
    }

    fn put(&self, _: &EntryName, _: &[u8], _: &[Digest], _: &Condition) -> Result<bool, RemoteError> {
        self.answer().map(|()| true)
    }

    fn missing(&self, _: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        self.answer().map(|()| Vec::new())
    }

    fn fetch(&self, _: &[Digest], _: &Path, _: Arrived<'_>) -> Result<(), RemoteError> {
        self.answer()
    }

    fn store(&self, _: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        self.answer()
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        self.answer().map(|()| Vec::new())
    }
}

/// Calls from so many threads at once; how many of them came to something.
fn call_from(callers: usize, guarded: &Guarded) -> usize {
    let start = Barrier::new(callers);
    thread::scope(|scope| {
        let calls: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    guarded.get(&name()).is_ok()
                })
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).filter(|came| *came).count()
    })
}

#[test]
fn an_unreachable_remote_costs_one_round_for_all() {
    for _ in 0..50 {
        let (remote, clock) = (Arc::new(Gated::default()), Arc::new(Clock::default()));
        let (guarded, notices) = guard(remote.clone(), clock.clone());
        remote.gather(CALLERS);
        assert_eq!(call_from(CALLERS, &guarded), 0);
        // Before the third failure nobody knew. At most two had heard of theirs by then, and each asked once more.
        let asked = remote.asked();
        assert!((CALLERS..=CALLERS + 2).contains(&asked), "{asked}");
        assert!(clock.slept().len() <= 2);
        // Those who come later are spared.
        remote.release();
        assert_eq!((call_from(CALLERS, &guarded), remote.asked()), (0, 0));
        assert_eq!(lock(&notices).len(), 1);
        let traffic = guarded.counters();
        assert_eq!((traffic.calls, traffic.skipped), (CALLERS as u64, CALLERS as u64));
    }
}

#[test]
fn one_of_many_is_the_probe() {
    for works in [true, false] {
        let (remote, clock) = (Arc::new(Gated::default()), Arc::new(Clock::default()));
        let (guarded, _) = guard(remote.clone(), clock.clone());
        call_from(1, &guarded);
        assert_eq!(remote.asked(), 3);
        clock.pass(secs(30));
        remote.works.store(works, Ordering::SeqCst);
        // More than there are: the probe waits until it is let go.
        remote.gather(CALLERS);
        let came = thread::scope(|scope| {
            let probe = scope.spawn(|| guarded.get(&name()).is_ok());
            remote.wait_for_one();
            let others = call_from(CALLERS, &guarded);
            assert_eq!((others, remote.asked()), (0, 1));
            remote.release();
            probe.join().unwrap()
        });
        assert_eq!(came, works);
        assert_eq!(call_from(CALLERS, &guarded), if works { CALLERS } else { 0 });
        assert_eq!(remote.asked(), if works { CALLERS } else { 0 });
    }
}

#[test]
fn all_at_once_at_the_end_of_a_pause_are_one_probe() {
    for _ in 0..50 {
        let (remote, clock) = (Arc::new(Gated::default()), Arc::new(Clock::default()));
        let (guarded, _) = guard(remote.clone(), clock.clone());
        call_from(1, &guarded);
        remote.asked();
        clock.pass(secs(30));
        assert_eq!((call_from(CALLERS, &guarded), remote.asked()), (0, 1));
        clock.pass(secs(59));
        assert_eq!((call_from(CALLERS, &guarded), remote.asked()), (0, 0));
        clock.pass(secs(1));
        assert_eq!((call_from(CALLERS, &guarded), remote.asked()), (0, 1));
    }
}

#[test]
fn what_comes_late_does_not_lengthen_the_pause() {
    let (remote, clock) = (Arc::new(Gated::default()), Arc::new(Clock::default()));
    let (guarded, _) = guard(remote.clone(), clock.clone());
    remote.gather(CALLERS);
    assert_eq!(call_from(CALLERS, &guarded), 0);
    remote.release();
    remote.asked();
    // However many failed, the pause is the first one.
    clock.pass(secs(30));
    remote.works.store(true, Ordering::SeqCst);
    assert_eq!(call_from(1, &guarded), 1);
    assert_eq!(call_from(CALLERS, &guarded), CALLERS);
}
