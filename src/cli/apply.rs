//! `relgraph diff --patch` and `relgraph apply`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use relgraph_cache::Store;
use relgraph_rules::compare::Side;
use relgraph_rules::diagnostic::{Diagnostic, shown};
use relgraph_rules::patch::{PatchError, apply, make, plain as make_plain, read_header};

use super::context::Context;
use super::exit;
use super::stop::Stop;
use crate::render::patch;

/// Arguments of `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The patch that `relgraph diff --patch` wrote
    #[arg(value_name = "FILE")]
    patch: PathBuf,
    /// The folder of the release
    #[arg(long, value_name = "DIR", default_value = ".")]
    to: PathBuf,
    /// Make the new version a release of its own in this folder, and leave the old one as it is
    #[arg(long, value_name = "DIR", conflicts_with = "activate")]
    into: Option<PathBuf>,
    /// Let the new version be the one that is started next
    #[arg(long)]
    activate: bool,
}

/// Applies a patch.
pub fn run(context: &Context, args: &ApplyArgs) -> Result<ExitCode, Stop> {
    let done = match &args.into {
        Some(dest) => apply::into(&args.patch, &args.to, dest),
        None => apply::beside(&args.patch, &args.to, args.activate),
    }
    .map_err(|error| refused(error, Some(&args.patch)))?;
    context.report(
        || patch::applied_json(&done),
        || patch::applied_text(&done, args.into.is_some(), context.colour_out),
    );
    Ok(exit::DONE)
}

/// Writes a patch from one release to another.
pub fn write(
    context: &Context,
    store: &Store,
    [old, new]: [&Side<'_>; 2],
    file: &Path,
    plain: bool,
) -> Result<ExitCode, Stop> {
    let wrote = if plain { make_plain(store, old, new, file) } else { make(store, old, new, file) }
        .map_err(|error| refused(error, None))?;
    if !wrote.patch.conflicts.is_empty() {
        let message = format!("both versions have {}, with other files", wrote.patch.conflicts.join(", "));
        let hint = "beside the old version the new one needs folders of its own: give what changed a new version, \
                    or apply the patch with --into";
        context.complain(&[Diagnostic::warning(message).hint(hint)]);
    }
    context.report(
        || patch::made_json(&wrote, file, plain),
        || patch::made_text(&wrote, file, context.colour_out),
    );
    Ok(exit::DONE)
}

/// How many files are named that do not fit.
const NAMED: usize = 5;

fn refused(error: PatchError, patch: Option<&Path>) -> Stop {
    let complaint = Diagnostic::error(error.to_string());
    match error {
        PatchError::Store(error) if error.is_missing() => {
            let hint = "`relgraph build` makes it again, on the sources of that version";
            Stop::failed(complaint.hint(hint))
        }
        PatchError::Compare(error) => error.into(),
        PatchError::Base { unfit, .. } => {
            let mut complaint = complaint;
            for file in unfit.iter().take(NAMED) {
                complaint = complaint.note(format!("{}: {}", shown(&file.path), file.why.word()));
            }
            if unfit.len() > NAMED {
                complaint = complaint.note(format!("and {} more", unfit.len() - NAMED));
            }
            Stop::failed(complaint.hint(match patch.and_then(|path| read_header(path).ok()) {
                Some((patch, _)) => format!(
                    "it is for {} {} as it was built; nothing was written",
                    patch.old.name, patch.old.version
                ),
                None => "nothing was written".to_owned(),
            }))
        }
        PatchError::Conflict(_) => {
            Stop::failed(complaint.hint("--into DIR makes the new version a release of its own"))
        }
        PatchError::Occupied { .. } => Stop::failed(complaint.hint("nothing was written")),
        PatchError::NotARelease { .. } => Stop::wrong(complaint.hint("--to names the folder of the release")),
        PatchError::Pair(_) => Stop::wrong(complaint),
        PatchError::Refused { .. } => Stop::failed(complaint),
        PatchError::Io { .. } | PatchError::Store(_) | PatchError::Busy { .. } => Stop::failed(complaint),
    }
}
