//! From a folder on disk to a tree in the store.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rayon::prelude::*;

use super::{MAX_DEPTH, Store};
use crate::error::{At, Result, StoreError};
use crate::parallel::parallel;
use crate::stamp::{FileStamp, stamp_followed, stamp_of};
use crate::{Digest, Directory, Node, StatCache};

/// What the walk found, before any file is read.
enum Found {
    /// Its place in [`Walk::files`].
    File(usize),
    Symlink(String),
    Directory(BTreeMap<String, Found>),
}

struct Walk<'a> {
    filter: &'a dyn Fn(&str) -> bool,
    follow: bool,
    files: Vec<PathBuf>,
    /// The folders above, to notice a symlink that leads back.
    above: Vec<(u64, u64)>,
}

impl Store {
    /// Stores a folder as a tree. `filter` is asked with each path relative to the folder (`a/b`); what it refuses is left
    /// out, a folder with everything in it. Symlinks stay symlinks.
    pub fn ingest(&self, folder: &Path, filter: &dyn Fn(&str) -> bool) -> Result<Digest> {
        self.ingest_with(folder, filter, false, None)
    }

    /// As [`Store::ingest`], with every symlink replaced by what it leads to.
    pub fn ingest_dereferenced(&self, folder: &Path, filter: &dyn Fn(&str) -> bool) -> Result<Digest> {
        self.ingest_with(folder, filter, true, None)
    }

    /// As [`Store::ingest`]; a file whose digest the stat cache holds, and whose blob is in the store, is not read.
    pub fn ingest_cached(
        &self,
        folder: &Path,
        filter: &dyn Fn(&str) -> bool,
        stats: &StatCache,
    ) -> Result<Digest> {
        self.ingest_with(folder, filter, false, Some(stats))
    }

    fn ingest_with(
        &self,
        folder: &Path,
        filter: &dyn Fn(&str) -> bool,
        follow: bool,
        stats: Option<&StatCache>,
    ) -> Result<Digest> {
        let mut walk = Walk { filter, follow, files: Vec::new(), above: Vec::new() };
        let found = walk.folder(folder, "")?;
        let files = walk.files;
        let put = |path: &PathBuf| self.ingest_file(path, follow, stats);
        let nodes: Vec<Node> = parallel(|| files.par_iter().map(put).collect::<Result<_>>())?;
        let mut encoded = Vec::new();
        let root = encode(found, &nodes, &mut encoded);
        self.put_encoded(&encoded)?;
        Ok(root)
    }

    fn ingest_file(&self, path: &Path, follow: bool, stats: Option<&StatCache>) -> Result<Node> {
        let node = |digest, stamp: &FileStamp| Node::File { digest, executable: stamp.is_executable() };
        let Some(stats) = stats else {
            let (digest, stamp) = self.put_open_file(path, follow)?;
            return Ok(node(digest, &stamp));
        };
        if let Some(stamp) = crate::stamp(path).at(path, "look at")?
            && let Some(digest) = stats.known(path, &stamp)
            && self.contains(&digest)
        {
            return Ok(node(digest, &stamp));
        }
        let began = SystemTime::now();
        let (digest, before) = self.put_open_file(path, follow)?;
        match crate::stamp(path).at(path, "look at")? {
            Some(after) if after == before => stats.learn(path, &before, digest, began),
            _ => stats.forget(path),
        }
        Ok(node(digest, &before))
    }
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, prefix: &str) -> Result<BTreeMap<String, Found>> {
        if self.follow {
            let stamp = stamp_of(super::open_folder(path)?).at(path, "look at")?;
            if self.above.contains(&(stamp.dev, stamp.ino)) {
                return Err(StoreError::Loop { path: path.to_path_buf() });
            }
            self.above.push((stamp.dev, stamp.ino));
        } else {
            self.above.push((0, 0));
        }
        if self.above.len() > MAX_DEPTH {
            return Err(StoreError::TooDeep { path: path.to_path_buf() });
        }
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(path).at(path, "list")? {
            let entry = entry.at(path, "list")?;
            let Ok(name) = entry.file_name().into_string() else {
                return Err(StoreError::NotUtf8 { path: entry.path() });
            };
            let relative = if prefix.is_empty() { name.clone() } else { format!("{prefix}/{name}") };
            if !(self.filter)(&relative) {
                continue;
            }
            let kind = entry.file_type().at(&entry.path(), "look at")?;
            let node = self.entry(entry.path(), &relative, kind)?;
            found.insert(name, node);
        }
        self.above.pop();
        Ok(found)
    }

    fn entry(&mut self, path: PathBuf, relative: &str, kind: fs::FileType) -> Result<Found> {
        let (mut file, mut directory) = (kind.is_file(), kind.is_dir());
        if kind.is_symlink() {
            if !self.follow {
                let target = fs::read_link(&path).at(&path, "read the symlink")?;
                let target = target.into_os_string().into_string();
                return target.map(Found::Symlink).map_err(|_| StoreError::NotUtf8 { path });
            }
            let gone = || StoreError::io(&path, "follow the symlink", std::io::ErrorKind::NotFound);
            let stamp = stamp_followed(&path).at(&path, "follow the symlink")?.ok_or_else(gone)?;
            (file, directory) = (stamp.is_file(), stamp.is_directory());
        }
        if directory {
            Ok(Found::Directory(self.folder(&path, relative)?))
        } else if file {
            self.files.push(path);
            Ok(Found::File(self.files.len() - 1))
        } else {
            Err(StoreError::Unsupported { path })
        }
    }
}

/// Encodes a directory and those below it; the order is that in which they must be stored, children first.
fn encode(found: BTreeMap<String, Found>, files: &[Node], out: &mut Vec<(Digest, Vec<u8>)>) -> Digest {
    let mut directory = Directory::default();
    for (name, found) in found {
        let node = match found {
            Found::File(at) => files[at].clone(),
            Found::Symlink(target) => Node::Symlink { target },
            Found::Directory(entries) => Node::Directory { digest: encode(entries, files, out) },
        };
        directory.entries.insert(name, node);
    }
    let bytes = directory.encode();
    let digest = Digest::of(&bytes);
    out.push((digest, bytes));
    digest
}
