//! What a step does: the trait that rules implement, and what passes between them and the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use relgraph_cache::{Answer, Digest, Probe, Store};

use crate::cancel::Cancel;
use crate::error::StepError;
use crate::key::KeyParts;
use crate::result::StepResult;
use crate::sandbox::{SandboxMode, Sandboxer, Stream};
use crate::secret::Secrets;

/// What a step does. The engine calls `declare` once everything the step needs has a result, and `run` when no
/// result is known for the key.
pub trait Action: Send + Sync {
    /// What goes into the key. The engine adds the rule and its version.
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError>;

    /// Does the work and puts the outputs into the store.
    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError>;
}

/// What an action says about itself before it runs.
#[derive(Clone)]
pub struct Declared {
    /// The named parts of its key.
    pub parts: KeyParts,
    /// Where discovered inputs are looked up; `None` when everything is declared.
    pub available: Option<Arc<dyn Available>>,
    /// `false`: runs every time, and its result is never stored.
    pub cacheable: bool,
    /// Secrets that it is given. They are in its parts, or among what it discovers; it does not run where one has no value
    /// here, and what it makes must not hold one.
    pub secrets: BTreeSet<String>,
}

impl Declared {
    /// An action whose inputs are all in its parts.
    pub fn new(parts: KeyParts) -> Self {
        Declared { parts, available: None, cacheable: true, secrets: BTreeSet::new() }
    }

    /// An action that reads more than it declares, from `available`.
    pub fn discovering(parts: KeyParts, available: Arc<dyn Available>) -> Self {
        Declared { available: Some(available), ..Declared::new(parts) }
    }

    /// With secrets that it is given.
    pub fn given<'a>(mut self, secrets: impl IntoIterator<Item = &'a String>) -> Self {
        self.secrets.extend(secrets.into_iter().cloned());
        self
    }
}

/// What a step could read if it wanted to: asked about the inputs that earlier runs discovered.
pub trait Available: Send + Sync {
    /// What is there now. `Probe::Env` never arrives here: the engine answers it from the user's environment.
    fn answer(&self, probe: &Probe) -> Result<Answer, StepError>;
}

/// What a run made.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Trees by name, already in the store.
    pub outputs: BTreeMap<String, Digest>,
    /// Small facts by name.
    pub values: BTreeMap<String, String>,
    /// What it turned out to read.
    pub probes: Vec<Probe>,
    /// What it printed.
    pub stdout: Vec<u8>,
    /// What it printed as errors and warnings.
    pub stderr: Vec<u8>,
    /// How it was confined; `None` when it ran no foreign program.
    pub sandbox: Option<SandboxMode>,
    /// `false`: an input moved while it ran, so the result is used and not stored.
    pub stable: bool,
}

impl Default for Ran {
    fn default() -> Self {
        Ran {
            outputs: BTreeMap::new(),
            values: BTreeMap::new(),
            probes: Vec::new(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            sandbox: None,
            stable: true,
        }
    }
}

/// What an action may use.
pub struct StepContext<'a> {
    /// Where outputs go and inputs come from.
    pub store: &'a Store,
    /// Runs foreign programs.
    pub sandbox: &'a Arc<Sandboxer>,
    /// The user's environment. An action that reads it must say so, in its parts or by `Probe::Env`.
    pub env: &'a BTreeMap<String, String>,
    /// The secrets of the build: what of the environment they are is for those who are given them, and in no key as it is.
    pub secrets: &'a Secrets,
    /// The results of the steps it needs, by name.
    pub needs: BTreeMap<String, Arc<StepResult>>,
    /// The name of the step.
    pub step: &'a str,
    /// Whether the build is being stopped.
    pub cancel: &'a Cancel,
    /// Takes lines as they are printed, for whoever watches.
    pub output: &'a (dyn Fn(Stream, &str) + Sync),
}

impl StepContext<'_> {
    /// The result of a step that this one needs.
    pub fn need(&self, step: &str) -> Result<&StepResult, StepError> {
        self.needs.get(step).map(Arc::as_ref).ok_or_else(|| {
            StepError::internal(format!("step `{}` reads `{step}`, which it does not need", self.step))
        })
    }

    /// Passes a line to whoever watches.
    pub fn line(&self, stream: Stream, line: &str) {
        (self.output)(stream, line);
    }
}
