//! One side of a comparison: a stored tree or a folder, listed and read alike.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Node, Store};

use super::CompareError;

/// Where a release lies.
#[derive(Debug, Clone)]
pub enum Side<'a> {
    /// A tree in a store.
    Tree {
        /// The store.
        store: &'a Store,
        /// The tree.
        tree: Digest,
    },
    /// A folder.
    Folder(PathBuf),
    /// A tree in a store that need not be a release of Erlang: it was built under this name and version.
    Named {
        /// The store.
        store: &'a Store,
        /// The tree.
        tree: Digest,
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
}

impl<'a> Side<'a> {
    /// The release at `path`: a folder, or a `.tar.gz`, which is unpacked into the store.
    pub fn open(store: &'a Store, path: &Path) -> Result<Side<'a>, CompareError> {
        let kind = fs::metadata(path).map_err(|source| CompareError::Io { path: path.to_owned(), source })?;
        if kind.is_dir() {
            return Ok(Side::Folder(path.to_owned()));
        }
        Ok(Side::Tree { store, tree: super::unpack(store, path)? })
    }

    pub(super) fn tree(&self) -> Option<Digest> {
        match self {
            Side::Tree { tree, .. } | Side::Named { tree, .. } => Some(*tree),
            Side::Folder(_) => None,
        }
    }

    /// All files and symlinks, by path. A folder around the release, as some archives have, is left out.
    pub(super) fn list(&self) -> Result<Listing, CompareError> {
        let mut entries = BTreeMap::new();
        match self {
            Side::Tree { store, tree } | Side::Named { store, tree, .. } => {
                for (path, node) in store.walk(tree)? {
                    let kind = match node {
                        Node::File { digest, executable } => {
                            Kind::File { size: digest.size, executable, digest: Some(digest) }
                        }
                        Node::Symlink { target } => Kind::Symlink(target),
                        Node::Directory { .. } => continue,
                    };
                    entries.insert(path, kind);
                }
            }
            Side::Folder(folder) => list_folder(folder, "", 0, &mut entries)?,
        }
        let prefix = prefix(&entries);
        if !prefix.is_empty() {
            entries = entries
                .into_iter()
                .filter_map(|(path, kind)| Some((path.strip_prefix(&prefix)?.to_owned(), kind)))
                .collect();
        }
        // Made at run time, in the place where the release was started.
        entries.retain(|path, _| !path.starts_with("tmp/"));
        Ok(Listing { entries, prefix })
    }

    pub(super) fn read(&self, prefix: &str, path: &str, kind: &Kind) -> Result<Vec<u8>, CompareError> {
        match (self, kind) {
            (
                Side::Tree { store, .. } | Side::Named { store, .. },
                Kind::File { digest: Some(digest), .. },
            ) => Ok(store.read(digest)?),
            (Side::Folder(folder), _) => {
                let path = folder.join(format!("{prefix}{path}"));
                fs::read(&path).map_err(|source| CompareError::Io { path, source })
            }
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn digest(
        &self,
        prefix: &str,
        path: &str,
        kind: &Kind,
    ) -> Result<Option<Digest>, CompareError> {
        match (self, kind) {
            (_, Kind::File { digest: Some(digest), .. }) => Ok(Some(*digest)),
            (Side::Folder(folder), Kind::File { .. }) => {
                let path = folder.join(format!("{prefix}{path}"));
                Digest::of_file(&path).map(Some).map_err(|source| CompareError::Io { path, source })
            }
            _ => Ok(None),
        }
    }
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file; the digest is known for stored files.
    File { size: u64, executable: bool, digest: Option<Digest> },
    /// A symlink and its target.
    Symlink(String),
}

impl Kind {
    pub(super) fn size(&self) -> u64 {
        match self {
            Kind::File { size, .. } => *size,
            Kind::Symlink(_) => 0,
        }
    }
}

pub(super) struct Listing {
    pub(super) entries: BTreeMap<String, Kind>,
    pub(super) prefix: String,
}

/// The one folder in which everything lies, when `releases` is in there.
fn prefix(entries: &BTreeMap<String, Kind>) -> String {
    let Some((first, _)) = entries.keys().next().and_then(|path| path.split_once('/')) else {
        return String::new();
    };
    let prefix = format!("{first}/");
    let inside = entries.keys().all(|path| path.starts_with(&prefix));
    let releases = format!("{prefix}releases/");
    if inside && entries.keys().any(|path| path.starts_with(&releases)) { prefix } else { String::new() }
}

/// Real trees are a dozen folders deep.
const DEPTH: usize = 100;

fn list_folder(
    folder: &Path,
    prefix: &str,
    depth: usize,
    entries: &mut BTreeMap<String, Kind>,
) -> Result<(), CompareError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| CompareError::Io { path, source }
    };
    if depth > DEPTH {
        return Err(failed(folder)(io::Error::other("folders are nested too deeply")));
    }
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(failed(&path)(io::Error::other("the name is not UTF-8")));
        };
        let name = format!("{prefix}{name}");
        let metadata = entry.metadata().map_err(failed(&path))?;
        if metadata.is_dir() {
            list_folder(&path, &format!("{name}/"), depth + 1, entries)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(failed(&path))?;
            entries.insert(name, Kind::Symlink(target.to_string_lossy().into_owned()));
        } else if metadata.is_file() {
            let executable = is_executable(&metadata);
            entries.insert(name, Kind::File { size: metadata.len(), executable, digest: None });
        }
    }
    Ok(())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}
