//! What is written to remotes: in the background, from a queue that is on disk as well, so that nothing of it is lost.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Event, Shared};
use crate::codec::{CodecError, Reader, Writer};
use crate::remote::pack::{Packing, Survey, pack};
use crate::remote::parcel::{Parcel, entry_name};
use crate::remote::{Access, Condition, RemoteError, RemoteErrorKind};
use crate::{Alternative, Digest, Manifest, RecordKind, StoreError};

const MAGIC: &str = "relgraph pending 1";
/// How many records are written at once.
const WRITERS: usize = 4;
/// What could not be written for so long is given up.
const PATIENCE: Duration = Duration::from_secs(14 * 24 * 3600);
/// How often a manifest that others write as well is read again.
const TRIES: usize = 4;

/// A record that is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// What it is about.
    pub kind: RecordKind,
    /// Its key.
    pub key: String,
    /// The record.
    pub record: Vec<u8>,
    /// The trees it needs.
    pub trees: Vec<Digest>,
    /// The blobs it needs.
    pub blobs: Vec<Digest>,
    /// The manifest that leads to it, by its key, and the alternative that is added there.
    pub manifest: Option<(String, Alternative)>,
    /// What happens to one that is there already.
    pub over: Over,
    /// How long it took to make, for servers that count what they save.
    pub took: Option<Duration>,
}

/// What happens to an entry that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// It stays: the first is as good as the second.
    Keep,
    /// It goes: the newest is wanted.
    Replace,
    /// It goes, and nothing that it needs is taken to be there: bytes of it were missing.
    Mend,
}

/// What is left to write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// Records that wait or are being written.
    pub records: usize,
}

#[derive(Default)]
pub(super) struct Uploads {
    queue: Mutex<Queue>,
    moved: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<String>,
    writing: usize,
    /// Begun, and left to another time.
    failed: usize,
    writers: usize,
    /// No more is begun.
    stopped: bool,
}

impl Uploads {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Writes a record to every remote that is written to, in the background. One that is known to be there is not written again.
    pub fn put(self: &Arc<Self>, put: &Put) {
        if !self.tiers.is_writable() {
            return;
        }
        let mut put = put.clone();
        if put.over == Over::Keep && self.is_written(put.kind, &put.key) {
            if self.is_intact(put.kind, &put.key) {
                return;
            }
            put.over = Over::Mend;
        }
        let name = entry_name(None, put.kind, &put.key).hex();
        // On disk first: a process that ends early leaves it to the next.
        if self.store.put_record(RecordKind::Pending, &name, &put.encode()).is_ok() {
            self.enqueue(vec![name]);
        }
    }

