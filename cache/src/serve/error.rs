//! What can go wrong: [`ServeError`] when the server is started, [`PutError`] when something is stored.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::names::BlobName;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The folder was made by something else, or by another version.
    #[error("{} says `{found}`: this folder is not one of this version's cache server", path.display())]
    Version {
        /// The VERSION file.
        path: PathBuf,
        /// What it says.
        found: String,
    },
    /// There is something in the folder, and it is not a server's.
    #[error("{} is not empty, and not the folder of a cache server", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
    },
    /// Another server uses the folder.
    #[error("{} is in use by another server", path.display())]
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A file of tokens is not one.
    #[error("{}:{line}: {what}", path.display())]
    Tokens {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it; without a token's value.
        what: &'static str,
    },
    /// A certificate or key is of no use.
    #[error("{}: {what}", path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system gives no threads.
    #[error("cannot start threads: {0}")]
    Threads(io::Error),
}

impl ServeError {
    pub(super) fn io(path: &Path, action: &'static str, source: impl Into<io::Error>) -> ServeError {
        ServeError::Io { path: path.to_owned(), action, source: source.into() }
    }
}

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum PutError {
    #[error("the bytes are not those that the name stands for")]
    Wrong,
    #[error("there is no room left")]
    Full,
    #[error("at most {0} bytes are taken")]
    TooLarge(u64),
    #[error("{} of the blobs that it names are not there", .0.len())]
    Incomplete(Vec<BlobName>),
    #[error("the condition does not hold")]
    Condition,
    #[error("{0}")]
    Invalid(&'static str),
    /// The client went away, or sent nothing for too long.
    #[error("the upload was not finished")]
    Unfinished,
    #[error("the server's disk failed: {0}")]
    Io(io::Error),
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> PutError {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => PutError::Full,
            _ => PutError::Io(error),
        }
    }
}
