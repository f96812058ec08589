//! The folder of a release as it lies somewhere: looked into without following a symlink.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use relgraph_cache::Digest;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Entry, Misfit, PatchError, failed};

pub(super) struct Base {
    pub(super) root: PathBuf,
}

/// What lies at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Folder,
    Symlink(String),
    File(Digest),
    Other,
}

impl Base {
    /// Opens a file. What is no plain file in plain folders is not opened.
    pub(super) fn open(&self, path: &str) -> Result<Result<File, Misfit>, PatchError> {
        match self.descend(path) {
            Ok(Some(file)) => Ok(Ok(file)),
            Ok(None) | Err(Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(Err(Misfit::NotAFile)),
            Err(Errno::NOENT) => Ok(Err(Misfit::Missing)),
            Err(error) => Err(failed("read", &self.root.join(path))(error.into())),
        }
    }

    fn descend(&self, path: &str) -> Result<Option<File>, Errno> {
        let folder = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The root itself may be a link.
        let mut above =
            rustix::fs::openat(CWD, &self.root, folder.difference(OFlags::NOFOLLOW), Mode::empty())?;
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        for name in folders.split('/').filter(|name| !name.is_empty()) {
            above = rustix::fs::openat(&above, name, folder, Mode::empty())?;
        }
        // A pipe would have to be waited for.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened: OwnedFd = rustix::fs::openat(&above, name, flags, Mode::empty())?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&opened)?.st_mode);
        Ok((kind == FileType::RegularFile).then(|| File::from(opened)))
    }

    /// The digest of a file.
    pub(super) fn digest(&self, path: &str) -> Result<Result<Digest, Misfit>, PatchError> {
        let opened = self.open(path)?;
        opened
            .map(|mut file| Digest::of_reader(&mut file).map_err(failed("read", &self.root.join(path))))
            .map_or_else(|misfit| Ok(Err(misfit)), |digest| digest.map(Ok))
    }

    /// The content of a file that is known to have that digest; more of it is not read.
    pub(super) fn read(&self, path: &str, digest: &Digest) -> Result<Result<Vec<u8>, Misfit>, PatchError> {
        let file = match self.open(path)? {
            Ok(file) => file,
            Err(misfit) => return Ok(Err(misfit)),
        };
        let mut bytes = Vec::new();
        file.take(digest.size.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(failed("read", &self.root.join(path)))?;
        Ok(if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(Misfit::Differs) })
    }

    /// What lies at a path. A folder on the way to it that is a symlink is something else.
    pub(super) fn look(&self, path: &str) -> Result<Found, PatchError> {
        let mut real = self.root.clone();
        let names: Vec<&str> = path.split('/').collect();
        for (at, name) in names.iter().enumerate() {
            real.push(name);
            let metadata = match std::fs::symlink_metadata(&real) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
                Err(error) => return Err(failed("look at", &real)(error)),
            };
            if at + 1 < names.len() {
                if !metadata.is_dir() {
                    return Ok(Found::Other);
                }
            } else if metadata.is_dir() {
                return Ok(Found::Folder);
            } else if metadata.is_symlink() {
                let target = std::fs::read_link(&real).map_err(failed("read", &real))?;
                return Ok(Found::Symlink(target.to_string_lossy().into_owned()));
            }
        }
        Ok(self.digest(path)?.map_or(Found::Other, Found::File))
    }

    /// Whether what lies at a path is what the new version has there.
    pub(super) fn has(&self, path: &str, entry: &Entry) -> Result<bool, PatchError> {
        let found = self.look(path)?;
        Ok(match entry {
            Entry::Folder => found == Found::Folder,
            Entry::Symlink { target } => found == Found::Symlink(target.clone()),
            Entry::File { digest, .. } => found == Found::File(*digest),
        })
    }
}

/// The folder of a release: it has a folder `releases`.
pub(super) fn release(root: &Path) -> Result<Base, PatchError> {
    let root = std::fs::canonicalize(root).map_err(failed("read", root))?;
    let base = Base { root };
    if base.look("releases")? == Found::Folder {
        Ok(base)
    } else {
        Err(PatchError::NotARelease { path: base.root })
    }
}
