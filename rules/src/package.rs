//! Packages of a release: a reproducible `tar.gz` of a stored tree.
//!
//! The bytes depend on the tree, the prefix, the level and the version of the compressor, and on nothing else:
//! entries are sorted, nobody owns them, all are of the same second. The tar stream is cut into blocks of a fixed
//! size; each block is compressed by itself and ends on a byte boundary, so that the blocks in a row are one deflate
//! stream and the file is one gzip member, however many threads were at work.

mod gzip;
mod headers;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Hasher, Node, Store, StoreError};
use thiserror::Error;

use gzip::{BLOCK, Gzip};

/// Bytes of tar that are read before they are compressed, while those before them are being compressed.
const BATCH: usize = 16 * BLOCK;

/// The level of compression: where more effort stops paying.
pub const LEVEL: u32 = 6;

/// Why a package could not be made.
#[derive(Debug, Error)]
pub enum PackageError {
    /// A blob is missing or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The package could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The package.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The prefix is not a relative path of plain names.
    #[error("{prefix:?} cannot be the folder inside a package")]
    Prefix {
        /// The prefix.
        prefix: String,
    },
}

/// Writes the tree as a `tar.gz` to `out`, which is replaced when all of it is there; below the folder `prefix` when
/// one is given. Returns the digest of the file. Every blob is verified while it is read.
pub fn tar_gz(
    store: &Store,
    tree: &Digest,
    prefix: Option<&str>,
    out: &Path,
) -> Result<Digest, PackageError> {
    tar_gz_with(store, tree, prefix, out, LEVEL)
}

/// [`tar_gz`] with a level of compression, 0 to 9.
pub fn tar_gz_with(
    store: &Store,
    tree: &Digest,
    prefix: Option<&str>,
    out: &Path,
    level: u32,
) -> Result<Digest, PackageError> {
    let failed = |source: io::Error| PackageError::Write { path: out.to_owned(), source };
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".package-").tempfile_in(folder).map_err(failed)?;
    let mut written = Hasher::new();
    let mut write = |bytes: &[u8]| {
        written.update(bytes);
        file.write_all(bytes)
    };

    let mut entries = Entries::new(store, tree, prefix)?;
    let mut gzip = Gzip::new(level.min(9));
    write(&Gzip::header()).map_err(failed)?;
    let mut batch = entries.fill(Vec::new())?;
    loop {
        // What does not fill a block waits for the next batch, except at the end.
        let rest = if entries.done() { Vec::new() } else { batch.split_off(batch.len() / BLOCK * BLOCK) };
        let done = entries.done();
        let (blocks, next) = rayon::join(|| gzip.compress(&batch), || entries.fill(rest));
        for block in blocks.map_err(failed)? {
            write(&block).map_err(failed)?;
        }
        if done {
            break;
        }
        batch = next?;
    }
    write(&gzip.trailer()).map_err(failed)?;
    set_mode(file.as_file()).map_err(failed)?;
    file.persist(out).map_err(|error| failed(error.error))?;
    Ok(written.finish())
}

/// A temporary file is for its owner only; a package is for everyone, whatever the umask.
#[cfg(unix)]
fn set_mode(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_mode(_: &std::fs::File) -> io::Result<()> {
    Ok(())
}

/// The entries that are still to be written, as bytes of tar.
struct Entries<'a> {
    store: &'a Store,
    entries: std::vec::IntoIter<(String, Node)>,
    ended: bool,
}

impl<'a> Entries<'a> {
    fn new(store: &'a Store, tree: &Digest, prefix: Option<&str>) -> Result<Entries<'a>, PackageError> {
        let mut entries = store.walk(tree)?;
        if let Some(prefix) = prefix {
            let plain = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.contains('\0');
            if !prefix.split('/').all(plain) {
                return Err(PackageError::Prefix { prefix: prefix.to_owned() });
            }
            for (path, _) in &mut entries {
                *path = format!("{prefix}/{path}");
            }
            entries.insert(0, (prefix.to_owned(), Node::Directory { digest: *tree }));
        }
        Ok(Entries { store, entries: entries.into_iter(), ended: false })
    }

    fn done(&self) -> bool {
        self.ended
    }

    /// Puts entries behind `bytes` until there is a batch, and the end of the archive behind the last entry.
    fn fill(&mut self, mut bytes: Vec<u8>) -> Result<Vec<u8>, PackageError> {
        while bytes.len() < BATCH && !self.ended {
            match self.entries.next() {
                Some((path, Node::Directory { .. })) => headers::directory(&path, &mut bytes),
                Some((path, Node::Symlink { target })) => headers::symlink(&path, &target, &mut bytes),
                Some((path, Node::File { digest, executable })) => {
                    headers::file(&path, digest.size, executable, &mut bytes);
                    bytes.extend(self.store.read(&digest)?);
                    headers::pad(&mut bytes, digest.size);
                }
                None => {
                    bytes.extend([0; 1024]);
                    self.ended = true;
                }
            }
        }
        Ok(bytes)
    }
}
