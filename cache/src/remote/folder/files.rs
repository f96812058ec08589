//! Entries and blobs in a shared folder, one blocking call each.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::Builder;

use super::entry;
use super::place::{Place, open, trouble};
use super::watch::Progress;
use crate::remote::{Access, Body, Condition, Entry, EntryName, IN_MEMORY, RemoteError, RemoteErrorKind};
use crate::{Digest, Hasher};

const PIECE: usize = 1 << 20;

fn local(path: &Path, error: &io::Error) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, format!("{}: {error}", path.display()))
}

impl Place {
    fn blob(&self, digest: &Digest) -> PathBuf {
        self.path("cas", &digest.hex())
    }

    fn current(&self, path: &Path) -> Result<Option<Entry>, RemoteError> {
        let failed = |error: io::Error| trouble("read", path, &error);
        match open(path).map_err(failed)? {
            Some(file) => entry::read(file).map_err(failed),
            None => Ok(None),
        }
    }

    pub(super) fn read_entry(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        if self.look()? { self.current(&self.path("ac", &name.hex())) } else { Ok(None) }
    }

    pub(super) fn write_entry(
        &self,
        name: &EntryName,
        bytes: &[u8],
        condition: &Condition,
    ) -> Result<bool, RemoteError> {
        let path = self.path("ac", &name.hex());
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => self.read_entry(name)?.is_none(),
            Condition::Unchanged(version) => {
                self.read_entry(name)?.is_some_and(|entry| entry.version.as_ref() == Some(version))
            }
        };
        if holds {
            let whole = entry::wrap(bytes);
            self.write_below("ac-", &path, |file| {
                file.write_all(&whole).map_err(|error| trouble("write", &path, &error))
            })?;
        }
        Ok(holds)
    }

    /// Whether a blob lies there with the right length.
    fn has(&self, digest: &Digest) -> Result<bool, RemoteError> {
        let path = self.blob(digest);
        match fs::symlink_metadata(&path) {
            Ok(meta) => Ok(meta.is_file() && meta.len() == digest.size),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(trouble("look at", &path, &error)),
        }
    }

    pub(super) fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        if !self.look()? {
            return Ok(blobs.to_vec());
        }
        let mut missing = Vec::new();
        for digest in blobs {
            if !self.has(digest)? {
                missing.push(*digest);
            }
        }
        Ok(missing)
    }

    /// Reads a blob, into memory or into a file in `scratch`. One with other bytes than its name says is none, and is
    /// removed by those who write, so that it can be stored again.
    pub(super) fn read_blob(
        &self,
        digest: &Digest,
        scratch: &Path,
        progress: &Progress,
    ) -> Result<Option<Body>, RemoteError> {
        if !self.look()? {
            return Ok(None);
        }
        let path = self.blob(digest);
        let failed = |error: io::Error| trouble("read", &path, &error);
        let Some(mut file) = open(&path).map_err(failed)? else { return Ok(None) };
        if file.metadata().map_err(failed)?.len() != digest.size {
            return Ok(None);
        }
        let (found, body) = if digest.size <= IN_MEMORY {
            let mut bytes = Vec::with_capacity(digest.size as usize + 1);
            file.take(digest.size + 1).read_to_end(&mut bytes).map_err(failed)?;
            (Digest::of(&bytes), Body::Bytes(bytes.into()))
        } else {
            let here = |error: io::Error| local(scratch, &error);
            let mut copy = Builder::new().prefix("blob-").tempfile_in(scratch).map_err(here)?;
            let found = copy_hashing(&mut file, digest.size + 1, failed, copy.as_file_mut(), here, progress)?;
            let kept = copy.into_temp_path().keep().map_err(|error| here(error.error))?;
            (found, Body::File(kept))
        };
        if found == *digest {
            return Ok(Some(body));
        }
        if let Body::File(copy) = body {
            let _ = fs::remove_file(copy);
        }
        if self.access == Access::ReadWrite {
            let _ = fs::remove_file(&path);
        }
        Ok(None)
    }

    /// Stores a blob that is not there with the right length.
    pub(super) fn write_blob(
        &self,
        digest: &Digest,
        body: &Body,
        progress: &Progress,
    ) -> Result<(), RemoteError> {
        self.prepare()?;
        if self.has(digest)? {
            return Ok(());
        }
        let path = self.blob(digest);
        let failed = |error: io::Error| trouble("write", &path, &error);
        self.write_below("cas-", &path, |file| {
            let found = match body {
                Body::Bytes(bytes) => {
                    file.write_all(bytes).map_err(failed)?;
                    Digest::of(bytes)
                }
                Body::File(source) => {
                    let here = |error: io::Error| local(source, &error);
                    let mut source = File::open(source).map_err(here)?;
                    copy_hashing(&mut source, digest.size + 1, here, file, failed, progress)?
                }
            };
            if found == *digest {
                return Ok(());
            }
            Err(RemoteError::new(
                RemoteErrorKind::Local,
                format!("{digest} is not what was to be stored under it"),
            ))
        })
    }
}

/// Copies at most `most` bytes, and says what they were.
fn copy_hashing(
    from: &mut File,
    most: u64,
    not_read: impl Fn(io::Error) -> RemoteError,
    to: &mut File,
    not_written: impl Fn(io::Error) -> RemoteError,
    progress: &Progress,
) -> Result<Digest, RemoteError> {
    let mut from = from.take(most);
    let mut piece = vec![0; PIECE];
    let mut hasher = Hasher::new();
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => {
                hasher.update(&piece[..count]);
                to.write_all(&piece[..count]).map_err(&not_written)?;
                progress.add(count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(not_read(error)),
        }
    }
}
