//! `relgraph preflight`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use relgraph_rules::build::{self, BuildError};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::preflight::{self, Environment, Start};
use relgraph_rules::steps::boot::{self, Boot};
use relgraph_rules::steps::{self, preflight as step};

use super::build::findings;
use super::context::Context;
use super::exit;
use super::session::{Paths, ReleaseArgs, Session};
use super::stop::Stop;
use crate::render::preflight::Report;
use crate::render::progress::Progress;

/// Arguments of `preflight`.
#[derive(Debug, Args)]
pub struct PreflightArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// Read the release's configuration as a node does, with the variables of this file (NAME=VALUE lines) and no others
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
}

/// Says all that is found in a release, without putting it in its place.
pub fn run(context: &Context, args: &PreflightArgs) -> Result<ExitCode, Stop> {
    let environment = match &args.env_file {
        Some(path) => Some(read(path)?),
        None => None,
    };
    let cache_dir = context.cache_dir()?;
    let paths = Paths::new(&args.release, &cache_dir)?;
    let session = Session::open(context, &args.release, &paths)?;
    session.stop_on_signals();
    let progress = Progress::new(context, Default::default(), session.engine.jobs);
    let ready = build::lower(&session.engine, &session.lowering, build::Purpose::Run, &progress);
    let ran = ready.and_then(|ready| {
        let graph = &ready.lowered.graph;
        let targets: Vec<String> = [step::STEP, steps::last(graph)]
            .into_iter()
            .filter(|name| graph.step(name).is_some())
            .map(str::to_owned)
            .collect();
        let report = session.engine.run(graph, Some(&targets), &progress)?;
        if report.is_success() { Ok(report) } else { Err(BuildError::Failed(Box::new(report))) }
    });
    progress.finish();
    session.store().index().flush();
    let report = ran?;
    let findings = findings(&session, &report)?.unwrap_or_default();
    let file = &session.lowering.file;
    let judged = preflight::judge(&findings, &file.preflight, &session.lowering.root);
    let started = match &environment {
        Some(environment) => Some(start(&session, &report, environment)?),
        None => None,
    };
    let wrong = !judged.errors.is_empty() || started.as_ref().is_some_and(|start| !start.problems.is_empty());
    let shown = Report {
        name: &file.release,
        levels: &file.preflight,
        findings: &findings,
        env_file: args.env_file.as_deref(),
        start: started.as_ref(),
    };
    context.report(|| shown.json(), || shown.text(context.colour_out));
    if let Some(start) = &started {
        context.complain(&shown.problems(start, &session.lowering.root));
    }
    Ok(if wrong { exit::FAILED } else { exit::DONE })
}

fn read(path: &Path) -> Result<Environment, Stop> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        let hint = "an environment file has lines NAME=VALUE";
        Stop::wrong(Diagnostic::error(format!("cannot read {}: {e}", path.display())).hint(hint))
    })?;
    Ok(Environment::parse(path, &text)?)
}

fn start(
    session: &Session,
    report: &relgraph_engine::RunReport,
    environment: &Environment,
) -> Result<Start, Stop> {
    let (Some(common), Some(boot)) = (&session.lowering.common, report.result(boot::STEP)) else {
        let message =
            "`--env-file` reads the configuration of projects in Elixir and Erlang, and this is none";
        return Err(Stop::wrong(Diagnostic::error(message)));
    };
    let failed = |error: relgraph_engine::StepError| {
        let mut complaint = Diagnostic::error(error.message.clone());
        if !error.stderr.trim().is_empty() {
            complaint = complaint.note(error.stderr.trim_end().to_owned());
        }
        Stop::failed(complaint)
    };
    let facts = Boot::read(session.store(), boot).map_err(failed)?;
    let assembled = steps::released(report);
    let tree = assembled.map(|result| result.output("release")).transpose().map_err(failed)?;
    let Some(tree) = tree else { return Ok(Start::default()) };
    if common.toolchain.elixir.is_none() {
        let root = &session.lowering.root;
        return preflight::templates(session.store(), &tree, &facts, environment, root).map_err(failed);
    }
    session
        .engine
        .with_context(step::STEP, report, |cx| preflight::start(cx, common, &tree, &facts, environment))
        .map_err(failed)
}
