//! What a build tells while it runs and when it is over: typed events, and the report. Showing them is not done here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::StepError;
use crate::outcome::{Outcome, Reason};
use crate::result::StepResult;
use crate::sandbox::Stream;

/// Watches a build. Called from several threads; every method may be left out.
pub trait Observer: Send + Sync {
    /// A run begins: how many steps it is about.
    fn planned(&self, _steps: usize) {}

    /// No result is known for a step, so it runs. `expected_ms`: how long it took last time.
    fn started(&self, _step: &str, _expected_ms: Option<u64>) {}

    /// A step printed a line.
    fn output(&self, _step: &str, _stream: Stream, _line: &str) {}

    /// A step is over, whether it ran or not.
    fn finished(&self, _step: &str, _outcome: Outcome, _reason: Option<&Reason>, _duration: Duration) {}

    /// Something that does not stop the build and that the user should know.
    fn warning(&self, _message: &str) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}

/// What happened to one step.
#[derive(Debug, Clone)]
pub struct StepReport {
    /// Its name.
    pub name: String,
    /// What happened.
    pub outcome: Outcome,
    /// Why it was not fresh.
    pub reason: Option<Reason>,
    /// How long it took this time.
    pub duration: Duration,
    /// What it made.
    pub result: Option<Arc<StepResult>>,
    /// Why it failed.
    pub error: Option<StepError>,
}

/// What happened to all steps of a run, by name.
#[derive(Debug, Clone, Default)]
pub struct RunReport {
    /// Every step that was asked for or needed.
    pub steps: BTreeMap<String, StepReport>,
    /// From the first step to the last.
    pub duration: Duration,
    /// Whether the build was stopped before its end.
    pub cancelled: bool,
}

impl RunReport {
    /// Whether every step has a result.
    pub fn is_success(&self) -> bool {
        !self.cancelled && self.steps.values().all(|s| s.outcome.is_done())
    }

    /// How many steps had each outcome; outcomes that no step had are left out.
    pub fn counts(&self) -> BTreeMap<Outcome, usize> {
        let mut counts = BTreeMap::new();
        self.steps.values().for_each(|s| *counts.entry(s.outcome).or_default() += 1);
        counts
    }

    /// How many steps had that outcome.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.steps.values().filter(|s| s.outcome == outcome).count()
    }

    /// What a step made.
    pub fn result(&self, step: &str) -> Option<&Arc<StepResult>> {
        self.steps.get(step)?.result.as_ref()
    }

    /// The steps that failed, by name.
    pub fn failed(&self) -> impl Iterator<Item = &StepReport> {
        self.steps.values().filter(|s| s.outcome == Outcome::Failed)
    }

    /// Takes in a later run of the same build: a step that both speak of counts once.
    pub fn merge(&mut self, later: RunReport) {
        self.steps.extend(later.steps);
        self.duration += later.duration;
        self.cancelled |= later.cancelled;
    }
}
