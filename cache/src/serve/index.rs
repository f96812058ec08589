//! What is on disk, in memory: [`Index`]. It knows which entries need which blobs, and which of all this goes first.
//!
//! Order of going is by last use, and a blob counts as used when an entry that needs it is. So that a hit costs one number and
//! not one per blob, the queue is put right only when something has to go: what turns out to have been used since goes back in.

use std::collections::{BTreeSet, HashMap};

use slab::Slab;

use super::names::{BlobName, EntryId};

/// What files take on disk, as most file systems count.
const BLOCK: u64 = 4096;
/// How many go at a time, so that nobody waits long.
const AT_ONCE: usize = 128;

/// What is known of a blob.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    pub name: BlobName,
    pub size: u64,
    /// Whether its bytes were hashed since the server started: while it came, or before it was first read.
    pub verified: bool,
    used: u64,
    /// Until when somebody counts on it: whoever sent it, or was told that it is there, has yet to send an entry.
    promised: u64,
    needed_by: Vec<u32>,
    queued: u64,
}

/// What is known of an entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub id: EntryId,
    /// Bytes of its value.
    pub length: u64,
    /// Bytes of its file.
    pub size: u64,
    /// BLAKE3 of its value.
    pub hash: [u8; 32],
    /// How long it took to make what it speaks of, in milliseconds; 0: nobody said.
    pub duration: u64,
    pub needs: Box<[u32]>,
    used: u64,
    queued: u64,
}

/// Something that is no longer in the index, and has to go from the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Removed {
    Blob(BlobName, u64),
    Entry(EntryId),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Item {
    // Where both were used last at the same moment, the entry goes before what it needs.
    Entry(u32),
    Blob(u32),
}

/// How much may be there, and how long what stays in any case. Times are in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub max: u64,
    /// What is left when room was made.
    pub low: u64,
    /// How long a blob without an entry is kept for whoever is about to send one.
    pub grace: u64,
    /// How long what was used is not removed.
    pub lease: u64,
}

/// Why an entry was not taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refused {
    /// These blobs, that it needs, are not there.
    Incomplete(Vec<BlobName>),
    /// There is one already, or another one.
    Condition,
}

/// On what condition an entry is taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Absent,
    /// When there is one.
    Present,
    /// When its value has this hash, as far as the text of it goes.
    Is([u8; 32]),
}

/// An entry that is about to be there.
#[derive(Debug, Clone)]
pub(super) struct NewEntry {
    pub id: EntryId,
    pub length: u64,
    pub size: u64,
    pub hash: [u8; 32],
    pub duration: u64,
    pub needs: Vec<(BlobName, u64)>,
}

#[derive(Debug)]
pub(super) struct Index {
    rules: Rules,
    blobs: Slab<Blob>,
    entries: Slab<Entry>,
    blob_ids: HashMap<BlobName, u32>,
    entry_ids: HashMap<EntryId, u32>,
    queue: BTreeSet<(u64, Item)>,
    used: u64,
    reserved: u64,
    /// Until when it is not tried again to make room: nothing may go.
    stuck_until: u64,
}

/// What a file of this size takes on disk.
pub(super) fn on_disk(size: u64) -> u64 {
    size.div_ceil(BLOCK).saturating_mul(BLOCK)
}

impl Index {
    pub fn new(rules: Rules) -> Index {
        Index {
            rules,
            blobs: Slab::new(),
            entries: Slab::new(),
            blob_ids: HashMap::new(),
            entry_ids: HashMap::new(),
            queue: BTreeSet::new(),
            used: 0,
            reserved: 0,
            stuck_until: 0,
        }
    }

    /// Blobs, entries, and bytes on disk.
    pub fn totals(&self) -> (usize, usize, u64) {
        (self.blobs.len(), self.entries.len(), self.used)
    }

    /// How many entries each partition has.
    pub fn partitions(&self) -> HashMap<&str, (usize, u64)> {
        let mut counts: HashMap<&str, (usize, u64)> = HashMap::new();
        for (_, entry) in &self.entries {
            let count = counts.entry(entry.id.partition.name()).or_default();
            count.0 += 1;
            count.1 += entry.size;
        }
        counts
    }

