//! The remotes of a command: connected as they are configured, put behind the store, told of, and waited for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relgraph_cache::remote::{
    Access, Distrust, Event, Guarded, Notice, Notices, Over, Put, Remote, RemoteSpec, Shared, Tier, Tiers,
    connect,
};
use relgraph_cache::{Digest, RecordKind, Store};
use relgraph_engine::Cancel;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::record::ReleaseRecord;
use relgraph_rules::schema::ReleaseFile;

use super::context::Context;
use super::remotes::configured;
use crate::render::{diagnostic, tell};

/// The remotes of a command, and how long it waits for them in the end.
pub struct Team {
    tiers: Arc<Tiers>,
    upload_wait: Duration,
    /// Whether it was said that a remote fails.
    told: Arc<AtomicBool>,
}

/// The remotes behind a store, if there are any. `release` is release.yaml and its folder, for commands that are about one.
pub fn open(
    context: &Context,
    release: Option<(&ReleaseFile, &Path)>,
    offline: bool,
    store: &Store,
) -> Result<Option<Arc<Shared>>, Vec<Diagnostic>> {
    let team = match context.team.get() {
        Some(team) => team,
        None => {
            let made = team(context, release, offline)?;
            context.team.get_or_init(|| made)
        }
    };
    Ok((!team.tiers.is_empty()).then(|| Shared::new(Arc::clone(&team.tiers), store)))
}

impl Team {
    /// Says what is known of the remotes when a command is over.
    pub fn finish(&self) {
        self.tiers.finish();
    }

    /// Whether bytes that a remote had promised could not be had.
    pub fn has_lost(&self) -> bool {
        self.tiers.has_lost()
    }
}

/// release.yaml of the current folder, where there is one that can be read.
pub fn here() -> Option<ReleaseFile> {
    let path = Path::new("release.yaml");
    std::fs::read(path).ok().and_then(|bytes| ReleaseFile::parse(path, &bytes).ok())
}

fn team(
    context: &Context,
    release: Option<(&ReleaseFile, &Path)>,
    offline: bool,
) -> Result<Team, Vec<Diagnostic>> {
    let sharing = configured(context, release, offline)?;
    context.complain(&sharing.warnings);
    let wrong = |text: String| vec![Diagnostic::error(text)];
    let colour = context.colour;
    let show = move |complaint: Diagnostic| tell(&diagnostic::render(&complaint, colour));
    let told = Arc::new(AtomicBool::new(false));
    let tells = Arc::clone(&told);
    let notices: Notices = Arc::new(move |notice: Notice| {
        tells.store(true, Ordering::Relaxed);
        show(Diagnostic::warning(notice.to_string()).hint(notice.hint()));
    });
    let mut homes: Vec<(RemoteSpec, Arc<dyn Remote>)> = Vec::new();
    let mut tiers = Vec::new();
    for spec in &sharing.remotes {
        // Two parts of one remote are one remote: what is found out about it holds for both.
        let same = |other: &RemoteSpec| other.url == spec.url && other.instance == spec.instance;
        let writable = sharing.remotes.iter().find(|it| same(it) && it.access == Access::ReadWrite);
        let home = writable.unwrap_or(spec);
        let remote = match homes.iter().find(|(known, _)| known == home) {
            Some((_, remote)) => Arc::clone(remote),
            None => {
                let remote = connect(home, &context.env)
                    .map_err(|error| wrong(format!("{}: {error}", spec.shown())))?;
                let remote: Arc<dyn Remote> = Arc::new(Guarded::new(remote, Arc::clone(&notices)));
                homes.push((home.clone(), Arc::clone(&remote)));
                remote
            }
        };
        tiers.push(Tier { remote, access: spec.access, namespace: spec.namespace.clone() });
    }
    let events = Arc::new(move |event: &Event| {
        if let Some(warning) = warning(event) {
            show(warning);
        }
    });
    let tiers = Arc::new(Tiers::new(tiers, sharing.trust, events));
    Ok(Team { tiers, upload_wait: sharing.upload_wait, told })
}

/// What the user should hear of an event; the guard of a remote has told of calls that failed.
fn warning(event: &Event) -> Option<Diagnostic> {
    Some(match event {
        Event::Refused { url, why, entries } => {
            let hint = match why {
                Distrust::Garbled => {
                    "another program may write to the same place, or somebody damages what it holds"
                }
                Distrust::Unsigned | Distrust::Foreign { .. } => {
                    "if their maker is to be trusted, add the key to `trusted_keys`"
                }
            };
            let what = if *entries == 1 { "1 entry is".to_owned() } else { format!("{entries} entries are") };
            Diagnostic::warning(format!("{url}: {what} not used: {why}")).hint(hint)
        }
        Event::Lost { url, why } => {
            Diagnostic::warning(format!("{url}: {why}")).hint("what needs them is made again here")
        }
        Event::Failed { error, .. } if Notice::covers(error.kind) => return None,
        // Some say where it was themselves.
        Event::Failed { url, error } if error.message.starts_with(url) => {
            Diagnostic::warning(error.message.clone())
        }
        Event::Failed { url, error } => Diagnostic::warning(format!("{url}: {error}")),
    })
}

/// A release in a remote, by `NAME@VERSION`.
pub fn release(shared: &Shared, key: &str) -> Option<ReleaseRecord> {
    let found = shared.get(RecordKind::Release, key)?;
    let record: ReleaseRecord = serde_json::from_slice(&found.record).ok()?;
    found.trees.contains(&record.tree).then_some(record)
}

/// Gives a release to the remotes that are written to: by its version, and as the newest of its name.
pub fn publish(shared: &Arc<Shared>, record: &ReleaseRecord) {
    let Ok(bytes) = serde_json::to_vec(record) else { return };
    for version in [record.version.as_str(), "latest"] {
        shared.put(&put(format!("{}@{version}", record.name), bytes.clone(), record.tree));
    }
}

fn put(key: String, record: Vec<u8>, tree: Digest) -> Put {
    let (kind, over) = (RecordKind::Release, Over::Replace);
    Put { kind, key, record, trees: vec![tree], blobs: Vec::new(), manifest: None, over, took: None }
}

/// Whether earlier builds left something to write, at a glance.
pub fn is_pending(cache_dir: &Path) -> bool {
    let filled = |folder: &Path| std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some());
    let shards = std::fs::read_dir(cache_dir.join("ac").join(RecordKind::Pending.name()));
    shards.into_iter().flatten().flatten().any(|shard| filled(&shard.path()))
}

/// Waits for what is being written; says how much is left.
pub fn drain(context: &Context, shared: &Shared, cancel: &Cancel) -> usize {
    let limit = context.team.get().map_or(Duration::ZERO, |team| team.upload_wait);
    drain_within(context, shared, cancel, limit)
}

/// The same, for no longer than this.
pub fn drain_within(context: &Context, shared: &Shared, cancel: &Cancel, limit: Duration) -> usize {
    let mut told = false;
    let left = shared.drain(limit, &|| cancel.is_cancelled(), &mut |waiting| {
        if !told && !context.global.quiet && !context.json() {
            tell(&format!("writing {} results to the remote", waiting.records));
            told = true;
        }
    });
    // Where a remote fails, that was said.
    let failed = context.team.get().is_some_and(|team| team.told.load(Ordering::Relaxed));
    if left.records > 0 && !failed {
        let message = format!("{} results were not written to the remote", left.records);
        context.complain(&[Diagnostic::warning(message).hint("the next build goes on with them")]);
    }
    left.records
}
