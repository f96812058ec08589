//! Finds out what is in the folder when the server starts.

use std::fs::{self, DirEntry, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{FlockOperation, flock};

use super::disk::{Disk, millis, private_folder};
use super::entry::Trailer;
use super::error::ServeError;
use super::index::{NewEntry, Rules, When};
use super::names::{BlobName, EntryId, Function};
use crate::digest::parse_hash;
use crate::fsutil::write_atomically;

const VERSION: &str = "relgraph serve 1\n";

/// What was found.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Scanned {
    /// Temporary files of uploads that were not finished.
    pub swept: usize,
    /// Files that were not whole, and entries that needed one.
    pub dropped: usize,
}

/// Opens the folder, or makes it, and looks at everything in it.
pub(super) fn open(root: &Path, rules: Rules, max_blob: u64) -> Result<(Disk, Scanned), ServeError> {
    let io = |action| move |error: io::Error| ServeError::io(root, action, error);
    private_folder(root).map_err(io("make"))?;
    let version = root.join("VERSION");
    match fs::read_to_string(&version) {
        Ok(text) if text == VERSION => {}
        Ok(text) => {
            let found = text.lines().next().unwrap_or_default().to_owned();
            return Err(ServeError::Version { path: version, found });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // What a file system of its own has, and what stays when this function is stopped.
            let ours = |name: &str| name == "lost+found" || name == "lock" || name.starts_with(".relgraph-");
            let is_ours = |entry: &DirEntry| entry.file_name().to_str().is_some_and(ours);
            if !files(root)?.iter().all(is_ours) {
                return Err(ServeError::Foreign { path: root.to_owned() });
            }
        }
        Err(error) => return Err(ServeError::io(&version, "read", error)),
    }
    let lock = File::create(root.join("lock")).map_err(io("lock"))?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(|_| ServeError::Busy { path: root.to_owned() })?;
    write_atomically(&version, VERSION.as_bytes())
        .map_err(|error| ServeError::io(&version, "write", error))?;
    for function in Function::ALL {
        for byte in 0..=255_u8 {
            let path = root.join("cas").join(function.word()).join(format!("{byte:02x}"));
            private_folder(&path).map_err(|error| ServeError::io(&path, "make", error))?;
        }
    }
    for name in ["ac", "tmp"] {
        private_folder(&root.join(name)).map_err(io("make"))?;
    }

    let mut found = Scanned::default();
    for file in files(&root.join("tmp"))? {
        // What cannot be removed takes room, and nothing else.
        found.swept += usize::from(fs::remove_file(file.path()).is_ok());
    }
    let disk = Disk::new(root.to_owned(), rules, max_blob, lock);
    blobs(&disk, root, &mut found)?;
    entries(&disk, root, &mut found)?;
    disk.settle();
    Ok((disk, found))
}

/// The files and folders in a folder. One that disappears is none.
fn files(folder: &Path) -> Result<Vec<DirEntry>, ServeError> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(entries.flatten().collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(ServeError::io(folder, "read", error)),
    }
}

fn used(meta: &fs::Metadata) -> u64 {
    millis(meta.modified().unwrap_or(UNIX_EPOCH))
}

fn blobs(disk: &Disk, root: &Path, found: &mut Scanned) -> Result<(), ServeError> {
    for function in Function::ALL {
        for folder in files(&root.join("cas").join(function.word()))? {
            for file in files(&folder.path())? {
                let name = file.file_name();
                let parts = name.to_str().and_then(|name| name.split_once('.'));
                let Some((hex, size)) = parts else { continue };
                let size = size.parse::<u64>().ok();
                let Some((name, size)) = BlobName::parse(function, hex).zip(size) else { continue };
                let Ok(meta) = file.metadata() else { continue };
                // Its time is that of its last use, or lies in the future where a clock went back.
                let time = used(&meta).min(super::disk::now());
                let whole =
                    meta.is_file() && meta.len() == size && file.path() == disk.blob_path(&name, size);
                if !whole || !disk.index().add_blob(name, size, time, 0, false) {
                    drop_file(&file.path(), found);
                }
            }
        }
    }
    Ok(())
}

fn entries(disk: &Disk, root: &Path, found: &mut Scanned) -> Result<(), ServeError> {
    for partition in files(&root.join("ac"))? {
        for folder in files(&partition.path())? {
            for file in files(&folder.path())? {
                let name = file.file_name();
                let Some(hash) = name.to_str().and_then(parse_hash) else { continue };
                if !entry(disk, &file.path(), hash) {
                    drop_file(&file.path(), found);
                }
            }
        }
    }
    Ok(())
}

/// Takes in an entry. False: it is not whole.
fn entry(disk: &Disk, path: &PathBuf, hash: [u8; 32]) -> bool {
    let Ok(file) = File::open(path) else { return false };
    let Ok(meta) = file.metadata() else { return false };
    let Some(trailer) = Trailer::read(&file, meta.len()) else { return false };
    let new = NewEntry {
        id: EntryId { partition: trailer.partition, hash },
        length: trailer.length,
        size: meta.len(),
        hash: trailer.hash,
        duration: trailer.duration,
        needs: trailer.needs,
    };
    let mut index = disk.index();
    if disk.entry_path(&new.id) != *path || index.admits(&new, When::Always).is_err() {
        return false;
    }
    index.add_entry(new, used(&meta).min(super::disk::now()));
    true
}

fn drop_file(path: &Path, found: &mut Scanned) {
    found.dropped += usize::from(fs::remove_file(path).is_ok());
}
