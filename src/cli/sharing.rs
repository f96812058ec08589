//! The remotes of a command: connected as they are configured, put behind the store, told of, and waited for.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use relgraph_cache::remote::{
    Access, Credentials, Event, Limits, Over, Put, RemoteSpec, Shared, Tier, Tiers, Trust, connect,
};
use relgraph_cache::{Digest, RecordKind, Store};
use relgraph_engine::Cancel;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::record::ReleaseRecord;
use relgraph_rules::schema::ReleaseFile;

use super::context::Context;
use crate::render::{diagnostic, tell};

/// The remotes behind a store, if there are any.
pub fn open(context: &Context, file: Option<&ReleaseFile>, store: &Store) -> Option<Arc<Shared>> {
    let tiers = context.tiers.get_or_init(|| Arc::new(tiers(context, file)));
    (!tiers.is_empty()).then(|| Shared::new(Arc::clone(tiers), store))
}

/// release.yaml of the current folder, where there is one that can be read.
pub fn here() -> Option<ReleaseFile> {
    let path = Path::new("release.yaml");
    std::fs::read(path).ok().and_then(|bytes| ReleaseFile::parse(path, &bytes).ok())
}

fn tiers(context: &Context, _file: Option<&ReleaseFile>) -> Tiers {
    let specs: Vec<RemoteSpec> = context.env.get("RELGRAPH_REMOTE").map_or_else(Vec::new, |urls| {
        urls.split_whitespace()
            .map(|url| RemoteSpec {
                url: url.to_owned(),
                access: match context.env.get("RELGRAPH_REMOTE_ACCESS").map(String::as_str) {
                    Some("read-write") => Access::ReadWrite,
                    _ => Access::Read,
                },
                namespace: None,
                credentials: Credentials::default(),
                authorities: None,
                instance: String::new(),
                limits: Limits::default(),
            })
            .collect()
    });
    let mut tiers = Vec::new();
    for spec in specs {
        match connect(&spec, &context.env) {
            Ok(remote) => {
                tiers.push(Tier { remote, access: spec.access, namespace: spec.namespace.clone() });
            }
            Err(error) => context.complain(&[Diagnostic::warning(format!("{}: {error}", spec.shown()))]),
        }
    }
    let colour = context.colour;
    let events = Arc::new(move |event: &Event| tell(&diagnostic::render(&warning(event), colour)));
    Tiers::new(tiers, Trust::default(), events)
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
    let left = shared.drain(Duration::from_secs(60), &|| cancel.is_cancelled(), &mut |waiting| {
        if !told && !context.global.quiet && !context.json() {
            tell(&format!("writing {} results to the remote", waiting.records));
            told = true;
        }
    });
    if left.records > 0 {
        let message = format!("{} results were not written to the remote", left.records);
        context.complain(&[Diagnostic::warning(message).hint("the next build goes on with them")]);
    }
}
