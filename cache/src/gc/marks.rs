//! Which blobs are reachable from the records that stay.

use std::collections::{HashMap, HashSet};

use super::Candidate;
use crate::error::Result;
use crate::{Digest, Node, Store};

/// Blobs found reachable.
pub(super) struct Marks<'a> {
    store: &'a Store,
    sizes: HashMap<[u8; 32], u64>,
    pub(super) live: HashSet<[u8; 32]>,
    /// Those of them that were followed as directories. The same bytes may be a file elsewhere, which follows nothing.
    followed: HashSet<[u8; 32]>,
    pub(super) bytes: u64,
}

/// What one candidate adds to the marks.
#[derive(Default)]
pub(super) struct Reached {
    blobs: HashSet<[u8; 32]>,
    followed: HashSet<[u8; 32]>,
}

impl<'a> Marks<'a> {
    pub(super) fn new(store: &'a Store, sizes: HashMap<[u8; 32], u64>) -> Marks<'a> {
        Marks { store, sizes, live: HashSet::new(), followed: HashSet::new(), bytes: 0 }
    }

    /// What a candidate needs and nothing before it needed.
    pub(super) fn reach(&self, candidate: &Candidate) -> Result<Reached> {
        let mut reached = Reached::default();
        let mut todo: Vec<Digest> = candidate.roots.clone();
        while let Some(digest) = todo.pop() {
            if self.followed.contains(&digest.hash) || !reached.followed.insert(digest.hash) {
                continue;
            }
            reached.blobs.insert(digest.hash);
            let directory = match self.store.directory(&digest) {
                Ok(directory) => directory,
                // A root may be a plain blob, such as an output; and what is missing cannot be kept.
                Err(error) if error.is_missing() => continue,
                Err(error) => return Err(error),
            };
            for node in directory.entries.values() {
                match node {
                    Node::File { digest, .. } => {
                        reached.blobs.insert(digest.hash);
                    }
                    Node::Directory { digest } => todo.push(*digest),
                    Node::Symlink { .. } => {}
                }
            }
        }
        reached.blobs.retain(|hash| !self.live.contains(hash));
        Ok(reached)
    }

    pub(super) fn cost(&self, reached: &Reached) -> u64 {
        reached.blobs.iter().filter_map(|hash| self.sizes.get(hash)).sum()
    }

    pub(super) fn keep(&mut self, reached: Reached) {
        self.bytes += self.cost(&reached);
        self.live.extend(reached.blobs);
        self.followed.extend(reached.followed);
    }
}
