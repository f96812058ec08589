//! `relgraph verify`: is the release the one that the project's own tool makes?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use clap::Args;
use relgraph_cache::{Digest, Link};
use relgraph_engine::{RunReport, StepError, StepErrorKind};
use relgraph_rules::build::{self, BuildError, Ready};
use relgraph_rules::compare;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::schema::PackageFormat;
use relgraph_rules::staging::Staging;
use relgraph_rules::steps::{self, package};
use relgraph_rules::tool::Tool;
use relgraph_rules::verify::clock::Window;
use relgraph_rules::verify::make::Wanted;
use relgraph_rules::verify::tool::{Copy, Scheduling, command, now};
use relgraph_rules::verify::{self, Finding, Listing, Part, Reason, Report, Roots};
use relgraph_rules::vm::Common;

use super::context::Context;
use super::exit;
use super::session::{Paths, ReleaseArgs, Session};
use super::stop::Stop;
use crate::render::progress::Progress;
use crate::render::verify::{Shown, json, text};
use crate::render::{failure, short, tell};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    release: ReleaseArgs,
    /// What to compare with: `mix` and `rebar3` build the release in a scratch copy, `make` its applications; a folder or
    /// .tar.gz is taken as it is
    /// [default: the project's own tool]
    #[arg(long, value_name = "TOOL|PATH")]
    against: Option<String>,
    /// Keep the scratch copy, and say where it is
    #[arg(long)]
    keep: bool,
    /// List every difference, those that are explained as well
    #[arg(long, short)]
    verbose: bool,
}

/// What theirs is.
enum Against {
    /// What this tool makes; none: the tool of the project.
    Tool(Option<Tool>),
    Path(PathBuf),
}

impl Against {
    fn read(text: Option<&str>) -> Result<Against, Stop> {
        let Some(text) = text else { return Ok(Against::Tool(None)) };
        if let Some(tool) = TOOLS.into_iter().find(|tool| word(*tool) == text || tool.name() == text) {
            return Ok(Against::Tool(Some(tool)));
        }
        let path = PathBuf::from(text);
        if path.exists() {
            return Ok(Against::Path(path));
        }
        let complaint = Diagnostic::error(format!("there is no tool and no release `{text}`"));
        Err(Stop::wrong(
            complaint.hint(
            "`--against mix`, `--against rebar3`, `--against make`, or the path of a release: a folder or a .tar.gz",
        )))
    }
}

/// Builds with both, compares, explains.
pub fn run(context: &Context, args: &VerifyArgs) -> Result<ExitCode, Stop> {
    let against = Against::read(args.against.as_deref())?;
    let paths = Paths::new(&args.release, &context.cache_dir()?)?;
    let session = Session::open(context, &args.release, &paths)?;
    session.stop_on_signals();
    let built = Ours::build(context, &session, &paths)?;
    let store = session.store();
    let ours = Listing::tree(store, &built.tree)?;
    let mut applications = false;
    let (report, kept, theirs) = match &against {
        Against::Path(path) => {
            let (theirs, when) = there(&session, path)?;
            let roots = Some(roots(&session, &built.ready));
            (compared(&session, &built, &ours, &theirs, when, roots)?, None, short(path))
        }
        Against::Tool(wanted) => {
            let common = tool(&session, *wanted)?;
            applications = common.tool == Tool::ErlangMk;
            let (report, kept) = with_tool(context, args, &session, &paths, &built, &ours)?;
            (report, kept, command(common.tool).to_owned())
        }
    };
    let shown = Shown {
        report: &report,
        name: &session.lowering.file.release,
        environment: session.lowering.file.environment_name(),
        against: &theirs,
        applications,
        kept: kept.as_deref(),
    };
    context.report(|| json(&shown), || text(&shown, context.colour_out, args.verbose));
    Ok(if report.is_explained() { exit::DONE } else { exit::FAILED })
}

/// Our release, in the store.
struct Ours {
    ready: Ready,
    report: RunReport,
    tree: Digest,
}

