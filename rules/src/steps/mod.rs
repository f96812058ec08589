//! The steps that a release is made of, one file per kind.

pub mod assemble;
pub mod boot;
pub mod compile;
pub mod config;
pub mod custom;
pub mod describe;
pub mod driver;
pub mod fetch;
pub mod finish;
pub mod functions;
pub mod generated;
pub mod overlay;
pub mod package;
pub mod preflight;
pub mod protocols;
pub mod runtime;
pub mod scripts;
pub mod strip;
pub mod tools;

use std::collections::BTreeMap;

use relgraph_engine::{Finished, Graph, Ran, RunReport, StepResult};

/// The steps that a release may come out of, the last one first.
const RELEASE: [&str; 3] = [finish::STEP, functions::STEP, assemble::STEP];

/// The step of a graph whose output `release` is the release.
pub fn last(graph: &Graph) -> &'static str {
    RELEASE.into_iter().find(|name| graph.step(name).is_some()).unwrap_or(assemble::STEP)
}

/// The result of that step, when it has one.
pub fn released(report: &RunReport) -> Option<&StepResult> {
    let last = RELEASE.into_iter().find(|name| report.steps.contains_key(*name))?;
    report.result(last).map(|result| &**result)
}

/// What a step made that ran a VM.
pub(crate) fn ran(finished: Finished, outputs: BTreeMap<String, relgraph_cache::Digest>) -> Ran {
    Ran {
        outputs,
        sandbox: Some(finished.mode),
        stdout: finished.stdout,
        stderr: finished.stderr,
        ..Ran::default()
    }
}
