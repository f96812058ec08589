//! What belongs to a project besides its own folder: folders beside it, what its lock names, and what of that is fetched.
//!
//! Mix decides what is needed. What lies in `deps/` is built when it is what the lock names. What is not there, or is
//! something else, is fetched by a step, and shown to every other step in the place of `deps/APP`; nothing is written to
//! the user's `deps/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::Digest;
use relgraph_engine::Graph;

use super::{Lowering, NONE, Steps};
use crate::diagnostic::Diagnostic;
use crate::fetch::git::{self, Checkout};
use crate::fetch::{Whose, manifest};
use crate::lock::{Lock, Locked};
use crate::project::{Application, Description};
use crate::steps::fetch::{self, Fetch};
use crate::tool::Tool;

/// What belongs to a project besides its own folder.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// Folders beside the project (`../shared`).
    pub beside: BTreeSet<String>,
    /// Dependencies that were fetched, by application.
    pub fetched: BTreeMap<String, Fetched>,
    /// Files of the user that decided what is fetched: absolute.
    pub looked_at: BTreeSet<PathBuf>,
    /// What the project's lock names; none without one.
    pub(super) lock: Option<Lock>,
    pub(super) lockfile: String,
    pub(super) deps_path: String,
    /// Where dependencies lie that lie elsewhere than the others.
    pub(super) places: BTreeMap<String, String>,
    /// Where the project builds, where that is not `_build`: what Mix left there is nobody's source.
    pub(super) built: Option<String>,
    /// Applications whose folder nobody is shown, for it is not what the lock names; with what it is, where that is
    /// worth a word.
    pub(super) hidden: BTreeMap<String, Option<String>>,
    /// Git checkouts that somebody has edited.
    pub(super) edited: BTreeSet<String>,
    /// Those of them whose history was fetched.
    pub histories: BTreeSet<String>,
    /// Applications whose folder does not say what it is.
    pub(super) unnamed: BTreeSet<String>,
}

/// A dependency that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it lies, seen from the project's folder: where `mix deps.get` would have put it.
    pub at: String,
    /// Its sources.
    pub tree: Digest,
}

impl Around {
    /// Folders of the user that nobody is shown, seen from the project's.
    pub fn hidden(&self) -> BTreeSet<String> {
        let fetched = self.fetched.values().map(|fetched| fetched.at.clone());
        self.hidden.keys().map(|app| self.at(app)).chain(fetched).chain(self.built.clone()).collect()
    }

    /// Where a dependency lies that the tool has fetched, seen from the project's folder.
    pub(super) fn at(&self, app: &str) -> String {
        self.places.get(app).cloned().unwrap_or_else(|| format!("{}/{app}", self.deps_path))
    }
}

impl Lowering {
    /// Reads the lock and looks at what lies in the folder of dependencies. All paths are seen from the project's folder.
    pub fn around(&self, lockfile: &str, deps_path: &str, built: &str) -> Result<Around, Vec<Diagnostic>> {
        let built = unusual(built);
        self.sources.leave_out(built.as_deref());
        let mut around = Around {
            built,
            beside: self.guess_beside(),
            lockfile: lockfile.to_owned(),
            deps_path: deps_path.to_owned(),
            ..Around::default()
        };
        let path = self.root.join(lockfile);
        around.looked_at.insert(path.clone());
        let Ok(bytes) = fs::read(&path) else { return Ok(around) };
        let lock = Lock::mix(Path::new(lockfile), &bytes).map_err(|error| vec![*error])?;
        for (app, entry) in &lock.entries {
            self.look(&mut around, app, &entry.locked);
        }
        around.lock = Some(lock);
        Ok(around)
    }

