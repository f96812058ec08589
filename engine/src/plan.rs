//! What a build would do, running nothing.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{EngineError, StepError, StepErrorKind};
use crate::execute::{Known, Needs};
use crate::graph::{Graph, Step};
use crate::lookup::Lookup;
use crate::outcome::Reason;
use crate::result::StepResult;
use crate::schedule::panic_text;

/// What a build would do with a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Planned {
    /// Nothing: fresh here.
    Fresh,
    /// Take the known result.
    Hit(Option<Reason>),
    /// Run it.
    Run(Reason),
    /// Not known until the steps that it needs have run.
    MayRun,
    /// It could not even say what goes into its key.
    Fails(String),
}

/// A step and what a build would do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedStep {
    /// Its name.
    pub name: String,
    /// What would happen.
    pub planned: Planned,
    /// How long it took when it last ran.
    pub expected_ms: Option<u64>,
}

/// Results that are known without running anything, by the id of their step.
pub(crate) type Results = HashMap<usize, Arc<StepResult>>;

pub(crate) fn plan(
    engine: &Engine,
    graph: &Graph,
    targets: Option<&[String]>,
) -> Result<(Vec<PlannedStep>, Results), EngineError> {
    let selected = graph.selection(targets)?;
    let mut results = Results::new();
    let mut steps = Vec::new();
    for id in (0..graph.len()).filter(|&id| selected[id]) {
        let step = graph.at(id);
        let (planned, result) = match (engine.session_result(&step.name), needs(graph, id, &results)) {
            (Some(result), _) => (Planned::Fresh, Some(result)),
            (None, None) => (Planned::MayRun, None),
            (None, Some(needs)) => plan_step(engine, step, needs),
        };
        results.extend(result.map(|result| (id, result)));
        let expected_ms = engine.previous.steps.get(&step.name).map(|p| p.duration_ms);
        steps.push(PlannedStep { name: step.name.clone(), planned, expected_ms });
    }
    Ok((steps, results))
}

/// What a step needs, when all of it is known.
pub(crate) fn needs(graph: &Graph, id: usize, results: &Results) -> Option<Needs> {
    let need = |need: &usize| Some((graph.at(*need).name.clone(), results.get(need)?.clone()));
    graph.needs_of(id).iter().map(need).collect()
}

fn plan_step(engine: &Engine, step: &Step, needs: Needs) -> (Planned, Option<Arc<StepResult>>) {
    let cx = engine.context(&step.name, needs, &|_, _| {});
    // Nothing of what a panic leaves behind is used afterwards.
    let known =
        std::panic::catch_unwind(AssertUnwindSafe(|| Known::find(engine, step, &cx))).unwrap_or_else(|p| {
            Err(StepError::new(StepErrorKind::Panic, format!("it panicked: {}", panic_text(&*p))))
        });
    match known {
        Err(error) => (Planned::Fails(error.message), None),
        Ok(known) => match &known.lookup {
            Lookup::Hit(result, _) if known.is_fresh(result) => {
                (Planned::Fresh, Some(Arc::new((**result).clone())))
            }
            Lookup::Hit(result, _) => {
                (Planned::Hit(known.reason(&engine.store)), Some(Arc::new((**result).clone())))
            }
            Lookup::Miss(_) => {
                (Planned::Run(known.reason(&engine.store).unwrap_or(Reason::CacheEvicted)), None)
            }
        },
    }
}
