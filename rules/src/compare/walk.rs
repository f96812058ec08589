//! Walking two releases together: only folders whose digests differ are looked into.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

use rayon::prelude::*;
use relgraph_cache::{Digest, Node, Store};

use super::CompareError;
use super::report::Change;
use super::side::{Entries, Kind, Placed, Side};

/// Real trees are a dozen folders deep.
const DEPTH: usize = 100;

fn too_deep(path: &str) -> CompareError {
    CompareError::Io { path: PathBuf::from(path), source: io::Error::other("folders are nested too deeply") }
}

/// A file or symlink at which two releases differ.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    /// Its path without versions.
    pub(super) path: String,
    pub(super) old: Option<Placed>,
    pub(super) new: Option<Placed>,
}

impl Difference {
    pub(super) fn change(&self) -> Change {
        match (&self.old, &self.new) {
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
            _ => Change::Changed,
        }
    }
}

/// All files and symlinks at which two folders differ, by path. Digests settle what is stored; of folders, only files of equal
/// size are read.
pub(super) fn differences(
    sides: [&Side<'_>; 2],
    old: &Placed,
    new: &Placed,
) -> Result<Vec<Difference>, CompareError> {
    let mut walk = Walk { sides, certain: Vec::new(), doubtful: Vec::new() };
    walk.both("", Some(old), Some(new), 0)?;
    let Walk { mut certain, doubtful, .. } = walk;
    let differs = |one: Difference| -> Result<Option<Difference>, CompareError> {
        let digest = |side: &Side<'_>, file: &Option<Placed>| match file {
            Some(file) => side.digest(file),
            None => Ok(None),
        };
        let equal = digest(sides[0], &one.old)? == digest(sides[1], &one.new)?;
        Ok((!equal).then_some(one))
    };
    let found: Vec<Option<Difference>> = doubtful.into_par_iter().map(differs).collect::<Result<_, _>>()?;
    certain.extend(found.into_iter().flatten());
    certain.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(certain)
}

struct Walk<'a> {
    sides: [&'a Side<'a>; 2],
    certain: Vec<Difference>,
    /// Files of which only the content can tell.
    doubtful: Vec<Difference>,
}

impl Walk<'_> {
    fn both(
        &mut self,
        path: &str,
        old: Option<&Placed>,
        new: Option<&Placed>,
        depth: usize,
    ) -> Result<(), CompareError> {
        if depth > DEPTH {
            return Err(too_deep(path));
        }
        let file = |placed: Option<&Placed>| placed.filter(|placed| !placed.is_folder()).cloned();
        if let (Some(Kind::Folder(Some(one))), Some(Kind::Folder(Some(other)))) =
            (old.map(|placed| &placed.kind), new.map(|placed| &placed.kind))
            && one == other
        {
            return Ok(());
        }
        let (one, other) = (file(old), file(new));
        if one.is_some() || other.is_some() {
            self.files(path, one, other);
        }
        let list = |side: &Side<'_>, placed: Option<&Placed>| match placed {
            Some(placed) if placed.is_folder() => side.list(placed),
            _ => Ok(Entries::new()),
        };
        let (old, new) = (list(self.sides[0], old)?, list(self.sides[1], new)?);
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        for name in names {
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            self.both(&path, old.get(name), new.get(name), depth + 1)?;
        }
        Ok(())
    }

    fn files(&mut self, path: &str, old: Option<Placed>, new: Option<Placed>) {
        let certain = match (old.as_ref().map(|old| &old.kind), new.as_ref().map(|new| &new.kind)) {
            (
                Some(Kind::File { size: old_size, executable: old_mode, digest: one }),
                Some(Kind::File { size: new_size, executable: new_mode, digest: other }),
            ) => match (one, other) {
                _ if old_size != new_size || old_mode != new_mode => true,
                (Some(one), Some(other)) if one == other => return,
                (Some(_), Some(_)) => true,
                _ => false,
            },
            (Some(Kind::Symlink(one)), Some(Kind::Symlink(other))) if one == other => return,
            _ => true,
        };
        let difference = Difference { path: path.to_owned(), old, new };
        if certain { self.certain.push(difference) } else { self.doubtful.push(difference) }
    }
}

/// How much lies in a folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) files: usize,
    pub(super) bytes: u64,
    /// Files `ebin/*.beam` of it.
    pub(super) modules: usize,
}

impl Summary {
    pub(super) fn add(&mut self, other: Summary) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.modules += other.modules;
    }
}

/// What was summed up already: stored folders of one digest hold the same.
#[derive(Default)]
pub(super) struct Summaries {
    known: Mutex<HashMap<[u8; 32], Known>>,
}

/// What is in a folder, and how many modules lie in it directly: they count when it is called `ebin`.
type Known = (Summary, usize);

impl Summaries {
    pub(super) fn of(&self, side: &Side<'_>, placed: &Placed) -> Result<Summary, CompareError> {
        self.below(side, placed, 0)
    }

    fn below(&self, side: &Side<'_>, placed: &Placed, depth: usize) -> Result<Summary, CompareError> {
        if depth > DEPTH {
            return Err(too_deep(&placed.path));
        }
        match (&placed.kind, side.store()) {
            (Kind::File { size, .. }, _) => Ok(Summary { files: 1, bytes: *size, modules: 0 }),
            (Kind::Symlink(_), _) => Ok(Summary { files: 1, ..Summary::default() }),
            (Kind::Folder(Some(digest)), Some(store)) => Ok(self.stored(store, digest, depth)?.0),
            _ => {
                let entries = side.list(placed)?;
                let mut sum = Summary::default();
                for (name, entry) in &entries {
                    let mut inner = self.below(side, entry, depth + 1)?;
                    if name == "ebin" && entry.is_folder() {
                        inner.modules = side.list(entry)?.keys().filter(|name| is_module(name)).count();
                    }
                    sum.add(inner);
                }
                Ok(sum)
            }
        }
    }

    fn stored(&self, store: &Store, digest: &Digest, depth: usize) -> Result<Known, CompareError> {
        if depth > DEPTH {
            return Err(too_deep(&digest.to_string()));
        }
        if let Some(sum) = self.locked().get(&digest.hash) {
            return Ok(*sum);
        }
        let mut sum = Summary::default();
        let mut folders = Vec::new();
        let mut modules = 0;
        store.each_entry(digest, &mut |name, node| match node {
            Node::File { digest, .. } => {
                modules += usize::from(is_module(name));
                sum.add(Summary { files: 1, bytes: digest.size, modules: 0 });
            }
            Node::Symlink { .. } => sum.files += 1,
            Node::Directory { digest } => folders.push((name == "ebin", *digest)),
        })?;
        for (ebin, digest) in folders {
            let (mut inner, direct) = self.stored(store, &digest, depth + 1)?;
            inner.modules = if ebin { direct } else { inner.modules };
            sum.add(inner);
        }
        let sum = (sum, modules);
        self.locked().insert(digest.hash, sum);
        Ok(sum)
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Known>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn is_module(name: &str) -> bool {
    name.ends_with(".beam")
}
