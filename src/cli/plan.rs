//! `relgraph plan`.

use std::process::ExitCode;

use clap::Args;

use super::context::Context;
use super::exit;
use super::project::{Project, Prospect};
use super::session::ReleaseArgs;
use super::stop::Stop;
use crate::render::plan::Plan;

/// Arguments of `plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Tell of steps with nothing to do as well
    #[arg(long)]
    all: bool,
}

/// Says what a build would do. Nothing is run, except that Mix is asked what the project is when that is not known.
pub fn run(context: &Context, args: &PlanArgs) -> Result<ExitCode, Stop> {
    let project = Project::open(context, &args.release)?;
    context.complain(&project.ready.lowered.warnings);
    let planned = project.session.engine.plan(project.graph(), None)?;
    let plan = Plan {
        release: project.release().to_owned(),
        environment: project.environment().to_owned(),
        steps: project.expected(planned),
    };
    context.report(|| plan.json(project.graph()), || plan.text(args.all, context.colour_out));
    let fails = plan.steps.iter().any(|step| matches!(step.prospect, Prospect::Fails(_)));
    Ok(if fails { exit::FAILED } else { exit::DONE })
}
