//! Digests of files that were hashed before, held as long as their stamps: [`StatCache`].
//!
//! A stamp is only a hint that saves reading; it is trusted when nothing could have been written unseen. A file edited
//! in the same clock tick in which it was hashed keeps its stamp, so a digest is kept only when, at the moment hashing
//! began, both times of the file were more than [`GRANULARITY`] in the past. A file that fails this is hashed again the
//! next time, when it has aged.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::codec::{CodecError, Reader, Writer};
use crate::stamp::{FileStamp, stamp_followed, stamp_of};
use crate::{Digest, fsutil};

/// How coarse the clock of a file system may be. Linux stamps files with the time of the last tick, at most 10 ms old.
pub const GRANULARITY: Duration = Duration::from_millis(20);

const MAGIC: &str = "relgraph stat-cache 1";
const SHARDS: usize = 16;

type Held = (FileStamp, Digest);
type Shard = HashMap<PathBuf, Held>;

/// Stamp to digest, per path; one flat checksummed file per checkout. Safe to use from many threads.
#[derive(Debug)]
pub struct StatCache {
    path: PathBuf,
    shards: Vec<Mutex<Shard>>,
    changed: AtomicBool,
}

impl StatCache {
    /// Reads the file at `path`; when it is not there, or in any doubt, starts empty.
    pub fn load(path: &Path) -> StatCache {
        let cache = StatCache {
            path: path.to_path_buf(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            changed: AtomicBool::new(false),
        };
        let entries = std::fs::read(path).ok().and_then(|bytes| decode(&bytes).ok()).unwrap_or_default();
        for (path, entry) in entries {
            cache.shard(&path).insert(path, entry);
        }
        cache
    }

    /// Writes the file, when something was learnt since it was read.
    pub fn save(&self) -> io::Result<()> {
        if !self.changed.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let mut entries = BTreeMap::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            entries.extend(shard.iter().map(|(path, entry)| (path.clone(), *entry)));
        }
        let result = fsutil::write_atomically(&self.path, &encode(&entries));
        if result.is_err() {
            self.changed.store(true, Ordering::Release);
        }
        result
    }

    /// The digest of a file's content and whether it may be executed; symlinks are followed.
    pub fn digest(&self, path: &Path) -> io::Result<(Digest, bool)> {
        let now = stamp_followed(path)?.ok_or(io::ErrorKind::NotFound)?;
        if let Some(digest) = self.known(path, &now) {
            return Ok((digest, now.is_executable()));
        }
        let began = SystemTime::now();
        let mut file = File::open(path)?;
        let before = stamp_of(&file)?;
        if before.is_directory() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let digest = hash(&mut file, before.size)?;
        if stamp_of(&file)? == before {
            self.learn(path, &before, digest, began);
        } else {
            self.forget(path);
        }
        Ok((digest, before.is_executable()))
    }

    /// The digest that is held for this stamp.
    pub(crate) fn known(&self, path: &Path, stamp: &FileStamp) -> Option<Digest> {
        match self.shard(path).get(path) {
            Some((held, digest)) if held == stamp => Some(*digest),
            _ => None,
        }
    }

    /// Holds a digest that was made of the file with this stamp, by reading that began at `began`, if it may be trusted.
    pub(crate) fn learn(&self, path: &Path, stamp: &FileStamp, digest: Digest, began: SystemTime) {
        if is_racy(stamp, began) || digest.size != stamp.size {
            self.forget(path);
            return;
        }
        self.shard(path).insert(path.to_path_buf(), (*stamp, digest));
        self.changed.store(true, Ordering::Release);
    }

    /// Drops what is held for a path.
    pub fn forget(&self, path: &Path) {
        if self.shard(path).remove(path).is_some() {
            self.changed.store(true, Ordering::Release);
        }
    }

    /// How many files are held.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn shard(&self, path: &Path) -> std::sync::MutexGuard<'_, Shard> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let at = hasher.finish() as usize % SHARDS;
        self.shards[at].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the file could have been written after hashing began without its stamp showing it.
fn is_racy(stamp: &FileStamp, began: SystemTime) -> bool {
    let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(GRANULARITY).as_nanos();
    let limit = i64::try_from(began).unwrap_or(i64::MAX);
    stamp.mtime_ns >= limit || stamp.ctime_ns >= limit
}

fn hash(file: &mut File, size: u64) -> io::Result<Digest> {
    if size > 4 << 20 {
        return Digest::of_reader(file);
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.read_to_end(&mut bytes)?;
    Ok(Digest::of(&bytes))
}

fn encode(entries: &BTreeMap<PathBuf, Held>) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut out = Writer::new(MAGIC);
    out.u64(entries.len() as u64);
    for (path, (stamp, digest)) in entries {
        out.bytes(path.as_os_str().as_bytes());
        stamp.write(&mut out);
        out.digest(digest);
    }
    out.finish_checked()
}

fn decode(bytes: &[u8]) -> Result<Vec<(PathBuf, Held)>, CodecError> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut reader = Reader::new_checked(bytes, MAGIC)?;
    let count = reader.count(92)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let path = PathBuf::from(OsStr::from_bytes(reader.bytes()?));
        let stamp = FileStamp::read(&mut reader)?;
        entries.push((path, (stamp, reader.digest()?)));
    }
    reader.finish()?;
    Ok(entries)
}

impl FileStamp {
    /// Appends the stamp, 44 bytes.
    pub fn write(&self, out: &mut Writer) {
        out.u64(self.dev).u64(self.ino).u64(self.size);
        out.i64(self.mtime_ns).i64(self.ctime_ns).u32(self.mode);
    }

    /// Takes what [`FileStamp::write`] appended.
    pub fn read(reader: &mut Reader<'_>) -> Result<FileStamp, CodecError> {
        Ok(FileStamp {
            dev: reader.u64()?,
            ino: reader.u64()?,
            size: reader.u64()?,
            mtime_ns: reader.i64()?,
            ctime_ns: reader.i64()?,
            mode: reader.u32()?,
        })
    }
}
