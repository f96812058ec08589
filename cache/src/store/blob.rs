//! Blobs: writing them under temporary names, reading them verified, and the stamp rule that says which are untouched.

use std::cell::RefCell;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::Store;
use super::io::{WHOLE, copy_hashing, create_at, read_whole, write_all};
use crate::Digest;
use crate::error::{At, Result, StoreError};
use crate::stamp::{FileStamp, stamp_at, stamp_of};

thread_local! {
    /// Reading thousands of files into one buffer saves as many allocations.
    pub(super) static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a look at a blob's file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presence {
    /// There, with the stamp of an untouched blob.
    Right,
    /// There, with the right size, but touched since it was stored, or from before an unclean shutdown.
    Doubtful,
    /// There, and certainly not the blob.
    Wrong,
    /// Not there.
    Absent,
}

/// `xx/HEX`, with an `x` behind it for the executable variant.
pub(crate) fn blob_name(digest: &Digest, executable: bool) -> String {
    let hex = digest.hex();
    format!("{}/{hex}{}", &hex[..2], if executable { "x" } else { "" })
}

impl Store {
    /// Stores bytes. When they are there already, nothing is written.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        self.put_hashed(&digest, bytes)?;
        Ok(digest)
    }

    /// Stores the content of a file; symlinks are followed.
    pub fn put_file(&self, path: &Path) -> Result<Digest> {
        Ok(self.put_open_file(path, true)?.0)
    }

    /// Whether the blob is in the store, untouched. Usually one metadata call; a blob that was touched is hashed.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.has(digest, false)
    }

    /// The bytes of a blob, hashed again on every read. A damaged blob is removed, so that it will be made again.
    pub fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.read_into(digest, &mut bytes)?;
        Ok(bytes)
    }

    /// Where a blob lies. The executable variant is made by [`Store::ensure_executable`].
    pub fn blob_path(&self, digest: &Digest, executable: bool) -> PathBuf {
        self.root().join("cas").join(blob_name(digest, executable))
    }

    /// Makes the executable variant of a blob, a file of its own because the mode belongs to the inode.
    pub fn ensure_executable(&self, digest: &Digest) -> Result<PathBuf> {
        if !self.has(digest, true) {
            let name = self.inner.session.name();
            let mode = Mode::from_raw_mode(0o555);
            let made = self.copy_blob(digest, self.inner.session.folder(), &name, mode);
            made.and_then(|file| self.settle(&file, &name, digest, true))
                .inspect_err(|_| self.drop_temporary(&name))?;
        }
        Ok(self.blob_path(digest, true))
    }

    /// Takes a blob out of the store, in both variants: what must not stay. A result that speaks of it is made again.
    pub fn remove_blob(&self, digest: &Digest) {
        for executable in [false, true] {
            self.discard(&blob_name(digest, executable));
        }
    }

    pub(super) fn has(&self, digest: &Digest, executable: bool) -> bool {
        let name = blob_name(digest, executable);
        match self.presence(&name, digest) {
            Presence::Right => true,
            Presence::Absent => false,
            Presence::Wrong => {
                self.discard(&name);
                false
            }
            Presence::Doubtful => self.recheck(&name, digest),
        }
    }

    pub(crate) fn presence(&self, name: &str, digest: &Digest) -> Presence {
        match stamp_at(&self.inner.cas, name) {
            Ok(Some(stamp)) => self.judge(&stamp, digest),
            _ => Presence::Absent,
        }
    }

    pub(super) fn judge(&self, stamp: &FileStamp, digest: &Digest) -> Presence {
        if !stamp.is_file() || stamp.size != digest.size {
            Presence::Wrong
        } else if stamp.mtime_ns == self.inner.mark.saturating_mul(1_000_000_000) {
            Presence::Right
        } else {
            Presence::Doubtful
        }
    }

    /// Hashes a blob whatever its stamp says. Right: marked as untouched; wrong: removed.
    pub(crate) fn recheck(&self, name: &str, digest: &Digest) -> bool {
        let Ok(file) = self.open_blob(name) else { return false };
        match Digest::of_reader(&mut File::from(file)) {
            Ok(found) if found == *digest => {
                let _ =
                    rustix::fs::utimensat(&self.inner.cas, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW);
                true
            }
            Ok(_) => {
                self.discard(name);
                false
            }
            Err(_) => false,
        }
    }

    /// Removes a file from `cas/` and forgets what was concluded from its being there.
    pub(crate) fn discard(&self, name: &str) {
        let folder = rustix::fs::unlinkat(&self.inner.cas, name, AtFlags::empty()) == Err(Errno::ISDIR);
        if folder {
            let _ = crate::remove_tree(&self.root().join("cas").join(name));
        }
        self.forget();
    }

    fn open_blob(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat(&self.inner.cas, name, flags, Mode::empty())
    }

    fn open_or_missing(&self, digest: &Digest) -> Result<OwnedFd> {
        let name = blob_name(digest, false);
        let opened = match self.open_blob(&name) {
            Err(Errno::NOENT) if self.bring(digest) => self.open_blob(&name),
            opened => opened,
        };
        opened.map_err(|error| match error {
            Errno::NOENT | Errno::LOOP => StoreError::Missing { digest: *digest },
            other => StoreError::io(&self.blob_path(digest, false), "open", other),
        })
    }

    fn corrupt(&self, digest: &Digest) -> StoreError {
        self.discard(&blob_name(digest, false));
        StoreError::Corrupt { digest: *digest, path: self.blob_path(digest, false) }
    }

    /// Reads a blob into the front of `buffer`, cut to its size, and verifies it.
    fn read_into(&self, digest: &Digest, buffer: &mut Vec<u8>) -> Result<()> {
        let file = self.open_or_missing(digest)?;
        let path = || self.blob_path(digest, false);
        // The size may come from a tree that somebody else made: only a file that has it is worth the memory.
        if digest.size > WHOLE && stamp_of(&file).at(&path(), "look at")?.size != digest.size {
            return Err(self.corrupt(digest));
        }
        let count = read_whole(file.as_fd(), digest.size as usize, buffer).at(&path(), "read")?;
        if count as u64 != digest.size || Digest::of(buffer) != *digest {
            return Err(self.corrupt(digest));
        }
        Ok(())
    }

    /// Hands a verified small blob to `use_bytes` in a buffer that is used again.
    fn with_blob<R>(&self, digest: &Digest, use_bytes: impl FnOnce(&[u8]) -> Result<R>) -> Result<R> {
        BUFFER.with_borrow_mut(|buffer| {
            self.read_into(digest, buffer)?;
            use_bytes(buffer)
        })
    }

    /// Writes a verified copy of a blob as a new file in an open folder. The mode is as given where the umask allows it.
    pub(super) fn copy_blob(
        &self,
        digest: &Digest,
        folder: BorrowedFd<'_>,
        name: &str,
        mode: Mode,
    ) -> Result<OwnedFd> {
        let target = || self.blob_path(digest, mode.contains(Mode::XUSR));
        let create = || create_at(folder, name, mode).at(Path::new(name), "create");
        let file = if digest.size <= WHOLE {
            self.with_blob(digest, |bytes| {
                let file = create()?;
                write_all(file.as_fd(), bytes).at(Path::new(name), "write")?;
                Ok(file)
            })?
        } else {
            let source = self.open_or_missing(digest)?;
            let file = create()?;
            let found = copy_hashing(source.as_fd(), file.as_fd()).at(&target(), "copy")?;
            if found != *digest {
                let _ = rustix::fs::unlinkat(folder, name, AtFlags::empty());
                return Err(self.corrupt(digest));
            }
            file
        };
        if self.inner.session.tight_umask() {
            rustix::fs::fchmod(&file, mode).at(Path::new(name), "set the mode of")?;
        }
        Ok(file)
    }

    /// Stores bytes that were hashed.
    pub(crate) fn put_hashed(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.contains(digest) {
            return Ok(());
        }
        self.write_blob(digest, |file| write_all(file, bytes).map(|()| *digest))
    }

    /// Writes a temporary file and gives it its name, if `fill` wrote what the digest says.
    fn write_blob(
        &self,
        digest: &Digest,
        fill: impl FnOnce(BorrowedFd<'_>) -> rustix::io::Result<Digest>,
    ) -> Result<()> {
        let session = &self.inner.session;
        let name = session.name();
        let path = session.path().join(&name);
        let mode = Mode::from_raw_mode(0o444);
        let file = create_at(session.folder(), &name, mode).at(&path, "create")?;
        let done = (|| {
            fill(file.as_fd()).at(&path, "write")?;
            if session.tight_umask() {
                rustix::fs::fchmod(&file, mode).at(&path, "set the mode of")?;
            }
            self.settle(&file, &name, digest, false)
        })();
        done.inspect_err(|_| self.drop_temporary(&name))
    }

    pub(super) fn drop_temporary(&self, name: &str) {
        let _ = rustix::fs::unlinkat(self.inner.session.folder(), name, AtFlags::empty());
    }

    fn times(&self) -> Timestamps {
        let time = Timespec { tv_sec: self.inner.mark, tv_nsec: 0 };
        Timestamps { last_access: time, last_modification: time }
    }

    /// Marks a finished temporary file as untouched and moves it to its place.
    pub(super) fn settle(&self, file: &OwnedFd, name: &str, digest: &Digest, executable: bool) -> Result<()> {
        let session = &self.inner.session;
        rustix::fs::futimens(file, &self.times()).at(&session.path().join(name), "set the time of")?;
        let target = blob_name(digest, executable);
        let rename = || rustix::fs::renameat(session.folder(), name, &self.inner.cas, target.as_str());
        let renamed = match rename() {
            Err(Errno::NOENT) => {
                match rustix::fs::mkdirat(&self.inner.cas, &target[..2], Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => rename(),
                    Err(error) => Err(error),
                }
            }
            other => other,
        };
        renamed.at(&self.blob_path(digest, executable), "write")
    }
}
