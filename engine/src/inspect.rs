//! One step looked at closely: what a build would do with it, and every part of its key that moved.

use std::panic::AssertUnwindSafe;

use relgraph_cache::{Answer, Probe, Store};

use crate::engine::Engine;
use crate::error::EngineError;
use crate::execute::Known;
use crate::explain::{diff_trees, reasons};
use crate::graph::{Graph, GraphError};
use crate::key::{KeyParts, PartChange, PartChangeKind, PartValue};
use crate::outcome::Reason;
use crate::plan::{PlannedStep, needs, plan};

/// How many paths of one tree are named at most.
const PATHS: usize = 100;

/// What is known of a step without running it.
#[derive(Debug, Clone, Default)]
pub struct Inspection {
    /// What a build would do with the step (the last one) and with every step below it, each after those it needs.
    pub plan: Vec<PlannedStep>,
    /// Everything that moved since the last build of this checkout, most telling first. Empty when nothing did, and when
    /// that is not known until the steps that it needs have run.
    pub reasons: Vec<Reason>,
    /// The parts of its key that moved; empty when it was never built here.
    pub parts: Vec<PartMoved>,
    /// What it was seen to read and that moved.
    pub probes: Vec<ProbeMoved>,
}

/// A part of a key that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartMoved {
    /// The part, and what it was and is.
    pub change: PartChange,
    /// Where it is a tree: the paths inside that differ.
    pub paths: Vec<(String, PartChangeKind)>,
}

/// Something that a step was seen to read and that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeMoved {
    /// What was asked.
    pub probe: Probe,
    /// What the answer was.
    pub expected: Answer,
    /// What it is.
    pub found: Answer,
    /// Where it is a tree: the paths inside that differ.
    pub paths: Vec<(String, PartChangeKind)>,
}

pub(crate) fn inspect(engine: &Engine, graph: &Graph, name: &str) -> Result<Inspection, EngineError> {
    let (steps, results) = plan(engine, graph, Some(&[name.to_owned()]))?;
    let mut inspection = Inspection { plan: steps, ..Inspection::default() };
    let Some(id) = graph.id(name) else {
        // `plan` has said so already.
        let (name, needed_by) = (name.to_owned(), "the request".to_owned());
        return Err(GraphError::UnknownStep { name, needed_by, nearest: None }.into());
    };
    let Some(needs) = needs(graph, id, &results) else { return Ok(inspection) };
    let cx = engine.context(name, needs, &|_, _| {});
    // Whatever goes wrong here went wrong in the plan, which tells it.
    let known = std::panic::catch_unwind(AssertUnwindSafe(|| Known::find(engine, graph.at(id), &cx)));
    let Ok(Ok(known)) = known else { return Ok(inspection) };
    let answer = |probe: &Probe| known.answers.answer(probe).ok();
    let now = &known.declared.parts;
    inspection.reasons = reasons(known.previous, now, &answer, &engine.store);
    if let Some(previous) = known.previous {
        inspection.parts = moved_parts(&engine.store, &previous.parts, now);
        inspection.probes = previous
            .probes
            .iter()
            .filter_map(|(probe, expected)| moved_probe(&engine.store, probe, expected, answer(probe)?))
            .collect();
    }
    Ok(inspection)
}

fn moved_parts(store: &Store, old: &KeyParts, new: &KeyParts) -> Vec<PartMoved> {
    let paths = |name: &str| match (old.get(name), new.get(name)) {
        (Some(PartValue::Digest(old)), Some(PartValue::Digest(new))) => diff_trees(store, old, new, PATHS),
        _ => Vec::new(),
    };
    let changes = KeyParts::diff(old, new).into_iter();
    changes.map(|change| PartMoved { paths: paths(&change.name), change }).collect()
}

fn moved_probe(store: &Store, probe: &Probe, expected: &Answer, found: Answer) -> Option<ProbeMoved> {
    if found == *expected {
        return None;
    }
    let paths = match (expected, &found) {
        (Answer::Tree(old), Answer::Tree(new)) => diff_trees(store, old, new, PATHS),
        _ => Vec::new(),
    };
    Some(ProbeMoved { probe: probe.clone(), expected: expected.clone(), found, paths })
}
