//! `relgraph upgrade`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use relgraph_cache::{Digest, Store};
use relgraph_engine::{
    Action, Engine, GraphBuilder, Outcome, Rule, RunReport, SandboxPolicy, Sandboxer, Secrets, Step,
    StepError, StepErrorKind,
};
use relgraph_rules::compare::Side;
use relgraph_rules::deliver;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::package;
use relgraph_rules::record::{self, Rehearsal};
use relgraph_rules::schema::ReleaseFile;
use relgraph_rules::secrets;
use relgraph_rules::steps::driver::{self, Driver};
use relgraph_rules::tool::Tool;
use relgraph_rules::toolchain::{Choice, Toolchain};
use relgraph_rules::upgrade::rehearse::{self, Rehearse, Rehearsed};
use relgraph_rules::upgrade::{Released, Rules, step, summary};
use relgraph_rules::vm::{Common, DRIVER};

use super::context::Context;
use super::exit;
use super::reference::{Reference, own_release};
use super::salt;
use super::stop::Stop;
use crate::render::progress::Progress;
use crate::render::upgrade::{Shown, json, text};
use crate::render::{failure, short};

/// Arguments of `upgrade`.
#[derive(Debug, Args)]
pub struct UpgradeArgs {
    /// The versions that run, and the one that is wanted last: each a version, NAME@VERSION, `latest`, a digest, `git:REV`, a folder or
    /// a .tar.gz
    #[arg(value_name = "OLD… NEW", num_args = 2.., required = true)]
    versions: Vec<String>,
    /// Where the package is put [default: beside the release, as NAME-NEW.upgrade.tar.gz]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Start the old release, move it to the new one and back, and look at it, before the package is made
    #[arg(long)]
    rehearse: bool,
    /// Say what would be done, and make no package
    #[arg(long)]
    dry_run: bool,
}

/// Makes the package that moves running nodes from any of the old versions to the new one.
pub fn run(context: &Context, args: &UpgradeArgs) -> Result<ExitCode, Stop> {
    let store = context.shared_store()?;
    let own = own_release();
    let trees: Vec<Digest> = args
        .versions
        .iter()
        .map(|version| {
            stored(&store, &Reference::find_or_build(context, &store, own.as_deref(), version)?.side(&store)?)
        })
        .collect::<Result<_, Stop>>()?;
    let Some((new, olds)) = trees.split_last() else { return Ok(exit::wrong()) };
    let here = Here::look(context, &store)?;
    let upgrade =
        step::Upgrade { common: here.common.clone(), olds: olds.to_vec(), new: *new, rules: here.rules()? };
    let mut graph = GraphBuilder::new();
    let driver = Driver { common: here.common.clone() };
    graph.add(a_step(DRIVER, &[], driver::RULE, driver));
    graph.add(a_step(step::STEP, &[DRIVER], step::RULE, upgrade));
    let mut rehearsals = Vec::new();
    if args.rehearse {
        for old in olds {
            let rehearse = here.rehearsal(&store, old, new)?;
            let planned = Planned {
                step: rehearse::name(&rehearse.old.0),
                release: rehearse.release.clone(),
                old: rehearse.old.clone(),
                new: rehearse.new.clone(),
            };
            graph.add(a_step(&planned.step, &[DRIVER, step::STEP], rehearse::RULE, rehearse));
            rehearsals.push(planned);
        }
    }
    let graph = graph.build().map_err(|error| Stop::failed(Diagnostic::error(error.to_string())))?;
    let sandboxer = Sandboxer::new(std::env::current_exe().unwrap_or_default(), SandboxPolicy::Preferred);
    let mut engine = Engine::new(store.clone(), Arc::new(sandboxer));
    engine.env = context.env.clone();
    // What is secret for a build is so here; a rehearsal is given it by its `pass_env:`.
    let secrets = here.file.as_ref().map(|file| secrets::present(file, &context.env)).unwrap_or_default();
    if !secrets.is_empty() {
        engine.keep_secret(Secrets::new(salt::made(context)?, secrets));
    }
    let progress = Progress::new(context, BTreeMap::new(), engine.jobs);
    let report = engine.run(&graph, None, &progress);
    progress.finish();
    let report = report?;
    store.index().flush();
    if report.cancelled {
        return Err(Stop::Interrupted);
    }
    for rehearsal in &rehearsals {
        rehearsal.keep(&store, &report, here.environment());
    }
    if !report.is_success() {
        return Err(failed(&report));
    }
    let made = report.result(step::STEP).ok_or_else(|| wrong("the upgrade has no result"))?;
    let summary = summary::Summary::read(&store, made).map_err(unreadable)?;
    let tree = made.output("upgrade").map_err(unreadable)?;
    let package = match args.dry_run {
        true => None,
        false => Some(pack(&store, &tree, &here.place(args, &summary))?),
    };
    let rehearsed = rehearsals
        .iter()
        .filter_map(|planned| report.result(&planned.step))
        .map(|result| Rehearsed::read(&store, result).map_err(unreadable))
        .collect::<Result<Vec<Rehearsed>, Stop>>()?;
    let shown = Shown { summary: &summary, package: package.as_ref(), rehearsed: &rehearsed };
    context.report(|| json(&shown), || text(&shown, context.colour_out));
    Ok(exit::DONE)
}

