//! Why a command ends before its end.

use std::path::Path;
use std::process::ExitCode;

use relgraph_cache::StoreError;
use relgraph_engine::EngineError;
use relgraph_rules::build::BuildError;
use relgraph_rules::compare::CompareError;
use relgraph_rules::diagnostic::Diagnostic;

use super::context::{Context, store_trouble};
use super::exit;
use crate::render::{failure, tell};

/// Why a command ends before its end; with it, its exit status.
#[derive(Debug)]
pub enum Stop {
    /// The request, release.yaml or the project is wrong.
    Wrong(Vec<Diagnostic>),
    /// It did not work.
    Failed(Vec<Diagnostic>),
    /// Something in the store was damaged or gone. Another build makes it again.
    Damaged(String),
    /// The user stopped it.
    Interrupted,
}

impl Stop {
    /// It did not work.
    pub fn failed(complaint: Diagnostic) -> Stop {
        Stop::Failed(vec![complaint])
    }

    /// The request is wrong.
    pub fn wrong(complaint: Diagnostic) -> Stop {
        Stop::Wrong(vec![complaint])
    }

    /// The store in `dir` could not be used.
    pub fn store(dir: &Path, error: &StoreError) -> Stop {
        if matches!(error, StoreError::Missing { .. } | StoreError::Corrupt { .. }) {
            return Stop::Damaged(error.to_string());
        }
        Stop::failed(store_trouble(dir, error))
    }

    /// Complains, and says how the command ended.
    pub fn end(&self, context: &Context) -> ExitCode {
        match self {
            Stop::Wrong(complaints) => {
                context.complain(complaints);
                exit::wrong()
            }
            Stop::Failed(complaints) => {
                context.complain(complaints);
                exit::FAILED
            }
            Stop::Damaged(what) => {
                let hint = "`relgraph cache verify --repair` looks at everything in the store";
                context.complain(&[Diagnostic::error(what.clone()).hint(hint)]);
                exit::FAILED
            }
            Stop::Interrupted => {
                tell("interrupted");
                exit::interrupted()
            }
        }
    }
}

impl From<Box<Diagnostic>> for Stop {
    fn from(complaint: Box<Diagnostic>) -> Self {
        Stop::Wrong(vec![*complaint])
    }
}

impl From<Vec<Diagnostic>> for Stop {
    fn from(complaints: Vec<Diagnostic>) -> Self {
        Stop::Wrong(complaints)
    }
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Stop::failed(Diagnostic::error(error.to_string()))
    }
}

impl From<BuildError> for Stop {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Wrong(complaints) => Stop::Wrong(complaints),
            BuildError::Engine(error) => error.into(),
            BuildError::Damaged(what) => Stop::Damaged(what),
            BuildError::Failed(report) if report.cancelled => Stop::Interrupted,
            BuildError::Failed(report) => Stop::Failed(failure::diagnostics(&report)),
        }
    }
}

impl From<CompareError> for Stop {
    fn from(error: CompareError) -> Self {
        let complaint = Diagnostic::error(error.to_string());
        match error {
            CompareError::Store(error) if error.is_missing() => {
                let message = "the release is not whole in the store any more";
                let complaint = Diagnostic::error(message).note(error.to_string());
                Stop::failed(
                    complaint.hint("`relgraph build` makes it again, on the sources of that version"),
                )
            }
            CompareError::Store(_) => Stop::failed(complaint),
            // What was named is not what it should be.
            CompareError::Io { .. } | CompareError::Archive { .. } | CompareError::NotARelease { .. } => {
                Stop::wrong(complaint)
            }
        }
    }
}
