//! Blobs that a remote has, but with other bytes than their names say.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::Digest;

/// How many are remembered. A remote with more of them is not worth the memory.
const MOST: usize = 1 << 16;

/// What was found to be wrong, so that it counts as absent and is sent again, whatever the remote says of its length.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<HashSet<Digest>>);

impl Doubts {
    fn with<T>(&self, work: impl FnOnce(&mut HashSet<Digest>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, digest: &Digest) {
        self.with(|all| {
            if all.len() < MOST {
                all.insert(*digest);
            }
        });
    }

    pub(super) fn has(&self, digest: &Digest) -> bool {
        self.with(|all| all.contains(digest))
    }

    /// It was stored again.
    pub(super) fn remove(&self, digest: &Digest) {
        self.with(|all| all.remove(digest));
    }
}
