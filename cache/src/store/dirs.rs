//! Trees in the store: writing and reading directories, looking into them, and whether all of one is there.

use std::sync::Arc;

use rayon::prelude::*;

use super::{MAX_DEPTH, Store, read, write};
use crate::error::{Result, StoreError};
use crate::parallel::parallel;
use crate::{Digest, Directory, Node};

impl Store {
    /// Stores one directory.
    pub fn put_directory(&self, directory: &Directory) -> Result<Digest> {
        directory.check()?;
        self.put_bytes(&directory.encode())
    }

    /// Stores many encoded directories at once.
    pub(crate) fn put_encoded(&self, directories: &[(Digest, Vec<u8>)]) -> Result<()> {
        if directories.len() < 8 {
            return directories.iter().try_for_each(|(digest, bytes)| self.put_hashed(digest, bytes));
        }
        parallel(|| directories.par_iter().try_for_each(|(digest, bytes)| self.put_hashed(digest, bytes)))
    }

    /// One directory; it is read and verified once, then remembered.
    pub fn directory(&self, digest: &Digest) -> Result<Arc<Directory>> {
        if let Some(held) = read(&self.inner.directories).get(&digest.hash) {
            return Ok(held.clone());
        }
        let bytes = self.read(digest)?;
        let directory = Directory::decode(&bytes)
            .map_err(|source| StoreError::NotDirectory { digest: *digest, source })?;
        let directory = Arc::new(directory);
        write(&self.inner.directories).insert(digest.hash, directory.clone());
        Ok(directory)
    }

    /// Shows what is in a directory, in the order of names, without remembering it: for who looks once at much.
    pub fn each_entry(&self, digest: &Digest, each: &mut dyn FnMut(&str, &Node)) -> Result<()> {
        let held = read(&self.inner.directories).get(&digest.hash).cloned();
        if let Some(held) = held {
            held.entries.iter().for_each(|(name, node)| each(name, node));
            return Ok(());
        }
        let bytes = self.read(digest)?;
        Directory::visit(&bytes, &mut |name, node| each(name, &node))
            .map_err(|source| StoreError::NotDirectory { digest: *digest, source })
    }

    /// What is at a path in a tree; the empty path is the tree itself. Symlinks are not followed.
    pub fn lookup(&self, tree: &Digest, path: &str) -> Result<Option<Node>> {
        let mut node = Node::Directory { digest: *tree };
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Directory { digest } = &node else { return Ok(None) };
            match self.directory(digest)?.entries.get(name) {
                Some(next) => node = next.clone(),
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// Everything in a tree, by path: a directory first, then what is in it, names in byte order.
    pub fn walk(&self, tree: &Digest) -> Result<Vec<(String, Node)>> {
        let mut found = Vec::new();
        self.walk_into(tree, "", 0, &mut found)?;
        Ok(found)
    }

    fn walk_into(
        &self,
        digest: &Digest,
        prefix: &str,
        depth: usize,
        found: &mut Vec<(String, Node)>,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(StoreError::TooDeep { path: prefix.into() });
        }
        let directory = self.directory(digest)?;
        for (name, node) in &directory.entries {
            let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            found.push((path.clone(), node.clone()));
            if let Node::Directory { digest } = node {
                self.walk_into(digest, &path, depth + 1, found)?;
            }
        }
        Ok(())
    }

    /// Whether every directory and blob of a tree is in the store, or promised by its [`Source`]. What was complete is remembered by this store and its
    /// clones until they find something missing.
    pub fn complete(&self, tree: &Digest) -> Result<bool> {
        if read(&self.inner.complete).contains(&tree.hash) {
            return Ok(true);
        }
        parallel(|| self.complete_below(tree, 0))
    }

    /// Whether every directory and blob of a tree is in the store itself.
    pub fn whole(&self, tree: &Digest) -> Result<bool> {
        if !self.promises_any() {
            return self.complete(tree);
        }
        self.whole_below(tree, 0)
    }

    fn whole_below(&self, digest: &Digest, depth: usize) -> Result<bool> {
        if depth > MAX_DEPTH || !self.contains(digest) {
            return Ok(false);
        }
        let directory = match self.directory(digest) {
            Ok(directory) => directory,
            Err(error) if error.is_missing() => return Ok(false),
            Err(error) => return Err(error),
        };
        for node in directory.entries.values() {
            let whole = match node {
                Node::File { digest, .. } => self.contains(digest),
                Node::Directory { digest } => self.whole_below(digest, depth + 1)?,
                Node::Symlink { .. } => true,
            };
            if !whole {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn complete_below(&self, digest: &Digest, depth: usize) -> Result<bool> {
        if read(&self.inner.complete).contains(&digest.hash) {
            return Ok(true);
        }
        if depth > MAX_DEPTH {
            return Ok(false);
        }
        if !self.contains(digest) {
            return Ok(self.promised(digest));
        }
        let directory = match self.directory(digest) {
            Ok(directory) => directory,
            Err(error) if error.is_missing() => return Ok(false),
            Err(error) => return Err(error),
        };
        let nodes: Vec<&Node> = directory.entries.values().collect();
        let all = nodes
            .par_iter()
            .with_min_len(8)
            .map(|node| match node {
                Node::File { digest, .. } => Ok(self.available(digest)),
                Node::Directory { digest } => self.complete_below(digest, depth + 1),
                Node::Symlink { .. } => Ok(true),
            })
            .try_reduce_with(|a, b| Ok(a && b))
            .unwrap_or(Ok(true))?;
        if all {
            write(&self.inner.complete).insert(digest.hash);
        }
        Ok(all)
    }
}
