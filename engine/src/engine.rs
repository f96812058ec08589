//! The engine: what a build has at hand, and what it has found out so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use relgraph_cache::Store;
use relgraph_cache::remote::Shared;

use crate::action::StepContext;
use crate::cancel::Cancel;
use crate::checkout::{Checkout, StepRecord};
use crate::error::EngineError;
use crate::execute::Needs;
use crate::graph::Graph;
use crate::inspect::{Inspection, inspect};
use crate::observe::{Observer, RunReport, StepReport};
use crate::permits::Permits;
use crate::plan::{PlannedStep, plan};
use crate::result::StepResult;
use crate::sandbox::{Sandboxer, Stream};
use crate::schedule::schedule;
use crate::secret::Secrets;

/// Runs graphs of steps. One engine is one build: what an earlier graph made is there for a later one, where a step of
/// the same name is taken to be the same step.
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
    /// Which of it is secret: see [`Engine::keep_secret`].
    pub(crate) secrets: Arc<Secrets>,
    /// Steps that run even when their result is known.
    pub force: BTreeSet<String>,
    /// What the last build of this checkout was made of.
    pub previous: Checkout,
    /// Stops the build.
    pub cancel: Cancel,
    /// Remotes that results are looked up in, and written to.
    pub shared: Option<Arc<Shared>>,
    pub(crate) permits: Permits,
    session: Mutex<Session>,
}

/// What this build has done so far.
#[derive(Default)]
struct Session {
    report: RunReport,
    records: BTreeMap<String, StepRecord>,
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
            secrets: Arc::default(),
            force: BTreeSet::new(),
            previous: Checkout::default(),
            cancel: Cancel::new(),
            shared: None,
            permits: Permits::default(),
            session: Mutex::default(),
        }
    }

    /// Keeps secrets out of what programs print, of errors and of results.
    pub fn keep_secret(&mut self, secrets: Secrets) {
        self.secrets = Arc::new(secrets);
        self.sandboxer.conceal(&self.secrets);
    }

    /// The secrets that it keeps.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Brings the targets and everything below them up to date; all steps when no target is given. The report speaks of
    /// these steps; what the build did in all is in [`Engine::report`].
    pub fn run(
        &self,
        graph: &Graph,
        targets: Option<&[String]>,
        observer: &dyn Observer,
    ) -> Result<RunReport, EngineError> {
        let began = Instant::now();
        let selected = graph.selection(targets)?;
        let names: Vec<&str> =
            graph.order().zip(&selected).filter(|(_, s)| **s).map(|(step, _)| step.name.as_str()).collect();
        let mut report = RunReport::default();
        for name in &names {
            let known = self.session().report.steps.get(*name).filter(|s| s.result.is_some()).cloned();
            report.steps.extend(known.map(|step| ((*name).to_owned(), step)));
        }
        observer.planned(names.len() - report.steps.len());
        let known: BTreeMap<String, Arc<StepResult>> =
            report.steps.values().filter_map(|s| Some((s.name.clone(), s.result.clone()?))).collect();
        schedule(
            self,
            graph,
            &selected,
            |name| known.get(name).cloned(),
            observer,
            |done| {
                let name = done.report.name.clone();
                if let Some(record) = done.record {
                    self.session().records.insert(name.clone(), record);
                }
                report.steps.insert(name, done.report);
            },
        )?;
        report.duration = began.elapsed();
        report.cancelled = self.cancel.is_cancelled();
        self.session().report.merge(report.clone());
        Ok(report)
    }

    /// What `run` would do, running nothing.
    pub fn plan(&self, graph: &Graph, targets: Option<&[String]>) -> Result<Vec<PlannedStep>, EngineError> {
        plan(self, graph, targets).map(|(steps, _)| steps)
    }

    /// One step looked at closely, running nothing: what of its key moved since the last build of this checkout.
    pub fn inspect(&self, graph: &Graph, step: &str) -> Result<Inspection, EngineError> {
        inspect(self, graph, step)
    }

    /// What this build has done so far, over all its graphs.
    pub fn report(&self) -> RunReport {
        self.session().report.clone()
    }

    /// Forgets what this build did with a step, so that one of the same name that does something else can follow.
    pub fn forget(&self, step: &str) {
        let mut session = self.session();
        session.report.steps.remove(step);
        session.records.remove(step);
    }

    /// What the next build of this checkout should know: what this one did, and what earlier ones did with steps that it
    /// did not reach. Given the whole graph, steps that are neither in it nor part of this build are forgotten.
    pub fn checkout(&self, whole: Option<&Graph>) -> Checkout {
        let mut steps = self.previous.steps.clone();
        if let Some(graph) = whole {
            steps.retain(|name, _| graph.step(name).is_some());
        }
        steps.extend(self.session().records.clone());
        Checkout { steps }
    }

    /// Calls `act` with what a step gets to see that needs every step of `report`: for work that must leave no result.
    pub fn with_context<T>(
        &self,
        step: &str,
        report: &RunReport,
        act: impl FnOnce(&StepContext<'_>) -> T,
    ) -> T {
        let needs = report.steps.values().filter_map(|s| Some((s.name.clone(), s.result.clone()?))).collect();
        act(&self.context(step, needs, &|_, _| {}))
    }

    /// What an action gets to see.
    pub(crate) fn context<'a>(
        &'a self,
        step: &'a str,
        needs: Needs,
        output: &'a (dyn Fn(Stream, &str) + Sync),
    ) -> StepContext<'a> {
        StepContext {
            store: &self.store,
            sandbox: &self.sandboxer,
            env: &self.env,
            secrets: &self.secrets,
            needs,
            step,
            cancel: &self.cancel,
            output,
        }
    }

    pub(crate) fn session_result(&self, step: &str) -> Option<Arc<StepResult>> {
        self.session().report.steps.get(step).and_then(|s: &StepReport| s.result.clone())
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
