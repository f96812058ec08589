//! `relgraph init`.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::init::{Detected, ProjectKind, detect, render};
use relgraph_rules::schema::ReleaseFile;
use serde_json::json;

use super::context::Context;
use super::exit;
use super::stop::Stop;
use crate::render::short;

/// The schema of `init --format json`.
const SCHEMA: &str = "relgraph.init/1";

/// Arguments of `init`.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The project's folder
    #[arg(value_name = "DIR", default_value = ".")]
    dir: PathBuf,
    /// Write in the place of a release.yaml that is there
    #[arg(long)]
    force: bool,
    /// The name of the release, instead of what the project says
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

/// Writes a release.yaml for the project.
pub fn run(context: &Context, args: &InitArgs) -> Result<ExitCode, Stop> {
    let mut detected = detect(&args.dir)?;
    if let Some(name) = &args.name {
        detected.rename(name)?;
    }
    let name = Path::new("release.yaml");
    let path = if args.dir == Path::new(".") { name.to_owned() } else { args.dir.join(name) };
    let text = render(&detected);
    if let Err(errors) = ReleaseFile::parse(&path, text.as_bytes()) {
        let message = format!("`{}` cannot be the name of a release", detected.release);
        let complaint = Diagnostic::error(message).hint("give another with --name NAME");
        let notes = errors.iter().map(ToString::to_string);
        return Err(Stop::wrong(notes.fold(complaint, |complaint, note| complaint.note(note))));
    }
    write(&path, &text, args.force)?;
    let kind = kind(detected.kind);
    context.report(
        || {
            json!({
                "schema": SCHEMA,
                "project": kind.0,
                "from": detected.file,
                "release": detected.release,
                "others": detected.others,
                "notes": detected.notes.iter().map(|note| json!({"line": note.line, "message": note.message})).collect::<Vec<_>>(),
                "wrote": path,
            })
        },
        || said(&detected, &path, kind.1),
    );
    Ok(exit::DONE)
}

fn said(detected: &Detected, path: &Path, kind: &str) -> String {
    let mut text = format!("found {kind}: release {} in {}\n", detected.release, short(&detected.file));
    if !detected.others.is_empty() {
        text.push_str(&format!("  also there: {}\n", detected.others.join(", ")));
    }
    for note in &detected.notes {
        text.push_str(&format!("  {}:{}: {}\n", short(&detected.file), note.line, note.message));
    }
    text.push_str(&format!("wrote {}\n", short(path)));
    let named = if path == Path::new("release.yaml") { String::new() } else { format!(" {}", short(path)) };
    text.push_str(&format!("  build it: relgraph build{named}\n"));
    text
}

/// The words for a kind of project: for programs and for people.
fn kind(kind: ProjectKind) -> (&'static str, &'static str) {
    match kind {
        ProjectKind::Mix => ("mix", "a Mix project"),
        ProjectKind::MixUmbrella => ("mix_umbrella", "a Mix umbrella project"),
        ProjectKind::Distillery => ("distillery", "a Mix project with Distillery"),
        ProjectKind::Rebar3 => ("rebar3", "a rebar3 project"),
        ProjectKind::ErlangMk => ("erlang.mk", "an erlang.mk project"),
        ProjectKind::Otp => ("otp", "applications without a tool"),
    }
}

/// Never in the place of what is there, unless that is asked for.
fn write(path: &Path, text: &str, force: bool) -> Result<(), Stop> {
    let failed = |error: io::Error| {
        let complaint = Diagnostic::error(format!("cannot write {}: {error}", path.display()));
        if error.kind() == io::ErrorKind::AlreadyExists {
            let there = Diagnostic::error(format!("{} is already there", path.display()));
            return Stop::wrong(there.hint("--force writes it anew"));
        }
        Stop::failed(complaint)
    };
    if force {
        let staged = path.with_file_name(format!(".release.yaml.{}", std::process::id()));
        let done = fs::write(&staged, text).and_then(|()| fs::rename(&staged, path));
        return done.map_err(|error| {
            let _ = fs::remove_file(&staged);
            failed(error)
        });
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
