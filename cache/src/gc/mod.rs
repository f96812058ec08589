//! Garbage collection: a pure [`plan`] of what may go, and its [`execute`]ion.
//!
//! What is kept, in this order: the newest releases of each name, then everything written within the grace, then results
//! by newest use until the budget is spent. A store that another process has open is never collected: whoever builds may
//! rely on a blob that nothing refers to yet.

mod marks;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::error::{Result, StoreError};
use crate::verify::{CasFile, cas_files};
use crate::{Digest, RecordKind, Store, remove_tree};
use marks::Marks;

/// How much may stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of blobs that may stay; releases stay even beyond it.
    pub bytes: u64,
    /// How many releases of each name stay whatever happens.
    pub releases: usize,
    /// What was stored more recently than this stays, referred to or not.
    pub grace: Duration,
    /// How many runs of the history stay.
    pub runs: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { bytes: 20 << 30, releases: 10, grace: Duration::from_secs(3600), runs: 1000 }
    }
}

impl Budget {
    /// The default for the disk a store lies on: 20 GiB or a tenth of the disk, whichever is less.
    pub fn for_disk(store: &Store) -> Budget {
        let mut budget = Budget::default();
        if let Ok(disk) = rustix::fs::statvfs(store.root()) {
            budget.bytes = budget.bytes.min(disk.f_blocks.saturating_mul(disk.f_frsize) / 10);
        }
        budget
    }
}

/// Says which trees a record needs. The cache does not know what is in a record.
pub type Roots<'a> = &'a dyn Fn(RecordKind, &[u8]) -> Vec<Digest>;

/// What would be removed. While it lives, and if the store could be locked, no other process can open the store.
#[derive(Debug)]
pub struct Plan {
    store: Store,
    alone: bool,
    runs: usize,
    /// Records that go.
    pub records: Vec<(RecordKind, String)>,
    /// Files in `cas/` that go, as `xx/HEX` or `xx/HEXx`, with their sizes.
    pub blobs: Vec<(String, u64)>,
    /// Checkouts in `trees/` that go.
    pub checkouts: Vec<String>,
    /// Bytes of blobs that stay.
    pub kept_bytes: u64,
    /// Bytes of blobs that go.
    pub freed_bytes: u64,
}

impl Drop for Plan {
    fn drop(&mut self) {
        if self.alone {
            self.store.lock_shared();
        }
    }
}

/// What [`execute`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Records removed.
    pub records: usize,
    /// Files removed from `cas/`.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
}

/// One record with what it needs.
struct Candidate {
    kind: RecordKind,
    key: String,
    used: i64,
    roots: Vec<Digest>,
}

/// Decides what may go. Nothing is removed.
pub fn plan(store: &Store, budget: &Budget, roots: Roots<'_>) -> Result<Plan> {
    let mut plan = Plan {
        store: store.clone(),
        alone: store.lock_alone(),
        runs: budget.runs,
        records: Vec::new(),
        blobs: Vec::new(),
        checkouts: Vec::new(),
        kept_bytes: 0,
        freed_bytes: 0,
    };
    let files = cas_files(store)?;
    let mut sizes: HashMap<[u8; 32], u64> = HashMap::new();
    for file in files.iter().filter(|file| file.name.is_some()) {
        *sizes.entry(file.hash).or_default() += file.size;
    }
    let mut marks = Marks::new(store, sizes);
    let young = now().saturating_sub(i64::try_from(budget.grace.as_secs()).unwrap_or(i64::MAX));
    let (pinned, mut others) = candidates(store, budget, roots)?;
    for candidate in &pinned {
        let reached = marks.reach(candidate)?;
        marks.keep(reached);
    }
    others.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(&b.key)));
    let mut full = false;
    for candidate in &others {
        let reached = marks.reach(candidate)?;
        // Once one does not fit, no older one is kept in its place: what goes is always the least recently used.
        full |= candidate.used < young && marks.bytes + marks.cost(&reached) > budget.bytes;
        if full && candidate.used < young {
            plan.records.push((candidate.kind, candidate.key.clone()));
        } else {
            marks.keep(reached);
        }
    }
    if full {
        drop_companions(&mut plan, &others, young)?;
    }
    sweep(&mut plan, &files, &marks, young);
    Ok(plan)
}

