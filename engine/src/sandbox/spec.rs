//! What a confined program gets and what comes back: the words of the sandbox, the same for every way to confine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::error::{StepError, StepErrorKind};

/// How a program was confined, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SandboxMode {
    /// Linux namespaces, set up by relgraph itself.
    Namespaces,
    /// Linux namespaces, set up by `bwrap`.
    Bwrap,
    /// Not at all: a private folder and a clean environment.
    Plain,
}

impl SandboxMode {
    /// The word for it in records and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            SandboxMode::Namespaces => "namespaces",
            SandboxMode::Bwrap => "bwrap",
            SandboxMode::Plain => "plain",
        }
    }

    /// Whether the program saw a fixed path and nothing that was not declared.
    pub fn is_confined(self) -> bool {
        self != SandboxMode::Plain
    }

    pub(crate) fn tag(self) -> u8 {
        match self {
            SandboxMode::Namespaces => 1,
            SandboxMode::Bwrap => 2,
            SandboxMode::Plain => 3,
        }
    }

    pub(crate) fn from_tag(tag: u8) -> Option<SandboxMode> {
        [SandboxMode::Namespaces, SandboxMode::Bwrap, SandboxMode::Plain].into_iter().find(|m| m.tag() == tag)
    }
}

impl fmt::Display for SandboxMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Whether confinement is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SandboxPolicy {
    /// The best way that works here.
    #[default]
    Preferred,
    /// Confined, or an error.
    Required,
    /// Not confined.
    Off,
}

/// A file or folder that the program sees at a path of our choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where it really is.
    pub from: PathBuf,
    /// Where the program sees it: absolute, below the prefix or elsewhere.
    pub at: String,
    /// Whether the program may write there.
    pub writable: bool,
}

impl Mount {
    /// Read-only.
    pub fn read_only(from: impl Into<PathBuf>, at: impl Into<String>) -> Self {
        Mount { from: from.into(), at: at.into(), writable: false }
    }

    /// Writable.
    pub fn writable(from: impl Into<PathBuf>, at: impl Into<String>) -> Self {
        Mount { from: from.into(), at: at.into(), writable: true }
    }
}

/// One program to run, confined.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SandboxSpec {
    /// A real folder that the program may write to; it appears at the prefix.
    pub work: PathBuf,
    /// What else it sees, in this order: a later mount may lie inside an earlier one.
    pub mounts: Vec<Mount>,
    /// Absolute paths of the system that it finds empty.
    pub hide: Vec<String>,
    /// The program and its arguments; the program is looked up in the `PATH` of `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: BTreeMap<String, String>,
    /// Where it starts: absolute; the prefix when empty.
    pub cwd: String,
    /// Whether it may use the network.
    pub network: bool,
    /// How long it may run.
    pub timeout: Option<Duration>,
}

/// Which of the two a program printed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A program that ran to its end.
#[derive(Debug, Clone)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed; the middle is left out when it was very much.
    pub stdout: Vec<u8>,
    /// What it printed as errors; the middle is left out when it was very much.
    pub stderr: Vec<u8>,
    /// How long it ran.
    pub duration: Duration,
    /// How it was confined.
    pub mode: SandboxMode,
}

impl Finished {
    /// A failed step, unless the program said yes. `what` is what it was for: "mix compile".
    pub fn check(self, what: &str) -> Result<Finished, StepError> {
        use std::os::unix::process::ExitStatusExt;
        if self.status.success() {
            return Ok(self);
        }
        let how = match (self.status.code(), self.status.signal()) {
            (Some(code), _) => format!("exited with status {code}"),
            (_, Some(signal)) => format!("was ended by signal {signal}"),
            _ => "did not end well".to_owned(),
        };
        Err(StepError::new(StepErrorKind::Exit, format!("{what} {how}"))
            .with_output(&self.stdout, &self.stderr))
    }
}

/// Why a program could not be run to its end.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The spec makes no sense.
    #[error("{0}")]
    Spec(String),
    /// A file operation on our side failed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The confinement could not be set up.
    #[error("cannot set up the sandbox: {0}")]
    Setup(String),
    /// The program could not be started.
    #[error("{0}")]
    Start(String),
    /// A sandbox is required and none works here.
    #[error("no sandbox works here: {0}")]
    Unavailable(String),
    /// It ran longer than it may; its process group was ended.
    #[error("ran longer than {} s and was ended", limit.as_secs())]
    TimedOut {
        /// How long it was allowed to run.
        limit: Duration,
        /// What it had printed.
        stdout: Vec<u8>,
        /// What it had printed as errors.
        stderr: Vec<u8>,
    },
    /// The build was stopped; its process group was ended.
    #[error("interrupted")]
    Cancelled,
}

impl From<SandboxError> for StepError {
    fn from(error: SandboxError) -> Self {
        let message = error.to_string();
        match error {
            SandboxError::Cancelled => StepError::cancelled(),
            SandboxError::TimedOut { stdout, stderr, .. } => {
                StepError::new(StepErrorKind::TimedOut, message).with_output(&stdout, &stderr)
            }
            SandboxError::Unavailable(_) => StepError::new(StepErrorKind::Sandbox, message).with_hint(
                "allow unprivileged user namespaces, install bwrap, or ask for `sandbox: preferred`",
            ),
            SandboxError::Io { .. } => StepError::new(StepErrorKind::Io, message),
            SandboxError::Spec(_) => StepError::new(StepErrorKind::Internal, message),
            SandboxError::Setup(_) | SandboxError::Start(_) => {
                StepError::new(StepErrorKind::Sandbox, message)
            }
        }
    }
}
