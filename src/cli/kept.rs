//! The record of a release that was built: what was made, by whom, from what, and how it differs from the one before.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use relgraph_cache::{Digest, Store};
use relgraph_engine::RunReport;
use relgraph_rules::build::Ready;
use relgraph_rules::compare::{Side, compare};
use relgraph_rules::preflight::Finding;
use relgraph_rules::project::BootFacts;
use relgraph_rules::provenance::{Builder, Commit, builder, commit, is_edited};
use relgraph_rules::record::{self, RECORD_SCHEMA, ReleaseRecord, Since};

use super::session::Session;
use crate::render::time;

/// Who builds, and from which commit. Git is asked while the build goes on, and before it: a commit that is made meanwhile is
/// not what was built.
pub struct Provenance {
    answer: Receiver<(Option<Builder>, Option<Commit>)>,
    env: BTreeMap<String, String>,
}

/// How long a build that is over waits for git.
const PATIENCE: Duration = Duration::from_secs(10);

impl Provenance {
    /// Begins to ask.
    pub fn ask(root: PathBuf, env: &BTreeMap<String, String>) -> Provenance {
        let (send, answer) = channel();
        let asked = env.clone();
        std::thread::spawn(move || {
            // Nobody is there any more where the build was stopped.
            let _ = send.send((builder(&root, &asked), commit(&root, &asked)));
        });
        Provenance { answer, env: env.clone() }
    }

    /// What came of it. Folders beside the project belong to it.
    fn known(self, beside: impl Iterator<Item = PathBuf>) -> (Option<Builder>, Option<Commit>) {
        let (builder, mut commit) = self.answer.recv_timeout(PATIENCE).unwrap_or_default();
        if let Some(commit) = &mut commit {
            commit.dirty = commit.dirty || beside.into_iter().any(|folder| is_edited(&folder, &self.env));
        }
        (builder, commit)
    }
}

/// What was built.
pub struct Built<'a> {
    /// The release.
    pub tree: Digest,
    /// Its version.
    pub version: &'a str,
    /// What the step `boot` says of it, where there is one.
    pub facts: Option<&'a BootFacts>,
    /// What the preflight found.
    pub findings: Option<Vec<Finding>>,
}

/// The record of what was built.
pub fn record(
    session: &Session,
    ready: &Ready,
    report: &RunReport,
    provenance: Provenance,
    built: Built<'_>,
) -> ReleaseRecord {
    let Built { tree, version, facts, findings } = built;
    let (file, lowering) = (&session.lowering.file, &session.lowering);
    let description = ready.lowered.description.as_ref();
    let applications = facts.map(|facts| facts.applications.as_slice()).unwrap_or_default();
    let beside = ready.around.beside.iter().map(|folder| lowering.root.join(folder));
    let (builder, commit) = provenance.known(beside);
    let store = session.store();
    let before: Vec<ReleaseRecord> = record::of_name(store, &file.release, file.environment_name()).collect();
    let (same, other): (Vec<_>, Vec<_>) = before.iter().partition(|before| before.version == version);
    let (same, other) = (same.first().copied(), other.first().copied());
    ReleaseRecord {
        schema: RECORD_SCHEMA.to_owned(),
        name: file.release.clone(),
        version: version.to_owned(),
        environment: file.environment_name().to_owned(),
        tree,
        applications: lowering.recorded(&ready.around, &ready.lowered, applications),
        erts: facts.map(|f| f.erts_version.clone()),
        elixir: description.map(|d| d.toolchain.elixir.clone()),
        otp: description.map(|d| d.toolchain.otp.clone()).or(ready
            .lowered
            .erlang
            .as_ref()
            .map(|project| project.otp.clone())),
        sandbox: report
            .steps
            .values()
            .filter_map(|s| s.result.as_ref()?.sandbox)
            .max()
            .map(|mode| mode.word().to_owned()),
        findings,
        built_by: env!("CARGO_PKG_VERSION").to_owned(),
        built_at: time::now_ms(),
        builder,
        commit,
        since: other.and_then(|before| since(store, before, version, tree)),
        rebuilt: same.and_then(|before| since(store, before, version, tree)),
        rehearsals: Vec::new(),
    }
}

/// What differs from an earlier build. Nothing is said where that cannot be found out: it is no reason to fail.
fn since(store: &Store, before: &ReleaseRecord, version: &str, tree: Digest) -> Option<Since> {
    if before.tree == tree {
        return Some(Since::nothing(before.version.clone(), tree));
    }
    // It need not be a release of Erlang.
    let side = |tree, version: &str| {
        let (name, version) = (before.name.clone(), version.to_owned());
        Side::Named { store, tree, name, version }
    };
    let (old, new) = (side(before.tree, &before.version), side(tree, version));
    // The release lies in its place: no module that somebody reads wrongly may make a failure of that.
    let compared = catch_unwind(AssertUnwindSafe(|| compare(&old, &new)));
    Some(Since::of(&compared.ok()?.ok()?, before.tree))
}
