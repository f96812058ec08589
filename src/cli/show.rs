//! `relgraph show`.

use std::process::ExitCode;

use clap::Args;
use relgraph_rules::compare::contents;

use super::context::Context;
use super::exit;
use super::reference::{Place, Reference, nothing_built, own_release};
use super::stop::Stop;
use crate::render::show::Shown;

/// Arguments of `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A version, NAME@VERSION, a name, `latest`, a digest, a folder, a .tar.gz or git:REV [default: the release of
    /// ./release.yaml, or else the latest]
    #[arg(value_name = "RELEASE")]
    release: Option<String>,
}

/// Says what one release is made of.
pub fn run(context: &Context, args: &ShowArgs) -> Result<ExitCode, Stop> {
    let store = context.store()?;
    let own = own_release();
    let wanted = args.release.as_deref().unwrap_or("latest");
    if args.release.is_none() && store.index().releases(own.as_deref()).is_empty() {
        return Err(Stop::failed(nothing_built(own.as_deref())));
    }
    let reference = Reference::find_or_build(context, &store, own.as_deref(), wanted)?;
    let record = reference.record(&store);
    let side = reference.side(&store)?;
    let contents = contents(&side)?;
    let path = match &reference.place {
        Place::Path(path) => Some(path.clone()),
        Place::Tree(_) => None,
    };
    let shown = Shown { contents, record, path };
    context.report(|| shown.json(), || shown.text(context.colour_out));
    Ok(exit::DONE)
}
