//! The store on disk: its layout, its opening, and what is shared by every clone of a [`Store`].

mod blob;
mod checkout;
mod dirs;
mod ingest;
mod io;
mod materialize;
mod put;
mod session;
mod source;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, RwLock, Weak};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};

use crate::error::{At, Result, StoreError};
use crate::{Directory, Index, fsutil};

pub(crate) use blob::{Presence, blob_name};
pub use materialize::Link;
pub use session::Scratch;
use session::Session;
pub use source::Source;

const VERSION: &str = "relgraph store 1\n";
/// Directories nested deeper than this are refused: it is beyond what a path can name in practice.
const MAX_DEPTH: usize = 256;

/// Blobs, trees and records in a folder. Cheap to clone; clones share what they remember.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    cas: OwnedFd,
    /// Held shared while the store is open; garbage collection needs it alone.
    lock: Option<fs::File>,
    /// The modification time that an untouched blob has, in seconds: 1, and one more after each unclean shutdown.
    mark: i64,
    session: Session,
    directories: RwLock<HashMap<[u8; 32], Arc<Directory>>>,
    complete: RwLock<HashSet<[u8; 32]>>,
    index: OnceLock<Index>,
    source: RwLock<Option<Weak<dyn Source>>>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("root", &self.inner.root).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in this folder, making what is missing, and sweeps what dead processes left behind.
    pub fn open(root: &Path) -> Result<Store> {
        for folder in ["cas", "ac", "trees", "tmp"] {
            let folder = root.join(folder);
            fs::create_dir_all(&folder).at(&folder, "create")?;
        }
        check_version(root)?;
        let lock = share_lock(root)?;
        let mark = mark(root)?;
        let cas_path = root.join("cas");
        let cas = open_folder(&cas_path)?;
        let session = Session::start(&root.join("tmp"))?;
        Ok(Store {
            inner: Arc::new(Inner {
                root: root.to_path_buf(),
                cas,
                lock,
                mark,
                session,
                directories: RwLock::default(),
                complete: RwLock::default(),
                index: OnceLock::new(),
                source: RwLock::default(),
            }),
        })
    }

    /// The folder the store lies in.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A private folder inside the store, removed when dropped.
    pub fn scratch(&self) -> Result<Scratch> {
        self.inner.session.scratch()
    }

    /// The SQLite index; opened when it is first asked for.
    pub fn index(&self) -> &Index {
        self.inner.index.get_or_init(|| Index::open(self.root()))
    }

    /// Forgets what was found complete: something was removed.
    pub(crate) fn forget(&self) {
        write(&self.inner.complete).clear();
        write(&self.inner.directories).clear();
    }

    /// Takes the store for this process alone; false when another has it open, or locks do not work here.
    pub(crate) fn lock_alone(&self) -> bool {
        let Some(lock) = &self.inner.lock else { return false };
        if flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return true;
        }
        // A failed upgrade may have dropped the shared lock.
        let _ = flock(lock, FlockOperation::LockShared);
        false
    }

    /// Ends [`Store::lock_alone`].
    pub(crate) fn lock_shared(&self) {
        if let Some(lock) = &self.inner.lock {
            let _ = flock(lock, FlockOperation::LockShared);
        }
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).at(path, "open")
}

fn check_version(root: &Path) -> Result<()> {
    let path = root.join("VERSION");
    match fs::read_to_string(&path) {
        Ok(found) if found == VERSION => Ok(()),
        // An empty file is what a crash leaves of the very first opening.
        Ok(found) if !found.trim().is_empty() => {
            Err(StoreError::Version { path, found: found.trim().to_owned() })
        }
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).at(&path, "read"),
        _ => fsutil::write_atomically(&path, VERSION.as_bytes()).at(&path, "write"),
    }
}

/// Opens the lock file and holds it shared. A file system without locks gets none; collection then refuses to run.
fn share_lock(root: &Path) -> Result<Option<fs::File>> {
    let path = root.join("lock");
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).truncate(false).write(true).open(&path).at(&path, "open")?;
    for _ in 0..600 {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => return Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => std::thread::sleep(std::time::Duration::from_millis(50)),
            Err(_) => return Ok(None),
        }
    }
    Err(StoreError::Busy { path: root.to_path_buf() })
}

/// Reads the `dirty` marker, `BOOT-ID MARK`. Written in another boot, it says that the machine may have gone down before
/// the blobs reached the disk: the mark moves on, so that every blob is hashed once more before it is used.
fn mark(root: &Path) -> Result<i64> {
    let path = root.join("dirty");
    let boot = boot_id();
    let found = fs::read_to_string(&path).ok();
    let parsed = found.as_deref().and_then(|text| {
        let (boot, mark) = text.trim_end().split_once(' ')?;
        Some((boot.to_owned(), mark.parse::<i64>().ok().filter(|mark| *mark >= 1)?))
    });
    let mark = match parsed {
        Some((held, mark)) if held == boot => return Ok(mark),
        Some((_, mark)) => mark.saturating_add(1),
        // A torn marker is the sign of a crash as well; its number is lost, so take one that no blob has yet.
        None if found.is_some() => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(2, |now| i64::try_from(now.as_secs()).unwrap_or(2))
        }
        None => 1,
    };
    fsutil::write_atomically(&path, format!("{boot} {mark}\n").as_bytes()).at(&path, "write")?;
    Ok(mark)
}

fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let id = id.trim();
    // Where the system tells no boots apart, none is ever another.
    if id.is_empty() || id.contains(' ') { "unknown".to_owned() } else { id.to_owned() }
}

fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> std::sync::RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
