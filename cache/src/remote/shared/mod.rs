//! What the engine sees of remotes: [`Shared`], records and their trees in several homes, asked in order.
//!
//! A record that a remote has is *promised* with its trees: they count as complete, and their bytes come when somebody reads
//! them. Nothing that arrives is used before it has its hash, and no entry before its signature was looked at.

mod bring;
mod located;
mod uploads;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::pack::pack_name;
use super::parcel::{Parcel, entry_name};
use super::trust::{Distrust, Trust};
use super::{Access, EntryName, Remote, RemoteError};
use crate::codec::{CodecError, Reader, Writer};
use crate::{Digest, Manifest, RecordKind, Source, Store};
use located::Located;
use uploads::Uploads;
pub use uploads::{Over, Put, Waiting};

const WHERE: &str = "relgraph where 1";

/// One remote, and how it is used.
#[derive(Debug, Clone)]
pub struct Tier {
    /// The remote.
    pub remote: Arc<dyn Remote>,
    /// What is done with it.
    pub access: Access,
    /// The namespace of its entries; `None` is the main one.
    pub namespace: Option<String>,
}

impl Tier {
    /// What it is called where a store remembers that something is there.
    fn id(&self) -> String {
        format!("{} {}", self.namespace.as_deref().unwrap_or("-"), self.remote.url())
    }
}

/// Something about a remote that the user should know. Told once for each remote and kind.
#[derive(Debug, Clone)]
pub enum Event {
    /// Entries that count as misses: nobody signed them whom we trust, or they are damaged or not ours. Told by
    /// [`Tiers::finish`], when it is known how many they were.
    Refused {
        /// Where.
        url: String,
        /// Why the first of them is not believed.
        why: Distrust,
        /// How many.
        entries: u64,
    },
    /// Bytes that an entry promised are gone, or are other bytes; whoever makes them runs again.
    Lost {
        /// Where.
        url: String,
        /// What is wrong with them.
        why: String,
    },
    /// A call failed. The remote's own wrapper tells of connections; this is the rest.
    Failed {
        /// Where.
        url: String,
        /// Why.
        error: RemoteError,
    },
}

/// Hears of events, from any thread.
pub type Events = Arc<dyn Fn(&Event) + Send + Sync>;

/// The remotes of one command, with what was found out about them so far. Outlives a build that starts over.
pub struct Tiers {
    tiers: Vec<Tier>,
    trust: Trust,
    events: Events,
    memory: Mutex<Memory>,
    counters: Counters,
}

#[derive(Default)]
struct Memory {
    /// What a remote does not have, or has and may not be used.
    absent: HashSet<(usize, EntryName)>,
    /// Records whose bytes could not be had: their producer runs.
    refused: HashSet<(RecordKind, String)>,
    /// Since bytes were missing once, each entry's blobs are asked for before it is believed.
    careful: bool,
    told: HashSet<(usize, &'static str)>,
    /// Entries that were not believed: why the first of each remote was not, and how many.
    doubts: BTreeMap<usize, (Distrust, u64)>,
}

/// What went over the wire, in bytes and pieces.
#[derive(Debug, Default)]
pub struct Counters {
    /// Entries that were found and used.
    pub hits: AtomicU64,
    /// Entries that were asked for and are not there.
    pub misses: AtomicU64,
    /// Entries that were there and not trusted, or garbled.
    pub distrusted: AtomicU64,
    /// Bytes of blobs received.
    pub received: AtomicU64,
    /// Bytes of blobs sent.
    pub sent: AtomicU64,
    /// Records that were written.
    pub written: AtomicU64,
}

impl std::fmt::Debug for Tiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tiers").field("tiers", &self.tiers).finish_non_exhaustive()
    }
}

