//! The state file: what a checkout looked like when it was last built, for finding out fast that nothing moved
//! (docs/formats/state.md).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use relgraph_cache::codec::{CodecError, Reader, Writer};
use relgraph_cache::{Digest, FileStamp, GRANULARITY, stamp, stamp_at};
use rustix::fs::{CWD, Mode, OFlags};

use crate::error::EngineError;
use crate::files::write_atomically;

const MAGIC: &str = "relgraph state 1";

/// What is expected at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// A file or symlink with this stamp.
    Stamp(FileStamp),
    /// A directory with this stamp: nothing was added to it or removed from it.
    Directory(FileStamp),
    /// Nothing.
    Absent,
}

impl Expect {
    /// To find again what is there now.
    pub fn of(found: Option<FileStamp>) -> Expect {
        match found {
            None => Expect::Absent,
            Some(stamp) if stamp.is_directory() => Expect::Directory(stamp),
            Some(stamp) => Expect::Stamp(stamp),
        }
    }

    fn stamp(&self) -> Option<&FileStamp> {
        match self {
            Expect::Stamp(stamp) | Expect::Directory(stamp) => Some(stamp),
            Expect::Absent => None,
        }
    }
}

/// What a checkout looked like after a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Which relgraph wrote it: another one does not trust it.
    pub identity: Digest,
    /// What was asked for: another request is not answered by it.
    pub request: Digest,
    /// The folder that relative paths start from.
    pub root: PathBuf,
    /// When the stamps were taken, in nanoseconds since 1970: see [`now_ns`]. A stamp whose ctime is not older proves
    /// nothing, for what is written in the same tick of the clock leaves the same stamp. (The mtime may say anything:
    /// programs set it. Every write moves the ctime.)
    pub taken_ns: i64,
    /// What is expected where. Fastest when sorted, so that the files of a folder stand together.
    pub entries: Vec<(String, Expect)>,
    /// Environment variables that were read, with the digests of their values.
    pub env: Vec<(String, Option<Digest>)>,
    /// Whatever the command wants to say again.
    pub summary: Vec<u8>,
}

/// Whether anything moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing did.
    Fresh,
    /// This path (or `env NAME`) did: the first one in the order of the entries.
    Moved(String),
}

/// The time now, as in [`State::taken_ns`].
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Stamps paths in parallel, for a new state with the time that belongs to them. Waits (20 ms at most) until the
/// youngest is old enough to be trusted. Whoever hashed a file before must see that its stamp is still the same.
pub fn take_stamps(root: &Path, mut paths: Vec<String>) -> std::io::Result<(i64, Vec<(String, Expect)>)> {
    paths.sort_unstable();
    paths.dedup();
    let all = || -> std::io::Result<Vec<Expect>> {
        let at = |path: &String| stamp(&root.join(path)).map(Expect::of);
        paths.par_iter().with_min_len(256).map(at).collect()
    };
    let (mut taken, mut found) = (now_ns(), all()?);
    let youngest = found.iter().filter_map(Expect::stamp).map(|s| s.ctime_ns).filter(|ns| *ns <= taken).max();
    if let Some(youngest) = youngest.filter(|ns| *ns >= trusted_before(taken)) {
        let wait = youngest - trusted_before(taken) + 1;
        std::thread::sleep(std::time::Duration::from_nanos(wait.unsigned_abs()));
        (taken, found) = (now_ns(), all()?);
    }
    Ok((taken, paths.into_iter().zip(found).collect()))
}

fn trusted_before(taken_ns: i64) -> i64 {
    taken_ns.saturating_sub(i64::try_from(GRANULARITY.as_nanos()).unwrap_or(i64::MAX))
}

impl State {
    /// Reads the file at `path`. `None`: there is none, or any doubt about it.
    pub fn load(path: &Path) -> Option<State> {
        Self::decode(&std::fs::read(path).ok()?).ok()
    }

    /// Writes the file at `path` at once, or leaves it as it was.
    pub fn save(&self, path: &Path) -> Result<(), EngineError> {
        write_atomically(path, &self.encode())
    }

