//! `relgraph cache export` and `import`: releases in a file; `push` and `pull`: to remotes and from them.

use std::fs::File;
use std::io::{BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use relgraph_cache::remote::Trust;
use relgraph_cache::{Digest, Store};
use relgraph_engine::{Cancel, Checkout, share_checkout};
use relgraph_rules::diagnostic::{Diagnostic, shown};
use relgraph_rules::export::{self as file, ExportError};
use relgraph_rules::record::{self, ReleaseRecord};

use super::context::Context;
use super::exit;
use super::reference::{Place, Reference, far, own_release};
use super::remotes::configured;
use super::session::{Paths, ReleaseArgs};
use super::sharing;
use super::stop::Stop;
use crate::render::export as view;

/// How long `push` waits for what it pushes, where nobody says.
const PATIENCE: Duration = Duration::from_secs(3600);

/// Arguments of `cache export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Versions, NAME@VERSION, names, `latest` or digests
    #[arg(value_name = "RELEASE", required = true)]
    releases: Vec<String>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Arguments of `cache import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// What `relgraph cache export` wrote
    file: PathBuf,
    /// Take versions as well that are here already and are made of other bytes
    #[arg(long)]
    replace: bool,
}

/// Arguments of `cache push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// Versions, NAME@VERSION, names, `latest` or digests
    #[arg(value_name = "RELEASE", required = true)]
    releases: Vec<String>,
}

/// Arguments of `cache pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// Versions, NAME@VERSION or names
    #[arg(value_name = "RELEASE", required = true)]
    releases: Vec<String>,
}

/// Writes releases to a file.
pub fn export(context: &Context, args: &ExportArgs) -> Result<ExitCode, Stop> {
    let trust = trust(context)?;
    let store = context.shared_store()?;
    let releases = found(context, &store, &args.releases)?;
    let refused = |error: &dyn std::fmt::Display| {
        Stop::failed(Diagnostic::error(format!("cannot write {}: {error}", args.output.display())))
    };
    let folder = args.output.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Beside its place until it is whole.
    let made = tempfile::Builder::new().prefix(".relgraph-export-").tempfile_in(folder);
    let mut made = made.map_err(|error| refused(&error))?;
    let written =
        file::export(&store, releases, &trust, made.as_file_mut()).map_err(|error| match error {
            ExportError::Store(error) => Stop::store(store.root(), &error),
            ExportError::Write(error) => refused(&error),
            error => refused(&error),
        })?;
    made.as_file_mut().flush().map_err(|error| refused(&error))?;
    let size = made.as_file().metadata().map_err(|error| refused(&error))?.len();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    made.as_file().set_permissions(mode).map_err(|error| refused(&error))?;
    made.persist(&args.output).map_err(|error| refused(&error.error))?;
    context.report(
        || view::exported_json(&args.output, size, &written),
        || view::exported_text(&args.output, size, &written),
    );
    Ok(exit::DONE)
}

/// Takes the releases of a file.
pub fn import(context: &Context, args: &ImportArgs) -> Result<ExitCode, Stop> {
    let trust = trust(context)?;
    let store = context.store()?;
    let name = args.file.display();
    let input = File::open(&args.file)
        .map_err(|error| Stop::wrong(Diagnostic::error(format!("cannot read {name}: {error}"))))?;
    let taken = file::import(&store, &mut BufReader::new(input), &trust, args.replace).map_err(|error| {
        let complaint = Diagnostic::error(format!("{name}: {error}"));
        match error {
            ExportError::Store(error) => Stop::store(store.root(), &error),
            ExportError::Foreign => Stop::wrong(complaint),
            ExportError::Newer(_) => Stop::wrong(complaint.hint("take it with a newer relgraph")),
            ExportError::Damaged(_) => Stop::failed(
                complaint.note("nothing was taken of it").hint("copy it again, or have it written again"),
            ),
            ExportError::Distrusted(_) => Stop::failed(complaint.note("nothing was taken of it").hint(
                "have it written where RELGRAPH_SIGNING_KEY holds the secret of a key that is named under \
                 `trusted_keys:`",
            )),
            ExportError::Known { here, .. } => {
                Stop::failed(complaint.note(format!("the one that is here is {}", &here.hex()[..12])).hint(
                    "--replace takes the one of the file; `relgraph diff` says in what two versions differ",
                ))
            }
            ExportError::Write(_) => Stop::failed(complaint),
        }
    })?;
    let checked = trust.is_asked_for();
    context.report(|| view::imported_json(&args.file, &taken), || view::imported_text(&taken, checked));
    Ok(exit::DONE)
}

