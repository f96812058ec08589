//! `relgraph run`: the release that was built, started from where it lies.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use relgraph_rules::deliver::start_command;
use relgraph_rules::diagnostic::Diagnostic;

use super::session::{ReleaseArgs, environment, read_release};
use super::stop::Stop;
use crate::render::short;

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The release's description
    #[arg(value_name = "RELEASE.YAML", default_value = "release.yaml")]
    file: PathBuf,
    /// The release of this environment instead of the one in release.yaml
    #[arg(long, short, value_name = "NAME", value_parser = environment)]
    environment: Option<String>,
    /// What its script is told [default: what starts it in the foreground]
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Becomes the release's script; only comes back when that cannot be.
pub fn run(args: &RunArgs) -> Result<ExitCode, Stop> {
    let asked = ReleaseArgs::of(args.file.clone(), args.environment.clone());
    let (paths, file) = read_release(&asked)?;
    let release = paths.release(&file);
    let script = release.join("bin").join(&file.release);
    if !script.is_file() {
        let complaint = if release.is_dir() {
            let message = format!("the release has no bin/{}", file.release);
            Diagnostic::error(message).note(format!("it lies in {}", short(&release)))
        } else {
            let (name, environment) = (&file.release, file.environment_name());
            Diagnostic::error(format!("{name} ({environment}) is not built"))
                .hint("`relgraph build` builds it")
        };
        return Err(Stop::failed(complaint));
    }
    let mut command = Command::new(&script);
    if args.args.is_empty() {
        command.arg(start_command(&release));
    }
    let error = command.args(&args.args).exec();
    Err(Stop::failed(Diagnostic::error(format!("cannot run {}: {error}", short(&script)))))
}
