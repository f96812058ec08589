//! `relgraph diff`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use relgraph_rules::compare;
use serde_json::Value;

use super::Format;
use super::apply;
use super::context::Context;
use super::exit;
use super::reference::{Reference, own_release};
use super::stop::Stop;
use crate::render::diff::{Open, html, markdown, text};
use crate::render::page;

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The release to compare with: a version, NAME@VERSION, `latest`, a digest, a folder, a .tar.gz or git:REV
    #[arg(value_name = "OLD")]
    old: String,
    /// The release to compare
    #[arg(value_name = "NEW")]
    new: String,
    /// List every module that differs, and why it takes what it takes
    #[arg(long)]
    modules: bool,
    /// List every module that differs, with its functions and macros that do
    #[arg(long)]
    functions: bool,
    /// List every key of the configuration that differs, with whole values
    #[arg(long)]
    config: bool,
    /// List every file that differs
    #[arg(long)]
    files: bool,
    /// Write a patch from the old release to the new one, for `relgraph apply`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["modules", "config", "files", "exit_code"])]
    patch: Option<PathBuf>,
    /// Of plain files: for `bin/NAME apply`, on a machine without relgraph
    #[arg(long, requires = "patch")]
    plain: bool,
    /// End with status 3 when anything differs
    #[arg(long)]
    exit_code: bool,
}

/// Says what differs between two releases.
pub fn run(context: &Context, args: &DiffArgs) -> Result<ExitCode, Stop> {
    let store = context.shared_store()?;
    let own = own_release();
    let old = Reference::find_or_build(context, &store, own.as_deref(), &args.old)?.side(&store)?;
    let new = Reference::find_or_build(context, &store, own.as_deref(), &args.new)?.side(&store)?;
    if let Some(file) = &args.patch {
        return apply::write(context, &store, [&old, &new], file, args.plain);
    }
    let comparison = compare::compare(&old, &new)?;
    match context.global.format {
        Format::Markdown => page(&markdown(&comparison)),
        Format::Html => page(&html(&comparison)),
        _ => {
            let DiffArgs { modules, functions, config, files, .. } = *args;
            let open = Open { modules, functions, config, files };
            context.report(
                || serde_json::to_value(&comparison).unwrap_or(Value::Null),
                || text(&comparison, context.colour_out, open),
            );
        }
    }
    Ok(if args.exit_code && !comparison.same { exit::differs() } else { exit::DONE })
}