impl Tiers {
    /// Remotes in the order in which they are asked.
    pub fn new(tiers: Vec<Tier>, trust: Trust, events: Events) -> Tiers {
        Tiers { tiers, trust, events, memory: Mutex::default(), counters: Counters::default() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tiers.is_empty()
    }

    /// Whether anything is written to any of them.
    pub fn is_writable(&self) -> bool {
        self.tiers.iter().any(|tier| tier.access == Access::ReadWrite)
    }

    /// Whether bytes that a remote had promised could not be had.
    pub fn has_lost(&self) -> bool {
        self.memory().careful
    }

    /// Tells what is known when a command is over: how many entries were not believed.
    pub fn finish(&self) {
        for (tier, (why, entries)) in std::mem::take(&mut self.memory().doubts) {
            let url = self.tiers[tier].remote.url().to_owned();
            (self.events)(&Event::Refused { url, why, entries });
        }
    }

    /// What went over the wire so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The first of the tiers at the same place: they share their blobs.
    fn home(&self, at: usize) -> usize {
        let url = self.tiers[at].remote.url();
        self.tiers.iter().position(|tier| tier.remote.url() == url).unwrap_or(at)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, tier: usize, kind: &'static str, event: &Event) {
        if self.memory().told.insert((tier, kind)) {
            (self.events)(event);
        }
    }
}

/// A record that a remote has. What it needs is promised.
#[derive(Debug, Clone)]
pub struct Found {
    /// The record.
    pub record: Vec<u8>,
    /// The trees that come with it.
    pub trees: Vec<Digest>,
    /// The blobs that come with it.
    pub blobs: Vec<Digest>,
}

/// Remotes in front of one store.
pub struct Shared {
    tiers: Arc<Tiers>,
    store: Store,
    state: Mutex<State>,
    /// Woken when a unit has arrived, or will not.
    landed: Condvar,
    uploads: Uploads,
}

#[derive(Default)]
struct State {
    located: Vec<Located>,
    /// Trees and blobs whose place is known when the spine of what promises them has been read.
    roots: HashMap<[u8; 32], usize>,
    /// Files, and the unit of which parcel they are in.
    files: HashMap<[u8; 32], (usize, [u8; 32])>,
    /// Units that are on their way.
    flying: HashSet<(usize, [u8; 32])>,
    /// What a remote has, by the name of the pack.
    known: HashMap<(usize, [u8; 32]), Digest>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("tiers", &self.tiers).finish_non_exhaustive()
    }
}

impl Shared {
    /// Puts remotes behind a store: what it lacks, it asks for from now on, as long as this lives.
    pub fn new(tiers: Arc<Tiers>, store: &Store) -> Arc<Shared> {
        let shared = Arc::new(Shared {
            tiers,
            store: store.clone(),
            state: Mutex::default(),
            landed: Condvar::new(),
            uploads: Uploads::default(),
        });
        let source: Arc<dyn Source> = shared.clone();
        store.attach(&source);
        shared
    }

    /// The remotes.
    pub fn tiers(&self) -> &Tiers {
        &self.tiers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks one remote after the other for a record, and promises what it needs.
    pub fn get(&self, kind: RecordKind, key: &str) -> Option<Found> {
        if self.tiers.memory().refused.contains(&(kind, key.to_owned())) {
            return None;
        }
        (0..self.tiers.tiers.len()).find_map(|tier| self.get_at(tier, kind, key))
    }

    /// The manifests of an action, one remote after the other.
    pub fn manifests<'a>(&'a self, key: &'a str) -> impl Iterator<Item = Manifest> + 'a {
        (0..self.tiers.tiers.len())
            .filter_map(move |tier| self.get_at(tier, RecordKind::Manifest, key))
            .filter_map(|found| Manifest::decode(&found.record).ok())
    }

    fn get_at(&self, at: usize, kind: RecordKind, key: &str) -> Option<Found> {
        let (parcel, _) = self.read(at, kind, key)?;
        if self.tiers.memory().careful && !self.has_all(at, &parcel) {
            let name = entry_name(self.tiers.tiers[at].namespace.as_deref(), kind, key);
            self.tiers.memory().absent.insert((at, name));
            return None;
        }
        if kind != RecordKind::Manifest {
            self.tiers.counters.hits.fetch_add(1, Ordering::Relaxed);
            self.note(&parcel, at);
        }
        let found =
            Found { record: parcel.record.clone(), trees: parcel.trees.clone(), blobs: parcel.blobs.clone() };
        self.promise(at, parcel, false);
        Some(found)
    }

    fn has_all(&self, at: usize, parcel: &Parcel) -> bool {
        let blobs = parcel.packing.blobs();
        blobs.is_empty()
            || self.tiers.tiers[at].remote.missing(&blobs).is_ok_and(|missing| missing.is_empty())
    }

    /// Reads an entry, and believes nothing of it that is not as it should be.
    fn read(&self, at: usize, kind: RecordKind, key: &str) -> Option<(Parcel, Option<String>)> {
        let tiers = &self.tiers;
        let tier = &tiers.tiers[at];
        let name = entry_name(tier.namespace.as_deref(), kind, key);
        if tiers.memory().absent.contains(&(at, name)) {
            return None;
        }
        let url = || tier.remote.url().to_owned();
        let entry = match tier.remote.get(&name) {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                tiers.counters.misses.fetch_add(1, Ordering::Relaxed);
                tiers.memory().absent.insert((at, name));
                return None;
            }
            Err(error) => {
                tiers.tell(at, "failed", &Event::Failed { url: url(), error });
                return None;
            }
        };
        let refused = |why: Distrust| {
            tiers.counters.distrusted.fetch_add(1, Ordering::Relaxed);
            let mut memory = tiers.memory();
            memory.absent.insert((at, name));
            memory.doubts.entry(at).or_insert((why, 0)).1 += 1;
            None
        };
        let opened = match tiers.trust.open(&name, &entry.bytes) {
            Ok(opened) => opened,
            Err(why) => return refused(why),
        };
        match Parcel::decode(&opened.payload, kind, key) {
            Ok(parcel) => Some((parcel, entry.version)),
            Err(_) => refused(Distrust::Garbled),
        }
    }

