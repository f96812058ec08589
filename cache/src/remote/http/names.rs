//! How blobs are called on a server that names them by SHA-256.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::Digest;

/// SHA-256 of some bytes.
pub(super) type Sha256 = [u8; 32];

/// How many names are kept at least. Half of what is kept at most, some 10 MiB.
const GENERATION: usize = 1 << 16;

/// What is known of a blob.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// Its name there.
    pub(super) sha256: Sha256,
    /// Its bytes passed through here: the name is right. Others are what an entry said.
    pub(super) own: bool,
    /// The server has it, as far as we know.
    pub(super) present: bool,
}

/// The names that were learned, in bounded memory: the ones that were not used for longest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    new: HashMap<Digest, Known>,
    old: HashMap<Digest, Known>,
}

impl Generations {
    fn get(&mut self, digest: &Digest) -> Option<Known> {
        if let Some(known) = self.new.get(digest) {
            return Some(*known);
        }
        let known = self.old.remove(digest)?;
        self.put(digest, known);
        Some(known)
    }

    fn put(&mut self, digest: &Digest, known: Known) {
        if self.new.len() >= GENERATION {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(*digest, known);
    }
}

impl Names {
    fn with<T>(&self, work: impl FnOnce(&mut Generations) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Known> {
        self.with(|all| all.get(digest))
    }

    /// An entry says what a blob is called. It may be wrong: what was seen here counts more, and of two entries the later.
    pub(super) fn learn(&self, digest: &Digest, sha256: Sha256) {
        self.with(|all| match all.get(digest) {
            Some(known) if known.own || known.sha256 == sha256 => {}
            _ => all.put(digest, Known { sha256, own: false, present: false }),
        });
    }

    /// The bytes of a blob have this name.
    pub(super) fn own(&self, digest: &Digest, sha256: Sha256) {
        self.with(|all| {
            let present = all.get(digest).is_some_and(|known| known.present && known.sha256 == sha256);
            all.put(digest, Known { sha256, own: true, present });
        });
    }

    /// The server has a blob, or does not.
    pub(super) fn set_present(&self, digest: &Digest, present: bool) {
        self.with(|all| {
            if let Some(known) = all.get(digest) {
                all.put(digest, Known { present, ..known });
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_counts_more_than_what_was_said() {
        let names = Names::default();
        let digest = Digest::of(b"a");
        assert!(names.get(&digest).is_none());
        names.learn(&digest, [1; 32]);
        names.set_present(&digest, true);
        names.learn(&digest, [2; 32]);
        let known = names.get(&digest).unwrap();
        assert_eq!((known.sha256, known.present), ([2; 32], false));
        names.own(&digest, [3; 32]);
        names.learn(&digest, [4; 32]);
        assert_eq!(names.get(&digest).unwrap().sha256, [3; 32]);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let names = Names::default();
        let digest = |n: usize| Digest::of(&n.to_le_bytes());
        for n in 0..GENERATION * 5 / 2 {
            names.learn(&digest(n), [0; 32]);
            assert!(names.get(&digest(0)).is_some());
        }
        assert!(names.get(&digest(1)).is_none());
        assert!(names.get(&digest(GENERATION * 2)).is_some());
        assert!(names.with(|all| all.new.len() + all.old.len()) <= 2 * GENERATION);
    }
}
