//! Unpacking a `.tar.gz` of a release into the store.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use relgraph_cache::{Digest, Store};

use super::CompareError;
use crate::archive::{self, ArchiveError, Most};

/// An archive of more entries or bytes than this is not one of a release.
const MOST: Most = Most { entries: 1_000_000, bytes: 64 << 30 };

/// Unpacks the archive into the store and returns its tree.
pub fn unpack(store: &Store, path: &Path) -> Result<Digest, CompareError> {
    let failed = |source: io::Error| CompareError::Io { path: path.to_owned(), source };
    let file = BufReader::new(File::open(path).map_err(failed)?);
    let tar = MultiGzDecoder::new(file).take(2 * MOST.bytes);
    let builder = archive::unpack(store, tar, MOST).map_err(|error| match error {
        ArchiveError::Refused(reason) => CompareError::Archive { path: path.to_owned(), reason },
        ArchiveError::Io(source) => failed(source),
        ArchiveError::Store(error) => error.into(),
    })?;
    Ok(builder.finish(store)?)
}
