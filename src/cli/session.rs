//! What the commands about one release share: its release.yaml, the store, the engine, the files kept of the checkout.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use relgraph_cache::remote::Shared;
use relgraph_cache::{Digest, StatCache, Store, stamp};
use relgraph_engine::{Cancel, Checkout, Engine, SandboxPolicy, Sandboxer, Secrets};
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::fetch::Remotes;
use relgraph_rules::layout::normal;
use relgraph_rules::lower::Lowering;
use relgraph_rules::schema::{ReleaseFile, Sandbox};

use super::context::Context;
use super::remotes::without_secrets;
use super::salt;
use super::sharing;

/// The same rule as in release.yaml: the name becomes that of a folder.
pub fn environment(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let starts = bytes.next().is_some_and(|b| b.is_ascii_lowercase());
    if starts && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Ok(text.to_owned());
    }
    Err("an environment is made of letters, digits and `_`, and begins with a lower-case letter".to_owned())
}

/// Which release, and how it is built.
#[derive(Debug, Clone, Args)]
pub struct ReleaseArgs {
    /// The release's description
    #[arg(value_name = "RELEASE.YAML", default_value = "release.yaml")]
    pub file: PathBuf,
    /// Steps that run at once [default: the number of cores]
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Go on with what does not depend on a failed step
    #[arg(long, short)]
    pub keep_going: bool,
    /// Build for this environment instead of the one in release.yaml
    #[arg(long, short, value_name = "NAME", value_parser = environment)]
    pub environment: Option<String>,
    /// How steps are confined, instead of what release.yaml says
    #[arg(long, value_enum)]
    pub sandbox: Option<Confinement>,
    /// Fetch nothing: what is missing is named
    #[arg(long)]
    pub offline: bool,
}

impl ReleaseArgs {
    /// A release and its environment, everything else as usual.
    pub fn of(file: PathBuf, environment: Option<String>) -> ReleaseArgs {
        ReleaseArgs { file, jobs: None, keep_going: false, environment, sandbox: None, offline: false }
    }
}

/// How much the sandbox matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Confinement {
    /// The best that works on this machine
    Preferred,
    /// Confined, or not at all
    Required,
    /// Not confined
    Off,
}

/// Paths of one request: known before release.yaml is read.
pub struct Paths {
    /// release.yaml, absolute.
    pub file: PathBuf,
    /// Its folder.
    pub dir: PathBuf,
    /// Where this request's own files are.
    pub kept: PathBuf,
    /// Which request it is.
    pub request: Digest,
}

impl Paths {
    /// For a request.
    pub fn new(args: &ReleaseArgs, cache_dir: &Path) -> Result<Paths, Box<Diagnostic>> {
        let file = std::path::absolute(&args.file)
            .map_err(|e| Box::new(Diagnostic::error(format!("{}: {e}", args.file.display()))))?;
        let file = if file.is_dir() { file.join("release.yaml") } else { file };
        let dir = file.parent().map(Path::to_owned).unwrap_or_default();
        let text = format!(
            "{}\0{}\0{:?}\0{:?}",
            file.display(),
            cache_dir.display(),
            args.environment,
            args.sandbox
        );
        let request = Digest::of(text.as_bytes());
        let kept = dir.join("_build/relgraph/.state").join(&request.hex()[..16]);
        Ok(Paths { file, dir, kept, request })
    }

    /// The project's folder.
    pub fn root(&self, file: &ReleaseFile) -> PathBuf {
        normal(&self.dir.join(file.project_dir()))
    }

    /// Where releases of this environment and their packages are put.
    pub fn releases(&self, file: &ReleaseFile) -> PathBuf {
        self.root(file).join("_build/relgraph").join(file.environment_name())
    }

    /// Where the release is put.
    pub fn release(&self, file: &ReleaseFile) -> PathBuf {
        self.releases(file).join(&file.release)
    }

    /// The state file.
    pub fn state(&self) -> PathBuf {
        self.kept.join("state")
    }

    /// What the last build was made of.
    pub fn checkout(&self) -> PathBuf {
        self.kept.join("steps")
    }
}

/// This very program: another build of it does not trust the state that this one wrote.
pub fn identity() -> Digest {
    let exe = std::env::current_exe().unwrap_or_default();
    let stamp = stamp(&exe).ok().flatten();
    Digest::of(format!("{} {stamp:?}", env!("CARGO_PKG_VERSION")).as_bytes())
}

