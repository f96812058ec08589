//! Handing over blobs while others are still on their way.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::sync::mpsc::{Sender, channel};

use super::{Arrived, Body};
use crate::Digest;

/// A blob that arrived, or one that the remote does not have.
pub(super) type Parcel = (Digest, Option<Body>);

/// Runs `work`, which sends blobs as they arrive, and hands them over on as many threads as there are cores (at most
/// `most`), for what is done with them is work: unpacking, hashing, writing. `work` is slowed down when they fall behind, so
/// that memory is bounded. It must drop its sender when it is done, and may find it closed when handing over panicked.
pub(super) fn deliver<T>(arrived: Arrived<'_>, most: usize, work: impl FnOnce(Sender<Parcel>) -> T) -> T {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(most).max(1);
    let (sender, receiver) = channel::<Parcel>(threads);
    let receiver = Arc::new(Mutex::new(receiver));
    thread::scope(|scope| {
        for _ in 0..threads {
            let receiver = receiver.clone();
            scope.spawn(move || {
                loop {
                    let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                    let Some((digest, body)) = next else { return };
                    arrived(&digest, body);
                }
            });
        }
        drop(receiver);
        work(sender)
    })
}
