//! `relgraph why`.

use std::process::ExitCode;

use clap::Args;
use relgraph_engine::{Inspection, Outcome, Run};

use super::context::Context;
use super::exit;
use super::project::{Expected, Project, Prospect};
use super::session::ReleaseArgs;
use super::stop::Stop;
use crate::render::why::{LastRun, Why};

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The step, as `plan` and `graph` call it
    #[arg(value_name = "STEP")]
    step: String,
    #[command(flatten)]
    release: ReleaseArgs,
}

/// Says why a step would run now, or why it ran last.
pub fn run(context: &Context, args: &WhyArgs) -> Result<ExitCode, Stop> {
    let project = Project::open(context, &args.release)?;
    let step = project.step(&args.step)?;
    let Inspection { plan, reasons, parts, probes } =
        project.session.engine.inspect(project.graph(), step)?;
    let mut below = project.expected(plan);
    let Some(Expected { prospect, expected_ms, .. }) = below.pop() else {
        return Err(Stop::failed(relgraph_rules::diagnostic::Diagnostic::error(format!(
            "nothing is known of the step `{step}`"
        ))));
    };
    let causes =
        below.into_iter().filter(|step| matches!(step.prospect, Prospect::Run(_) | Prospect::Fails(_)));
    let why = Why {
        step: step.to_owned(),
        expected_ms,
        causes: if matches!(prospect, Prospect::MayRun(_)) { causes.collect() } else { Vec::new() },
        prospect,
        reasons,
        parts,
        probes,
        last: project.runs().iter().find_map(|run| last_run(run, step)),
        secret: project.session.lowering.file.pass_env.clone(),
    };
    context.report(|| why.json(), || why.text(context.colour_out));
    Ok(exit::DONE)
}

/// What a run says of a step, when the step ran in it.
fn last_run(run: &Run, step: &str) -> Option<LastRun> {
    let ran = run.steps.get(step)?;
    let words = [Outcome::Ran, Outcome::Dup, Outcome::Failed].map(Outcome::word);
    words.contains(&ran.outcome.as_str()).then(|| LastRun {
        run: run.id.clone(),
        started_ms: run.started_ms,
        outcome: ran.outcome.clone(),
        reason: ran.reason.clone(),
        subject: ran.subject.clone(),
    })
}
