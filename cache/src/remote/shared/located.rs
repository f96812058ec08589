//! What is promised: parcels whose bytes are with a remote, and in which unit each file is.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Shared, State, learn};
use crate::RecordKind;
use crate::remote::pack::{Packing, Survey, Unfit, Unit};
use crate::remote::parcel::Parcel;
use crate::{Digest, StoreError};

/// A parcel that a remote has.
pub(super) struct Located {
    pub tier: usize,
    pub kind: RecordKind,
    pub key: String,
    pub trees: Vec<Digest>,
    pub blobs: Vec<Digest>,
    pub packing: Packing,
    /// Its units with what is in each, once the spine was read.
    pub units: HashMap<[u8; 32], Load>,
    pub opened: bool,
    pub lost: bool,
    /// An earlier process read the entry, and this one's remote does not know it yet.
    pub recalled: bool,
}

/// What is in one unit.
#[derive(Clone)]
pub(super) struct Load {
    pub unit: Unit,
    pub files: Arc<Vec<Digest>>,
}

/// A name for a unit within its parcel.
pub(super) fn unit_name(unit: &Unit) -> [u8; 32] {
    match unit {
        Unit::Inline(frame) => Digest::of(frame).hash,
        Unit::Blob(digest) => digest.hash,
    }
}

impl Shared {
    pub(super) fn promise(&self, tier: usize, parcel: Parcel, recalled: bool) {
        if parcel.trees.is_empty() && parcel.blobs.is_empty() {
            return;
        }
        let mut state = self.state();
        let at = state.located.len();
        for root in parcel.trees.iter().chain(&parcel.blobs) {
            state.roots.insert(root.hash, at);
        }
        state.located.push(Located {
            tier,
            kind: parcel.kind,
            key: parcel.key,
            trees: parcel.trees,
            blobs: parcel.blobs,
            packing: parcel.packing,
            units: HashMap::new(),
            opened: false,
            lost: false,
            recalled,
        });
        drop(state);
        self.open_known(at);
    }

    /// Opens a parcel whose directories are here in part or in whole: nobody would ask for those that are, and the files in them
    /// are promised all the same.
    fn open_known(&self, at: usize) {
        let (tier, trees, blobs) = {
            let located = &self.state().located[at];
            (located.tier, located.trees.clone(), located.blobs.clone())
        };
        let contains = |tree: &Digest| self.store.contains(tree);
        if !trees.iter().any(contains) {
            return;
        }
        let mut load = |tree: &Digest| match contains(tree) {
            true => self.store.directory(tree),
            false => Err(StoreError::Missing { digest: *tree }),
        };
        let opened = match Survey::of::<StoreError>(&trees, &blobs, &mut load) {
            Ok(survey) => {
                let mut state = self.state();
                let opened = state.open(at, self.tiers.home(tier), &survey).is_ok();
                state.located[at].opened = opened;
                opened
            }
            Err(_) => false,
        };
        if !opened {
            self.open_spine(at);
        }
    }
}

impl State {
    /// Notes in which unit each file of a parcel is, now that its directories are known.
    pub(super) fn open(&mut self, at: usize, home: usize, survey: &Survey) -> Result<(), Unfit> {
        let located = &mut self.located[at];
        let mut files = survey.files.iter().filter(|file| file.size < crate::remote::pack::LARGE);
        let mut loads: Vec<Load> = Vec::new();
        for (unit, count) in &located.packing.packs {
            let pack: Vec<Digest> = files.by_ref().take(*count as usize).copied().collect();
            if pack.len() != *count as usize {
                return Err(Unfit::Damaged);
            }
            loads.push(Load { unit: unit.clone(), files: Arc::new(pack) });
        }
        let large = survey.large();
        if files.next().is_some() || large.len() != located.packing.large.len() {
            return Err(Unfit::Damaged);
        }
        for (unit, file) in located.packing.large.iter().zip(large) {
            loads.push(Load { unit: unit.clone(), files: Arc::new(vec![file]) });
        }
        let recalled = located.recalled;
        // Who finds one directory of a tree in the store may ask for the next before that is written.
        for (directory, _) in &survey.directories {
            self.roots.entry(directory.hash).or_insert(at);
        }
        located.units = loads.iter().map(|load| (unit_name(&load.unit), load.clone())).collect();
        for load in &loads {
            let name = unit_name(&load.unit);
            for file in load.files.iter() {
                self.files.entry(file.hash).or_insert((at, name));
            }
            if let Unit::Blob(digest) = load.unit
                && !recalled
            {
                learn(self, home, &load.files, digest);
            }
        }
        Ok(())
    }

    /// Takes a promise back.
    pub(super) fn lose(&mut self, at: usize) {
        self.located[at].lost = true;
        self.roots.retain(|_, located| *located != at);
        self.files.retain(|_, (located, _)| *located != at);
    }
}