    /// The canonical bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.digest(&self.identity).digest(&self.request);
        out.bytes(self.root.as_os_str().as_bytes()).i64(self.taken_ns);
        out.u64(self.env.len() as u64);
        for (name, value) in &self.env {
            out.str(name).bool(value.is_some());
            if let Some(value) = value {
                out.digest(value);
            }
        }
        out.bytes(&self.summary).u64(self.entries.len() as u64);
        for (path, expect) in &self.entries {
            out.str(path);
            match expect {
                Expect::Absent => drop(out.u8(1)),
                Expect::Stamp(stamp) => stamp.write(out.u8(2)),
                Expect::Directory(stamp) => stamp.write(out.u8(3)),
            }
        }
        out.finish_checked()
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<State, CodecError> {
        let mut reader = Reader::new_checked(bytes, MAGIC)?;
        let (identity, request) = (reader.digest()?, reader.digest()?);
        let root = PathBuf::from(OsStr::from_bytes(reader.bytes()?));
        let taken_ns = reader.i64()?;
        let mut env = Vec::new();
        for _ in 0..reader.count(9)? {
            let name = reader.str()?.to_owned();
            env.push((name, if reader.bool()? { Some(reader.digest()?) } else { None }));
        }
        let summary = reader.bytes()?.to_vec();
        let count = reader.count(9)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let path = reader.str()?.to_owned();
            let expect = match reader.u8()? {
                1 => Expect::Absent,
                2 => Expect::Stamp(FileStamp::read(&mut reader)?),
                3 => Expect::Directory(FileStamp::read(&mut reader)?),
                _ => return Err(reader.invalid("what is expected")),
            };
            entries.push((path, expect));
        }
        reader.finish()?;
        Ok(State { identity, request, root, taken_ns, entries, env, summary })
    }

    /// Looks at everything that is listed, in parallel.
    pub fn is_fresh(&self, env: &BTreeMap<String, String>) -> Freshness {
        for (name, expected) in &self.env {
            if env.get(name).map(|value| Digest::of(value.as_bytes())) != *expected {
                return Freshness::Moved(format!("env {name}"));
            }
        }
        match self.first_moved() {
            Some(at) => Freshness::Moved(self.entries[at].0.clone()),
            None => Freshness::Fresh,
        }
    }

    fn first_moved(&self) -> Option<usize> {
        let Ok(root) = open_folder(CWD, &self.root) else {
            return (!self.entries.is_empty()).then_some(0);
        };
        let chunk = (self.entries.len() / (rayon::current_num_threads() * 8)).max(64);
        let first = AtomicUsize::new(usize::MAX);
        self.entries.par_chunks(chunk).enumerate().for_each(|(index, entries)| {
            let start = index * chunk;
            if start > first.load(Ordering::Relaxed) {
                return;
            }
            if let Some(at) = first_moved_in(&root, entries, trusted_before(self.taken_ns)) {
                first.fetch_min(start + at, Ordering::Relaxed);
            }
        });
        Some(first.into_inner()).filter(|at| *at != usize::MAX)
    }
}

/// How many neighbours in one folder make it worth opening.
const WORTH_OPENING: usize = 3;

fn first_moved_in(root: &OwnedFd, entries: &[(String, Expect)], trusted_before: i64) -> Option<usize> {
    let mut folder: Option<(&str, Option<OwnedFd>)> = None;
    for (at, (path, expect)) in entries.iter().enumerate() {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if folder.as_ref().is_none_or(|(open, _)| *open != parent) {
            let same = |next: &(String, Expect)| next.0.rsplit_once('/').is_some_and(|(p, _)| p == parent);
            let worth = !parent.is_empty()
                && !name.is_empty()
                && entries.get(at + WORTH_OPENING - 1).is_some_and(same)
                && entries.get(at + 1).is_some_and(same);
            folder = Some((parent, if worth { open_folder(root, parent).ok() } else { None }));
        }
        // A path that is absolute is looked up as such, whatever folder is given.
        let found = match &folder {
            Some((_, Some(fd))) => stamp_at(fd, name),
            _ => stamp_at(root, path.as_str()),
        };
        let holds = match (expect, found) {
            (Expect::Absent, Ok(found)) => found.is_none(),
            (Expect::Stamp(expected) | Expect::Directory(expected), Ok(Some(found))) => {
                *expected == found && expected.ctime_ns < trusted_before
            }
            _ => false,
        };
        if !holds {
            return Some(at);
        }
    }
    None
}

fn open_folder(at: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(at, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
