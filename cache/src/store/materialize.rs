//! From a tree in the store to a folder on disk.
//!
//! Every file and folder is made new and relative to the open folder above it, so nothing that a tree says, and no
//! symlink in it, can lead outside the destination.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::{MAX_DEPTH, Store, blob_name};
use crate::error::{At, Result, StoreError};
use crate::parallel::parallel;
use crate::{Digest, Directory, Node, remove_tree};

/// How files get into a materialised folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Link {
    /// Files of their own, 0644 or 0755 whatever the umask, each verified while it is copied. For folders that people edit.
    Copy,
    /// Hard links to the blobs, 0444 or 0555. Only for folders that nothing writes to.
    Hard,
}

impl Store {
    /// Makes a folder of a tree. `dest` must not exist; when anything fails, it does not exist afterwards.
    pub fn materialize(&self, tree: &Digest, dest: &Path, how: Link) -> Result<()> {
        let directory = self.directory(tree)?;
        self.bring_tree(tree)?;
        let mode = Mode::from_raw_mode(0o755);
        match rustix::fs::mkdirat(CWD, dest, mode) {
            Err(Errno::EXIST) => return Err(StoreError::Exists { path: dest.to_path_buf() }),
            made => made.at(dest, "create")?,
        }
        let filled = (|| {
            let folder = super::open_folder(dest)?;
            self.fix_folder(&folder, dest)?;
            parallel(|| self.fill(folder.as_fd(), dest, &directory, how, 0))
        })();
        filled.inspect_err(|_| {
            let _ = remove_tree(dest);
        })
    }

    /// Writes a verified copy of a blob as a new file.
    pub(crate) fn copy_to(&self, blob: &Digest, path: &Path) -> Result<()> {
        let folder = super::open_folder(&crate::fsutil::parent(path))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        self.copy_blob(blob, folder.as_fd(), &name, Mode::from_raw_mode(0o644)).map(drop)
    }

    fn fix_folder(&self, folder: &OwnedFd, path: &Path) -> Result<()> {
        if self.inner.session.tight_umask() {
            rustix::fs::fchmod(folder, Mode::from_raw_mode(0o755)).at(path, "set the mode of")?;
        }
        Ok(())
    }

    fn fill(
        &self,
        folder: BorrowedFd<'_>,
        path: &Path,
        directory: &Directory,
        how: Link,
        depth: usize,
    ) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(StoreError::TooDeep { path: path.to_path_buf() });
        }
        let entries: Vec<(&String, &Node)> = directory.entries.iter().collect();
        let make = |(name, node): &(&String, &Node)| match node {
            Node::File { digest, executable } => {
                let made = match how {
                    Link::Copy => self.make_copy(digest, *executable, folder, name),
                    Link::Hard => self.make_link(digest, *executable, folder, name),
                };
                made.map_err(|error| placed(error, || path.join(name)))
            }
            Node::Symlink { target } => rustix::fs::symlinkat(target.as_str(), folder, name.as_str())
                .at(&path.join(name), "make the symlink"),
            Node::Directory { digest } => {
                let below = path.join(name);
                let directory = self.directory(digest)?;
                rustix::fs::mkdirat(folder, name.as_str(), Mode::from_raw_mode(0o755))
                    .at(&below, "create")?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened =
                    rustix::fs::openat(folder, name.as_str(), flags, Mode::empty()).at(&below, "open")?;
                self.fix_folder(&opened, &below)?;
                self.fill(opened.as_fd(), &below, &directory, how, depth + 1)
            }
        };
        entries.par_iter().try_for_each(make)
    }

    fn make_copy(&self, digest: &Digest, executable: bool, folder: BorrowedFd<'_>, name: &str) -> Result<()> {
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        self.copy_blob(digest, folder, name, mode).map(drop)
    }

    fn make_link(&self, digest: &Digest, executable: bool, folder: BorrowedFd<'_>, name: &str) -> Result<()> {
        if executable {
            self.ensure_executable(digest)?;
        } else if !self.contains(digest) && !self.bring(digest) {
            return Err(StoreError::Missing { digest: *digest });
        }
        let blob = blob_name(digest, executable);
        match rustix::fs::linkat(&self.inner.cas, blob.as_str(), folder, name, AtFlags::empty()) {
            // Another file system, no more links on this inode, links refused, or replaced by the same bytes from somebody
            // else between the look-up of its name and the link: a copy is as good.
            Err(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::NOENT) => {
                let mode = Mode::from_raw_mode(if executable { 0o555 } else { 0o444 });
                self.copy_blob(digest, folder, name, mode).map(drop)
            }
            linked => linked.at(&self.blob_path(digest, executable), "link"),
        }
    }
}

/// Puts the whole path into an error that knows only the file's name.
fn placed(error: StoreError, path: impl FnOnce() -> PathBuf) -> StoreError {
    match error {
        StoreError::Io { path: name, action, source } if name.is_relative() => {
            StoreError::Io { path: path(), action, source }
        }
        other => other,
    }
}
