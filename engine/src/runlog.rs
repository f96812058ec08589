//! The history of builds: one row per run in the store's index, found again by the start of its id.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use relgraph_cache::{Index, RunRow, StoreError};
use serde::{Deserialize, Serialize};

use crate::observe::{RunReport, StepReport};

/// One build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its id: hexadecimal, found again by any start of it that no other run has.
    #[serde(skip)]
    pub id: String,
    /// When it began, in milliseconds since 1970.
    #[serde(skip)]
    pub started_ms: i64,
    /// What was run.
    #[serde(skip)]
    pub name: String,
    /// How long it took.
    pub duration_ms: u64,
    /// Whether every step has a result.
    pub success: bool,
    /// Whether it was stopped.
    pub cancelled: bool,
    /// How many steps had each outcome.
    pub counts: BTreeMap<String, usize>,
    /// What happened to each step, by name.
    pub steps: BTreeMap<String, RunStep>,
    /// What was made, as whoever ran it describes it; none of a run that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<serde_json::Value>,
}

/// One step of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunStep {
    /// The word for what happened: see [`Outcome::word`](crate::Outcome::word).
    pub outcome: String,
    /// Why it was not fresh: see [`Reason::word`](crate::Reason::word).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the reason is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How long it took this time.
    pub duration_ms: u64,
    /// The name of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl RunStep {
    fn of(step: &StepReport) -> RunStep {
        RunStep {
            outcome: step.outcome.word().to_owned(),
            reason: step.reason.as_ref().map(|r| r.word().to_owned()),
            subject: step.reason.as_ref().and_then(|r| r.subject()).map(str::to_owned),
            duration_ms: millis(step.duration),
            result: step.result.as_ref().map(|r| r.result_key.clone()),
            error: step.error.as_ref().map(|e| e.message.clone()),
        }
    }
}

impl Run {
    /// The row of a build that began at `started`. Its id is made of that, of its name and of what happened.
    pub fn of(name: &str, started: SystemTime, report: &RunReport) -> Run {
        let since = started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut run = Run {
            id: String::new(),
            started_ms: i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            name: name.to_owned(),
            duration_ms: millis(report.duration),
            success: report.is_success(),
            cancelled: report.cancelled,
            counts: report.counts().into_iter().map(|(o, count)| (o.word().to_owned(), count)).collect(),
            steps: report.steps.iter().map(|(name, step)| (name.clone(), RunStep::of(step))).collect(),
            made: None,
        };
        let mut hasher = blake3::Hasher::new_derive_key("relgraph run v1");
        hasher.update(&since.as_nanos().to_le_bytes());
        hasher.update(&std::process::id().to_le_bytes());
        hasher.update(name.as_bytes());
        run.id = hasher.finalize().to_hex()[..16].to_owned();
        run
    }

    /// Writes the row.
    pub fn record(&self, index: &Index) -> Result<(), StoreError> {
        // Maps of text and numbers: there is nothing in it that JSON cannot say.
        let json = serde_json::to_string(self).unwrap_or_default();
        index.add_run(&RunRow {
            id: self.id.clone(),
            started: self.started_ms,
            name: self.name.clone(),
            json,
        })
    }

    fn read(row: RunRow) -> Option<Run> {
        let run: Run = serde_json::from_str(&row.json).ok()?;
        Some(Run { id: row.id, started_ms: row.started, name: row.name, ..run })
    }
}

/// The newest runs, newest first. Rows of another version that do not say what is needed are left out.
pub fn newest(index: &Index, limit: usize) -> Vec<Run> {
    index.runs(limit).into_iter().filter_map(Run::read).collect()
}

/// The runs whose id starts so: one, when the start was long enough.
pub fn by_prefix(index: &Index, prefix: &str) -> Vec<Run> {
    index.runs_by_prefix(prefix).into_iter().filter_map(Run::read).collect()
}

/// For each id the shortest start that no other of them has, at least four characters.
pub fn short_ids(ids: &[String]) -> BTreeMap<String, String> {
    let mut sorted: Vec<&String> = ids.iter().collect();
    sorted.sort();
    sorted.dedup();
    let shared = |a: &str, b: &str| a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    let short = |(at, id): (usize, &&String)| {
        let before = at.checked_sub(1).map_or(0, |at| shared(sorted[at], id));
        let after = sorted.get(at + 1).map_or(0, |next| shared(next, id));
        let length = (before.max(after) + 1).max(4).min(id.len());
        ((*id).clone(), id.get(..length).unwrap_or(id).to_owned())
    };
    sorted.iter().enumerate().map(short).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
