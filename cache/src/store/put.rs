//! Files on their way into the store.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use super::Store;
use super::blob::BUFFER;
use super::io::{PIECE, WHOLE, copy_hashing, create_at, read_whole};
use crate::Digest;
use crate::error::{At, Result, StoreError};
use crate::stamp::{FileStamp, stamp_of};

impl Store {
    /// Whether copies of large files share their bytes here (btrfs, XFS and the like): found out by trying.
    pub fn reflinks(&self) -> Result<bool> {
        let scratch = self.scratch()?;
        let source = scratch.path().join("source");
        std::fs::write(&source, [1; 8192]).at(&source, "write")?;
        Ok(reflink_copy::reflink(&source, scratch.path().join("copy")).is_ok())
    }

    /// Stores the content of a file, and returns its stamp as it was when opened.
    pub(super) fn put_open_file(&self, path: &Path, follow: bool) -> Result<(Digest, FileStamp)> {
        let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        flags.set(OFlags::NOFOLLOW, !follow);
        let file = rustix::fs::open(path, flags, Mode::empty()).at(path, "open")?;
        let stamp = stamp_of(&file).at(path, "look at")?;
        if !stamp.is_file() {
            return Err(StoreError::Unsupported { path: path.to_path_buf() });
        }
        if stamp.size > WHOLE {
            return Ok((self.put_large(path, &file)?, stamp));
        }
        let digest = BUFFER.with_borrow_mut(|buffer| {
            let mut count = read_whole(file.as_fd(), stamp.size as usize, buffer).at(path, "read")?;
            while count > buffer.len() {
                // It grew while it was read: from the start again, with room.
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).at(path, "read")?;
                let room = buffer.len().max(PIECE) * 2;
                count = read_whole(file.as_fd(), room, buffer).at(path, "read")?;
            }
            let digest = Digest::of(buffer);
            self.put_hashed(&digest, buffer)?;
            Ok::<_, StoreError>(digest)
        })?;
        Ok((digest, stamp))
    }

    /// A large file is cloned or copied first and hashed as it then lies in the store: what is stored is what was hashed.
    fn put_large(&self, path: &Path, source: &OwnedFd) -> Result<Digest> {
        let session = &self.inner.session;
        let name = session.name();
        let target = session.path().join(&name);
        let done = (|| {
            let digest = if reflink_copy::reflink(path, &target).is_ok() {
                Digest::of_file(&target).at(&target, "read")?
            } else {
                let file =
                    create_at(session.folder(), &name, Mode::from_raw_mode(0o644)).at(&target, "create")?;
                copy_hashing(source.as_fd(), file.as_fd()).at(&target, "write")?
            };
            if self.contains(&digest) {
                self.drop_temporary(&name);
                return Ok(digest);
            }
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let file =
                rustix::fs::openat(session.folder(), &name, flags, Mode::empty()).at(&target, "open")?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(0o444)).at(&target, "set the mode of")?;
            self.settle(&file, &name, &digest, false)?;
            Ok(digest)
        })();
        done.inspect_err(|_| self.drop_temporary(&name))
    }
}
