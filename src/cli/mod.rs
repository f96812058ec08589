//! The command line: what can be asked, and which file answers it.

mod build;
mod context;
mod exit;
mod sandbox_exec;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use context::Context;

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
    /// How to report
    #[arg(long, global = true, value_enum, default_value_t = Format::Text)]
    pub format: Format,
    /// Say nothing but errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// How a command reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// For programs: one object, with a versioned schema
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the release
    Build(build::BuildArgs),
    /// Set up a sandbox and run a program in it (used by relgraph itself)
    #[command(hide = true)]
    SandboxExec {
        /// What to run, and how
        spec: PathBuf,
    },
}

/// Runs the command that was asked for.
pub fn main() -> ExitCode {
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
    match cli.command {
        Command::Build(args) => build::run(&context, &args),
        Command::SandboxExec { .. } => exit::DONE,
    }
}
