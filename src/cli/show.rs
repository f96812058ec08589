//! `relgraph show`.

use std::process::ExitCode;

use clap::Args;
use relgraph_rules::compare::{bill, contents};

use super::Format;
use super::context::Context;
use super::exit;
use super::reference::{Place, Reference, nothing_built, own_release};
use super::stop::Stop;
use crate::render::bill::{Materials, cyclonedx, spdx};
use crate::render::page;
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
    let store = context.shared_store()?;
    let own = own_release();
    let wanted = args.release.as_deref().unwrap_or("latest");
    let nothing = args.release.is_none() && store.index().releases(own.as_deref()).is_empty();
    if nothing && context.shared().is_none() {
        return Err(Stop::failed(nothing_built(own.as_deref())));
    }
    let reference = Reference::find_or_build(context, &store, own.as_deref(), wanted)?;
    let record = reference.record(&store);
    let side = reference.side(&store)?;
    if let Format::Spdx | Format::Cyclonedx = context.global.format {
        let epoch = context.env.get("SOURCE_DATE_EPOCH").and_then(|value| value.parse::<i64>().ok());
        let at = epoch.map(|seconds| seconds.saturating_mul(1000));
        let at = at.or(record.as_ref().map(|record| record.built_at));
        let materials = Materials { bill: bill(&side)?, record, at };
        let document = match context.global.format {
            Format::Spdx => spdx(&materials),
            _ => cyclonedx(&materials),
        };
        page(&format!("{document:#}\n"));
        return Ok(exit::DONE);
    }
    let contents = contents(&side)?;
    let path = match &reference.place {
        Place::Path(path) => Some(path.clone()),
        Place::Tree(_) => None,
    };
    let shown = Shown { contents, record, path };
    context.report(|| shown.json(), || shown.text(context.colour_out));
    Ok(exit::DONE)
}
