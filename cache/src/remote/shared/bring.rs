//! Bringing what was promised into the store: spines first, then the units in which the wanted files are.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError, mpsc};

use super::located::Load;
use super::{Event, Shared, discard};
use crate::remote::pack::{Unfit, Unit, open_spine, unpack, unpack_file};
use crate::remote::{Body, IN_MEMORY, RemoteError, RemoteErrorKind};
use crate::{Digest, Source, Store};

/// How many threads take apart what arrives.
const UNPACKERS: usize = 4;

impl Source for Shared {
    fn promises_any(&self) -> bool {
        let state = self.state();
        !state.roots.is_empty() || !state.files.is_empty()
    }

    fn promises(&self, blob: &Digest) -> bool {
        let state = self.state();
        state.roots.contains_key(&blob.hash) || state.files.contains_key(&blob.hash)
    }

    fn bring(&self, _: &Store, blobs: &[Digest]) {
        self.open_spines(blobs);
        let mut wanted: BTreeMap<(usize, [u8; 32]), Load> = BTreeMap::new();
        {
            let state = self.state();
            for blob in blobs {
                let Some(&(at, name)) = state.files.get(&blob.hash) else { continue };
                if let Some(load) = state.located[at].units.get(&name) {
                    wanted.insert((at, name), load.clone());
                }
            }
        }
        self.bring_units(wanted);
    }
}

impl Shared {
    /// Reads the spines of the parcels that promise these blobs.
    fn open_spines(&self, blobs: &[Digest]) {
        let spines: HashSet<usize> = {
            let state = self.state();
            let at = blobs.iter().filter_map(|blob| state.roots.get(&blob.hash).copied());
            at.filter(|&at| !state.located[at].opened).collect()
        };
        for at in spines {
            self.open_spine(at);
        }
    }

