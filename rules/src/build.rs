//! From a release.yaml to a graph that can be run: Mix is asked what the project is, as a step of the same build.

use std::collections::BTreeSet;

use relgraph_engine::{Engine, EngineError, Observer, Outcome, RunReport, StepError, StepErrorKind};

use crate::diagnostic::Diagnostic;
use crate::erlang;
use crate::lower::{Around, CONFIG, DESCRIBE, Lowered, Lowering};
use crate::steps::describe::Describe;
use crate::steps::fetch;
use crate::tool::Tool;
use crate::vm::Common;

/// Why there is no graph.
#[derive(Debug)]
pub enum BuildError {
    /// The request, release.yaml or the project is wrong.
    Wrong(Vec<Diagnostic>),
    /// Mix could not be asked.
    Failed(Box<RunReport>),
    /// The engine's own files could not be read or written.
    Engine(EngineError),
    /// Something in the store was damaged or gone: another build makes it again.
    Damaged(String),
}

impl From<EngineError> for BuildError {
    fn from(error: EngineError) -> Self {
        BuildError::Engine(error)
    }
}

/// A graph, and what belongs to the project besides its own folder.
pub struct Ready {
    /// The release as a graph.
    pub lowered: Lowered,
    /// Folders beside the project, and what was fetched.
    pub around: Around,
}

/// Where nearly every project has its lock and its dependencies, and where it builds.
const USUAL_LOCK: &str = "mix.lock";
const USUAL_DEPS: &str = "deps";
const USUAL_BUILD: &str = "_build";

/// Where nearly every project has its configuration.
const USUAL_CONFIG: &str = "config/config.exs";

/// What is wanted of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To run all of it: what will be needed anyway may start before it is whole.
    Run,
    /// To look at it.
    Look,
}

/// Folders beside the project and dependencies that have to be fetched are found by asking Mix, which must see them to
/// say all it knows: so it is asked again while there are new ones.
pub fn lower(
    engine: &Engine,
    lowering: &Lowering,
    purpose: Purpose,
    observer: &dyn Observer,
) -> Result<Ready, BuildError> {
    let Some(common) = &lowering.common else {
        let lowered = lowering.custom_release().map_err(BuildError::Wrong)?;
        return Ok(Ready { lowered, around: Around::default() });
    };
    if common.tool != Tool::Mix {
        return erlang(engine, lowering, common, observer);
    }
    let [lock, deps, built] =
        [("lockfile", USUAL_LOCK), ("deps_path", USUAL_DEPS), ("build_path", USUAL_BUILD)]
            .map(|(option, usual)| lowering.guess(option).unwrap_or_else(|| usual.to_owned()));
    let mut around = lowering.around(&lock, &deps, &built).map_err(BuildError::Wrong)?;
    // Both start a VM and wait for nothing: on two cores the second costs no time.
    let usual = lowering.guess("config_path").unwrap_or_else(|| USUAL_CONFIG.to_owned());
    let guessed = (purpose == Purpose::Run).then_some(usual.as_str());
    loop {
        let graph = lowering.describing(common, &around, guessed).map_err(BuildError::Wrong)?;
        let mut report = engine.run(&graph, None, observer)?;
        let Some(result) = report.result(DESCRIBE) else {
            // What is wrong with mix.exs is wrong for both, and is said once. Where the other failed first, this one may not have
            // been started.
            if report.steps.get(DESCRIBE).is_some_and(|step| step.outcome == Outcome::Failed) {
                report.steps.remove(CONFIG);
                engine.forget(CONFIG);
            }
            return Err(BuildError::Failed(Box::new(report)));
        };
        let description = Describe::read(&engine.store, result).map_err(unreadable)?;
        let outside: BTreeSet<String> = description
            .applications
            .iter()
            .map(|a| a.dest.clone())
            .chain(lowering.shared_by(&description.project))
            .filter(|dest| {
                dest.starts_with("..") && !around.beside.iter().any(|known| lowering.inside(dest, known))
            })
            .filter(|dest| lowering.root.join(dest).is_dir())
            .collect();
        let right = lowering.guessed_right(&around, &description).map_err(BuildError::Wrong)?;
        let missing = lowering.missing(right.as_ref().unwrap_or(&around), &description);
        if outside.is_empty() && missing.is_empty() && right.is_none() {
            if description.project.config_path != usual {
                engine.forget(CONFIG);
            } else if !report.is_success() {
                return Err(BuildError::Failed(Box::new(report)));
            }
            let lowered = lowering.mix_release(common, description, &around).map_err(BuildError::Wrong)?;
            return Ok(Ready { lowered, around });
        }
        around = right.unwrap_or(around);
        around.beside = lowering.outermost(&around.beside | &outside);
        fetch_all(engine, lowering, &mut around, &missing, observer)?;
        engine.forget(DESCRIBE);
        engine.forget(CONFIG);
    }
}

/// Runs the steps that fetch these, and takes up what they got.
fn fetch_all(
    engine: &Engine,
    lowering: &Lowering,
    around: &mut Around,
    apps: &BTreeSet<String>,
    observer: &dyn Observer,
) -> Result<(), BuildError> {
    if apps.is_empty() {
        return Ok(());
    }
    let graph = lowering.fetching(around, apps).map_err(BuildError::Wrong)?;
    let report = engine.run(&graph, None, observer)?;
    for app in apps {
        let tree = report.result(&fetch::step(app)).map(|result| result.output(fetch::SOURCE));
        let wrong = |error: StepError| BuildError::Damaged(error.message);
        if let Some(tree) = tree {
            lowering.fetched(around, app, tree.map_err(wrong)?);
        }
    }
    if report.is_success() { Ok(()) } else { Err(BuildError::Failed(Box::new(report))) }
}

/// A project in Erlang alone.
fn erlang(
    engine: &Engine,
    lowering: &Lowering,
    common: &Common,
    observer: &dyn Observer,
) -> Result<Ready, BuildError> {
    let mut around = lowering.around_rebar3().map_err(BuildError::Wrong)?;
    // rebar3 takes all that is locked for needed; knowing it saves asking for each level of dependencies.
    let guessed = lowering.absent(&around);
    fetch_all(engine, lowering, &mut around, &guessed, observer)?;
    loop {
        let graph = lowering.describing_erlang(common, &around).map_err(BuildError::Wrong)?;
        let report = engine.run(&graph, None, observer)?;
        let Some(result) = report.result(DESCRIBE) else {
            return Err(BuildError::Failed(Box::new(report)));
        };
        let project = erlang::describe::Describe::read(&engine.store, result).map_err(unreadable)?;
        let missed = lowering.missed(&mut around, &project).map_err(BuildError::Wrong)?;
        if missed.is_empty() {
            around.looked_at.extend(lowering.looked_at(&project, &around));
            let lowered = lowering.erlang_release(common, project, &around).map_err(BuildError::Wrong)?;
            return Ok(Ready { lowered, around });
        }
        fetch_all(engine, lowering, &mut around, &missed, observer)?;
        engine.forget(DESCRIBE);
    }
}

fn unreadable(error: StepError) -> BuildError {
    match error.kind {
        StepErrorKind::Damaged => BuildError::Damaged(error.message),
        _ => BuildError::Wrong(vec![Diagnostic::error(error.message)]),
    }
}
