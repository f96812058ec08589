//! The folder of the server: [`Disk`]. What is in it says docs/formats/serve.md.
//!
//! Names appear and disappear while the index is locked, so that both always say the same; bytes are written, read and
//! freed without the lock. Everything here blocks.

use std::fs::{self, DirBuilder, File, FileTimes};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::entry::Trailer;
use super::error::PutError;
use super::index::{Index, NewEntry, Refused, Removed, Rules, When};
use super::names::{BlobName, EntryId, Function, Hashing, hex};

/// Bytes that are read at a time.
pub(super) const CHUNK: usize = 128 << 10;
/// A time of last use is written down when the one on disk is older than this.
const NOTED: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    index: Mutex<Index>,
    temps: AtomicU64,
    evicted: AtomicU64,
    evicted_bytes: AtomicU64,
    /// The most bytes that a blob may have.
    pub max_blob: u64,
    _lock: File,
}

/// A file that is open for reading: the first bytes, and where the others come from.
#[derive(Debug)]
pub(super) struct Opened {
    /// Bytes of the whole.
    pub size: u64,
    /// Those that were read already, from where reading was to begin.
    pub first: Bytes,
    pub file: File,
    /// Where the others begin.
    pub at: u64,
    /// Where reading ends.
    pub end: u64,
}

impl Opened {
    /// The next bytes of a file, from `at` and before `end`.
    pub fn read(file: &File, at: u64, end: u64) -> io::Result<Bytes> {
        let count = usize::try_from(end.saturating_sub(at)).unwrap_or(CHUNK).min(CHUNK);
        let mut bytes = vec![0; count];
        file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }
}

/// An entry that was found.
#[derive(Debug)]
pub(super) struct FoundEntry {
    pub opened: Opened,
    /// BLAKE3 of its value.
    pub hash: [u8; 32],
    /// How long it took to make what it speaks of, in milliseconds.
    pub duration: u64,
}

/// The present, in milliseconds since 1970. A clock that is set while the server runs does not change it: what was used an hour
/// ago would count as just used.
pub(super) fn now() -> u64 {
    static START: LazyLock<(SystemTime, Instant)> = LazyLock::new(|| (SystemTime::now(), Instant::now()));
    millis(START.0 + START.1.elapsed())
}

pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Disk {
    pub(super) fn new(root: PathBuf, rules: Rules, max_blob: u64, lock: File) -> Disk {
        Disk {
            root,
            index: Mutex::new(Index::new(rules)),
            temps: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
            evicted_bytes: AtomicU64::new(0),
            max_blob,
            _lock: lock,
        }
    }

    pub fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a blob of this size is there; with `promise`, it is kept for an entry that is about to come.
    pub fn has(&self, name: &BlobName, size: u64, promise: bool) -> bool {
        if name.is_empty() {
            return size == 0;
        }
        let mut index = self.index();
        let there = index.blob(name).is_some_and(|blob| blob.size == size);
        there && index.use_blob(name, now(), promise)
    }

    /// How many files were evicted since the start, and their bytes as far as they were blobs.
    pub fn evictions(&self) -> (u64, u64) {
        (self.evicted.load(Ordering::Relaxed), self.evicted_bytes.load(Ordering::Relaxed))
    }

    pub fn blob_path(&self, name: &BlobName, size: u64) -> PathBuf {
        let hex = name.hex();
        let mut path = self.root.join("cas");
        path.push(name.function.word());
        path.push(&hex[..2]);
        path.push(format!("{hex}.{size}"));
        path
    }

    pub fn entry_path(&self, id: &EntryId) -> PathBuf {
        let hex = hex(&id.hash);
        let mut path = self.root.join("ac");
        path.push(id.partition.folder());
        path.push(&hex[..2]);
        path.push(hex);
        path
    }

    /// A name that no other file has.
    pub fn temp_path(&self) -> PathBuf {
        self.root.join("tmp").join(format!("{:x}", self.temps.fetch_add(1, Ordering::Relaxed)))
    }

    /// Moves what was removed from the index out of sight. The lock is still held.
    fn hide(&self, removed: &[Removed]) -> Vec<PathBuf> {
        let mut hidden = Vec::with_capacity(removed.len());
        for item in removed {
            let path = match item {
                Removed::Blob(name, size) => self.blob_path(name, *size),
                Removed::Entry(id) => self.entry_path(id),
            };
            let to = self.temp_path();
            match fs::rename(&path, &to) {
                Ok(()) => hidden.push(to),
                // It is gone already, or this is the only way that is left.
                Err(_) => drop(fs::remove_file(&path)),
            }
        }
        hidden
    }

    fn count(&self, removed: &[Removed]) {
        self.evicted.fetch_add(removed.len() as u64, Ordering::Relaxed);
        let bytes = removed.iter().map(|item| match item {
            Removed::Blob(_, size) => *size,
            Removed::Entry(_) => 0,
        });
        self.evicted_bytes.fetch_add(bytes.sum(), Ordering::Relaxed);
    }

    /// Sets room aside, and makes it where it is not there. False: there is none.
    pub fn reserve(&self, bytes: u64) -> bool {
        loop {
            let mut index = self.index();
            let Err(removed) = index.reserve(bytes, now()) else { return true };
            let hidden = self.hide(&removed);
            drop(index);
            self.count(&removed);
            free(&hidden);
            if removed.is_empty() {
                return false;
            }
        }
    }

    /// Makes room on a disk that is full, though the budget is not used up. False: nothing may go.
    pub fn make_room(&self, bytes: u64) -> bool {
        let mut index = self.index();
        let removed = index.evict(bytes, now());
        let hidden = self.hide(&removed);
        drop(index);
        self.count(&removed);
        free(&hidden);
        !removed.is_empty()
    }

    /// Evicts until the budget holds: at the start, when it is another than before.
    pub fn settle(&self) {
        // What may not go stays for now.
        let _ = self.reserve(0);
    }

    /// Gives a complete file its name as a blob. What is there already stays.
    pub fn commit_blob(&self, temp: &Path, name: BlobName, size: u64) -> Result<(), PutError> {
        let mut index = self.index();
        let time = now();
        if index.use_blob(&name, time, true) {
            drop(index);
            let _ = fs::remove_file(temp);
            return Ok(());
        }
        fs::rename(temp, self.blob_path(&name, size)).map_err(PutError::from)?;
        let promised = index.promise(time);
        index.add_blob(name, size, time, promised, true);
        Ok(())
    }

    /// Gives a complete file its name as an entry, if it may have it. False: one was replaced.
    pub fn commit_entry(&self, temp: &Path, new: NewEntry, when: When) -> Result<bool, PutError> {
        let path = self.entry_path(&new.id);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(PutError::from)?;
        }
        let mut index = self.index();
        index.admits(&new, when).map_err(|refused| match refused {
            Refused::Condition => PutError::Condition,
            Refused::Incomplete(missing) => PutError::Incomplete(missing),
        })?;
        let is_new = index.entry(&new.id).is_none();
        fs::rename(temp, path).map_err(PutError::from)?;
        index.add_entry(new, now());
        Ok(is_new)
    }

    /// Opens a blob to be read from `from` to `to` or its end. `None`: it is not there, or is not what it should be and was
    /// removed.
    pub fn open_blob(&self, name: &BlobName, from: u64, to: Option<u64>) -> io::Result<Option<Opened>> {
        let (size, verified) = {
            let mut index = self.index();
            let Some(blob) = index.blob(name) else { return Ok(None) };
            let known = (blob.size, blob.verified);
            index.use_blob(name, now(), false);
            known
        };
        let sound = self.open(&self.blob_path(name, size), size, |file| {
            verified || hashed(file, size, Some(name.function)).is_some_and(|h| h.which(&name.hash).is_some())
        })?;
        let Some(file) = sound else {
            self.drop_blob(name);
            return Ok(None);
        };
        if !verified {
            self.index().mark_verified(name);
        }
        open_at(file, size, from, to).map(Some)
    }

    /// Opens an entry's value, if the entry and all that it needs are there.
    pub fn open_entry(&self, id: &EntryId) -> io::Result<Option<FoundEntry>> {
        loop {
            let (entry, needs) = {
                let index = self.index();
                let Some(entry) = index.entry(id) else { return Ok(None) };
                (entry.clone(), index.needs(entry))
            };
            // The index says that they are there, and is right unless somebody else has been at the files.
            for (name, size) in needs {
                let found = fs::symlink_metadata(self.blob_path(&name, size));
                if !found.is_ok_and(|meta| meta.len() == size) {
                    self.drop_blob(&name);
                }
            }
            let sound = self.open(&self.entry_path(id), entry.size, |file| {
                let value = || hashed(file, entry.length, Some(Function::Blake3));
                Trailer::read(file, entry.size).is_some_and(|trailer| trailer.hash == entry.hash)
                    && value().is_some_and(|hashing| hashing.which(&entry.hash).is_some())
            })?;
            if let Some(file) = sound {
                let mut index = self.index();
                if index.entry(id).is_some_and(|now| now.hash == entry.hash) {
                    index.use_entry(id, now());
                    drop(index);
                    let opened = open_at(file, entry.length, 0, None)?;
                    return Ok(Some(FoundEntry { opened, hash: entry.hash, duration: entry.duration }));
                }
            }
            // It is removed, or was, or there is another one by now.
            self.drop_entry(id, &entry.hash);
        }
    }

    /// Opens a file that should have this size, and notes that it is used. `None`: it is not sound.
    fn open(&self, path: &Path, size: u64, sound: impl FnOnce(&File) -> bool) -> io::Result<Option<File>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let meta = file.metadata()?;
        if meta.size() != size || !sound(&file) {
            return Ok(None);
        }
        let time = SystemTime::now();
        if meta.modified().is_ok_and(|noted| time.duration_since(noted).is_ok_and(|age| age > NOTED)) {
            // Only the order after the next start depends on it.
            let _ = file.set_times(FileTimes::new().set_modified(time));
        }
        Ok(Some(file))
    }

    /// Removes a blob that is not sound, and the entries that need it; not one that came in its place in the meantime.
    fn drop_blob(&self, name: &BlobName) {
        let mut index = self.index();
        let Some(blob) = index.blob(name) else { return };
        let found = fs::symlink_metadata(self.blob_path(name, blob.size));
        if blob.verified && found.is_ok_and(|meta| meta.len() == blob.size) {
            return;
        }
        let removed = index.remove_blob(name);
        let hidden = self.hide(&removed);
        drop(index);
        free(&hidden);
    }

    /// Removes an entry, unless it is another one by now.
    fn drop_entry(&self, id: &EntryId, hash: &[u8; 32]) {
        let mut index = self.index();
        if index.entry(id).is_some_and(|entry| entry.hash == *hash) {
            let removed = index.remove_entry(id);
            let hidden = self.hide(&removed);
            drop(index);
            free(&hidden);
        }
    }
}

/// Removes files that nobody sees any more.
fn free(hidden: &[PathBuf]) {
    for path in hidden {
        // What stays is swept at the next start.
        let _ = fs::remove_file(path);
    }
}

/// The hash of the first `size` bytes of a file. `None`: they cannot be read.
fn hashed(file: &File, size: u64, function: Option<Function>) -> Option<Hashing> {
    let mut hashing = Hashing::new(function);
    let mut at = 0;
    while at < size {
        let bytes = Opened::read(file, at, size).ok()?;
        hashing.update(&bytes);
        at += bytes.len() as u64;
    }
    Some(hashing)
}

fn open_at(file: File, size: u64, from: u64, to: Option<u64>) -> io::Result<Opened> {
    let end = to.unwrap_or(size).min(size);
    let from = from.min(end);
    let first = Opened::read(&file, from, end)?;
    let at = from + first.len() as u64;
    Ok(Opened { size, first, file, at, end })
}

/// Makes a folder that nobody else may look into, and those above it.
pub(super) fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
