//! Requests that may look for more than their step shows. What was asked for in vain, and is there on this machine at the
//! same place seen from the project, is shown, and the request is made again: nobody has to declare that a module reads
//! `../../VERSION`, and nothing that was read is part of nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use relgraph_cache::Probe;
use relgraph_engine::{StepContext, StepError};

use crate::advice;
use crate::git::{self, About, Repository};
use crate::layout::Layout;
use crate::reach::Reach;
use crate::terms::Value;
use crate::vm::{Attempt, Common, Facts, Said, Vm};

/// How often a request is made again. Each time it gets further; what needs more looks for things one after the other.
const ROUNDS: usize = 8;
/// A folder outside of the project with more in it is not shown.
const LARGEST_FOLDER: usize = 5000;

/// A request, and what may be shown to it.
pub struct Request<'a, 'c> {
    /// The step.
    pub cx: &'c StepContext<'c>,
    /// What it shares with others.
    pub common: &'c Common,
    /// The operation of the driver.
    pub op: &'static str,
    /// Where things lie inside the sandbox.
    pub layout: &'a Layout,
    /// What there is on this machine.
    pub reach: &'a Reach,
    /// The folder that it works in, seen from the prefix.
    pub folder: String,
    /// A folder that it fills: where links in there lead belongs to what it makes.
    pub build: Option<String>,
    /// What besides its inputs it sees of the machine, and where, seen from the prefix.
    pub tools: Vec<(PathBuf, String)>,
    /// Paths that nobody meant to read.
    pub ignores: &'a dyn Fn(&str, &str) -> bool,
}

