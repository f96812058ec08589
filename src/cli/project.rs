//! A release as a graph of steps, for commands that look at it and run nothing.

use relgraph_engine::{Graph, GraphError, Outcome, Planned, PlannedStep, Reason, Run, runlog};
use relgraph_rules::build::{self, Ready};
use relgraph_rules::diagnostic::{Diagnostic, shown};

use super::context::Context;
use super::session::{Paths, ReleaseArgs, Session};
use super::stop::Stop;
use crate::render::progress::Progress;

/// How far back the history is searched for runs of one release.
const HISTORY: usize = 500;

/// How many steps may be offered in the place of one that does not exist.
const MEANT: usize = 3;

/// A release, ready to be looked at.
pub struct Project {
    /// The engine and what belongs to it.
    pub session: Session,
    /// The graph.
    pub ready: Ready,
}

/// What a build would do with a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prospect {
    /// Nothing.
    Fresh,
    /// Take the known result.
    Hit(Option<Reason>),
    /// Run it.
    Run(Reason),
    /// Not known before these steps, which it needs, have run.
    MayRun(Vec<String>),
    /// It cannot even say what goes into its key.
    Fails(String),
    /// It was run just now: without its answer the steps are not known.
    Asked(Option<Reason>),
}

/// A step and what a build would do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The step.
    pub step: String,
    /// What would happen.
    pub prospect: Prospect,
    /// How long it took when it last ran.
    pub expected_ms: Option<u64>,
}

impl Project {
    /// Reads release.yaml and finds out what the steps are, for which Mix may have to be asked.
    pub fn open(context: &Context, args: &ReleaseArgs) -> Result<Project, Stop> {
        let paths = Paths::new(args, &context.cache_dir()?)?;
        let session = Session::open(context, args, &paths)?;
        session.stop_on_signals();
        let progress = Progress::new(context, Default::default(), 1);
        let ready = build::lower(&session.engine, &session.lowering, build::Purpose::Look, &progress);
        progress.finish();
        // It only saves work.
        let _ = session.stat.save();
        session.store().index().flush();
        Ok(Project { session, ready: ready? })
    }

    /// The steps.
    pub fn graph(&self) -> &Graph {
        &self.ready.lowered.graph
    }

    /// The name of the release.
    pub fn release(&self) -> &str {
        &self.session.lowering.file.release
    }

    /// `MIX_ENV`.
    pub fn environment(&self) -> &str {
        self.session.lowering.file.environment_name()
    }

    /// The newest runs of this release.
    pub fn runs(&self) -> Vec<Run> {
        let runs = runlog::newest(self.session.store().index(), HISTORY).into_iter();
        runs.filter(|run| run.name == self.release()).collect()
    }

    /// The name of a step, or what is wrong with it.
    pub fn step<'a>(&self, name: &'a str) -> Result<&'a str, Stop> {
        if self.graph().step(name).is_some() {
            return Ok(name);
        }
        let error = self.graph().below(Some(&[name.to_owned()])).err();
        let nearest = match &error {
            Some(GraphError::UnknownStep { nearest, .. }) => nearest.clone(),
            _ => None,
        };
        let complaint = Diagnostic::error(format!("there is no step `{}`", shown(name)));
        let part = |step: &&str| step.split(' ').any(|word| word == name);
        let named: Vec<String> = self
            .graph()
            .order()
            .map(|step| step.name.as_str())
            .filter(part)
            .map(|name| format!("`{name}`"))
            .collect();
        Err(Stop::wrong(match (nearest, &named[..]) {
            (_, [_, ..]) if named.len() <= MEANT => {
                complaint.hint(format!("did you mean {}?", named.join(" or ")))
            }
            (Some(nearest), _) => complaint.hint(format!("did you mean `{nearest}`?")),
            (None, _) => complaint.hint("`relgraph plan --all` lists the steps"),
        }))
    }

    /// What is to be expected of planned steps, those that were run to know the others among them.
    pub fn expected(&self, plan: Vec<PlannedStep>) -> Vec<Expected> {
        let report = self.session.engine.report();
        let mut unsettled = std::collections::BTreeSet::new();
        let mut expected = Vec::with_capacity(plan.len());
        for PlannedStep { name, planned, expected_ms } in plan {
            let asked = report.steps.get(&name).filter(|step| step.result.is_some());
            let prospect = match (asked, planned) {
                (Some(step), _) => match step.outcome {
                    Outcome::HitLocal | Outcome::HitRemote => Prospect::Hit(step.reason.clone()),
                    Outcome::Ran | Outcome::Dup => Prospect::Asked(step.reason.clone()),
                    _ => Prospect::Fresh,
                },
                (None, Planned::Fresh) => Prospect::Fresh,
                (None, Planned::Hit(reason)) => Prospect::Hit(reason),
                (None, Planned::Run(reason)) => Prospect::Run(reason),
                (None, Planned::Fails(message)) => Prospect::Fails(message),
                (None, Planned::MayRun) => {
                    let needs = self.graph().needs(&name).map(|need| need.name.clone());
                    Prospect::MayRun(needs.filter(|need| unsettled.contains(need)).collect())
                }
            };
            if matches!(prospect, Prospect::Run(_) | Prospect::MayRun(_) | Prospect::Fails(_)) {
                unsettled.insert(name.clone());
            }
            expected.push(Expected { step: name, prospect, expected_ms });
        }
        expected
    }
}
