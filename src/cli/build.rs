//! `relgraph build`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Args;
use relgraph_cache::{Digest, stamp};
use relgraph_engine::state::take_stamps;
use relgraph_engine::{Expect, Freshness, Run, RunReport, State, StepError, StepErrorKind};
use relgraph_rules::build::{self, BuildError, Ready};
use relgraph_rules::deliver::{self, DeliverError};
use relgraph_rules::diagnostic::{Diagnostic, nearest};
use relgraph_rules::preflight::{self, Finding};
use relgraph_rules::project::BootFacts;
use relgraph_rules::steps::{self, boot, boot::Boot, describe, package};
use relgraph_rules::watch::Watched;

use super::context::Context;
use super::exit;
use super::kept::{self, Provenance};
use super::salt;
use super::session::{Paths, ReleaseArgs, Session, identity};
use super::sharing;
use super::stop::Stop;
use crate::render::progress::Progress;
use crate::render::summary::{BuiltPackage, BuiltRelease, Summary};
use crate::render::{failure, tell};

/// Arguments of `build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Run this step even when its result is known; may be given more than once
    #[arg(long, value_name = "STEP")]
    force: Vec<String>,
}

/// Builds a release.
pub fn run(context: &Context, args: &BuildArgs) -> Result<ExitCode, Stop> {
    let began = Instant::now();
    for _ in 0..REPAIRS {
        match build(context, args, began) {
            Err(Stop::Damaged(what)) => {
                context.made_again(&what);
            }
            ended => return ended,
        }
    }
    build(context, args, began)
}

/// How often a build starts over because it found damage in the store. What it finds is gone then, so it is found once.
pub(super) const REPAIRS: usize = 16;

fn build(context: &Context, args: &BuildArgs, began: Instant) -> Result<ExitCode, Stop> {
    let cache_dir = context.cache_dir()?;
    let paths = Paths::new(&args.release, &cache_dir)?;
    let state =
        State::load(&paths.state()).filter(|s| s.identity == identity() && s.request == paths.request);
    if args.force.is_empty()
        && let Some(state) = &state
        && state.is_fresh(&salt::watched(context, state)) == Freshness::Fresh
        && let Some(summary) = Summary::decode(&state.summary)
    {
        context.complain(&summary.warnings);
        summary.up_to_date(began.elapsed()).print(context);
        if sharing::is_pending(&cache_dir) {
            let session = Session::open(context, &args.release, &paths)?;
            session.stop_on_signals();
            if let Some(shared) = &session.shared {
                shared.resume();
                sharing::drain(context, shared, &session.engine.cancel);
            }
        }
        return Ok(exit::DONE);
    }
    let started = SystemTime::now();
    let mut session = Session::open(context, &args.release, &paths)?;
    session.engine.force = args.force.iter().cloned().collect();
    // Better said now than after everything was built.
    std::fs::create_dir_all(&paths.kept).map_err(|e| {
        let hint = "the release is built below the project's folder, which must be writable";
        Stop::failed(Diagnostic::error(format!("cannot create {}: {e}", paths.kept.display())).hint(hint))
    })?;
    session.stop_on_signals();
    if let Some(shared) = &session.shared {
        shared.resume();
    }
    let built = build_with(context, &session, &paths, state.as_ref(), started, began);
    // What was made is of use to others whether or not the build came to its end.
    if let Some(shared) = &session.shared {
        sharing::drain(context, shared, &session.engine.cancel);
    }
    built
}