    pub fn blob(&self, name: &BlobName) -> Option<&Blob> {
        self.blob_ids.get(name).map(|id| &self.blobs[*id as usize])
    }

    pub fn entry(&self, id: &EntryId) -> Option<&Entry> {
        self.entry_ids.get(id).map(|id| &self.entries[*id as usize])
    }

    /// The names and sizes of what an entry needs.
    pub fn needs(&self, entry: &Entry) -> Vec<(BlobName, u64)> {
        entry
            .needs
            .iter()
            .map(|id| {
                let blob = &self.blobs[*id as usize];
                (blob.name, blob.size)
            })
            .collect()
    }

    /// Notes that a blob is used, and with `promise` that somebody counts on it. False: it is not there.
    pub fn use_blob(&mut self, name: &BlobName, now: u64, promise: bool) -> bool {
        let Some(id) = self.blob_ids.get(name) else { return false };
        let blob = &mut self.blobs[*id as usize];
        blob.used = blob.used.max(now);
        if promise {
            blob.promised = now.saturating_add(self.rules.grace);
        }
        true
    }

    /// Notes that an entry is used, and so all that it needs.
    pub fn use_entry(&mut self, id: &EntryId, now: u64) {
        if let Some(id) = self.entry_ids.get(id) {
            let entry = &mut self.entries[*id as usize];
            entry.used = entry.used.max(now);
        }
    }

    /// Notes that a blob's bytes are those of its name.
    pub fn mark_verified(&mut self, name: &BlobName) {
        if let Some(id) = self.blob_ids.get(name) {
            self.blobs[*id as usize].verified = true;
        }
    }

    /// Takes in a blob. False: it is there already.
    pub fn add_blob(&mut self, name: BlobName, size: u64, used: u64, promised: u64, verified: bool) -> bool {
        if self.blob_ids.contains_key(&name) {
            return false;
        }
        let blob = Blob { name, size, verified, used, promised, needed_by: Vec::new(), queued: used };
        let Ok(id) = u32::try_from(self.blobs.vacant_key()) else { return false };
        self.blobs.insert(blob);
        self.blob_ids.insert(name, id);
        self.queue.insert((used, Item::Blob(id)));
        self.used += on_disk(size);
        true
    }