impl Ours {
    fn build(context: &Context, session: &Session, paths: &Paths) -> Result<Ours, Stop> {
        let engine = &session.engine;
        let times =
            engine.previous.steps.iter().map(|(name, step)| (name.clone(), step.duration_ms)).collect();
        let progress = Progress::new(context, times, engine.jobs);
        let outcome = || -> Result<Ready, BuildError> {
            let ready = build::lower(engine, &session.lowering, build::Purpose::Run, &progress)?;
            let report = engine.run(&ready.lowered.graph, None, &progress)?;
            if report.is_success() { Ok(ready) } else { Err(BuildError::Failed(Box::new(report))) }
        };
        let outcome = outcome();
        progress.finish();
        // Both only save work.
        let _ = std::fs::create_dir_all(&paths.kept);
        let _ = session.stat.save();
        session.store().index().flush();
        let ready = outcome?;
        context.complain(&ready.lowered.warnings);
        let report = engine.report();
        let made = steps::released(&report);
        let tree = made.ok_or_else(|| StepError::internal("nothing was assembled"));
        let tree = tree.and_then(|made| made.output("release")).map_err(failed)?;
        Ok(Ours { ready, report, tree })
    }
}

fn failed(error: StepError) -> Stop {
    if error.kind == StepErrorKind::Damaged {
        return Stop::Damaged(error.message);
    }
    Stop::failed(failure::told(error.message.clone(), &error))
}

/// Tools that make releases, or applications of them.
const TOOLS: [Tool; 3] = [Tool::Mix, Tool::Rebar3, Tool::ErlangMk];

/// What a tool is called by whoever starts it.
fn word(tool: Tool) -> &'static str {
    match tool {
        Tool::ErlangMk => "make",
        tool => tool.name(),
    }
}

/// What the project's own tool is started with.
fn tool(session: &Session, wanted: Option<Tool>) -> Result<&Common, Stop> {
    let common = session.lowering.common.as_ref().filter(|common| TOOLS.contains(&common.tool));
    let tool = wanted.or(common.map(|common| common.tool));
    if let (Some(common), Some(tool)) = (common, tool)
        && common.tool == tool
    {
        return Ok(common);
    }
    let message = match tool {
        Some(tool) => {
            format!("{0} does not build this project, so there is nothing of {0} to compare with", word(tool))
        }
        None => "no tool builds this project, so there is nothing to compare with".to_owned(),
    };
    let hint = "`--against PATH` compares with a release that was made in another way";
    Err(Stop::wrong(Diagnostic::error(message).hint(hint)))
}

/// Builds with the project's own tool, and once more where something is left unexplained.
fn with_tool(
    context: &Context,
    args: &VerifyArgs,
    session: &Session,
    paths: &Paths,
    built: &Ours,
    ours: &Listing<'_>,
) -> Result<(Report, Option<PathBuf>), Stop> {
    let lowering = &session.lowering;
    let common = tool(session, None)?;
    let name = declared(session, built)?;
    // make builds applications: of our release, those are compared.
    let of_applications = common.tool == Tool::ErlangMk;
    let released = own_applications(built, ours);
    let part = of_applications.then(|| ours.only(&released));
    let ours = part.as_ref().unwrap_or(ours);
    let folder = paths.root(&lowering.file).join("_build/relgraph/verify");
    let trouble = |e: std::io::Error| {
        Stop::failed(Diagnostic::error(format!("cannot make a scratch copy in {}: {e}", short(&folder))))
    };
    let staging = Staging::new(&folder).map_err(trouble)?;
    let work = staging.path("work");
    let build = |scheduling, again: &str| {
        if !context.global.quiet && !context.json() {
            tell(&format!("building with `{}`{again} in a scratch copy", command(common.tool)));
        }
        build_with(session, built, common, &work, name, &released, scheduling)
    };
    let made = build(Scheduling::AsOurs, "")?;
    let theirs_at = staging.path("theirs");
    std::fs::rename(&made.release, &theirs_at).map_err(trouble)?;
    let theirs = Listing::folder(session.store(), &theirs_at)?.tidied();
    // At the same paths, unless it was confined in none.
    let confined = session.engine.sandboxer.mode().is_confined();
    let roots = (!confined).then(|| roots(session, &built.ready));
    let mut report = compared(session, built, ours, &theirs, made.when, roots.clone())?;
    let package = staging.path("theirs.tar.gz");
    if let Some(made) = &made.package {
        std::fs::rename(made, &package).map_err(trouble)?;
    }
    if !report.is_explained() {
        relgraph_cache::remove_tree(&work).map_err(|e| trouble(std::io::Error::other(e)))?;
        let made = build(Scheduling::Otherwise, " once more")?;
        let again = Listing::folder(session.store(), &made.release)?.tidied();
        let facts = facts(session, built, (ours, &theirs), made.when, roots)?;
        verify::explain_unsteady(&mut report, &theirs, &again, &facts)?;
        std::fs::rename(&made.release, staging.path("again")).map_err(trouble)?;
    }
    if package.exists() {
        let facts = facts(session, built, (ours, &theirs), made.when, None)?;
        packages(session, built, &mut report, (ours, &theirs), &package, &facts)?;
    }
    let kept = if args.keep { Some(keep(&staging, &folder).map_err(trouble)?) } else { None };
    Ok((report, kept))
}