fn build_with(
    context: &Context,
    session: &Session,
    paths: &Paths,
    state: Option<&State>,
    started: SystemTime,
    began: Instant,
) -> Result<ExitCode, Stop> {
    let provenance = Provenance::ask(session.lowering.root.clone(), &context.env);
    let times =
        session.engine.previous.steps.iter().map(|(name, step)| (name.clone(), step.duration_ms)).collect();
    let progress = Progress::new(context, times, session.engine.jobs);
    let outcome = run_steps(session, &progress);
    progress.finish();
    let report = session.engine.report();
    let mut run = Run::of(&session.lowering.file.release, started, &report);
    let _ = run.record(session.store().index());
    let ready = match outcome {
        Ok(ready) => Some(ready),
        Err(BuildError::Failed(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let graph = ready.as_ref().map(|ready| &ready.lowered.graph);
    let _ = session.engine.checkout(graph).save(&paths.checkout());
    // Into the folder that this has made.
    let _ = session.stat.save();
    session.store().index().flush();
    if report.cancelled {
        tell("interrupted; the last good release is as it was");
        return Ok(exit::interrupted());
    }
    if let Some(error) = report
        .failed()
        .filter_map(|step| step.error.as_ref())
        .find(|error| error.kind == StepErrorKind::Damaged)
    {
        return Err(Stop::Damaged(error.message.clone()));
    }
    let Some(ready) = ready.filter(|_| report.is_success()) else {
        context.complain(&failure::diagnostics(&report));
        if context.json() {
            crate::render::say(&Summary::failed(&report, &[], began.elapsed()).to_string());
        }
        return Ok(exit::FAILED);
    };
    context.complain(&ready.lowered.warnings);
    context.complain(&noticed(session, &report));
    let looked = findings(session, &report)?;
    let findings = looked.clone().unwrap_or_default();
    let file = &session.lowering.file;
    let judged = preflight::judge(&findings, &file.preflight, &session.lowering.root);
    context.complain(&judged.warnings);
    if !judged.errors.is_empty() {
        context.complain(&judged.errors);
        tell("the last good release is as it was");
        if context.json() {
            crate::render::say(&Summary::failed(&report, &findings, began.elapsed()).to_string());
        }
        return Ok(exit::FAILED);
    }
    let kept = (&mut run, provenance);
    let summary = deliver(session, paths, state, &ready, &report, looked, kept)?;
    let summary = summary.with_warnings(judged.warnings);
    keep_state(context, session, paths, &ready, &report, &summary);
    session.store().index().flush();
    summary.took(began.elapsed()).print(context);
    Ok(exit::DONE)
}

/// Asks Mix, then runs everything.
fn run_steps(session: &Session, progress: &Progress) -> Result<Ready, BuildError> {
    let ready = build::lower(&session.engine, &session.lowering, build::Purpose::Run, progress)?;
    let graph = &ready.lowered.graph;
    if let Some(name) = session.engine.force.iter().find(|name| graph.step(name).is_none()) {
        let complaint = Diagnostic::error(format!("there is no step `{name}` to run by force"));
        let known = graph.order().map(|step| step.name.as_str());
        let hint = match nearest(name, known) {
            Some(name) => format!("did you mean `{name}`?"),
            None => "`relgraph plan --all` lists the steps".to_owned(),
        };
        return Err(BuildError::Wrong(vec![complaint.hint(hint)]));
    }
    let report = session.engine.run(graph, None, progress)?;
    if report.is_success() { Ok(ready) } else { Err(BuildError::Failed(Box::new(report))) }
}

fn wrong(error: impl std::fmt::Display) -> Stop {
    Stop::failed(Diagnostic::error(error.to_string()))
}

/// What was noticed while the release was made.
fn noticed(session: &Session, report: &RunReport) -> Vec<Diagnostic> {
    let facts = report.result(boot::STEP).and_then(|made| Boot::read(session.store(), made).ok());
    facts.into_iter().flat_map(|facts| facts.warnings).map(Diagnostic::warning).collect()
}

/// What a step made could not be read.
fn unreadable(error: StepError) -> Stop {
    if error.kind == StepErrorKind::Damaged { Stop::Damaged(error.message) } else { wrong(error.message) }
}

/// Puts the release and its packages where the user finds them, and keeps the record.
fn deliver(
    session: &Session,
    paths: &Paths,
    state: Option<&State>,
    ready: &Ready,
    report: &RunReport,
    findings: Option<Vec<Finding>>,
    (run, provenance): (&mut Run, Provenance),
) -> Result<Summary, Stop> {
    let store = session.store();
    let file = &session.lowering.file;
    let Released { tree, version, facts } = released(session, ready, report)?;
    let (folder, dest) = (paths.releases(file), paths.release(file));
    let cookie = cookie(session, ready, report, &dest)?;
    let undelivered = |error: DeliverError| {
        if let DeliverError::Store(error) = &error {
            return Stop::store(store.root(), error);
        }
        wrong(error)
    };
    let intact = state.and_then(|s| Summary::decode(&s.summary)).is_some_and(|s| s.release.digest == tree)
        && state.is_some_and(|s| as_it_was_left(s, &dest));
    if !intact {
        deliver::release(store, &tree, &dest, cookie.as_deref()).map_err(undelivered)?;
    } else if let Some(cookie) = &cookie {
        deliver::cookie(&dest, cookie).map_err(undelivered)?;
    }
    let mut packages = Vec::new();
    for &format in &ready.lowered.packages {
        let made = output(report, &package::step(format), "package")?;
        let Some(digest) = deliver::package_file(store, &made).map_err(|e| Stop::store(store.root(), &e))?
        else {
            continue;
        };
        let path = folder.join(format!("{}-{version}.{}", file.release, format.name()));
        deliver::package(store, &digest, &path).map_err(undelivered)?;
        packages.push(BuiltPackage { format: format.name().to_owned(), path, bytes: digest.size, digest });
    }
    let built = kept::Built { tree, version: &version, facts: facts.as_ref(), findings: findings.clone() };
    let record = kept::record(session, ready, report, provenance, built);
    deliver::record(store, &record).map_err(wrong)?;
    if let Some(shared) = &session.shared {
        sharing::publish(shared, &record);
    }
    run.made = serde_json::to_value(record.brief()).ok();
    // The run is known without it.
    let _ = run.record(store.index());
    Ok(Summary::new(
        BuiltRelease {
            name: file.release.clone(),
            version,
            environment: file.environment_name().to_owned(),
            digest: tree,
            path: dest,
        },
        packages,
        findings.unwrap_or_default(),
        report,
    ))
}

/// The release that came of a build.
pub(super) struct Released {
    /// Its tree.
    pub(super) tree: Digest,
    /// Its version.
    pub(super) version: String,
    /// What the step `boot` says of it, where there is one.
    pub(super) facts: Option<BootFacts>,
}

/// What was released.
pub(super) fn released(session: &Session, ready: &Ready, report: &RunReport) -> Result<Released, Stop> {
    let tree = steps::released(report)
        .ok_or_else(|| wrong("nothing was assembled"))?
        .output("release")
        .map_err(unreadable)?;
    let facts = match report.result(boot::STEP) {
        Some(result) => Some(Boot::read(session.store(), result).map_err(unreadable)?),
        None => None,
    };
    let of_boot = facts.as_ref().map(|facts: &BootFacts| facts.version.clone());
    let version = of_boot.or(ready.lowered.version.clone()).unwrap_or_default();
    Ok(Released { tree, version, facts })
}

/// What the preflight found, where there was one.
pub(super) fn findings(session: &Session, report: &RunReport) -> Result<Option<Vec<Finding>>, Stop> {
    let result = report.result(steps::preflight::STEP);
    result
        .map(|result| steps::preflight::Preflight::read(session.store(), result).map_err(unreadable))
        .transpose()
}

fn output(report: &RunReport, step: &str, name: &str) -> Result<Digest, Stop> {
    report
        .result(step)
        .ok_or_else(|| wrong(format!("the step `{step}` has no result")))?
        .output(name)
        .map_err(unreadable)
}

/// The cookie to write, when one is given and is not there yet. It is in no step's result: mix.exs is asked again.
fn cookie(session: &Session, ready: &Ready, report: &RunReport, dest: &Path) -> Result<Option<String>, Stop> {
    let there = std::fs::read_to_string(dest.join("releases/COOKIE")).ok();
    if let Some(cookie) = &session.lowering.file.cookie {
        return Ok(Some(cookie.expose().to_owned()).filter(|wanted| there.as_ref() != Some(wanted)));
    }
    let kept = report.result("describe").and_then(|r| r.values.get("cookie"));
    let (Some(kept), Some(common)) = (kept, &session.lowering.common) else { return Ok(None) };
    if there.as_deref().map(describe::fingerprint).as_ref() == Some(kept) {
        return Ok(None);
    }
    let describe = session.lowering.describe(common, &ready.around);
    session.engine.with_context("describe", report, |cx| describe.cookie(cx)).map_err(unreadable)
}

/// Whether the release lies there as the last build left it.
fn as_it_was_left(state: &State, dest: &Path) -> bool {
    use rayon::prelude::*;
    let Ok(below) = dest.strip_prefix(&state.root) else { return false };
    state
        .entries
        .par_iter()
        .filter(|(path, _)| Path::new(path).starts_with(below))
        .all(|(path, expect)| stamp(&state.root.join(path)).is_ok_and(|found| Expect::of(found) == *expect))
}

/// What a build depended on.
pub(super) fn watched(
    context: &Context,
    session: &Session,
    ready: &Ready,
    report: &RunReport,
) -> Result<Watched, StepError> {
    Watched::collect(&session.lowering, ready, report, &context.env, session.engine.secrets())
}

/// Writes down what the next build has to look at. Saves work and nothing else, so it may fail in silence.
fn keep_state(
    context: &Context,
    session: &Session,
    paths: &Paths,
    ready: &Ready,
    report: &RunReport,
    summary: &Summary,
) {
    let Ok(watched) = watched(context, session, ready, report) else { return };
    let root = session.lowering.root.clone();
    let mut all: Vec<PathBuf> = watched.paths.into_iter().collect();
    all.push(paths.file.clone());
    all.extend(summary.packages.iter().map(|p| p.path.clone()));
    let dest = &summary.release.path;
    if let Ok(nodes) = session.store().walk(&summary.release.digest) {
        // A node that runs from here makes files at the root and beside the cookie; the script of relx makes some beside the
        // configuration that they come from.
        let version = format!("releases/{}", summary.release.version);
        let made = [format!("{version}/sys.config.src"), format!("{version}/vm.args.src")];
        let replaced = nodes.iter().any(|(path, _)| made.contains(path));
        let left = |path: &str| path == "releases" || replaced && path == version;
        all.extend(nodes.iter().filter(|(path, _)| !left(path)).map(|(path, _)| dest.join(path)));
    }
    let relative = |path: &PathBuf| {
        let short = path.strip_prefix(&root).unwrap_or(path);
        if short.as_os_str().is_empty() { Some(".".to_owned()) } else { short.to_str().map(str::to_owned) }
    };
    let Some(names) = all.iter().map(relative).collect::<Option<Vec<String>>>() else { return };
    let Ok((taken_ns, entries)) = take_stamps(&root, names) else { return };
    // What moved after it was hashed must be seen by the next build.
    for (folder, files) in session.lowering.sources.seen() {
        let prefix = if folder == "." { String::new() } else { format!("{folder}/") };
        let moved = entries.iter().any(|(path, expect)| {
            let Some(rest) = path.strip_prefix(&prefix) else { return false };
            matches!((files.stamp(rest), expect), (Some(then), Expect::Stamp(now)) if then != now)
        });
        if moved {
            let _ = std::fs::remove_file(paths.state());
            return;
        }
    }
    let state = State {
        identity: identity(),
        request: paths.request,
        root,
        taken_ns,
        entries,
        env: watched.env.into_iter().collect(),
        summary: summary.encode(),
    };
    let _ = state.save(&paths.state());
}