    /// Whether an entry could be taken in, as things stand.
    pub fn admits(&self, new: &NewEntry, when: When) -> Result<(), Refused> {
        let there = self.entry(&new.id);
        let holds = match when {
            When::Always => true,
            When::Absent => there.is_none(),
            When::Present => there.is_some(),
            When::Is(hash) => there.is_some_and(|entry| entry.hash == hash),
        };
        if !holds {
            return Err(Refused::Condition);
        }
        let is_there = |name: &BlobName, size: u64| self.blob(name).is_some_and(|blob| blob.size == size);
        let missing: Vec<BlobName> = new
            .needs
            .iter()
            .filter(|(name, size)| !name.is_empty() && !is_there(name, *size))
            .map(|(name, _)| *name)
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(Refused::Incomplete(missing)) }
    }

    /// Takes in an entry that [`Index::admits`], in the place of the one that has its name.
    pub fn add_entry(&mut self, new: NewEntry, used: u64) {
        if let Some(id) = self.entry_ids.get(&new.id).copied() {
            self.drop_entry(id);
        }
        let mut needs: Vec<u32> =
            new.needs.iter().filter_map(|(name, _)| self.blob_ids.get(name).copied()).collect();
        needs.sort_unstable();
        needs.dedup();
        let Ok(id) = u32::try_from(self.entries.vacant_key()) else { return };
        for blob in &needs {
            let blob = &mut self.blobs[*blob as usize];
            blob.needed_by.push(id);
            blob.promised = 0;
        }
        self.used += on_disk(new.size);
        self.queue.insert((used, Item::Entry(id)));
        self.entry_ids.insert(new.id.clone(), id);
        self.entries.insert(Entry {
            id: new.id,
            length: new.length,
            size: new.size,
            hash: new.hash,
            duration: new.duration,
            needs: needs.into_boxed_slice(),
            used,
            queued: used,
        });
    }

    /// Removes an entry. The blobs that it needs stay for the time being.
    pub fn remove_entry(&mut self, id: &EntryId) -> Vec<Removed> {
        match self.entry_ids.get(id).copied() {
            Some(id) => vec![Removed::Entry(self.drop_entry(id))],
            None => Vec::new(),
        }
    }

    /// Removes a blob, and before it the entries that need it.
    pub fn remove_blob(&mut self, name: &BlobName) -> Vec<Removed> {
        match self.blob_ids.get(name).copied() {
            Some(id) => self.drop_blob(id),
            None => Vec::new(),
        }
    }

    fn drop_entry(&mut self, id: u32) -> EntryId {
        let entry = self.entries.remove(id as usize);
        self.queue.remove(&(entry.queued, Item::Entry(id)));
        self.entry_ids.remove(&entry.id);
        self.used -= on_disk(entry.size);
        for blob in &entry.needs {
            // No blob is removed before the entries that need it.
            self.blobs[*blob as usize].needed_by.retain(|by| *by != id);
        }
        entry.id
    }

    fn drop_blob(&mut self, id: u32) -> Vec<Removed> {
        let mut removed = Vec::new();
        while let Some(entry) = self.blobs[id as usize].needed_by.last().copied() {
            removed.push(Removed::Entry(self.drop_entry(entry)));
        }
        let blob = self.blobs.remove(id as usize);
        self.queue.remove(&(blob.queued, Item::Blob(id)));
        self.blob_ids.remove(&blob.name);
        self.used -= on_disk(blob.size);
        removed.push(Removed::Blob(blob.name, blob.size));
        removed
    }

    /// Sets room aside for bytes that are about to come. `Err`: these have to go before, or when there are none, there is no
    /// room.
    pub fn reserve(&mut self, bytes: u64, now: u64) -> Result<(), Vec<Removed>> {
        let wanted = |index: &Index| index.used.saturating_add(index.reserved).saturating_add(bytes);
        if wanted(self) <= self.rules.max {
            self.reserved += bytes;
            return Ok(());
        }
        let excess = wanted(self).saturating_sub(self.rules.low);
        Err(self.evict(excess, now))
    }

    /// Until when a blob that comes now is kept for its entry.
    pub fn promise(&self, now: u64) -> u64 {
        now.saturating_add(self.rules.grace)
    }

    /// Gives back room that was set aside.
    pub fn release(&mut self, bytes: u64) {
        self.reserved = self.reserved.saturating_sub(bytes);
    }

    /// Removes what was not used for longest, as much as this many bytes take or as go at a time.
    pub fn evict(&mut self, bytes: u64, now: u64) -> Vec<Removed> {
        let mut removed = Vec::new();
        if now < self.stuck_until {
            return removed;
        }
        let goal = self.used.saturating_sub(bytes);
        let young = now.saturating_sub(self.rules.lease);
        let mut kept = Vec::new();
        while self.used > goal && removed.len() < AT_ONCE {
            let Some((queued, item)) = self.queue.pop_first() else { break };
            let (used, promised) = self.last_use(item);
            if used > queued {
                self.queue_again(item, used);
            } else if used > young {
                // And so was everything behind it.
                self.queue.insert((queued, item));
                break;
            } else if promised > now {
                kept.push((queued, item));
            } else {
                match item {
                    Item::Entry(id) => removed.push(Removed::Entry(self.drop_entry(id))),
                    Item::Blob(id) => removed.extend(self.drop_blob(id)),
                }
            }
        }
        self.queue.extend(kept);
        if removed.is_empty() {
            // So that those who come with the next bytes do not look through everything again.
            self.stuck_until = now.saturating_add((self.rules.lease / 4).clamp(1, 1000));
        }
        removed
    }

    /// When something was used last, and until when it is promised.
    fn last_use(&self, item: Item) -> (u64, u64) {
        match item {
            Item::Entry(id) => (self.entries[id as usize].used, 0),
            Item::Blob(id) => {
                let blob = &self.blobs[id as usize];
                let by = blob.needed_by.iter().map(|entry| self.entries[*entry as usize].used).max();
                (blob.used.max(by.unwrap_or(0)), blob.promised)
            }
        }
    }

    fn queue_again(&mut self, item: Item, used: u64) {
        match item {
            Item::Entry(id) => self.entries[id as usize].queued = used,
            Item::Blob(id) => self.blobs[id as usize].queued = used,
        }
        self.queue.insert((used, item));
    }
}