/// Compares the package that the tool made with ours.
fn packages(
    session: &Session,
    built: &Ours,
    report: &mut Report,
    (ours, theirs): (&Listing<'_>, &Listing<'_>),
    package: &Path,
    facts: &verify::Facts,
) -> Result<(), Stop> {
    let names = &facts.names;
    let name = format!("{}-{}.tar.gz", names.name, names.our_version);
    let Some(step) = built.report.result(&package::step(PackageFormat::TarGz)) else {
        let finding = Finding::new(&name, Part::Presence).texts(None, Some("a package".to_owned()));
        let asked = session.lowering.file.package.is_some();
        report.findings.push(if asked {
            finding.because(Reason::ReleaseYaml, "`package:`")
        } else {
            finding
        });
        let counts = report.counts;
        report.count(counts.same + counts.explained + counts.unexplained + 1);
        return Ok(());
    };
    let store = session.store();
    let packed = step.output("package").map_err(failed)?;
    let scratch = store.scratch().map_err(|e| failed(e.into()))?;
    let folder = scratch.path().join("package");
    store.materialize(&packed, &folder, Link::Copy).map_err(|e| failed(e.into()))?;
    let one = verify::packed::Package::read(&folder.join(package::FILE))?;
    let other = verify::packed::Package::read(package)?;
    Ok(verify::packed::compare(report, &name, (&one, ours), (&other, theirs), names)?)
}

/// The name by which Mix knows the release; none where it makes the one that every project has.
fn declared<'a>(session: &'a Session, built: &Ours) -> Result<Option<&'a str>, Stop> {
    let file = &session.lowering.file;
    let description = built.ready.lowered.description.as_ref();
    let (Some(description), name) = (description, &file.release) else { return Ok(None) };
    if description.release.as_ref().is_some_and(|release| release.declared) {
        return Ok(Some(name));
    }
    if description.project.app.as_ref() == Some(name) {
        return Ok(None);
    }
    let complaint =
        Diagnostic::error(format!("mix.exs declares no release `{name}`, so Mix cannot build it"))
            .in_file(file.file())
            .at(file.span("release"));
    Err(Stop::wrong(match &description.project.app {
        Some(app) => complaint
            .note(format!("without `releases:`, Mix builds the release `{app}`"))
            .hint(format!("declare it in mix.exs, `releases: [{name}: []]`, or call it `{app}`")),
        None => {
            complaint.hint(format!("declare it in mix.exs, under `releases:`: `{name}: [applications: […]]`"))
        }
    }))
}

/// The applications of the project that are part of the release.
fn own_applications<'a>(built: &'a Ours, ours: &Listing<'_>) -> BTreeSet<&'a str> {
    let there = ours.applications();
    let own = built.ready.lowered.erlang.iter().flat_map(|project| &project.applications);
    own.map(|application| application.app.as_str()).filter(|name| there.contains(name)).collect()
}