/// Manifests, parts and notes of where things are name no blobs and are small; they go when they were last used before every result that stays.
fn drop_companions(plan: &mut Plan, others: &[Candidate], young: i64) -> Result<()> {
    let gone: HashSet<&str> = plan.records.iter().map(|(_, key)| key.as_str()).collect();
    let kept = others.iter().filter(|candidate| !gone.contains(candidate.key.as_str()));
    let limit = kept.map(|candidate| candidate.used).min().unwrap_or(i64::MAX).min(young);
    let store = plan.store.clone();
    for kind in [RecordKind::Manifest, RecordKind::Parts, RecordKind::Where] {
        let old = used_records(&store, kind)?.into_iter().filter(|(_, used)| *used < limit);
        plan.records.extend(old.map(|(key, _)| (kind, key)));
    }
    Ok(())
}

fn sweep(plan: &mut Plan, files: &[CasFile], marks: &Marks<'_>, young: i64) {
    for file in files {
        let Some(name) = &file.name else { continue };
        if marks.live.contains(&file.hash) || file.changed >= young {
            plan.kept_bytes += file.size;
        } else {
            plan.freed_bytes += file.size;
            plan.blobs.push((name.clone(), file.size));
        }
    }
    let trees = plan.store.root().join("trees");
    for entry in fs::read_dir(&trees).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let live = crate::digest::parse_hash(&name).is_some_and(|hash| marks.live.contains(&hash));
        if !live {
            plan.checkouts.push(name);
        }
    }
    plan.checkouts.sort();
}

/// Removes what a plan says: records first, so that nothing is ever found that lacks its blobs.
pub fn execute(plan: &Plan) -> Result<Collected> {
    let store = &plan.store;
    if !plan.alone {
        return Err(StoreError::Busy { path: store.root().to_path_buf() });
    }
    let mut done = Collected::default();
    for (kind, key) in &plan.records {
        store.remove_record(*kind, key)?;
        done.records += 1;
    }
    store.index().flush();
    store.index().forget(&plan.records);
    let releases: Vec<String> = plan
        .records
        .iter()
        .filter(|(kind, _)| *kind == RecordKind::Release)
        .map(|(_, key)| key.clone())
        .collect();
    store.index().prune(&releases, plan.runs);
    for checkout in &plan.checkouts {
        remove_tree(&store.root().join("trees").join(checkout))?;
    }
    for (name, size) in &plan.blobs {
        store.discard(name);
        done.blobs += 1;
        done.bytes += size;
    }
    Ok(done)
}

/// Records that need blobs: the releases that stay whatever happens, and the rest.
fn candidates(store: &Store, budget: &Budget, roots: Roots<'_>) -> Result<(Vec<Candidate>, Vec<Candidate>)> {
    let (mut pinned, mut others) = (Vec::new(), Vec::new());
    for (key, used) in used_records(store, RecordKind::Result)? {
        let bytes = store.peek_record(RecordKind::Result, &key)?;
        let roots = bytes.map(|bytes| roots(RecordKind::Result, &bytes)).unwrap_or_default();
        others.push(Candidate { kind: RecordKind::Result, key, used, roots });
    }
    let mut releases: BTreeMap<String, Candidate> = BTreeMap::new();
    for (key, used) in used_records(store, RecordKind::Release)? {
        let bytes = store.peek_record(RecordKind::Release, &key)?;
        let roots = bytes.map(|bytes| roots(RecordKind::Release, &bytes)).unwrap_or_default();
        releases.insert(key.clone(), Candidate { kind: RecordKind::Release, key, used, roots });
    }
    let mut places: HashMap<String, usize> = HashMap::new();
    for row in store.index().releases(None) {
        let place = places.entry(row.name).or_default();
        let used = row.created / 1000;
        let mut candidate = releases.remove(&row.key).unwrap_or(Candidate {
            kind: RecordKind::Release,
            key: row.key,
            used,
            roots: Vec::new(),
        });
        candidate.roots.push(row.tree);
        if *place < budget.releases {
            pinned.push(candidate)
        } else {
            others.push(candidate)
        }
        *place += 1;
    }
    // A release record that the index has no row for: its name is not known, so it stays.
    pinned.extend(releases.into_values());
    Ok((pinned, others))
}

/// The records of a kind with the time each was last used or, when later, written.
fn used_records(store: &Store, kind: RecordKind) -> Result<Vec<(String, i64)>> {
    let uses = store.index().uses(kind);
    let listed = store.list_records(kind)?;
    Ok(listed
        .into_iter()
        .map(|entry| {
            let used = uses.get(&entry.key).copied().unwrap_or(entry.written).max(entry.written);
            (entry.key, used)
        })
        .collect())
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
