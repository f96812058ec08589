//! Read-only copies of trees that sandboxes mount: made of hard links once, checked on every use.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::{Link, MAX_DEPTH, Presence, Store};
use crate::error::{At, Result, StoreError};
use crate::parallel::parallel;
use crate::{Digest, Node, remove_tree, stamp_at};

impl Store {
    /// The folder `trees/HEX` with this tree in it. It is made of hard links to the blobs: for read-only mounts alone.
    ///
    /// On every use each name, kind, size and stamp in it is compared with the tree, and it is made anew when anything
    /// differs.
    pub fn checkout(&self, tree: &Digest) -> Result<PathBuf> {
        let path = self.root().join("trees").join(tree.hex());
        if path.is_dir() && self.matches(tree, &path)? {
            return Ok(path);
        }
        let scratch = self.scratch()?;
        let staging = scratch.path().join("new");
        self.materialize(tree, &staging, Link::Hard)?;
        for _ in 0..8 {
            // A folder can only be renamed over an empty one, so whoever comes second sees the first.
            if fs::rename(&staging, &path).is_ok() {
                return Ok(path);
            }
            if path.is_dir() && self.matches(tree, &path)? {
                return Ok(path);
            }
            let old = scratch.path().join("old");
            match fs::rename(&path, &old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).at(&path, "replace");
                }
                _ => remove_tree(&old)?,
            }
        }
        Err(StoreError::io(&path, "replace", std::io::ErrorKind::ResourceBusy))
    }

    /// Whether a folder holds exactly this tree, by stamps.
    fn matches(&self, tree: &Digest, path: &Path) -> Result<bool> {
        parallel(|| self.matches_below(tree, path, 0))
    }

    fn matches_below(&self, tree: &Digest, path: &Path, depth: usize) -> Result<bool> {
        if depth > MAX_DEPTH {
            return Err(StoreError::TooDeep { path: path.to_path_buf() });
        }
        let directory = self.directory(tree)?;
        let Some(found) = listing(path) else { return Ok(false) };
        if found.len() != directory.entries.len() {
            return Ok(false);
        }
        let Ok(folder) = super::open_folder(path) else { return Ok(false) };
        let entries: Vec<(&String, &Node)> = directory.entries.iter().collect();
        let same = |(name, node): &(&String, &Node)| -> Result<bool> {
            let Some(kind) = found.get(std::ffi::OsStr::new(name.as_str())) else { return Ok(false) };
            match node {
                Node::Directory { digest } => {
                    Ok(kind.is_dir() && self.matches_below(digest, &path.join(name), depth + 1)?)
                }
                Node::Symlink { target } => Ok(kind.is_symlink()
                    && fs::read_link(path.join(name)).is_ok_and(|t| t.as_os_str() == target.as_str())),
                Node::File { digest, executable } => Ok(self.same_file(&folder, name, digest, *executable)),
            }
        };
        entries.par_iter().with_min_len(16).map(same).try_reduce_with(|a, b| Ok(a && b)).unwrap_or(Ok(true))
    }

    fn same_file(
        &self,
        folder: &impl std::os::fd::AsFd,
        name: &str,
        digest: &Digest,
        executable: bool,
    ) -> bool {
        let presence = || match stamp_at(folder, name) {
            Ok(Some(stamp)) if stamp.is_executable() == executable => self.judge(&stamp, digest),
            _ => Presence::Wrong,
        };
        match presence() {
            Presence::Right => true,
            // It shares its inode with the blob: checking that one marks both.
            Presence::Doubtful => self.has(digest, executable) && presence() == Presence::Right,
            Presence::Wrong | Presence::Absent => false,
        }
    }
}

fn listing(path: &Path) -> Option<BTreeMap<OsString, fs::FileType>> {
    fs::read_dir(path)
        .ok()?
        .map(|entry| entry.and_then(|e| Ok((e.file_name(), e.file_type()?))))
        .collect::<Result<_, _>>()
        .ok()
}