    fn look(&self, around: &mut Around, app: &str, locked: &Locked) {
        let dir = self.root.join(around.at(app));
        around.looked_at.insert(dir.clone());
        if !dir.is_dir() {
            return;
        }
        match locked {
            Locked::Hex(package) => {
                let file = dir.join(".hex");
                let read = fs::read(&file);
                around.looked_at.insert(file);
                match read.map(|bytes| manifest(&bytes)) {
                    Err(_) => drop(around.unnamed.insert(app.to_owned())),
                    Ok(Some(there)) if there.is(package) => {}
                    Ok(Some(there)) => {
                        let what = format!("{} {}", there.name, there.version);
                        around.hidden.insert(app.to_owned(), Some(what));
                    }
                    Ok(None) => drop(around.hidden.insert(app.to_owned(), Some("something unknown".into()))),
                }
            }
            Locked::Git(commit) => {
                around.looked_at.insert(dir.join(".git/HEAD"));
                match git::look(&self.remotes, &dir, commit) {
                    Checkout::None => drop(around.unnamed.insert(app.to_owned())),
                    // The step takes it from there, and knows the history that versions are computed from.
                    Checkout::Clean => {
                        around.hidden.insert(app.to_owned(), None);
                        // An edit there would count.
                        let files = self.sources.of(&around.at(app), &[]);
                        let files = files.iter().flat_map(|files| files.entries());
                        around.looked_at.extend(files.map(|(path, _)| dir.join(path)));
                    }
                    // Built as it lies there, as Mix does; but no `.git` of the user is shown to a step.
                    Checkout::Edited => drop(around.edited.insert(app.to_owned())),
                    Checkout::Other(what) => drop(around.hidden.insert(app.to_owned(), Some(what))),
                }
            }
            Locked::Other(_) => {}
        }
    }

    /// Whether the guesses about the lock and the folder of dependencies were right; else what is around by those of Mix.
    pub fn guessed_right(
        &self,
        around: &Around,
        described: &Description,
    ) -> Result<Option<Around>, Vec<Diagnostic>> {
        let project = &described.project;
        let guessed = (&around.lockfile, &around.deps_path, &around.built);
        if guessed == (&project.lockfile, &project.deps_path, &unusual(&project.build_root)) {
            return Ok(None);
        }
        let right = self.around(&project.lockfile, &project.deps_path, &project.build_root)?;
        Ok(Some(Around { beside: self.outermost(&around.beside | &right.beside), ..right }))
    }

    /// What Mix misses and the lock names, with what the lock says that these need in turn: it saves asking Mix for each
    /// level of them.
    pub fn missing(&self, around: &Around, described: &Description) -> BTreeSet<String> {
        let Some(lock) = &around.lock else { return BTreeSet::new() };
        let missed = described.applications.iter().filter(|a| is_missed(a)).map(|a| a.app.as_str());
        let known = |app: &str| {
            let there = || self.root.join(around.at(app)).is_dir() && !around.hidden.contains_key(app);
            described.application(app).is_some() || there()
        };
        let needed = lock.needed(missed, &known).into_iter();
        let edited = around.edited.iter().filter(|app| described.application(app).is_some()).cloned();
        let done = |app: &String| around.fetched.contains_key(app) || around.histories.contains(app);
        needed.chain(edited).filter(|app| !done(app)).collect()
    }

    /// A graph that fetches these.
    pub fn fetching(&self, around: &Around, apps: &BTreeSet<String>) -> Result<Graph, Vec<Diagnostic>> {
        let mut steps = Steps::default();
        self.add_fetches(&mut steps, around, apps.iter());
        self.graph(steps)
    }

