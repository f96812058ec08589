//! What can go wrong with a store, always with the path it went wrong at.

use std::io;
use std::path::{Path, PathBuf};

use crate::{Digest, TreeError};

/// The result of work on a store.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Why work on a store stopped.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused: no space, no permission, not there.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb: `write`, `rename`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A blob that was asked for is not in the store.
    #[error("the store has no blob {digest}")]
    Missing {
        /// Its digest.
        digest: Digest,
    },
    /// A blob's bytes were not those of its name. It has been removed, so that it will be made again.
    #[error("blob {digest} was damaged and has been removed ({})", path.display())]
    Corrupt {
        /// The digest it should have had.
        digest: Digest,
        /// Where it lay.
        path: PathBuf,
    },
    /// A tree could not be built, or a name in it is not allowed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A blob that was used as a directory is not one.
    #[error("blob {digest} is not a directory: {source}")]
    NotDirectory {
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        source: TreeError,
    },
    /// Directories are nested deeper than any real tree.
    #[error("directories are nested too deeply at {}", path.display())]
    TooDeep {
        /// Where it was given up.
        path: PathBuf,
    },
    /// Something is already where a tree should be made.
    #[error("{} already exists", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// The store was made by another version of relgraph.
    #[error("{} says `{found}`: this store belongs to another version of relgraph", path.display())]
    Version {
        /// The VERSION file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// A record key that is not lower-case hexadecimal.
    #[error("`{key}` cannot be the key of a record")]
    Key {
        /// The key.
        key: String,
    },
    /// A file name that is not UTF-8: trees hold text.
    #[error("the name of {} is not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
    },
    /// A socket, pipe or device where files are expected.
    #[error("{} is neither a file, a folder nor a symlink", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
    },
    /// A symlink that leads back to a folder it lies in.
    #[error("the symlink {} leads back to a folder above it", path.display())]
    Loop {
        /// The symlink.
        path: PathBuf,
    },
    /// Another process uses the store, and this needs it alone.
    #[error("the store {} is in use by another process", path.display())]
    Busy {
        /// The root of the store.
        path: PathBuf,
    },
}

impl StoreError {
    pub(crate) fn io(path: &Path, action: &'static str, source: impl Into<io::Error>) -> StoreError {
        StoreError::Io { path: path.to_path_buf(), action, source: source.into() }
    }

    /// True when a blob or directory is simply not there (or was damaged and is gone now): a miss, not a failure.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            StoreError::Missing { .. } | StoreError::Corrupt { .. } | StoreError::NotDirectory { .. }
        )
    }
}

/// Gives an I/O result its path and verb.
pub(crate) trait At<T> {
    fn at(self, path: &Path, action: &'static str) -> Result<T>;
}

impl<T, E: Into<io::Error>> At<T> for std::result::Result<T, E> {
    fn at(self, path: &Path, action: &'static str) -> Result<T> {
        self.map_err(|source| StoreError::io(path, action, source))
    }
}
