//! The part of `tmp/` that one open store owns: temporary names, scratch folders, and the sweeping of dead sessions.
//!
//! A session is a folder that is locked as long as its process lives, so that liveness needs no process ids, which mean
//! nothing across containers.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use super::{Store, open_folder};
use crate::error::{At, Result};
use crate::fsutil::{self, remove_tree};

pub(super) struct Session {
    folder: OwnedFd,
    path: PathBuf,
    next: AtomicU64,
    /// Whether the process's umask takes away permissions that the store gives.
    tight_umask: bool,
}

impl Session {
    pub(super) fn start(tmp: &Path) -> Result<Session> {
        // Held while the folder is made and not yet locked, and while sweeping: nobody sees a folder in between.
        let gate_path = tmp.join(".gate");
        let mut options = fs::OpenOptions::new();
        let gate =
            options.create(true).truncate(false).write(true).open(&gate_path).at(&gate_path, "open")?;
        let gated = flock(&gate, FlockOperation::LockExclusive).is_ok();
        if gated {
            sweep(tmp);
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix("s-").permissions(fs::Permissions::from_mode(0o755));
        let path = builder.tempdir_in(tmp).at(tmp, "create a folder in")?.keep();
        let folder = open_folder(&path)?;
        let _ = flock(&folder, FlockOperation::NonBlockingLockExclusive);
        let mode = fs::symlink_metadata(&path).at(&path, "look at")?.permissions().mode();
        Ok(Session { folder, path, next: AtomicU64::new(0), tight_umask: mode & 0o755 != 0o755 })
    }

    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn tight_umask(&self) -> bool {
        self.tight_umask
    }

    /// A name in this session that was not given out before.
    pub(super) fn name(&self) -> String {
        format!("t{}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn scratch(&self) -> Result<Scratch> {
        let path = self.path.join(self.name());
        fs::DirBuilder::new().mode(0o755).create(&path).at(&path, "create")?;
        Ok(Scratch { path: Some(path) })
    }
}

impl Store {
    /// Writes a small file below the root in one step; its folder is made when it is missing.
    pub(crate) fn put_at(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let staged = self.inner.session.path().join(self.inner.session.name());
        let placed = fs::write(&staged, bytes).at(&staged, "write").and_then(|()| {
            let rename = || fs::rename(&staged, path);
            match rename() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let folder = fsutil::parent(path);
                    fs::create_dir_all(&folder).at(&folder, "create")?;
                    rename().at(path, "write")
                }
                renamed => renamed.at(path, "write"),
            }
        });
        placed.inspect_err(|_| {
            let _ = fs::remove_file(&staged);
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = remove_tree(&self.path);
    }
}

fn sweep(tmp: &Path) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with("s-") {
            continue;
        }
        let Ok(folder) = open_folder(&entry.path()) else { continue };
        if flock(&folder, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = remove_tree(&entry.path());
        }
    }
}

/// A private folder, removed with everything in it when dropped.
#[derive(Debug)]
pub struct Scratch {
    path: Option<PathBuf>,
}

impl Scratch {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new(""))
    }

    /// Removes it now, and says whether that worked.
    pub fn close(mut self) -> Result<()> {
        self.path.take().map_or(Ok(()), |path| remove_tree(&path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Some(path) = self.path.take() {
            let _ = remove_tree(&path);
        }
    }
}
