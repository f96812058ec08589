//! `relgraph graph`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::context::Context;
use super::exit;
use super::project::Project;
use super::session::ReleaseArgs;
use super::stop::Stop;
use crate::render::graph::{Node, View, dot, mermaid, svg};
use crate::render::{page, say};

/// Arguments of `graph`.
#[derive(Debug, Args)]
pub struct GraphArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// What to write [default: dot]
    #[arg(long, value_enum, value_name = "VIEW")]
    view: Option<Notation>,
}

/// How the graph is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Notation {
    /// For Graphviz
    Dot,
    /// For Markdown
    Mermaid,
    /// A picture that needs nothing else
    Svg,
    /// For programs
    Json,
}

/// Writes the graph of steps, with what the last build did.
pub fn run(context: &Context, args: &GraphArgs) -> Result<ExitCode, Stop> {
    let project = Project::open(context, &args.release)?;
    let view = view(&project);
    let usual = if context.json() { Notation::Json } else { Notation::Dot };
    match args.view.unwrap_or(usual) {
        Notation::Json => say(&view.json().to_string()),
        Notation::Dot => page(&dot::text(&view)),
        Notation::Mermaid => page(&mermaid::text(&view)),
        Notation::Svg => page(&svg::text(&view)),
    }
    Ok(exit::DONE)
}

fn view(project: &Project) -> View {
    let graph = project.graph();
    let last = project.runs().into_iter().next();
    let places: std::collections::HashMap<&str, usize> =
        graph.order().enumerate().map(|(at, step)| (step.name.as_str(), at)).collect();
    let nodes = graph.order().map(|step| {
        let ran = last.as_ref().and_then(|run| run.steps.get(&step.name));
        let reason = ran.and_then(|ran| {
            relgraph_engine::Reason::from_word(ran.reason.as_deref()?, ran.subject.as_deref())
        });
        Node {
            name: step.name.clone(),
            rule: step.rule.name,
            needs: graph
                .needs(&step.name)
                .filter_map(|need| places.get(need.name.as_str()).copied())
                .collect(),
            outcome: ran.map(|ran| ran.outcome.clone()),
            reason,
            duration_ms: ran.map(|ran| ran.duration_ms),
        }
    });
    View {
        release: project.release().to_owned(),
        environment: project.environment().to_owned(),
        run: last.as_ref().map(|run| run.id.clone()),
        nodes: nodes.collect(),
    }
}