/// Reads release.yaml, for what needs nothing else.
pub fn read_release(args: &ReleaseArgs) -> Result<(Paths, ReleaseFile), Vec<Diagnostic>> {
    // Which request it is matters to nobody here, so it needs no store.
    let paths = Paths::new(args, Path::new("")).map_err(|complaint| vec![*complaint])?;
    let file = read_file(args, &paths)?;
    Ok((paths, file))
}

fn read_file(args: &ReleaseArgs, paths: &Paths) -> Result<ReleaseFile, Vec<Diagnostic>> {
    let shown = shown(&args.file, &paths.file);
    let bytes = std::fs::read(&paths.file).map_err(|error| {
        let complaint = Diagnostic::error(format!("cannot read {}: {error}", shown.display()));
        vec![if error.kind() == std::io::ErrorKind::NotFound {
            complaint.hint("`relgraph init` writes one")
        } else {
            complaint
        }]
    })?;
    let mut file = ReleaseFile::parse(&shown, &bytes)
        .map_err(|errors| errors.iter().map(|error| error.diagnostic()).collect::<Vec<_>>())?;
    if let Some(environment) = &args.environment {
        file.environment = Some(environment.clone());
    }
    Ok(file)
}

/// Everything open that a build needs.
pub struct Session {
    /// release.yaml and the project.
    pub lowering: Lowering,
    /// Runs steps.
    pub engine: Engine,
    /// Digests of files that did not move.
    pub stat: Arc<StatCache>,
    /// Remotes behind the store.
    pub shared: Option<Arc<Shared>>,
}

impl Session {
    /// Reads release.yaml, opens the store, looks for tools.
    pub fn open(context: &Context, args: &ReleaseArgs, paths: &Paths) -> Result<Session, Vec<Diagnostic>> {
        let file = read_file(args, paths)?;
        let boxed = |e: Box<Diagnostic>| vec![*e];
        let store = context.store().map_err(boxed)?;
        let shared = sharing::open(context, Some((&file, &paths.dir)), args.offline, &store)?;
        let root = paths.root(&file);
        let stat = Arc::new(StatCache::load(&paths.kept.join("stat")));
        let secrets = relgraph_rules::secrets::find(&file, &context.env)?;
        let sandboxer = sandboxer(args, &file);
        let env = without_secrets(&context.env, &file);
        let mut lowering = Lowering::new(file, &root, &store, Arc::clone(&stat), &env).map_err(boxed)?;
        lowering.remotes = Arc::new(Remotes::new(&context.env, args.offline));
        lowering.names = Some(paths.kept.join("names"));
        let mut engine = Engine::new(store, Arc::new(sandboxer));
        engine.shared = shared.clone();
        engine.env = env;
        if !secrets.is_empty() {
            engine.keep_secret(Secrets::new(salt::made(context)?, secrets));
        }
        engine.keep_going = args.keep_going;
        engine.previous = Checkout::load(&paths.checkout());
        engine.cancel = Cancel::new();
        if let Some(jobs) = args.jobs {
            engine.jobs = usize::from(jobs);
        }
        Ok(Session { lowering, engine, stat, shared })
    }

    /// Ends the build well when the user interrupts it.
    pub fn stop_on_signals(&self) {
        static CURRENT: Mutex<Option<Cancel>> = Mutex::new(None);
        *CURRENT.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.engine.cancel.clone());
        // A build that starts over finds the handler there, which asks for the session of that moment.
        let _ = ctrlc::set_handler(|| {
            if let Some(cancel) = &*CURRENT.lock().unwrap_or_else(PoisonError::into_inner) {
                cancel.cancel();
            }
        });
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.engine.store
    }
}

fn sandboxer(args: &ReleaseArgs, file: &ReleaseFile) -> Sandboxer {
    let policy = match (args.sandbox, file.sandbox) {
        (Some(Confinement::Required), _) | (None, Some(Sandbox::Required)) => SandboxPolicy::Required,
        (Some(Confinement::Off), _) | (None, Some(Sandbox::Off)) => SandboxPolicy::Off,
        _ => SandboxPolicy::Preferred,
    };
    Sandboxer::new(std::env::current_exe().unwrap_or_default(), policy)
}

/// release.yaml as the user named it.
fn shown(given: &Path, real: &Path) -> PathBuf {
    if real.file_name() == given.file_name() { given.to_owned() } else { given.join("release.yaml") }
}
