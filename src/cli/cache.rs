//! `relgraph cache`: what the store holds, making it smaller, looking it over.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use relgraph_cache::gc::{self, Budget};
use relgraph_cache::{Digest, RecordKind, StoreError, status, verify};
use relgraph_engine::StepResult;
use relgraph_rules::deliver::ReleaseRecord;
use relgraph_rules::diagnostic::Diagnostic;

use super::context::Context;
use super::exit;
use super::export;
use super::key;
use super::quantity::{parse_age, parse_size};
use super::serve::{self, ServeArgs};
use super::stop::Stop;
use crate::render::cache as view;

/// Arguments of `cache`.
#[derive(Debug, Args)]
pub struct CacheArgs {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Debug, Subcommand)]
enum CacheCommand {
    /// What the store holds
    Status,
    /// Remove what was not used for longest
    Gc(GcArgs),
    /// Hash everything in the store, and say what is damaged
    Verify {
        /// Remove what is damaged, so that it is made again
        #[arg(long)]
        repair: bool,
    },
    /// Write releases to one file, for machines without a network
    Export(export::ExportArgs),
    /// Take the releases of such a file
    Import(export::ImportArgs),
    /// Give releases to the remotes that are written to
    Push(export::PushArgs),
    /// Take releases from the remotes, to have them without a network
    Pull(export::PullArgs),
    /// Keys that shared results are signed with
    Key(key::KeyArgs),
    /// Serve a cache to a team, over HTTP and gRPC
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct GcArgs {
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// How much may stay: 500MB, 20GB, 4GiB [default: 20 GiB, or a tenth of the disk when that is less]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_size: Option<u64>,
    /// What was stored more recently than this stays in any case: 30m, 12h, 7d
    #[arg(long, value_name = "AGE", value_parser = parse_age, default_value = "1h")]
    min_age: Duration,
}

/// Looks after the store.
pub fn run(context: &Context, args: &CacheArgs) -> Result<ExitCode, Stop> {
    // Neither has to do with the store, and both work where there is none.
    match &args.command {
        CacheCommand::Key(args) => return key::run(context, args),
        CacheCommand::Serve(args) => return serve::run(context, args),
        // These open it with what belongs to it.
        CacheCommand::Export(args) => return export::export(context, args),
        CacheCommand::Import(args) => return export::import(context, args),
        CacheCommand::Push(args) => return export::push(context, args),
        CacheCommand::Pull(args) => return export::pull(context, args),
        _ => {}
    }
    let store = context.store()?;
    let failed = |error: StoreError| Stop::store(store.root(), &error);
    match &args.command {
        CacheCommand::Status => {
            let found = status(&store).map_err(failed)?;
            let budget = Budget::for_disk(&store).bytes;
            let root = store.root();
            context.report(
                || view::status_json(root, &found, budget),
                || view::status_text(root, &found, budget),
            );
            Ok(exit::DONE)
        }
        CacheCommand::Gc(args) => {
            let mut budget = Budget::for_disk(&store);
            budget.grace = args.min_age;
            if let Some(bytes) = args.max_size {
                budget.bytes = bytes;
            }
            let plan = gc::plan(&store, &budget, &roots).map_err(failed)?;
            if !args.dry_run {
                gc::execute(&plan).map_err(|error| match error {
                    StoreError::Busy { .. } => Stop::failed(
                        Diagnostic::error(error.to_string())
                            .note(
                                "what a running build is about to use cannot be told from what nobody needs",
                            )
                            .hint("wait until the builds are over, and try again"),
                    ),
                    error => failed(error),
                })?;
            }
            context.report(
                || view::gc_json(&plan, &budget, args.dry_run),
                || view::gc_text(&plan, args.dry_run),
            );
            Ok(exit::DONE)
        }
        CacheCommand::Verify { repair } => {
            let report = verify(&store, *repair).map_err(failed)?;
            context.report(|| view::verify_json(&report, *repair), || view::verify_text(&report, *repair));
            Ok(if report.is_sound() || *repair { exit::DONE } else { exit::FAILED })
        }
        // Answered above.
        _ => Ok(exit::DONE),
    }
}

/// What a record keeps in the store. One that cannot be read keeps nothing.
fn roots(kind: RecordKind, bytes: &[u8]) -> Vec<Digest> {
    match kind {
        RecordKind::Result => match StepResult::decode(bytes) {
            Ok(result) => result.trees().chain(result.blobs()).copied().collect(),
            Err(_) => Vec::new(),
        },
        RecordKind::Release => match serde_json::from_slice::<ReleaseRecord>(bytes) {
            Ok(record) => vec![record.tree],
            Err(_) => Vec::new(),
        },
        RecordKind::Manifest | RecordKind::Parts | RecordKind::Where | RecordKind::Pending => Vec::new(),
    }
}
