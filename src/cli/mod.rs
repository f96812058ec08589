//! The command line: what can be asked, and which file answers it.

mod apply;
mod build;
mod cache;
mod checkout;
mod context;
mod crash;
mod diff;
mod doctor;
mod exit;
mod export;
mod graph;
mod init;
mod kept;
mod key;
mod log;
mod plan;
mod preflight;
mod project;
mod quantity;
mod reference;
mod remotes;
mod revision;
mod run;
mod salt;
mod sandbox_exec;
mod schema;
mod serve;
mod session;
mod sharing;
mod show;
mod stop;
pub mod upgrade;
mod verify;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};

use relgraph_rules::diagnostic::Diagnostic;
use stop::Stop;

pub use context::Context;
pub use project::{Expected, Prospect};

/// Build Elixir and Erlang releases as a graph of cached steps.
#[derive(Debug, Parser)]
#[command(name = "relgraph", version, about, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where the store is [default: $XDG_CACHE_HOME/relgraph]
    #[arg(long, global = true, value_name = "DIR", env = "RELGRAPH_CACHE_DIR", hide_env_values = true)]
    pub cache_dir: Option<PathBuf>,
    /// How to report; `diff` also knows markdown and html, `show` also spdx and cyclonedx
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Where results are shared.
    #[command(flatten)]
    pub sharing: remotes::RemoteArgs,
}

/// How a command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one object, with a versioned schema
    Json,
    /// For a pull request
    #[value(hide = true)]
    Markdown,
    /// For a browser: one page that needs nothing else
    #[value(hide = true)]
    Html,
    /// A bill of materials: SPDX 2.3
    #[value(hide = true)]
    Spdx,
    /// A bill of materials: CycloneDX 1.5
    #[value(hide = true)]
    Cyclonedx,
}

impl Format {
    /// What it is called on the command line.
    fn word(self) -> &'static str {
        match self {
            Format::Text => "text",
            Format::Json => "json",
            Format::Markdown => "markdown",
            Format::Html => "html",
            Format::Spdx => "spdx",
            Format::Cyclonedx => "cyclonedx",
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Write a release.yaml for the project
    Init(init::InitArgs),
    /// Build the release
    Build(build::BuildArgs),
    /// Start the release that was built, or tell its script something else
    Run(run::RunArgs),
    /// Look at a release without putting it in its place, and say all that is found
    Preflight(preflight::PreflightArgs),
    /// Say what a build would do
    Plan(plan::PlanArgs),
    /// Say why a step runs
    Why(why::WhyArgs),
    /// Draw the graph of steps
    Graph(graph::GraphArgs),
    /// List past builds, or tell of one
    Log(log::LogArgs),
    /// Say what a release is made of
    Show(show::ShowArgs),
    /// Compare two releases
    Diff(diff::DiffArgs),

    /// Make what moves a running node to another version
    Upgrade(upgrade::UpgradeArgs),

    /// Apply a patch to the folder of a release: the new version then lies beside the old one
    Apply(apply::ApplyArgs),

    /// Compare the release with the one that the project's own tool makes
    Verify(verify::VerifyArgs),
    /// Look after the store
    Cache(cache::CacheArgs),
    /// Say what works on this machine, and what to do about the rest
    Doctor(doctor::DoctorArgs),
    /// Write the JSON Schema of release.yaml
    Schema,
    /// Write completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Set up a sandbox and run a program in it (used by relgraph itself)
    #[command(hide = true)]
    SandboxExec {
        /// What to run, and how
        spec: PathBuf,
    },
}

impl Command {
    /// In which formats it reports.
    fn formats(&self) -> &'static [Format] {
        match self {
            Command::Diff(_) => &[Format::Text, Format::Json, Format::Markdown, Format::Html],
            Command::Show(_) => &[Format::Text, Format::Json, Format::Spdx, Format::Cyclonedx],
            _ => &[Format::Text, Format::Json],
        }
    }

    /// What is wrong with the format that was asked for, if anything.
    fn refused(&self, format: Format) -> Option<Stop> {
        let formats = self.formats();
        if formats.contains(&format) {
            return None;
        }
        let words: Vec<&str> = formats.iter().map(|format| format.word()).collect();
        let complaint = Diagnostic::error(format!("this command does not report as `{}`", format.word()));
        Some(Stop::wrong(complaint.hint(format!("it reports as {}", words.join(", ")))))
    }
}

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
    crash::guarded(dispatch)
}

fn dispatch() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let wrong = error.use_stderr();
            // Nothing is left to do where even this cannot be printed.
            let _ = error.print();
            return if wrong { exit::wrong() } else { exit::DONE };
        }
    };
    if let Command::SandboxExec { spec } = &cli.command {
        return sandbox_exec::run(spec);
    }
    let context = Context::new(cli.global);
    if let Some(stop) = cli.command.refused(context.global.format) {
        return stop.end(&context);
    }
    let done = match &cli.command {
        Command::Init(args) => init::run(&context, args),
        Command::Build(args) => build::run(&context, args),
        Command::Run(args) => run::run(&context, args),
        Command::Preflight(args) => preflight::run(&context, args),
        Command::Plan(args) => plan::run(&context, args),
        Command::Why(args) => why::run(&context, args),
        Command::Graph(args) => graph::run(&context, args),
        Command::Log(args) => log::run(&context, args),
        Command::Show(args) => show::run(&context, args),
        Command::Diff(args) => diff::run(&context, args),

        Command::Upgrade(args) => upgrade::run(&context, args),

        Command::Apply(args) => apply::run(&context, args),

        Command::Verify(args) => verify::run(&context, args),
        Command::Cache(args) => cache::run(&context, args),
        Command::Doctor(args) => doctor::run(&context, args),
        Command::Schema => Ok(schema::run()),
        Command::Completions { shell } => Ok(schema::completions(*shell, &mut Cli::command())),
        Command::SandboxExec { .. } => Ok(exit::DONE),
    };
    let status = done.unwrap_or_else(|stop| stop.end(&context));
    if let Some(team) = context.team.get() {
        team.finish();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn parses(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().command
    }

    #[test]
    fn what_stands_behind_two_dashes_is_for_the_release() {
        let Command::Run(args) = parses("relgraph run -- eval 1+1 --x") else { panic!("not run") };
        assert_eq!(format!("{args:?}").matches("release.yaml").count(), 1);
        assert!(format!("{args:?}").contains("[\"eval\", \"1+1\", \"--x\"]"));
        let Command::Run(args) = parses("relgraph run other.yaml") else { panic!("not run") };
        assert!(format!("{args:?}").contains("args: []"), "what starts it is known when it is there");
    }

    #[test]
    fn what_every_command_understands_may_stand_anywhere() {
        for line in ["relgraph --format json plan", "relgraph plan --format json", "relgraph why s --quiet"] {
            assert!(Cli::try_parse_from(line.split(' ')).is_ok(), "{line}");
        }
        for line in [
            "relgraph",
            "relgraph why",
            "relgraph diff a",
            "relgraph cache",
            "relgraph plan --jobs 0",
            "relgraph run -e ../x",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).unwrap_err().use_stderr(), "{line}");
        }
    }
}
