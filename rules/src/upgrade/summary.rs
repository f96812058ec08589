//! What the step `upgrade` says of itself: what users and programs are shown.

use relgraph_cache::{Node, Store};
use relgraph_engine::{StepError, StepResult};
use serde::{Deserialize, Serialize};

use super::plan::{Note, Way};

/// What the step says of itself, in the output `facts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The name of the release.
    pub name: String,
    /// The version that is wanted.
    pub version: String,
    /// The ways, one per old version.
    pub ways: Vec<WaySummary>,
    /// Whether `bin/NAME` is relx's, which takes packages in another way.
    #[serde(default)]
    pub is_relx: bool,
}

/// One way of a [`Summary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaySummary {
    /// The version that runs.
    pub from: String,
    /// `hot`, `restart_application` or `restart_vm`.
    pub way: String,
    /// What is done, by application.
    pub applications: Vec<ApplicationSummary>,
    /// Protocols that are consolidated anew.
    pub protocols: Vec<String>,
    /// What whoever upgrades should know.
    pub notes: Vec<NoteSummary>,
    /// How many instructions the relup has on the way there.
    pub instructions: usize,
}

/// One application of a [`WaySummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationSummary {
    /// Its name.
    pub name: String,
    /// The version that runs.
    pub old_version: Option<String>,
    /// The version that is wanted.
    pub new_version: Option<String>,
    /// `generated`, `application`, or the file; none: it appears or goes.
    pub appup: Option<String>,
    /// What is done on the way there, for people.
    pub steps: Vec<String>,
    /// The same as Erlang terms.
    pub up: Vec<String>,
    /// What is done on the way back.
    pub down: Vec<String>,
}

impl ApplicationSummary {
    /// Whether it is restarted on the way.
    pub fn is_restarted(&self) -> bool {
        self.up.iter().any(|one| one.starts_with("{restart_application,"))
    }
}

/// A note of a [`WaySummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoteSummary {
    /// The application that it is about; empty: the release.
    pub application: String,
    /// What it is.
    pub text: String,
}

impl From<&Note> for NoteSummary {
    fn from(note: &Note) -> Self {
        NoteSummary { application: note.application.clone(), text: note.text.clone() }
    }
}

impl Way {
    /// The word of reports.
    pub fn word(self) -> &'static str {
        match self {
            Way::Hot => "hot",
            Way::RestartApplication => "restart_application",
            Way::RestartVm => "restart_vm",
        }
    }
}

impl Summary {
    /// What the step found out.
    pub fn read(store: &Store, result: &StepResult) -> Result<Summary, StepError> {
        let tree = result.output("facts")?;
        let Some(Node::File { digest, .. }) = store.lookup(&tree, FACTS)? else {
            return Err(StepError::internal("the step `upgrade` left no facts"));
        };
        serde_json::from_slice(&store.read(&digest)?)
            .map_err(|e| StepError::internal(format!("the facts of the upgrade cannot be read: {e}")))
    }
}

pub(super) const FACTS: &str = "upgrade.json";
