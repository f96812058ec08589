//! What a failed step says: what went wrong, the end of what it printed, and what to do.

use std::io;
use std::path::{Path, PathBuf};

use relgraph_cache::StoreError;

use crate::secret::Secrets;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepErrorKind {
    /// Something the user wrote or asked for is wrong.
    Input,
    /// A program said no.
    Exit,
    /// A program ran longer than it may.
    TimedOut,
    /// A program could not be started or confined.
    Sandbox,
    /// A file could not be read or written.
    Io,
    /// The store could not be read or written.
    Store,
    /// Something in the store was damaged or gone; what is left of it has been removed, so that it is made again.
    Damaged,
    /// The build was stopped.
    Cancelled,
    /// The action panicked: a bug.
    Panic,
    /// The engine or a rule broke its own promises: a bug.
    Internal,
}

/// Why a step failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct StepError {
    /// What kind of failure it was.
    pub kind: StepErrorKind,
    /// What went wrong, with the path or name it is about.
    pub message: String,
    /// The end of what the step printed.
    pub stdout: String,
    /// The end of what it printed as errors.
    pub stderr: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// How much of a program's output an error keeps.
const TAIL: usize = 64 * 1024;

impl StepError {
    /// A failure of that kind.
    pub fn new(kind: StepErrorKind, message: impl Into<String>) -> Self {
        StepError { kind, message: message.into(), stdout: String::new(), stderr: String::new(), hint: None }
    }

    /// Something the user wrote or asked for is wrong.
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(StepErrorKind::Input, message)
    }

    /// A promise was broken inside relgraph.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(StepErrorKind::Internal, message)
    }

    /// A file could not be read or written: `action` is the verb, "read" or "write".
    pub fn io(action: &str, path: &Path, source: &io::Error) -> Self {
        Self::new(StepErrorKind::Io, format!("cannot {action} {}: {source}", path.display()))
    }

    /// The build was stopped.
    pub fn cancelled() -> Self {
        Self::new(StepErrorKind::Cancelled, "interrupted")
    }

    /// With the end of what the step printed.
    pub fn with_output(mut self, stdout: &[u8], stderr: &[u8]) -> Self {
        self.stdout = tail(stdout);
        self.stderr = tail(stderr);
        self
    }

    /// With every secret cut out of it.
    pub(crate) fn without(mut self, secrets: &Secrets) -> Self {
        for text in [&mut self.message, &mut self.stdout, &mut self.stderr].into_iter().chain(&mut self.hint)
        {
            if let std::borrow::Cow::Owned(redacted) = secrets.redact_text(text) {
                *text = redacted;
            }
        }
        self
    }

    /// With what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<relgraph_cache::TreeError> for StepError {
    fn from(error: relgraph_cache::TreeError) -> Self {
        StoreError::from(error).into()
    }
}

impl From<StoreError> for StepError {
    fn from(error: StoreError) -> Self {
        let mut message = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause {
            let text = inner.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = inner.source();
        }
        let gone = matches!(error, StoreError::Missing { .. } | StoreError::Corrupt { .. });
        StepError::new(if gone { StepErrorKind::Damaged } else { StepErrorKind::Store }, message)
    }
}

fn tail(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(TAIL)..]).into_owned()
}

/// Why the engine's own files could not be written.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file operation failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried: "write", "create", ….
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The threads that run steps could not be started.
    #[error("cannot start {jobs} threads: {message}")]
    Threads {
        /// How many were wanted.
        jobs: usize,
        /// What the system said.
        message: String,
    },
    /// The graph does not hold what was asked for.
    #[error(transparent)]
    Graph(#[from] crate::graph::GraphError),
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl EngineError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> EngineError {
        let path = path.to_owned();
        move |source| EngineError::Io { action, path, source }
    }
}