    pub(super) fn open_spine(&self, at: usize) {
        let (tier, unit, size, trees, blobs) = {
            let mut state = self.state();
            loop {
                let located = &state.located[at];
                if located.opened || located.lost {
                    return;
                }
                if state.flying.insert((at, [0; 32])) {
                    break;
                }
                state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let located = &state.located[at];
            let (unit, size) = located.packing.spine.clone();
            (located.tier, unit, size, located.trees.clone(), located.blobs.clone())
        };
        self.introduce(at);
        let opened = self.frame(tier, &unit).and_then(|frame| {
            let (survey, directories) = open_spine(&frame, size, &trees, &blobs)?;
            // Promised before they can be found in a directory: whoever reads one may ask for what is in it at once.
            self.state().open(at, self.tiers.home(tier), &survey)?;
            self.store.put_bytes(&[]).map_err(Unfit::Store)?;
            self.store.put_encoded(&directories).map_err(Unfit::Store)?;
            self.state().located[at].opened = true;
            Ok(())
        });
        if let Err(error) = opened {
            self.lost(at, &error);
        }
        self.state().flying.remove(&(at, [0; 32]));
        self.landed.notify_all();
    }

    /// Sees to it that the remote of a parcel knows its entry, before it is asked for what that speaks of.
    fn introduce(&self, at: usize) {
        let (tier, kind, key) = {
            let mut state = self.state();
            let located = &mut state.located[at];
            if !std::mem::take(&mut located.recalled) {
                return;
            }
            (located.tier, located.kind, located.key.clone())
        };
        // Where it is gone, so is what it speaks of, as the next call says.
        self.acquaint(tier, kind, &key);
    }

    /// The bytes of a spine.
    fn frame(&self, tier: usize, unit: &Unit) -> Result<Vec<u8>, Loss> {
        let digest = match unit {
            Unit::Inline(frame) => return Ok(frame.clone()),
            Unit::Blob(digest) => *digest,
        };
        let scratch = self.scratch().map_err(Unfit::Store)?;
        let got: Mutex<Option<Body>> = Mutex::new(None);
        let fetched = self.tiers.tiers[tier].remote.fetch(&[digest], scratch.path(), &|_, body| {
            *got.lock().unwrap_or_else(PoisonError::into_inner) = body;
        });
        fetched.map_err(Loss::Call)?;
        let body = got.into_inner().unwrap_or_else(PoisonError::into_inner).ok_or_else(gone)?;
        self.tiers.counters.received.fetch_add(digest.size, Ordering::Relaxed);
        let bytes = match body {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::File(path) => std::fs::read(&path)
                .map_err(|error| RemoteError::new(RemoteErrorKind::Local, error.to_string()))?,
        };
        if Digest::of(&bytes) == digest { Ok(bytes) } else { Err(Unfit::Damaged.into()) }
    }

    /// Fetches units, each once whoever asks for it, and takes them apart as they arrive.
    fn bring_units(&self, mut wanted: BTreeMap<(usize, [u8; 32]), Load>) {
        let mut mine: BTreeMap<usize, Vec<(usize, Load)>> = BTreeMap::new();
        let mut theirs = Vec::new();
        {
            let mut state = self.state();
            wanted.retain(|(at, _), _| !state.located[*at].lost);
            for (place, load) in wanted {
                if state.flying.insert(place) {
                    let tier = state.located[place.0].tier;
                    mine.entry(tier).or_default().push((place.0, load));
                } else {
                    theirs.push(place);
                }
            }
        }
        for (tier, loads) in &mine {
            let parcels: HashSet<usize> = loads.iter().map(|(at, _)| *at).collect();
            parcels.into_iter().for_each(|at| self.introduce(at));
            self.bring_from(*tier, loads);
            let mut state = self.state();
            for (at, load) in loads {
                state.flying.remove(&(*at, super::located::unit_name(&load.unit)));
            }
            self.landed.notify_all();
        }
        let mut state = self.state();
        while theirs.iter().any(|place| state.flying.contains(place)) {
            state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn bring_from(&self, tier: usize, loads: &[(usize, Load)]) {
        let scratch = match self.scratch() {
            Ok(scratch) => scratch,
            Err(error) => {
                return loads
                    .iter()
                    .for_each(|(at, _)| self.lost(*at, &Unfit::Store(error_again(&error)).into()));
            }
        };
        let scratch = scratch.path();
        let mut units: Vec<Digest> = Vec::new();
        let mut by_unit: BTreeMap<Digest, Vec<&(usize, Load)>> = BTreeMap::new();
        for load in loads {
            match &load.1.unit {
                Unit::Inline(frame) => {
                    if let Err(error) = self.keep(frame, &load.1.files) {
                        self.lost(load.0, &error.into());
                    }
                }
                Unit::Blob(digest) => by_unit.entry(*digest).or_default().push(load),
            }
        }
        units.extend(by_unit.keys());
        if units.is_empty() {
            return;
        }
        let (sender, receiver) = mpsc::channel::<(Digest, Option<Body>)>();
        let receiver = Mutex::new(receiver);
        let arrived: Mutex<HashSet<Digest>> = Mutex::default();
        let fetched = std::thread::scope(|scope| {
            for _ in 0..units.len().min(UNPACKERS) {
                scope.spawn(|| {
                    loop {
                        let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).recv();
                        let Ok((digest, body)) = next else { break };
                        arrived.lock().unwrap_or_else(PoisonError::into_inner).insert(digest);
                        let kept = body.ok_or_else(gone).and_then(|body| {
                            self.tiers.counters.received.fetch_add(digest.size, Ordering::Relaxed);
                            self.accept(&digest, body, &by_unit[&digest][0].1, scratch)
                        });
                        if let Err(error) = kept {
                            let loss = Loss::Bytes(error);
                            by_unit[&digest].iter().for_each(|(at, _)| self.lost(*at, &loss));
                        }
                    }
                });
            }
            let remote = &self.tiers.tiers[tier].remote;
            let sender = Mutex::new(sender);
            let pass = |digest: &Digest, body: Option<Body>| {
                // Only what was asked for.
                if by_unit.contains_key(digest) {
                    let sender = sender.lock().unwrap_or_else(PoisonError::into_inner);
                    let _ = sender.send((*digest, body));
                }
            };
            let fetched = remote.fetch(&units, scratch, &pass);
            drop(sender);
            fetched
        });
        let arrived = arrived.into_inner().unwrap_or_else(PoisonError::into_inner);
        let loss = fetched.err().map_or_else(|| Loss::Bytes(gone()), Loss::Call);
        for (digest, loads) in &by_unit {
            if !arrived.contains(digest) {
                loads.iter().for_each(|(at, _)| self.lost(*at, &loss));
            }
        }
    }

    /// Takes a unit that arrived.
    fn accept(&self, digest: &Digest, body: Body, load: &Load, scratch: &Path) -> Result<(), RemoteError> {
        match body {
            Body::Bytes(bytes) => {
                if Digest::of(&bytes) != *digest {
                    return Err(Unfit::Damaged.into());
                }
                let large = load.files.iter().any(|file| file.size > IN_MEMORY);
                if !large {
                    return Ok(self.keep(&bytes, &load.files)?);
                }
                let path = scratch.join(format!("{}.in", digest.hex()));
                std::fs::write(&path, &bytes)
                    .map_err(|error| RemoteError::new(RemoteErrorKind::Local, error.to_string()))?;
                self.keep_file(&path, &load.files)
            }
            Body::File(path) => {
                let found = Digest::of_file(&path)
                    .map_err(|error| RemoteError::new(RemoteErrorKind::Local, error.to_string()))?;
                if found != *digest {
                    discard(&path);
                    return Err(Unfit::Damaged.into());
                }
                self.keep_file(&path, &load.files)
            }
        }
    }

    fn keep(&self, frame: &[u8], files: &[Digest]) -> Result<(), Unfit> {
        unpack(frame, files, &mut |digest, bytes| self.store.put_hashed(digest, &bytes))
    }

    fn keep_file(&self, frame: &Path, files: &[Digest]) -> Result<(), RemoteError> {
        let [file] = files else {
            let bytes = std::fs::read(frame)
                .map_err(|error| RemoteError::new(RemoteErrorKind::Local, error.to_string()))?;
            return Ok(self.keep(&bytes, files)?);
        };
        let raw = frame.with_extension("raw");
        let kept = unpack_file(frame, file, &raw).and_then(|()| Ok(self.store.put_file(&raw)?));
        discard(frame);
        discard(&raw);
        match kept? {
            found if found == *file => Ok(()),
            _ => Err(Unfit::Damaged.into()),
        }
    }

    /// What was promised cannot be had.
    fn lost(&self, at: usize, loss: &Loss) {
        let (tier, kind, key) = {
            let mut state = self.state();
            if state.located[at].lost {
                return;
            }
            state.lose(at);
            let located = &state.located[at];
            (located.tier, located.kind, located.key.clone())
        };
        let (Loss::Call(error) | Loss::Bytes(error)) = loss;
        let gone = matches!(error.kind, RemoteErrorKind::Broken | RemoteErrorKind::Refused);
        self.refuse(kind, &key, gone);
        let url = self.tiers.tiers[tier].remote.url().to_owned();
        match loss {
            Loss::Bytes(error) if gone => {
                self.tiers.tell(tier, "lost", &Event::Lost { url, why: error.message.clone() });
            }
            Loss::Call(error) | Loss::Bytes(error) => {
                self.tiers.tell(tier, "failed", &Event::Failed { url, error: error.clone() });
            }
        }
    }
}

/// Why what was promised cannot be had.
#[derive(Debug)]
enum Loss {
    /// A call failed.
    Call(RemoteError),
    /// What came is not what it should be, or could not be kept.
    Bytes(RemoteError),
}

impl From<RemoteError> for Loss {
    fn from(error: RemoteError) -> Loss {
        Loss::Bytes(error)
    }
}

impl From<Unfit> for Loss {
    fn from(unfit: Unfit) -> Loss {
        Loss::Bytes(unfit.into())
    }
}

fn gone() -> RemoteError {
    RemoteError::new(RemoteErrorKind::Broken, "bytes that an entry speaks of are gone")
}

fn error_again(error: &crate::StoreError) -> crate::StoreError {
    crate::StoreError::io(Path::new("tmp"), "use", std::io::Error::other(error.to_string()))
}