/// Whether no source moved while the inputs were put in place, and the request.
pub type Prepared = (bool, Vec<(&'static str, Value)>);

/// Puts the inputs of a request in place and says what it is; `false`: a source moved meanwhile.
pub type Prepare<'c, 'a> = dyn Fn(&mut Vm<'c>) -> Result<Prepared, StepError> + 'a;

/// A request that was answered.
pub struct Answered<'c> {
    /// The VM that did, with its folder.
    pub vm: Vm<'c>,
    /// The answer.
    pub said: Said,
    /// Whether no source moved meanwhile.
    pub same: bool,
    /// What it depends on beside what it read.
    pub probes: Vec<Probe>,
    /// Files that were shown because it looked for them, seen from the prefix.
    pub shown: BTreeSet<String>,
}

/// What is shown besides the inputs of a step.
#[derive(Default, PartialEq, Eq, Clone)]
struct Shown {
    files: BTreeMap<String, PathBuf>,
    /// Folders of which nothing but their being there matters.
    folders: BTreeSet<String>,
    trees: BTreeMap<String, PathBuf>,
    repository: Option<(Repository, About)>,
}

impl<'c> Request<'_, 'c> {
    /// Makes the request, `prepare` having put its inputs in place and said what it is; again while that shows more.
    pub fn make(&self, prepare: &Prepare<'c, '_>) -> Result<Answered<'c>, StepError> {
        let mut shown = Shown::default();
        for round in 1.. {
            let mut vm = match (&shown.repository, self.tools.is_empty()) {
                (None, true) => Vm::ready(self.cx, self.common)?,
                // Nothing can be mounted under a VM that runs.
                _ => Vm::new(self.cx, self.common)?,
            };
            let (mut same, pairs) = prepare(&mut vm)?;
            same &= shown.stage(&mut vm, self.reach)?;
            self.tools.iter().for_each(|(from, at)| vm.mount(from, at));
            let attempt = vm.attempt(self.op, self.layout, pairs)?;
            let next = self.wanted(&shown, &attempt, &vm)?;
            if next == shown || round == ROUNDS {
                let Attempt { facts, printed, said } = attempt;
                let said = said.map_err(|error| {
                    let facts = facts.unwrap_or_default();
                    advice::advise(error, &printed, &facts, self.reach, self.cx.env)
                })?;
                let repository = shown.repository.iter();
                let mut probes: Vec<Probe> = repository.flat_map(|(of, about)| of.probes(*about)).collect();
                if shown.repository.as_ref().is_some_and(|(_, about)| *about == About::Tree) {
                    probes.push(Probe::Tree(self.reach.project()));
                }
                let shown = shown.files.into_keys().collect();
                return Ok(Answered { vm, said, same, probes, shown });
            }
            shown = next;
        }
        Err(StepError::internal("a request was made again without end"))
    }

    /// What to show next time, given what was looked for this time.
    fn wanted(&self, shown: &Shown, attempt: &Attempt, vm: &Vm<'_>) -> Result<Shown, StepError> {
        let mut next = shown.clone();
        let none = Facts::default();
        let facts = match (&attempt.said, &attempt.facts) {
            (Ok(said), _) => &said.facts,
            (Err(_), Some(facts)) => facts,
            (Err(_), None) => &none,
        };
        let mut about = facts.programs.iter().filter_map(|words| git::about(words)).max();
        if about.is_none() && attempt.printed.contains("not a git repository") {
            about = Some(About::Tree);
        }
        // rebar3, in a process of its own, of an application whose version is `git`.
        if about.is_none() && attempt.printed.contains("Getting log of git repo failed") {
            about = Some(About::Commit);
        }
        for (kind, path) in &facts.reads {
            if path.starts_with('/') || (self.ignores)(kind, path) {
                continue;
            }
            if path.split('/').any(|part| part == ".git") {
                if self.reach.names_repository(path) {
                    about = about.max(Some(About::Commit));
                }
                continue;
            }
            let at = vm.work().resolve(path);
            if kind == "tree" {
                if let (Some(at), Some(real)) = (at, self.beside(path)) {
                    next.trees.insert(at, real);
                }
                continue;
            }
            let Some(at) = at.filter(|at| fs::symlink_metadata(vm.real(at)).is_err()) else { continue };
            let Some(real) = self.reach.real(path).filter(|real| real.exists()) else { continue };
            if real.is_file() {
                next.files.insert(at, real);
            } else if kind == "kind" {
                next.folders.insert(at);
            } else {
                next.trees.insert(at, real);
            }
        }
        // Where only the names of a folder were missing.
        for (kind, path) in &facts.reads {
            let Some(at) = vm.work().resolve(path).filter(|at| next.folders.contains(at)) else { continue };
            if kind != "kind"
                && let Some(real) = self.reach.real(path)
            {
                next.trees.insert(at, real);
            }
        }
        for probe in
            self.build.iter().map(|build| vm.work().linked(build)).collect::<Result<Vec<_>, _>>()?.concat()
        {
            let (Probe::Content(path) | Probe::Tree(path)) = probe else { continue };
            let Some(at) = vm.work().resolve(&path) else { continue };
            if fs::symlink_metadata(vm.real(&at)).is_ok() && !next.folders.contains(&at) {
                continue;
            }
            match self.reach.real(&path) {
                Some(real) if real.is_dir() => next.trees.insert(at, real),
                Some(real) if real.is_file() => next.files.insert(at, real),
                _ => None,
            };
        }
        if let Some(about) = about {
            let known = next.repository.take();
            let before = known.as_ref().map(|(_, about)| *about);
            let found = known.map(|(of, _)| of).or_else(|| Repository::of(self.reach, &self.folder));
            next.repository = found.map(|of| (of, before.max(Some(about)).unwrap_or(about)));
        }
        if let Some((of, About::Tree)) = &next.repository {
            if of.above {
                return Err(self.above(of));
            }
            let project = self.reach.project();
            next.trees.insert(project.clone(), self.reach.real(&project).unwrap_or_default());
        }
        Ok(next)
    }

    /// A folder beside the sources, in which a program was started. Nobody wants to see all that they lie in.
    fn beside(&self, path: &str) -> Option<PathBuf> {
        let own = Path::new(&self.folder);
        if Path::new(path).starts_with(own) || own.starts_with(path) {
            return None;
        }
        self.reach.real(path).filter(|real| real.is_dir())
    }

    fn above(&self, repository: &Repository) -> StepError {
        let top = repository.real.parent().unwrap_or(Path::new("/")).display().to_string();
        StepError::input(format!("git was asked about the files of {top}, of which a step sees the project only"))
            .with_hint(
                "ask git for the commit or a tag only (`git rev-parse HEAD`, `git describe --tags`), started by \
                 System.cmd/3 and not by a shell; or hand the answer in by a variable (`pass_env: [GIT_COMMIT]`)",
            )
    }
}

impl Shown {
    fn stage(&self, vm: &mut Vm<'_>, reach: &Reach) -> Result<bool, StepError> {
        let mut same = true;
        for (at, real) in &self.trees {
            let files = reach.tree(real)?;
            let size = files.entries().count();
            let inside = real.starts_with(reach.real(&reach.project()).unwrap_or_default());
            if size > LARGEST_FOLDER && !inside {
                let message = format!(
                    "{} was read, a folder outside of the project with {size} names in it",
                    real.display()
                );
                return Err(StepError::input(message).with_hint(
                    "name the files that are read, or copy the folder into the project: what lies outside is shown \
                     to steps only as far as it is small",
                ));
            }
            same &= files.stage_missing(&vm.real(at))?;
        }
        for at in &self.folders {
            let to = vm.real(at);
            fs::create_dir_all(&to).map_err(|e| StepError::io("create", &to, &e))?;
        }
        for (at, real) in &self.files {
            let to = vm.real(at);
            if fs::symlink_metadata(&to).is_ok() {
                continue;
            }
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
            }
            fs::copy(real, &to).map_err(|e| StepError::io("copy", real, &e))?;
        }
        if let Some((repository, _)) = &self.repository {
            vm.mount(&repository.real, &repository.at);
            if let Some((common, _)) = &repository.elsewhere {
                vm.mount_at(common, &common.display().to_string());
            }
        }
        Ok(same)
    }
}
