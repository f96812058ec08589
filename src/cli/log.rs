//! `relgraph log`.

use std::process::ExitCode;

use clap::Args;
use relgraph_engine::{Run, runlog};
use relgraph_rules::diagnostic::{Diagnostic, shown};
use relgraph_rules::record;

use super::context::Context;
use super::exit;
use super::reference::own_release;
use super::stop::Stop;
use crate::render::log;

/// Arguments of `log`.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// One run in detail: its id, or the start of it
    #[arg(value_name = "RUN")]
    run: Option<String>,
    /// How many runs to list
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Runs of all releases, not only of the one in ./release.yaml
    #[arg(long)]
    all: bool,
}

/// Lists builds, or tells of one.
pub fn run(context: &Context, args: &LogArgs) -> Result<ExitCode, Stop> {
    let store = context.store()?;
    let rehearsals = record::rehearsals(&store);
    if let Some(start) = &args.run {
        let found = runlog::by_prefix(store.index(), start);
        let run = match &found[..] {
            [run] => run,
            [] => {
                let complaint = Diagnostic::error(format!("there is no run `{}`", shown(start)));
                return Err(Stop::wrong(complaint.hint("`relgraph log --all` lists the runs")));
            }
            _ => {
                let complaint = Diagnostic::error(format!("several runs start with `{}`", shown(start)));
                return Err(Stop::wrong(complaint.hint("give more of its digits")));
            }
        };
        context.report(
            || log::run_json(run, &rehearsals),
            || log::run_text(run, &rehearsals, context.colour_out),
        );
        return Ok(exit::DONE);
    }
    let own = if args.all { None } else { own_release() };
    let all = runlog::newest(store.index(), usize::MAX);
    let ids: Vec<String> = all.iter().map(|run| run.id.clone()).collect();
    let short = runlog::short_ids(&ids);
    let runs: Vec<Run> = all
        .into_iter()
        .filter(|run| own.as_ref().is_none_or(|own| run.name == *own))
        .take(args.limit)
        .collect();
    context.report(
        || log::list_json(&runs, &short, &rehearsals),
        || log::list_text(&runs, &short, own.is_none(), &rehearsals),
    );
    Ok(exit::DONE)
}
