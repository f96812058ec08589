//! What a release is made of: every file, folder and link of a folder or of a stored tree, with its mode.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Node, Store};

use super::files::application;
use crate::compare::CompareError;

/// What lies at a path.
#[derive(Debug, Clone)]
pub enum Entry {
    /// A folder and its permissions.
    Folder(u32),
    /// A symlink and its target.
    Link(String),
    /// A file.
    File {
        /// Its permissions.
        mode: u32,
        /// Its size in bytes.
        size: u64,
        /// Where it can be read.
        source: Source,
    },
}

/// Where a file can be read.
#[derive(Debug, Clone)]
pub enum Source {
    /// In the store.
    Blob(Digest),
    /// In a folder.
    File(PathBuf),
}

/// One side of the comparison.
pub struct Listing<'a> {
    store: &'a Store,
    /// By path, as seen from the release's folder.
    pub entries: BTreeMap<String, Entry>,
    /// Whether modes are known to the last bit; a stored tree knows who may execute, and nothing else.
    pub exact_modes: bool,
}

/// Real trees are a dozen folders deep.
const DEPTH: usize = 100;

impl<'a> Listing<'a> {
    /// A stored tree, with the modes that files get when it is delivered.
    pub fn tree(store: &'a Store, tree: &Digest) -> Result<Self, CompareError> {
        let entry = |node| match node {
            Node::Directory { .. } => Entry::Folder(0o755),
            Node::Symlink { target } => Entry::Link(target),
            Node::File { digest, executable } => Entry::File {
                mode: if executable { 0o755 } else { 0o644 },
                size: digest.size,
                source: Source::Blob(digest),
            },
        };
        let entries = store.walk(tree)?.into_iter().map(|(path, node)| (path, entry(node))).collect();
        Ok(Listing { store, entries, exact_modes: false })
    }

    /// A folder.
    pub fn folder(store: &'a Store, folder: &Path) -> Result<Self, CompareError> {
        let mut entries = BTreeMap::new();
        list(folder, "", 0, &mut entries)?;
        Ok(Listing { store, entries, exact_modes: true })
    }

    /// Without what is written where a release runs, and without a folder around all of it, as some archives have.
    pub fn tidied(mut self) -> Self {
        if let Some(folder) = wrapper(&self.entries) {
            let prefix = format!("{folder}/");
            let inside =
                |(path, entry): (String, Entry)| Some((path.strip_prefix(&prefix)?.to_owned(), entry));
            self.entries = self.entries.into_iter().filter_map(inside).collect();
        }
        self.entries.retain(|path, _| path != "tmp" && !path.starts_with("tmp/"));
        self
    }

    /// The applications in it.
    pub fn applications(&self) -> BTreeSet<&str> {
        let folders = self.entries.keys().filter(|path| path.starts_with("lib/"));
        folders.filter_map(|path| application(path)).collect()
    }

    /// What belongs to these applications, and nothing else.
    pub fn only(&self, applications: &BTreeSet<&str>) -> Listing<'a> {
        let wanted = |path: &str| {
            path == "lib"
                || (path.starts_with("lib/")
                    && application(path).is_some_and(|name| applications.contains(name)))
        };
        let entries = self.entries.iter().filter(|(path, _)| wanted(path));
        let entries = entries.map(|(path, entry)| (path.clone(), entry.clone())).collect();
        Listing { store: self.store, entries, exact_modes: self.exact_modes }
    }

    /// The bytes of a file.
    pub fn read(&self, source: &Source) -> Result<Vec<u8>, CompareError> {
        match source {
            Source::Blob(digest) => Ok(self.store.read(digest)?),
            Source::File(path) => {
                fs::read(path).map_err(|source| CompareError::Io { path: path.clone(), source })
            }
        }
    }

    /// The digest of a file's content.
    pub fn digest(&self, source: &Source) -> Result<Digest, CompareError> {
        match source {
            Source::Blob(digest) => Ok(*digest),
            Source::File(path) => {
                Digest::of_file(path).map_err(|source| CompareError::Io { path: path.clone(), source })
            }
        }
    }

    /// The bytes of the file at a path; none where there is no file.
    pub fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        match self.entries.get(path)? {
            Entry::File { source, .. } => self.read(source).ok(),
            _ => None,
        }
    }
}

/// The one folder in which everything lies, when `releases` is in there.
fn wrapper(entries: &BTreeMap<String, Entry>) -> Option<String> {
    let mut roots = entries.keys().filter(|path| !path.contains('/'));
    let (only, None) = (roots.next()?, roots.next()) else { return None };
    entries.contains_key(&format!("{only}/releases")).then(|| only.clone())
}

fn list(
    folder: &Path,
    prefix: &str,
    depth: usize,
    entries: &mut BTreeMap<String, Entry>,
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
        let name = name.to_str().ok_or_else(|| failed(&path)(io::Error::other("the name is not UTF-8")))?;
        let name = format!("{prefix}{name}");
        let metadata = entry.metadata().map_err(failed(&path))?;
        let mode = metadata.permissions().mode() & 0o7777;
        if metadata.is_dir() {
            entries.insert(name.clone(), Entry::Folder(mode));
            list(&path, &format!("{name}/"), depth + 1, entries)?;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&path).map_err(failed(&path))?;
            entries.insert(name, Entry::Link(target.to_string_lossy().into_owned()));
        } else if metadata.is_file() {
            entries.insert(name, Entry::File { mode, size: metadata.len(), source: Source::File(path) });
        }
    }
    Ok(())
}