fn build_with(
    session: &Session,
    built: &Ours,
    common: &Common,
    work: &Path,
    name: Option<&str>,
    released: &BTreeSet<&str>,
    scheduling: Scheduling,
) -> Result<verify::tool::Made, Stop> {
    let lowering = &session.lowering;
    let whole = lowering.whole(&built.ready.around);
    let copy = Copy::new(session.store(), work, &whole, common.tool).map_err(failed)?;
    copy.add_what_was_read(&whole, &built.report).map_err(failed)?;
    let made = session.engine.with_context("verify", &built.report, |cx| match &built.ready.lowered.erlang {
        Some(project) if common.tool == Tool::ErlangMk => {
            let recipe = lowering.stripping(project);
            let applications = &project.applications;
            let wanted = Wanted { applications, released, recipe: recipe.as_ref() };
            copy.applications(cx, common, &wanted, scheduling, &|_, _| {})
        }
        _ => copy.release(cx, common, name, scheduling, &|_, _| {}),
    });
    made.map_err(|error| {
        if session.engine.cancel.is_cancelled() {
            return Stop::Interrupted;
        }
        let what = if common.tool == Tool::ErlangMk { "project" } else { "release" };
        let tool = word(common.tool);
        let message = format!("{tool} itself cannot build this {what}: {}", error.message);
        Stop::failed(failure::told(message, &error))
    })
}

/// A release that lies somewhere, and when it was made.
fn there<'a>(session: &'a Session, path: &Path) -> Result<(Listing<'a>, Window), Stop> {
    let store = session.store();
    let io = |source| compare::CompareError::Io { path: path.to_owned(), source };
    let metadata = std::fs::metadata(path).map_err(io)?;
    let listing = if metadata.is_dir() {
        Listing::folder(store, path)?.tidied()
    } else {
        let mut listing = Listing::tree(store, &compare::unpack(store, path)?)?.tidied();
        listing.exact_modes = false;
        listing
    };
    if !listing.entries.contains_key("releases") {
        let complaint =
            Diagnostic::error(format!("{} is not a release: it has no folder `releases`", short(path)));
        return Err(Stop::wrong(complaint));
    }
    // A copy may be younger than what it is a copy of.
    let file = if metadata.is_dir() { path.join("releases/start_erl.data") } else { path.to_owned() };
    let written = std::fs::metadata(&file).and_then(|metadata| metadata.modified()).map_err(io)?;
    let seconds = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let written = i64::try_from(seconds).unwrap_or_else(|_| now());
    Ok((listing, Window { from: written - DAY, to: written + DAY }))
}

/// Time zones, and the time from the first module to the last.
const DAY: i64 = 24 * 60 * 60;

/// Where our side was compiled.
fn roots(session: &Session, ready: &Ready) -> Roots {
    let layout = session.lowering.whole(&ready.around).layout;
    let project = layout.project();
    let mut folders: Vec<String> =
        [project.as_str(), "tree", "otp", "elixir"].iter().map(|at| format!("/relgraph/{at}")).collect();
    folders.sort_by_key(|folder| std::cmp::Reverse(folder.len()));
    let scratch = session.store().root().join("tmp").to_string_lossy().into_owned();
    Roots { folders, scratch: Some(scratch) }
}

fn facts(
    session: &Session,
    built: &Ours,
    (ours, theirs): (&Listing<'_>, &Listing<'_>),
    when: Window,
    roots: Option<Roots>,
) -> Result<verify::Facts, Stop> {
    let lowered = &built.ready.lowered;
    verify::gather(session.store(), &session.lowering, lowered, &built.report, (ours, theirs), when, roots)
        .map_err(failed)
}

fn compared(
    session: &Session,
    built: &Ours,
    ours: &Listing<'_>,
    theirs: &Listing<'_>,
    when: Window,
    roots: Option<Roots>,
) -> Result<Report, Stop> {
    let facts = facts(session, built, (ours, theirs), when, roots)?;
    Ok(verify::compare(ours, theirs, &facts)?)
}

/// Moves the scratch copy to where it stays until the next one.
fn keep(staging: &Staging, folder: &Path) -> std::io::Result<PathBuf> {
    let kept = folder.join("kept");
    if kept.exists() {
        relgraph_cache::remove_tree(&kept).map_err(std::io::Error::other)?;
    }
    std::fs::create_dir_all(&kept)?;
    for name in ["work", "theirs", "theirs.tar.gz", "again"] {
        let from = staging.path(name);
        if from.exists() {
            std::fs::rename(from, kept.join(name))?;
        }
    }
    Ok(kept)
}