    /// A record whose bytes are not all here: promises them again as they were promised when it was found. No request.
    pub fn recall(&self, kind: RecordKind, key: &str) -> bool {
        if self.tiers.is_empty() || self.tiers.memory().refused.contains(&(kind, key.to_owned())) {
            return false;
        }
        let Some((parcel, ids)) = self.noted(kind, key) else { return false };
        let tiers = &self.tiers.tiers;
        let Some(at) = tiers.iter().position(|tier| ids.contains(&tier.id())) else { return false };
        let doubted = self.tiers.memory().careful;
        if doubted && !(self.acquaint(at, kind, key) && self.has_all(at, &parcel)) {
            return false;
        }
        self.promise(at, parcel, true);
        true
    }

    /// Lets a remote read an entry that was read by an earlier process: it may name blobs in another way, and learns how from the
    /// entry. False: it is not there any more.
    fn acquaint(&self, at: usize, kind: RecordKind, key: &str) -> bool {
        let tier = &self.tiers.tiers[at];
        let name = entry_name(tier.namespace.as_deref(), kind, key);
        tier.remote.get(&name).is_ok_and(|entry| entry.is_some())
    }

    /// Whether a record is known to be in every remote that is written to.
    fn is_written(&self, kind: RecordKind, key: &str) -> bool {
        let ids = self.noted(kind, key).map(|(_, ids)| ids).unwrap_or_default();
        let mut written = self.tiers.tiers.iter().filter(|tier| tier.access == Access::ReadWrite);
        written.all(|tier| ids.contains(&tier.id()))
    }

    /// Whether what a record needs is still where it was written, as far as there is reason to ask: bytes were missing before.
    fn is_intact(&self, kind: RecordKind, key: &str) -> bool {
        if !self.tiers.memory().careful {
            return true;
        }
        let Some((parcel, _)) = self.noted(kind, key) else { return false };
        let mut tiers = self.tiers.tiers.iter().enumerate();
        tiers.all(|(at, tier)| {
            tier.access != Access::ReadWrite || self.acquaint(at, kind, key) && self.has_all(at, &parcel)
        })
    }

    /// Where a record was found or written.
    fn noted(&self, kind: RecordKind, key: &str) -> Option<(Parcel, Vec<String>)> {
        let bytes = self.store.peek_record(RecordKind::Where, &entry_name(None, kind, key).hex()).ok()??;
        let mut reader = Reader::new(&bytes, WHERE).ok()?;
        let parcel = Parcel::decode(reader.bytes().ok()?, kind, key).ok()?;
        let ids = (0..reader.count(8).ok()?).map(|_| reader.str().map(str::to_owned));
        let ids = ids.collect::<Result<_, CodecError>>().ok()?;
        Some((parcel, ids))
    }

    fn note(&self, parcel: &Parcel, at: usize) {
        let mut ids = self.noted(parcel.kind, &parcel.key).map(|(_, ids)| ids).unwrap_or_default();
        let id = self.tiers.tiers[at].id();
        if ids.contains(&id) {
            return;
        }
        ids.push(id);
        // The record itself is kept where records are.
        let parcel = Parcel { record: Vec::new(), ..parcel.clone() };
        let Ok(payload) = parcel.encode() else { return };
        let mut out = Writer::new(WHERE);
        out.bytes(&payload).u64(ids.len() as u64);
        ids.iter().for_each(|id| {
            out.str(id);
        });
        let name = entry_name(None, parcel.kind, &parcel.key).hex();
        // Without the note, it is asked for again.
        let _ = self.store.put_record(RecordKind::Where, &name, &out.finish());
    }

    /// Bytes that were promised with a record could not be had: nobody is told of it again in this command, and its producer
    /// runs.
    fn refuse(&self, kind: RecordKind, key: &str, gone: bool) {
        let mut memory = self.tiers.memory();
        memory.refused.insert((kind, key.to_owned()));
        memory.careful = true;
        drop(memory);
        if gone {
            let _ = self.store.remove_record(RecordKind::Where, &entry_name(None, kind, key).hex());
        }
        self.store.forget();
    }

    /// A folder for what is on its way.
    fn scratch(&self) -> crate::error::Result<crate::Scratch> {
        self.store.scratch()
    }
}

/// Remembers which packs a remote has, so that they need not be made again.
fn learn(state: &mut State, at: usize, files: &[Digest], unit: Digest) {
    state.known.insert((at, pack_name(files)), unit);
}

/// Removes a file that may not be there.
fn discard(path: &Path) {
    let _ = std::fs::remove_file(path);
}
