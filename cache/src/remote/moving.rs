//! Giving up transfers that have come to a halt.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Limits;

/// How many bytes must pass in a second of the time that is allowed without any, so that a drip is no transfer.
const DRIP: f64 = 1024.0;

/// What is as small as a question.
const SMALL: u64 = 64 << 10;

/// How many bytes have passed.
#[derive(Debug, Clone, Default)]
pub(super) struct Moved(Arc<AtomicU64>);

impl Moved {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits for something that moves some `size` bytes, as long as it does. The error is the time that passed with next to
/// nothing.
pub(super) async fn moving<T>(
    limits: &Limits,
    work: impl Future<Output = T>,
    size: u64,
    moved: &Moved,
) -> Result<T, Duration> {
    let limit = if size <= SMALL { limits.call } else { limits.idle };
    let least = ((limit.as_secs_f64() * DRIP) as u64).max(1);
    let mut work = pin!(work);
    let mut before = moved.get();
    loop {
        match tokio::time::timeout(limit, &mut work).await {
            Ok(done) => return Ok(done),
            Err(_) => {
                let now = moved.get();
                if now - before < least {
                    return Err(limit);
                }
                before = now;
            }
        }
    }
}