/// A rehearsal of this graph.
struct Planned {
    step: String,
    release: String,
    old: (String, Digest),
    new: (String, Digest),
}

impl Planned {
    /// Adds what came of it to the record of the new release. One that was known already is there already, and where the
    /// release has no record, there is nobody to tell.
    fn keep(&self, store: &Store, report: &RunReport, environment: &str) {
        let Some(step) = report.steps.get(&self.step) else { return };
        let (passed, problem) = match step.outcome {
            Outcome::Ran | Outcome::Dup => (true, None),
            Outcome::Failed => (false, step.error.as_ref().map(|error| error.message.clone())),
            _ => return,
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let rehearsal = Rehearsal {
            from: self.old.0.clone(),
            to: self.new.0.clone(),
            from_tree: self.old.1,
            to_tree: self.new.1,
            at: now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
            passed,
            downgraded: passed,
            problem,
        };
        let _ = record::rehearsed(store, &self.release, environment, &rehearsal);
    }
}

fn a_step(name: &str, needs: &[&str], rule: Rule, action: impl Action + 'static) -> Step {
    let needs = needs.iter().map(|&need| need.to_owned()).collect();
    Step { name: name.to_owned(), needs, rule, action: Arc::new(action) }
}

/// A release as a tree of the store.
fn stored(store: &Store, side: &Side<'_>) -> Result<Digest, Stop> {
    match side {
        Side::Tree { tree, .. } | Side::Named { tree, .. } => Ok(*tree),
        Side::Folder(folder) => {
            // What a node that runs from there has written is no part of it.
            let part = |path: &str| path != "tmp" && !path.starts_with("tmp/") && path != "releases/COOKIE";
            store.ingest(folder, &part).map_err(|error| Stop::store(store.root(), &error))
        }
    }
}

fn wrong(message: impl std::fmt::Display) -> Stop {
    Stop::failed(Diagnostic::error(message.to_string()))
}

fn unreadable(error: StepError) -> Stop {
    if error.kind == StepErrorKind::Damaged { Stop::Damaged(error.message) } else { wrong(error.message) }
}

/// A refusal is the answer, and is said without the name of a step.
fn failed(report: &RunReport) -> Stop {
    let refusal = report.failed().find_map(|step| {
        step.error.as_ref().filter(|error| step.name != DRIVER && error.kind == StepErrorKind::Input)
    });
    match refusal {
        Some(error) => Stop::failed(failure::told(error.message.clone(), error)),
        None => Stop::Failed(failure::diagnostics(report)),
    }
}

/// A package that was made.
pub struct Packed {
    /// Where it is.
    pub path: PathBuf,
    /// Its digest.
    pub digest: Digest,
}

fn pack(store: &Store, tree: &Digest, path: &Path) -> Result<Packed, Stop> {
    let scratch = store.scratch().map_err(|error| Stop::store(store.root(), &error))?;
    let out = scratch.path().join("package");
    package::tar_gz(store, tree, None, &out).map_err(wrong)?;
    let digest = store.put_file(&out).map_err(|error| Stop::store(store.root(), &error))?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| wrong(format!("cannot create {}: {error}", folder.display())))?;
    }
    deliver::package(store, &digest, path).map_err(wrong)?;
    Ok(Packed { path: path.to_owned(), digest })
}