    /// The steps that fetch applications. Each needs nothing.
    pub(super) fn add_fetches<'a>(
        &self,
        steps: &mut Steps,
        around: &Around,
        apps: impl Iterator<Item = &'a String>,
    ) {
        for app in apps {
            let Some(entry) = around.lock.as_ref().and_then(|lock| lock.get(app)) else { continue };
            let action = Fetch {
                app: app.clone(),
                locked: entry.locked.clone(),
                whose: Whose {
                    tool: self.common.as_ref().map_or(Tool::Mix, |common| common.tool),
                    root: self.root.clone(),
                },
                checkout: Some(self.root.join(around.at(app))),
                history: around.edited.contains(app),
                remotes: Arc::clone(&self.remotes),
            };
            steps.add(&fetch::step(app), NONE, fetch::RULE, action);
        }
    }

    /// Takes up what was fetched.
    pub fn fetched(&self, around: &mut Around, app: &str, tree: Digest) {
        if around.edited.contains(app) {
            around.histories.insert(app.to_owned());
            return;
        }
        let at = around.at(app);
        around.fetched.insert(app.to_owned(), Fetched { at, tree });
    }

    /// What is wrong with an application that Mix cannot use, with what the lock says of it.
    pub(super) fn locked_complaint(
        &self,
        around: &Around,
        application: &Application,
        said: Diagnostic,
    ) -> Diagnostic {
        let entry = around.lock.as_ref().and_then(|lock| lock.get(&application.app));
        let at = |complaint: Diagnostic| match entry {
            Some(entry) => complaint.in_file(&around.lockfile).at(entry.span.clone()),
            None => complaint,
        };
        match application.problem.as_ref().map(|problem| problem.kind.as_str()) {
            Some("nomatchvsn") => at(said).hint(format!(
                "run `mix deps.get`, or `mix deps.update {}` where that does not do",
                application.app
            )),
            _ => said,
        }
    }

    /// Whether an application is not there, and no lock says what it is.
    pub(super) fn is_unlocked(&self, around: &Around, application: &Application) -> bool {
        let locked = || around.lock.as_ref().and_then(|lock| lock.get(&application.app)).is_some();
        is_missed(application) && !locked()
    }

    /// All of these are missing for one reason, and one command mends it.
    pub(super) fn unlocked_complaint(&self, around: &Around, described: &Description) -> Option<Diagnostic> {
        let missed = described.applications.iter().filter(|a| self.is_unlocked(around, a));
        let mut names: Vec<String> = missed.map(|a| format!("`{}`", a.app)).collect();
        names.sort();
        let it = match names.len() {
            0 => return None,
            1 => "it",
            _ => "them",
        };
        let message = match &names[..] {
            [name] => format!("the dependency {name} is not there"),
            names => format!("{} dependencies are not there: {}", names.len(), names.join(", ")),
        };
        let note = match &around.lock {
            Some(_) => format!("{} does not name {it}, so there is nothing to fetch", around.lockfile),
            None => format!("there is no {}, so there is nothing to fetch", around.lockfile),
        };
        let hint = format!("run `mix deps.get` to lock and fetch {it}");
        Some(Diagnostic::error(message).note(note).hint(hint))
    }

    /// What the user should know of dependencies that are not what `deps/` holds, or may not be what the lock names.
    pub(super) fn lock_warnings(&self, around: &Around, described: &Description) -> Vec<Diagnostic> {
        let Some(lock) = &around.lock else { return Vec::new() };
        let mut warnings = Vec::new();
        let (mut unnamed, mut unlocked) = (Vec::new(), Vec::new());
        for application in described.applications.iter().filter(|a| a.fetchable) {
            let (app, at) = (&application.app, around.at(&application.app));
            let Some(entry) = lock.get(app) else {
                unlocked.push(at);
                continue;
            };
            if let Some(Some(what)) = around.hidden.get(app) {
                let message = format!(
                    "{at} is {what}, and {} names {}: that is what is built",
                    around.lockfile,
                    entry.version()
                );
                warnings.push(
                    Diagnostic::warning(message)
                        .in_file(&around.lockfile)
                        .at(entry.span.clone())
                        .hint("run `mix deps.get` to bring deps/ up to date"),
                );
            }
            if around.unnamed.contains(app) {
                unnamed.push(at);
            }
        }
        if !unlocked.is_empty() {
            unlocked.sort();
            let message =
                format!("{} does not name {}: built as it lies there", around.lockfile, unlocked.join(", "));
            warnings.push(Diagnostic::warning(message).hint("run `mix deps.get` to lock it"));
        }
        if !unnamed.is_empty() {
            unnamed.sort();
            let message = format!(
                "nothing says that {} is what {} names: built as it lies there",
                unnamed.join(", "),
                around.lockfile
            );
            warnings.push(
                Diagnostic::warning(message).hint("remove it to have it fetched, or run `mix deps.get`"),
            );
        }
        warnings
    }
}

/// A folder that a project builds in, unless its name is the one that is never looked into, or the project lies in it.
fn unusual(built: &str) -> Option<String> {
    let path: PathBuf = Path::new(built).components().filter(|part| *part != Component::CurDir).collect();
    let name = path.components().next_back();
    let own = matches!(name, Some(Component::Normal(name)) if name != "_build");
    own.then(|| path.display().to_string())
}

fn is_missed(application: &Application) -> bool {
    application.fetchable && application.problem.as_ref().is_some_and(|problem| problem.kind == "unavailable")
}
