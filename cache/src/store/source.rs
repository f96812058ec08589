//! Blobs that are not here and can be had: [`Source`], which a store asks before it says that something is missing.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use super::{Store, read, write};
use crate::error::{Result, StoreError};
use crate::{Digest, Node};

/// Knows where blobs are that a store does not have.
pub trait Source: Send + Sync {
    /// Whether it knows of any at all: a quick answer for who would have to look at much.
    fn promises_any(&self) -> bool;

    /// Whether it said that this blob can be had.
    fn promises(&self, blob: &Digest) -> bool;

    /// Brings blobs into the store. What could not be had is not there afterwards, and no longer promised.
    fn bring(&self, store: &Store, blobs: &[Digest]);
}

impl Store {
    /// Asks `source` from now on, as long as it lives.
    pub fn attach(&self, source: &Arc<dyn Source>) {
        *write(&self.inner.source) = Some(Arc::downgrade(source));
    }

    fn source(&self) -> Option<Arc<dyn Source>> {
        read(&self.inner.source).as_ref().and_then(Weak::upgrade).filter(|source| source.promises_any())
    }

    pub(super) fn promises_any(&self) -> bool {
        self.source().is_some()
    }

    /// Whether a blob is in the store, or can be had.
    pub fn available(&self, blob: &Digest) -> bool {
        self.contains(blob) || self.promised(blob)
    }

    pub(super) fn promised(&self, blob: &Digest) -> bool {
        self.source().is_some_and(|source| source.promises(blob))
    }

    /// Brings a blob that is promised; false: it is not, or could not be had.
    pub(super) fn bring(&self, blob: &Digest) -> bool {
        let Some(source) = self.source().filter(|source| source.promises(blob)) else { return false };
        source.bring(self, &[*blob]);
        self.contains(blob)
    }

    /// Where a blob lies, once it was brought if it is promised.
    pub fn located(&self, blob: &Digest) -> Result<PathBuf> {
        if self.contains(blob) || self.bring(blob) {
            return Ok(self.blob_path(blob, false));
        }
        Err(StoreError::Missing { digest: *blob })
    }

    /// Brings everything of a tree that is promised and not here, all at once. What cannot be had is found missing by whoever
    /// needs it.
    pub fn bring_tree(&self, tree: &Digest) -> Result<()> {
        let Some(source) = self.source() else { return Ok(()) };
        let mut wanted: Vec<Digest> = Vec::new();
        for (_, node) in self.walk(tree)? {
            if let Node::File { digest, .. } = node
                && source.promises(&digest)
                && !self.contains(&digest)
            {
                wanted.push(digest);
            }
        }
        wanted.sort_unstable();
        wanted.dedup();
        if !wanted.is_empty() {
            source.bring(self, &wanted);
        }
        Ok(())
    }
}
