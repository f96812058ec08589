//! The engine: what a build has at hand, and what it has found out so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use relgraph_cache::Store;

use crate::cancel::Cancel;
use crate::checkout::Checkout;
use crate::error::EngineError;
use crate::graph::Graph;
use crate::observe::{Observer, RunReport, StepReport};
use crate::outcome::Reason;
use crate::sandbox::Sandboxer;

/// Runs graphs of steps. One engine is one build: results of an earlier graph are there for a later one.
pub struct Engine {
    /// Where results are looked up and kept.
    pub store: Store,
    /// Runs foreign programs.
    pub sandboxer: Arc<Sandboxer>,
    /// How many steps run at once.
    pub jobs: usize,
    /// Whether steps that do not depend on a failed one still run.
    pub keep_going: bool,
    /// The user's environment.
    pub env: BTreeMap<String, String>,
    /// Steps that run even when their result is known.
    pub force: BTreeSet<String>,
    /// What the last build of this checkout was made of.
    pub previous: Checkout,
    /// Stops the build.
    pub cancel: Cancel,
    #[allow(dead_code)]
    session: Mutex<BTreeMap<String, StepReport>>,
}

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

impl Engine {
    /// An engine with nothing known; set what else it should know before the first run.
    pub fn new(store: Store, sandboxer: Arc<Sandboxer>) -> Self {
        Engine {
            store,
            sandboxer,
            jobs: std::thread::available_parallelism().map_or(1, usize::from),
            keep_going: false,
            env: BTreeMap::new(),
            force: BTreeSet::new(),
            previous: Checkout::default(),
            cancel: Cancel::new(),
            session: Mutex::default(),
        }
    }

    /// Brings the targets and everything below them up to date; all steps when no target is given.
    pub fn run(
        &self,
        graph: &Graph,
        targets: Option<&[String]>,
        observer: &dyn Observer,
    ) -> Result<RunReport, EngineError> {
        let _ = (graph, targets, observer);
        Ok(RunReport::default())
    }

    /// What `run` would do, running nothing.
    pub fn plan(&self, graph: &Graph, targets: Option<&[String]>) -> Result<Vec<PlannedStep>, EngineError> {
        let _ = (graph, targets);
        Ok(Vec::new())
    }

    /// What this build was made of so far, over what the last one was made of.
    pub fn checkout(&self) -> Checkout {
        self.previous.clone()
    }
}
