//! The remotes of a command: connected as they are configured, put behind the store, told of, and waited for.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use relgraph_cache::remote::{
    Access, Event, Guarded, Notice, Notices, Over, Put, Remote, RemoteSpec, Shared, Tier, Tiers, connect,
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
    let told = Arc::new(AtomicBool::new(false));
    let tells = Arc::clone(&told);
    let notices: Notices = Arc::new(move |notice: Notice| {
        tells.store(true, Ordering::Relaxed);
        let warning = Diagnostic::warning(notice.to_string()).hint(notice.hint());
        tell(&diagnostic::render(&warning, colour));
    });
    let mut tiers: Vec<Tier> = Vec::new();
    for (at, spec) in sharing.remotes.iter().enumerate() {
        let same = |other: &RemoteSpec| other.url == spec.url && other.credentials == spec.credentials;
        // Namespaces of one remote fail together, and are told of once.
        let remote = match sharing.remotes[..at].iter().position(same) {
            Some(before) => Arc::clone(&tiers[before].remote),
            None => {
                let written = |other: &&RemoteSpec| same(other) && other.access == Access::ReadWrite;
                let spec = sharing.remotes.iter().find(written).unwrap_or(spec);
                let remote = connect(spec, &context.env);
                let remote = remote.map_err(|error| wrong(format!("{}: {error}", spec.shown())))?;
                let guarded: Arc<dyn Remote> = Arc::new(Guarded::new(remote, Arc::clone(&notices)));
                guarded
            }
        };
        tiers.push(Tier { remote, access: spec.access, namespace: spec.namespace.clone() });
    }
    let events = Arc::new(move |event: &Event| {
        let told = matches!(event, Event::Failed { error, .. } if Notice::covers(error.kind));
        if !told {
            tell(&diagnostic::render(&warning(event), colour));
        }
    });
    let tiers = Arc::new(Tiers::new(tiers, sharing.trust, events));
    Ok(Team { tiers, upload_wait: sharing.upload_wait, told })
}

fn warning(event: &Event) -> Diagnostic {
    match event {
        Event::Distrusted { url, why } => {
            Diagnostic::warning(format!("results of {url} are not used: {why}"))
        }
        Event::Garbled { url, why } => {
            Diagnostic::warning(format!("{url} holds an entry that is not ours: {why}"))
        }
        Event::Lost { url, why } => Diagnostic::warning(format!("{url}: {why}")),
        Event::Failed { url, error } => Diagnostic::warning(format!("{url}: {error}")),
    }
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
    Put { kind, key, record, trees: vec![tree], blobs: Vec::new(), manifest: None, over }
}

/// Waits for what is being written.
pub fn drain(context: &Context, shared: &Shared, cancel: &Cancel) {
    let mut told = false;
    let limit = context.team.get().map_or(Duration::ZERO, |team| team.upload_wait);
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
}
