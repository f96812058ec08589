//! `relgraph run`: the release that was built, started from where it lies.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;
use relgraph_rules::deliver::{self, DeliverError, start_command};
use relgraph_rules::diagnostic::{Diagnostic, shown};

use super::context::Context;
use super::reference::{Place, Reference, own_release};
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
    /// Another release than the one that was built last: a version, NAME@VERSION, a digest, from here or from a remote. It is put
    /// below _build/relgraph, where it stays
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    /// What its script is told [default: what starts it in the foreground]
    #[arg(last = true, value_name = "ARGS")]
    args: Vec<OsString>,
}

/// Becomes the release's script; only comes back when that cannot be.
pub fn run(context: &Context, args: &RunArgs) -> Result<ExitCode, Stop> {
    if let Some(wanted) = &args.release {
        let (folder, name) = placed(context, wanted)?;
        return Err(start(&folder, &folder.join("bin").join(name), &args.args));
    }
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
    Err(start(&release, &script, &args.args))
}

/// Becomes the script; says why that cannot be.
fn start(release: &Path, script: &Path, args: &[OsString]) -> Stop {
    let mut command = Command::new(script);
    if args.is_empty() {
        command.arg(start_command(release));
    }
    let error = command.args(args).exec();
    Stop::failed(Diagnostic::error(format!("cannot run {}: {error}", short(script))))
}

/// The folder of a release that is not the one that was built last, and its name. One that lies in a folder is started from
/// there.
fn placed(context: &Context, wanted: &str) -> Result<(PathBuf, String), Stop> {
    let store = context.shared_store()?;
    let reference = Reference::find(context, &store, own_release().as_deref(), wanted)?;
    let (tree, row) = match (&reference.place, &reference.row) {
        (Place::Tree(tree), Some(row)) => (*tree, row),
        _ => {
            let message = format!("`{}` is not a release that was built", shown(wanted));
            let hint = "give its version, NAME@VERSION or its digest; a folder has a script of its own";
            return Err(Stop::wrong(Diagnostic::error(message).hint(hint)));
        }
    };
    let here = std::env::current_dir()
        .map_err(|error| Stop::failed(Diagnostic::error(format!("there is no current folder: {error}"))))?;
    let kept = here.join("_build/relgraph/.versions");
    let folder = kept.join(format!("{}-{}-{}", row.name, row.version, &tree.hex()[..12]));
    if !folder.is_dir() {
        std::fs::create_dir_all(&kept).map_err(|error| {
            Stop::failed(Diagnostic::error(format!("cannot create {}: {error}", kept.display())))
        })?;
        deliver::release(&store, &tree, &folder, None).map_err(|error| match &error {
            DeliverError::Store(error) => Stop::store(store.root(), error),
            DeliverError::Io { .. } => Stop::failed(Diagnostic::error(error.to_string())),
        })?;
    }
    Ok((folder, row.name.clone()))
}
