//! From a release.yaml to a graph that can be run: Mix is asked what the project is, as a step of the same build.

use std::collections::BTreeSet;
use std::path::Path;

use relgraph_engine::{Engine, EngineError, Observer, RunReport, StepError, StepErrorKind};

use crate::diagnostic::Diagnostic;
use crate::lower::{CONFIG, DESCRIBE, Lowered, Lowering};
use crate::steps::describe::Describe;

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

/// A graph, and the folders beside the project that belong to it.
pub struct Ready {
    /// The release as a graph.
    pub lowered: Lowered,
    /// Folders beside the project (`../shared`).
    pub beside: BTreeSet<String>,
}

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

/// Folders beside the project are found by asking Mix, which must see them to say all it knows: so it is asked again
/// while there are new ones.
pub fn lower(
    engine: &Engine,
    lowering: &Lowering,
    purpose: Purpose,
    observer: &dyn Observer,
) -> Result<Ready, BuildError> {
    let Some(common) = &lowering.common else {
        let lowered = lowering.custom_release().map_err(BuildError::Wrong)?;
        return Ok(Ready { lowered, beside: BTreeSet::new() });
    };
    let mut beside = lowering.guess_beside();
    // Both start a VM and wait for nothing: on two cores the second costs no time.
    let guessed = (purpose == Purpose::Run).then_some(USUAL_CONFIG);
    loop {
        let graph = lowering.describing(common, &beside, guessed).map_err(BuildError::Wrong)?;
        let mut report = engine.run(&graph, None, observer)?;
        let Some(result) = report.result(DESCRIBE) else {
            // What is wrong with mix.exs is wrong for both, and is said once.
            report.steps.remove(CONFIG);
            engine.forget(CONFIG);
            return Err(BuildError::Failed(Box::new(report)));
        };
        let wrong = |error: StepError| match error.kind {
            StepErrorKind::Damaged => BuildError::Damaged(error.message),
            _ => BuildError::Wrong(vec![Diagnostic::error(error.message)]),
        };
        let description = Describe::read(&engine.store, result).map_err(wrong)?;
        let outside: BTreeSet<String> = description
            .applications
            .iter()
            .map(|a| a.dest.clone())
            .filter(|dest| dest.starts_with("..") && !beside.iter().any(|known| below(dest, known)))
            .filter(|dest| lowering.root.join(dest).is_dir())
            .collect();
        if outside.is_empty() {
            if description.project.config_path != USUAL_CONFIG {
                engine.forget(CONFIG);
            } else if !report.is_success() {
                return Err(BuildError::Failed(Box::new(report)));
            }
            let lowered = lowering.mix_release(common, description, &beside).map_err(BuildError::Wrong)?;
            return Ok(Ready { lowered, beside });
        }
        beside.extend(outside);
        engine.forget(DESCRIBE);
        engine.forget(CONFIG);
    }
}

fn below(path: &str, folder: &str) -> bool {
    Path::new(path).starts_with(folder)
}