#[cfg(test)]
mod tests {
    use super::super::names::{Function, Partition};
    use super::*;

    const RULES: Rules = Rules { max: 10 * BLOCK, low: 8 * BLOCK, grace: 100, lease: 10 };

    fn blob(byte: u8) -> BlobName {
        BlobName { function: Function::Blake3, hash: [byte; 32] }
    }

    fn entry(byte: u8, needs: &[u8]) -> NewEntry {
        NewEntry {
            id: EntryId { partition: Partition::main(), hash: [byte; 32] },
            length: 1,
            size: 1,
            hash: [byte; 32],
            duration: 0,
            needs: needs.iter().map(|byte| (blob(*byte), 1)).collect(),
        }
    }

    fn index(blobs: &[(u8, u64)]) -> Index {
        let mut index = Index::new(RULES);
        for (byte, used) in blobs {
            assert!(index.add_blob(blob(*byte), 1, *used, 0, true));
        }
        index
    }

    #[test]
    fn what_an_entry_needs_is_used_when_it_is() {
        let mut index = index(&[(1, 1), (2, 2), (3, 3)]);
        index.add_entry(entry(9, &[1, 3]), 5);
        index.use_entry(&entry(9, &[]).id, 900);
        let gone = index.evict(1, 1000);
        assert_eq!(gone, [Removed::Blob(blob(2), 1)], "not the oldest by itself");
    }

    #[test]
    fn entries_go_before_what_they_need() {
        let mut index = index(&[(1, 1), (2, 2)]);
        index.add_entry(entry(8, &[1, 2]), 4);
        index.add_entry(entry(9, &[1]), 5);
        let gone = index.remove_blob(&blob(1));
        assert_eq!(gone.len(), 3);
        assert_eq!(gone[2], Removed::Blob(blob(1), 1));
        assert_eq!(index.totals(), (1, 0, BLOCK));
        assert!(
            matches!(index.admits(&entry(9, &[1]), When::Always), Err(Refused::Incomplete(names)) if names == [blob(1)])
        );
    }

    #[test]
    fn what_was_promised_or_just_used_stays() {
        let mut index = index(&[(1, 1), (2, 2), (3, 995)]);
        assert!(index.use_blob(&blob(1), 950, true));
        assert_eq!(index.evict(u64::MAX, 1000), [Removed::Blob(blob(2), 1)]);
        assert_eq!(index.evict(u64::MAX, 1000), []);
        assert_eq!(index.evict(u64::MAX, 1040), [Removed::Blob(blob(3), 1)], "the promise still holds");
        assert_eq!(index.evict(u64::MAX, 1051), [Removed::Blob(blob(1), 1)]);
        assert_eq!(index.totals(), (0, 0, 0));
    }

    #[test]
    fn room_is_made_down_to_the_low_mark() {
        let mut index = index(&[(1, 1), (2, 2), (3, 3), (4, 4), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)]);
        assert_eq!(index.reserve(BLOCK, 1000), Ok(()));
        let gone = index.reserve(BLOCK, 1000).expect_err("no room");
        assert_eq!(gone.len(), 3);
        assert_eq!(index.reserve(BLOCK, 1000), Ok(()));
        index.release(BLOCK);
        index.release(BLOCK);
        assert_eq!(index.reserved, 0);
        assert_eq!(index.reserve(11 * BLOCK, 2000).expect_err("too much").len(), 6);
        assert_eq!(index.reserve(11 * BLOCK, 2000), Err(vec![]));
    }

    #[test]
    fn an_entry_is_replaced_on_its_conditions() {
        let mut index = index(&[(1, 1)]);
        let new = entry(9, &[1]);
        assert_eq!(index.admits(&new, When::Present), Err(Refused::Condition));
        assert_eq!(index.admits(&new, When::Absent), Ok(()));
        index.add_entry(new.clone(), 5);
        assert_eq!(index.admits(&new, When::Absent), Err(Refused::Condition));
        assert_eq!(index.admits(&new, When::Is([9; 32])), Ok(()));
        assert_eq!(index.admits(&new, When::Is([8; 32])), Err(Refused::Condition));
        index.add_entry(new, 6);
        assert_eq!(index.totals(), (1, 1, 2 * BLOCK));
    }
}
