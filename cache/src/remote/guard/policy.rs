//! How patient a [`Guarded`](super::Guarded) is, and by which clock.

use std::fmt;
use std::time::{Duration, Instant};

/// How often and how long a remote is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts that one call makes at most; for blobs, without one arriving in between.
    pub attempts: u32,
    /// The longest wait before the first retry; it doubles with each.
    pub base: Duration,
    /// The longest wait before any retry.
    pub longest: Duration,
    /// No retry of a call that reads begins later than this after the call began, or after the last blob arrived.
    pub read: Duration,
    /// The same for calls that write: nobody waits for them.
    pub write: Duration,
    /// After so many failures in a row nothing is asked for a while.
    pub failures: u32,
    /// Nor after failures to reach it, or to get an answer in time, that cost readers this much in all.
    pub patience: Duration,
    /// How long the first such while is; each that follows without an answer in between is twice as long.
    pub pause: Duration,
    /// How long such a while is at most.
    pub longest_pause: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            attempts: 3,
            base: Duration::from_millis(100),
            longest: Duration::from_millis(400),
            read: Duration::from_millis(900),
            write: Duration::from_secs(60),
            failures: 3,
            patience: Duration::from_millis(900),
            pause: Duration::from_secs(30),
            longest_pause: Duration::from_secs(300),
        }
    }
}

/// A clock and dice.
pub trait Timing: Send + Sync + fmt::Debug {
    /// The time since some moment in the past.
    fn now(&self) -> Duration;

    /// Lets time pass.
    fn sleep(&self, time: Duration);

    /// A time between nothing and `most`, each as likely as any other.
    fn jitter(&self, most: Duration) -> Duration;
}

/// The machine's.
#[derive(Debug)]
pub(super) struct Machine(Instant);

impl Machine {
    pub(super) fn new() -> Machine {
        Machine(Instant::now())
    }
}

impl Timing for Machine {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn sleep(&self, time: Duration) {
        std::thread::sleep(time);
    }

    fn jitter(&self, most: Duration) -> Duration {
        // Without dice everybody waits as long as possible.
        let dice = getrandom::u32().unwrap_or(u32::MAX);
        most.mul_f64(f64::from(dice) / f64::from(u32::MAX))
    }
}
