//! One side of a comparison: a stored tree or a folder, listed and read alike, one folder at a time.

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

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file; the digest is known for stored files.
    File { size: u64, executable: bool, digest: Option<Digest> },
    /// A symlink and its target.
    Symlink(String),
    /// A folder; the digest is known for stored ones.
    Folder(Option<Digest>),
    /// A folder in which some names were replaced by names without versions, or left out.
    Renamed(Entries),
}

impl Kind {
    fn of(node: &Node) -> Kind {
        match node {
            Node::File { digest, executable } => {
                Kind::File { size: digest.size, executable: *executable, digest: Some(*digest) }
            }
            Node::Symlink { target } => Kind::Symlink(target.clone()),
            Node::Directory { digest } => Kind::Folder(Some(*digest)),
        }
    }
}

/// What lies in a folder, by name.
pub(super) type Entries = BTreeMap<String, Placed>;

/// Something that lies in a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed {
    /// Where it really is.
    pub(super) path: String,
    pub(super) kind: Kind,
}

impl Placed {
    pub(super) fn size(&self) -> u64 {
        match self.kind {
            Kind::File { size, .. } => size,
            _ => 0,
        }
    }

    pub(super) fn is_folder(&self) -> bool {
        matches!(self.kind, Kind::Folder(_) | Kind::Renamed(_))
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self.kind, Kind::File { .. })
    }
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

    pub(super) fn store(&self) -> Option<&'a Store> {
        match self {
            Side::Tree { store, .. } | Side::Named { store, .. } => Some(store),
            Side::Folder(_) => None,
        }
    }

    /// The folder of the release itself. A folder around it, as some archives have, is left out.
    pub(super) fn root(&self) -> Result<Placed, CompareError> {
        let root = Placed { path: String::new(), kind: Kind::Folder(self.tree()) };
        let entries = self.list(&root)?;
        let mut only = entries.values();
        if let (Some(inner), None) = (only.next(), only.next())
            && inner.is_folder()
            && self.list(inner)?.get("releases").is_some_and(Placed::is_folder)
        {
            return Ok(inner.clone());
        }
        Ok(root)
    }

    /// What lies in a folder.
    pub(super) fn list(&self, folder: &Placed) -> Result<Entries, CompareError> {
        let below = |name: &str| match folder.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}/{name}"),
        };
        match (&folder.kind, self) {
            (Kind::Renamed(entries), _) => Ok(entries.clone()),
            (Kind::Folder(Some(digest)), Side::Tree { store, .. } | Side::Named { store, .. }) => {
                let directory = store.directory(digest)?;
                let entry = |(name, node): (&String, &Node)| {
                    (name.clone(), Placed { path: below(name), kind: Kind::of(node) })
                };
                Ok(directory.entries.iter().map(entry).collect())
            }
            (Kind::Folder(_), Side::Folder(root)) => list_folder(&root.join(&folder.path), below),
            _ => Ok(Entries::new()),
        }
    }

    /// What lies at a path below a folder.
    pub(super) fn find(&self, folder: &Placed, path: &str) -> Result<Option<Placed>, CompareError> {
        let mut at = folder.clone();
        for name in path.split('/') {
            match self.entry(&at, name)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// What has a name in a folder.
    fn entry(&self, folder: &Placed, name: &str) -> Result<Option<Placed>, CompareError> {
        match (&folder.kind, self.store()) {
            (Kind::Renamed(entries), _) => Ok(entries.get(name).cloned()),
            (Kind::Folder(Some(digest)), Some(store)) => {
                let directory = store.directory(digest)?;
                let path =
                    if folder.path.is_empty() { name.to_owned() } else { format!("{}/{name}", folder.path) };
                Ok(directory.entries.get(name).map(|node| Placed { path, kind: Kind::of(node) }))
            }
            _ => Ok(self.list(folder)?.remove(name)),
        }
    }

    /// What has names in a folder that end so.
    pub(super) fn ending(&self, folder: &Placed, ending: &str) -> Result<Entries, CompareError> {
        let (Kind::Folder(Some(digest)), Some(store)) = (&folder.kind, self.store()) else {
            let entries = self.list(folder)?.into_iter();
            return Ok(entries.filter(|(name, _)| name.ends_with(ending)).collect());
        };
        let mut found = Entries::new();
        store.each_entry(digest, &mut |name, node| {
            if name.ends_with(ending) {
                let path = format!("{}/{name}", folder.path);
                found.insert(name.to_owned(), Placed { path, kind: Kind::of(node) });
            }
        })?;
        Ok(found)
    }

    pub(super) fn read(&self, file: &Placed) -> Result<Vec<u8>, CompareError> {
        match (self, &file.kind) {
            (
                Side::Tree { store, .. } | Side::Named { store, .. },
                Kind::File { digest: Some(digest), .. },
            ) => Ok(store.read(digest)?),
            (Side::Folder(folder), Kind::File { .. }) => {
                let path = folder.join(&file.path);
                fs::read(&path).map_err(|source| CompareError::Io { path, source })
            }
            _ => Ok(Vec::new()),
        }
    }

    pub(super) fn digest(&self, file: &Placed) -> Result<Option<Digest>, CompareError> {
        match (self, &file.kind) {
            (_, Kind::File { digest: Some(digest), .. }) => Ok(Some(*digest)),
            (Side::Folder(folder), Kind::File { .. }) => {
                let path = folder.join(&file.path);
                Digest::of_file(&path).map(Some).map_err(|source| CompareError::Io { path, source })
            }
            _ => Ok(None),
        }
    }
}

fn list_folder(folder: &Path, below: impl Fn(&str) -> String) -> Result<Entries, CompareError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| CompareError::Io { path, source }
    };
    let mut entries = Entries::new();
    for entry in fs::read_dir(folder).map_err(failed(folder))? {
        let entry = entry.map_err(failed(folder))?;
        let path = entry.path();
        let name = entry.file_name();
        let Some(name) = name.to_str() else {
            return Err(failed(&path)(io::Error::other("the name is not UTF-8")));
        };
        let metadata = entry.metadata().map_err(failed(&path))?;
        let kind = if metadata.is_dir() {
            Kind::Folder(None)
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(failed(&path))?;
            Kind::Symlink(target.to_string_lossy().into_owned())
        } else if metadata.is_file() {
            Kind::File { size: metadata.len(), executable: is_executable(&metadata), digest: None }
        } else {
            continue;
        };
        entries.insert(name.to_owned(), Placed { path: below(name), kind });
    }
    Ok(entries)
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