/// Where the user stands: the release.yaml there, and what builds.
struct Here {
    file: Option<ReleaseFile>,
    root: PathBuf,
    common: Common,
}

impl Here {
    fn look(context: &Context, store: &Store) -> Result<Here, Stop> {
        let path = Path::new("release.yaml");
        let file = match std::fs::read(path) {
            Ok(bytes) => Some(
                ReleaseFile::parse(path, &bytes)
                    .map_err(|errors| Stop::Wrong(errors.iter().map(|error| error.diagnostic()).collect()))?,
            ),
            Err(_) => None,
        };
        let root = file.as_ref().map_or(Path::new("."), |file| file.project_dir());
        let root =
            std::path::absolute(root).map_err(|error| wrong(format!("{}: {error}", root.display())))?;
        let mut choice = Choice::new(&context.env, &root, file.as_ref());
        let common = Common {
            tool: Tool::Otp,
            toolchain: Arc::new(Toolchain::find(&mut choice, false, store)?),
            environment: "prod".to_owned(),
            target: "host".to_owned(),
            env: BTreeMap::new(),
            pass_env: Default::default(),
            secrets: Default::default(),
            spares: Arc::default(),
            rust: None,
            network: false,
        };
        context.complain(&choice.warnings);
        Ok(Here { file, root, common })
    }

    fn environment(&self) -> &str {
        self.file.as_ref().map_or("prod", |file| file.environment_name())
    }

    /// What the project says about the upgrades of this release.
    fn rules(&self) -> Result<Rules, Stop> {
        match &self.file {
            Some(file) => Ok(Rules::of(file, &self.root)?),
            None => Ok(Rules::default()),
        }
    }

    /// How one way is rehearsed.
    fn rehearsal(&self, store: &Store, old: &Digest, new: &Digest) -> Result<Rehearse, Stop> {
        let settings = self.file.as_ref().map(|file| file.upgrades.rehearse.clone()).unwrap_or_default();
        let open = |tree: &Digest| {
            Released::open(store, *tree).map_err(|error| Stop::wrong(Diagnostic::error(error.to_string())))
        };
        let (before, after) = (open(old)?, open(new)?);
        Ok(Rehearse {
            common: self.common.clone(),
            release: after.name,
            old: (before.version, *old),
            new: (after.version, *new),
            files: rehearse::files(store, &self.root, &settings.inputs).map_err(unreadable)?,
            settings,
        })
    }

    /// Where the package goes.
    fn place(&self, args: &UpgradeArgs, summary: &summary::Summary) -> PathBuf {
        if let Some(path) = &args.output {
            return path.clone();
        }
        let name = format!("{}-{}.upgrade.tar.gz", summary.name, summary.version);
        match &self.file {
            Some(file) if file.release == summary.name => {
                file.project_dir().join("_build/relgraph").join(file.environment_name()).join(name)
            }
            _ => PathBuf::from(name),
        }
    }
}

/// The path as it is shown.
pub fn shown(packed: &Packed) -> String {
    short(&packed.path)
}