    /// Goes on with what earlier processes left.
    pub fn resume(self: &Arc<Self>) {
        if !self.tiers.is_writable() {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let oldest = i64::try_from(now.saturating_sub(PATIENCE).as_secs()).unwrap_or(0);
        let mut names = Vec::new();
        for entry in self.store.list_records(RecordKind::Pending).unwrap_or_default() {
            if entry.written < oldest {
                let _ = self.store.remove_record(RecordKind::Pending, &entry.key);
            } else {
                names.push(entry.key);
            }
        }
        self.enqueue(names);
    }

    fn enqueue(self: &Arc<Self>, names: Vec<String>) {
        let mut queue = self.uploads.queue();
        for name in names {
            if !queue.waiting.contains(&name) {
                queue.waiting.push_back(name);
            }
        }
        while !queue.stopped && queue.writers < WRITERS.min(queue.waiting.len() + queue.writing) {
            let shared = Arc::clone(self);
            let started =
                std::thread::Builder::new().name("relgraph-upload".into()).spawn(move || shared.write_all());
            if started.is_err() {
                break;
            }
            queue.writers += 1;
        }
    }

    fn write_all(&self) {
        loop {
            let name = {
                let mut queue = self.uploads.queue();
                match queue.waiting.pop_front().filter(|_| !queue.stopped) {
                    Some(name) => {
                        queue.writing += 1;
                        name
                    }
                    None => {
                        queue.writers -= 1;
                        self.uploads.moved.notify_all();
                        return;
                    }
                }
            };
            let goes_on = self.write_pending(&name);
            let mut queue = self.uploads.queue();
            queue.writing -= 1;
            queue.failed += usize::from(!goes_on);
            queue.stopped |= !goes_on;
            self.uploads.moved.notify_all();
        }
    }

    /// Waits until everything is written, or `limit` has passed, or `stop` says so; `tell` hears what is left, now and then. What
    /// is left then is written by the next process that may.
    pub fn drain(&self, limit: Duration, stop: &dyn Fn() -> bool, tell: &mut dyn FnMut(Waiting)) -> Waiting {
        let until = Instant::now() + limit;
        let mut queue = self.uploads.queue();
        loop {
            let waiting = Waiting { records: queue.waiting.len() + queue.writing + queue.failed };
            let over = queue.writing == 0 && (queue.stopped || queue.waiting.is_empty());
            if over || Instant::now() >= until || stop() {
                queue.stopped = true;
                return waiting;
            }
            tell(waiting);
            let slice = until.saturating_duration_since(Instant::now()).min(Duration::from_millis(100));
            let woken = self.uploads.moved.wait_timeout(queue, slice);
            queue = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Writes what a file in the queue speaks of. False: there is no sense in going on with others.
    fn write_pending(&self, name: &str) -> bool {
        let bytes = self.store.peek_record(RecordKind::Pending, name).ok().flatten();
        let done = || {
            let _ = self.store.remove_record(RecordKind::Pending, name);
            true
        };
        let Some(put) = bytes.and_then(|bytes| Put::decode(&bytes).ok()) else { return done() };
        for (at, tier) in self.tiers.tiers.iter().enumerate() {
            if tier.access != Access::ReadWrite {
                continue;
            }
            match self.write_to(at, &put) {
                Ok(()) => {
                    self.tiers.counters.written.fetch_add(1, Ordering::Relaxed);
                }
                // What it needs is not in the store any more: somebody else will have made it.
                Err(Trouble::Store(error)) if error.is_missing() => {}
                Err(Trouble::Store(error)) => {
                    let error = RemoteError::new(RemoteErrorKind::Local, error.to_string());
                    let url = tier.remote.url().to_owned();
                    self.tiers.tell(at, "failed", &Event::Failed { url, error });
                    return false;
                }
                Err(Trouble::Remote(error)) => {
                    let refused = matches!(error.kind, RemoteErrorKind::Refused | RemoteErrorKind::Config);
                    let url = tier.remote.url().to_owned();
                    self.tiers.tell(at, "failed", &Event::Failed { url, error });
                    if !refused {
                        return false;
                    }
                }
            }
        }
        done()
    }

    fn write_to(&self, at: usize, put: &Put) -> Result<(), Trouble> {
        let scratch = self.scratch()?;
        let remote = &self.tiers.tiers[at].remote;
        let mut load = |digest: &Digest| self.store.directory(digest);
        let survey = Survey::of::<StoreError>(&put.trees, &put.blobs, &mut load)?;
        let home = self.tiers.home(at);
        let known = |pack: &[u8; 32]| self.state().known.get(&(home, *pack)).copied();
        // Where something was missing, nothing is taken to be there.
        let careful = put.over == Over::Mend || self.tiers.memory().careful;
        let (packing, parts) =
            pack(&self.store, &survey, scratch.path(), &|pack| if careful { None } else { known(pack) })?;
        let sent: u64 = parts.iter().map(|(digest, _)| digest.size).sum();
        if !parts.is_empty() {
            remote.store(parts)?;
            self.tiers.counters.sent.fetch_add(sent, Ordering::Relaxed);
        }
        let parcel = Parcel {
            kind: put.kind,
            key: put.key.clone(),
            record: put.record.clone(),
            trees: put.trees.clone(),
            blobs: put.blobs.clone(),
            packing,
        };
        let condition = if put.over == Over::Keep { Condition::Absent } else { Condition::Always };
        let written = self.write_parcel(at, &parcel, &condition, put.took)?;
        if let Some((key, alternative)) = &put.manifest {
            self.write_manifest(at, key, alternative)?;
        }
        if written {
            self.learn_packs(at, &survey, &parcel.packing);
        }
        self.note(&parcel, at);
        Ok(())
    }

    fn learn_packs(&self, at: usize, survey: &Survey, packing: &Packing) {
        use crate::remote::pack::Unit;
        let at = self.tiers.home(at);
        let mut state = self.state();
        for (files, (unit, _)) in survey.packs().iter().zip(&packing.packs) {
            if let Unit::Blob(digest) = unit {
                super::learn(&mut state, at, files, *digest);
            }
        }
        for (file, unit) in survey.large().iter().zip(&packing.large) {
            if let Unit::Blob(digest) = unit {
                super::learn(&mut state, at, &[*file], *digest);
            }
        }
    }

    /// False: the condition did not hold.
    fn write_parcel(
        &self,
        at: usize,
        parcel: &Parcel,
        condition: &Condition,
        took: Option<Duration>,
    ) -> Result<bool, Trouble> {
        let tier = &self.tiers.tiers[at];
        let name = entry_name(tier.namespace.as_deref(), parcel.kind, &parcel.key);
        let payload =
            parcel.encode().map_err(|error| RemoteError::new(RemoteErrorKind::Local, error.to_string()))?;
        let sealed = self.tiers.trust.seal(&name, &payload);
        if sealed.len() > crate::remote::MAX_ENTRY {
            let message = format!("an entry of {} bytes is larger than entries may be", sealed.len());
            return Err(RemoteError::new(RemoteErrorKind::Refused, message).into());
        }
        let blobs = parcel.packing.blobs();
        let written = match took {
            Some(took) => tier.remote.put_made(&name, &sealed, &blobs, condition, took)?,
            None => tier.remote.put(&name, &sealed, &blobs, condition)?,
        };
        self.tiers.memory().absent.remove(&(at, name));
        Ok(written)
    }

    fn write_manifest(&self, at: usize, key: &str, alternative: &Alternative) -> Result<(), Trouble> {
        for _ in 0..TRIES {
            let name = entry_name(self.tiers.tiers[at].namespace.as_deref(), RecordKind::Manifest, key);
            self.tiers.memory().absent.remove(&(at, name));
            let held = self.read(at, RecordKind::Manifest, key);
            let condition = match &held {
                None => Condition::Always,
                Some((_, Some(version))) => Condition::Unchanged(version.clone()),
                Some((_, None)) => Condition::Always,
            };
            let held = held.and_then(|(parcel, _)| Manifest::decode(&parcel.record).ok());
            let mut manifest = held.unwrap_or_default();
            if manifest.alternatives.contains(alternative) || !manifest.record(alternative.clone()) {
                return Ok(());
            }
            let parcel = Parcel {
                kind: RecordKind::Manifest,
                key: key.to_owned(),
                record: manifest.encode(),
                trees: Vec::new(),
                blobs: Vec::new(),
                packing: Packing::nothing(),
            };
            if self.write_parcel(at, &parcel, &condition, None)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

/// Why something was not written.
enum Trouble {
    Store(StoreError),
    Remote(RemoteError),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Trouble {
        Trouble::Store(error)
    }
}

impl From<RemoteError> for Trouble {
    fn from(error: RemoteError) -> Trouble {
        Trouble::Remote(error)
    }
}

impl Put {
    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.str(self.kind.name()).str(&self.key).bytes(&self.record);
        for digests in [&self.trees, &self.blobs] {
            out.u64(digests.len() as u64);
            digests.iter().for_each(|digest| {
                out.digest(digest);
            });
        }
        out.bool(self.manifest.is_some());
        if let Some((key, alternative)) = &self.manifest {
            out.str(key).bytes(&Manifest { alternatives: vec![alternative.clone()] }.encode());
        }
        out.u8(match self.over {
            Over::Keep => 0,
            Over::Replace => 1,
            Over::Mend => 2,
        });
        out.u64(self.took.map_or(0, |took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)));
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Put, CodecError> {
        let mut reader = Reader::new(bytes, MAGIC)?;
        let kind = reader.str()?;
        let kind = RecordKind::ALL.into_iter().find(|known| known.name() == kind);
        let kind = kind.ok_or_else(|| reader.invalid("the kind of a record"))?;
        let (key, record) = (reader.str()?.to_owned(), reader.bytes()?.to_vec());
        let mut digests = || -> Result<Vec<Digest>, CodecError> {
            let count = reader.count(40)?;
            (0..count).map(|_| reader.digest()).collect()
        };
        let (trees, blobs) = (digests()?, digests()?);
        let manifest = if reader.bool()? {
            let key = reader.str()?.to_owned();
            let manifest = Manifest::decode(reader.bytes()?).ok();
            manifest.and_then(|mut manifest| Some((key, manifest.alternatives.pop()?)))
        } else {
            None
        };
        let over = match reader.u8()? {
            0 => Over::Keep,
            1 => Over::Replace,
            2 => Over::Mend,
            _ => return Err(reader.invalid("what happens to an entry")),
        };
        let took = Some(reader.u64()?).filter(|millis| *millis > 0).map(Duration::from_millis);
        reader.finish()?;
        Ok(Put { took, kind, key, record, trees, blobs, manifest, over })
    }
}