/// Gives releases to the remotes that are written to.
pub fn push(context: &Context, args: &PushArgs) -> Result<ExitCode, Stop> {
    let store = context.shared_store()?;
    let shared = context.shared().filter(|shared| shared.tiers().is_writable()).ok_or_else(|| {
        let complaint = Diagnostic::error("there is no remote that is written to");
        Stop::wrong(complaint.hint("--remote 'URL;access=read-write' names one; see docs/remotes.md"))
    })?;
    let releases = found(context, &store, &args.releases)?;
    for release in &releases {
        store.bring_tree(&release.tree).map_err(|error| Stop::store(store.root(), &error))?;
        sharing::publish(&shared, release);
    }
    let checkout = last_build(context, &releases);
    let results = checkout.map_or(0, |checkout| share_checkout(&store, &shared, &checkout));
    // Nothing else is done here, so there is nothing to go on with meanwhile.
    let limit = context.global.sharing.upload_wait.unwrap_or(PATIENCE);
    let left = sharing::drain_within(context, &shared, &Cancel::new(), limit);
    context.report(
        || view::pushed_json(&releases, results, left),
        || view::pushed_text(&releases, results, left),
    );
    Ok(if left == 0 { exit::DONE } else { exit::FAILED })
}

/// The last build of the checkout in the current folder, when one of these releases came out of it: then the results of its steps
/// are of use to whoever builds the next version.
fn last_build(context: &Context, releases: &[ReleaseRecord]) -> Option<Checkout> {
    let args = ReleaseArgs::of("release.yaml".into(), None);
    let paths = Paths::new(&args, &context.cache_dir().ok()?).ok()?;
    let checkout = Checkout::load(&paths.checkout());
    let made = |tree: &Digest| checkout.steps.values().any(|step| step.outputs.values().any(|it| it == tree));
    releases.iter().any(|release| made(&release.tree)).then_some(checkout)
}

/// Takes releases from the remotes.
pub fn pull(context: &Context, args: &PullArgs) -> Result<ExitCode, Stop> {
    let store = context.shared_store()?;
    if context.shared().is_none() {
        let complaint = Diagnostic::error("there is no remote");
        return Err(Stop::wrong(complaint.hint("--remote URL names one; see docs/remotes.md")));
    }
    let failed = |error| Stop::store(store.root(), &error);
    let own = own_release();
    let mut releases = Vec::new();
    for name in &args.releases {
        match far(context, own.as_deref(), name) {
            Some(record) => releases.push(record),
            None => releases.extend(found(context, &store, std::slice::from_ref(name))?),
        }
    }
    for release in &releases {
        store.bring_tree(&release.tree).map_err(failed)?;
        if !store.whole(&release.tree).map_err(failed)? {
            let message = format!("not all of {} {} could be had", release.name, release.version);
            return Err(Stop::failed(Diagnostic::error(message)));
        }
        let (name, version, environment) = (&release.name, &release.version, &release.environment);
        let known = record::known(&store, name, version, environment).map_err(failed)?;
        if known.is_none_or(|known| known.tree != release.tree) {
            record::record(&store, release).map_err(failed)?;
        }
    }
    store.index().flush();
    context.report(|| view::pulled_json(&releases), || view::pulled_text(&releases));
    Ok(exit::DONE)
}

/// Whose releases are taken, and what ours are signed with.
fn trust(context: &Context) -> Result<Trust, Stop> {
    let (release, here) = (sharing::here(), std::env::current_dir().unwrap_or_default());
    let sharing = configured(context, release.as_ref().map(|file| (file, here.as_path())), true)?;
    context.complain(&sharing.warnings);
    Ok(sharing.trust)
}

/// The records of releases that were named.
fn found(context: &Context, store: &Store, names: &[String]) -> Result<Vec<ReleaseRecord>, Stop> {
    let own = own_release();
    let mut releases: Vec<ReleaseRecord> = Vec::new();
    for name in names {
        let reference = Reference::find(context, store, own.as_deref(), name)?;
        let record = reference.record(store).filter(|_| matches!(reference.place, Place::Tree(_)));
        let Some(record) = record else {
            let complaint = Diagnostic::error(format!("`{}` is not a release that was built", shown(name)));
            return Err(Stop::wrong(
                complaint.hint("give its version, NAME@VERSION, its name or its digest"),
            ));
        };
        if !releases.contains(&record) {
            releases.push(record);
        }
    }
    Ok(releases)
}
