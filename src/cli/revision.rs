//! `git:REV` as a release: what the repository holds at that commit is checked out beside, built through the cache, and gone again.
//!
//! The user's checkout, index and HEAD are not touched. What a build of a commit depends on besides (tools, variables) is kept
//! in a state file, so that the same commit is known the next time.

use std::path::{Path, PathBuf};

use relgraph_cache::{Digest, Store};
use relgraph_engine::state::take_stamps;
use relgraph_engine::{Freshness, State, StepErrorKind};
use relgraph_rules::build;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::record::ReleaseRecord;
use relgraph_rules::staging::Staging;
use relgraph_rules::steps;
use relgraph_rules::watch::Watched;
use serde::{Deserialize, Serialize};

use super::build::{REPAIRS, Released, released, watched};
use super::checkout::{self, Commit};
use super::context::Context;
use super::kept::{self, Provenance};
use super::salt;
use super::session::{Paths, ReleaseArgs, Session, identity};
use super::stop::Stop;
use crate::render::progress::Progress;
use crate::render::{failure, tell};

/// What a commit was built to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Revision {
    /// The release.
    pub record: ReleaseRecord,
    /// The commit.
    pub commit: String,
}

/// The release that `text` (`REV` or `REV:PATH/release.yaml`) describes, built where it is not known.
pub fn release(context: &Context, store: &Store, text: &str) -> Result<Revision, Stop> {
    let here = std::env::current_dir()
        .map_err(|error| Stop::failed(Diagnostic::error(format!("there is no current folder: {error}"))))?;
    let commit = checkout::find(&here, text)?;
    let kept = here.join("_build/relgraph/.revisions");
    let request = format!("{}\0{}\0{}", commit.id, commit.file, store.root().display());
    let request = Digest::of(request.as_bytes());
    let state_file = kept.join(&request.hex()[..32]);
    if let Some(revision) = known(context, store, &state_file, request) {
        return Ok(revision);
    }
    for _ in 0..REPAIRS {
        match build(context, &commit, &here, &state_file, request) {
            Err(Stop::Damaged(what)) => {
                context.made_again(&what);
            }
            ended => return ended,
        }
    }
    build(context, &commit, &here, &state_file, request)
}

/// What the commit was built to before, when nothing moved that its build depended on and all of it is there.
fn known(context: &Context, store: &Store, file: &Path, request: Digest) -> Option<Revision> {
    let state = State::load(file).filter(|s| s.identity == identity() && s.request == request)?;
    if state.is_fresh(&salt::watched(context, &state)) != Freshness::Fresh {
        return None;
    }
    let revision: Revision = serde_json::from_slice(&state.summary).ok()?;
    store.complete(&revision.record.tree).is_ok_and(|complete| complete).then_some(revision)
}

fn build(
    context: &Context,
    commit: &Commit,
    here: &Path,
    state_file: &Path,
    request: Digest,
) -> Result<Revision, Stop> {
    let folder = here.join("_build/relgraph");
    let staging = Staging::new(&folder).map_err(|error| {
        let message = format!("cannot create a folder in {}: {error}", folder.display());
        Stop::failed(Diagnostic::error(message).hint("the commit is checked out there, to be built"))
    })?;
    if !context.global.quiet && !context.json() {
        tell(&format!("building {} at commit {}", commit.file, commit.short()));
    }
    // Some tools look at the name of the folder.
    let top = staging.path(&commit.folder_name());
    checkout::make(&commit.repository, &commit.id, &top)?;
    let args = ReleaseArgs::of(top.join(&commit.file), None);
    let paths = Paths::new(&args, &context.cache_dir()?)?;
    let session = Session::open(context, &args, &paths)?;
    session.stop_on_signals();
    let progress = Progress::new(context, Default::default(), session.engine.jobs);
    let ready = build::lower(&session.engine, &session.lowering, build::Purpose::Run, &progress);
    let ran = ready.map_err(Stop::from).and_then(|ready| {
        let last = [steps::last(&ready.lowered.graph).to_owned()];
        session.engine.run(&ready.lowered.graph, Some(&last), &progress)?;
        Ok(ready)
    });
    progress.finish();
    let report = session.engine.report();
    if report.cancelled {
        return Err(Stop::Interrupted);
    }
    let mut errors = report.failed().filter_map(|step| step.error.as_ref());
    if let Some(error) = errors.find(|error| error.kind == StepErrorKind::Damaged) {
        return Err(Stop::Damaged(error.message.clone()));
    }
    let ready = ran?;
    if !report.is_success() {
        return Err(Stop::Failed(failure::diagnostics(&report)));
    }
    context.complain(&ready.lowered.warnings);
    let Released { tree, version, facts } = released(&session, &ready, &report)?;
    let built = kept::Built { tree, version: &version, facts: facts.as_ref(), findings: None };
    let provenance = Provenance::ask(here.to_owned(), &context.env);
    let record = kept::record(&session, &ready, &report, provenance, built);
    let revision = Revision { record, commit: commit.id.clone() };
    let watched = watched(context, &session, &ready, &report);
    if let Ok(watched) = watched {
        keep(state_file, request, here, &top, watched, &revision);
    }
    session.store().index().flush();
    Ok(revision)
}

/// Writes down what the build depended on besides the commit. Saves work and nothing else, so it may fail in silence.
fn keep(file: &Path, request: Digest, here: &Path, top: &Path, watched: Watched, revision: &Revision) {
    let outside = |path: &PathBuf| !path.starts_with(top);
    let names = watched.paths.into_iter().filter(outside).map(|path| path.to_str().map(str::to_owned));
    let Some(names) = names.collect::<Option<Vec<String>>>() else { return };
    let (Ok((taken_ns, entries)), Ok(summary)) = (take_stamps(here, names), serde_json::to_vec(revision))
    else {
        return;
    };
    let state = State {
        identity: identity(),
        request,
        root: here.to_owned(),
        taken_ns,
        entries,
        env: watched.env.into_iter().collect(),
        summary,
    };
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let _ = state.save(file);
}
