//! What this machine has around a project, by the paths that a step gives it: what was asked for in vain is looked up here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use relgraph_cache::{Answer, FileKind, Hasher, Probe, StatCache};
use relgraph_engine::StepError;

use crate::layout::Layout;
use crate::source::{LEFT_OUT, Snapshot, is_cargo_target};
use crate::sources::Sources;

/// Names at the top of the sandbox that are relgraph's own.
const OWN: [&str; 13] = [
    "config", "driver", "elixir", "go", "home", "otp", "out", "project", "request", "response", "sample",
    "tools", "views",
];

/// Folders of the system that every step sees.
const SYSTEM: [&str; 9] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/nix/store"];

/// Where Mix builds.
const BUILD: &str = "_build";

/// Whether a path belongs to the system that every step sees.
pub fn is_system(path: &str) -> bool {
    SYSTEM.iter().any(|folder| Path::new(path).starts_with(folder))
}

/// From paths inside the sandbox to those of this machine.
#[derive(Clone)]
pub struct Reach {
    root: PathBuf,
    layout: Layout,
    hidden: BTreeSet<String>,
    stat: Arc<StatCache>,
    system: Trees,
}

/// Folders of the system, looked at once per build.
pub type Trees = Arc<Mutex<BTreeMap<PathBuf, Arc<Snapshot>>>>;

impl Reach {
    /// Around a project. `hidden`: folders, seen from it, that nobody is shown.
    pub fn new(sources: &Sources, layout: &Layout, hidden: &BTreeSet<String>) -> Self {
        Reach {
            root: sources.root().to_owned(),
            layout: layout.clone(),
            hidden: hidden.clone(),
            stat: sources.stat(),
            system: sources.system(),
        }
    }

    /// The project's folder, seen from the prefix.
    pub fn project(&self) -> String {
        self.layout.project()
    }

    /// The path as the project's folder would name it: `../VERSION`. None for what is relgraph's own.
    pub fn name(&self, path: &str) -> Option<String> {
        let project = self.layout.project();
        let first = path.split('/').next().unwrap_or_default();
        if first != project.split('/').next().unwrap_or_default() && OWN.contains(&first) {
            return None;
        }
        // What builds leave is nobody's source.
        let name = self.layout.name(path);
        let built = path.split('/').any(|part| [BUILD, ".relgraph"].contains(&part))
            || Path::new(&name).ancestors().any(|folder| is_cargo_target(&self.root.join(folder)));
        let hidden = self.hidden.iter().any(|folder| Path::new(&name).starts_with(folder));
        (!built && !hidden).then_some(name)
    }

    /// Where a path (seen from the prefix, or an absolute one of the system) is on this machine.
    pub fn real(&self, path: &str) -> Option<PathBuf> {
        if path.starts_with('/') {
            return Some(PathBuf::from(path));
        }
        let real = tidy(&self.root.join(self.name(path)?));
        Some(in_repository(&real).unwrap_or(real))
    }

    /// Whether something is there of the repository that a path names: not of one that it only lies in.
    pub fn names_repository(&self, path: &str) -> bool {
        let upto = path.split_once("/.git").map_or(path, |(above, _)| above);
        self.name(upto).is_some_and(|name| self.root.join(name).join(".git").exists())
    }

    /// What would lie at a path that is relgraph's own: `../config` of a project.
    pub fn behind(&self, path: &str) -> Option<PathBuf> {
        let first = path.split('/').next().unwrap_or_default();
        (!["home", "project", "tree"].contains(&first)).then(|| tidy(&self.root.join(self.layout.name(path))))
    }

    /// Answers a probe with what is there now.
    pub fn answer(&self, probe: &Probe, path: &str) -> Result<Answer, StepError> {
        let Some(real) = self.real(path) else { return Ok(Answer::Absent) };
        let Ok(meta) = fs::metadata(&real) else { return Ok(Answer::Absent) };
        let kind = if meta.is_dir() { FileKind::Directory } else { FileKind::File };
        Ok(match probe {
            Probe::Env(_) => Answer::Absent,
            Probe::Kind(_) => Answer::Exists(kind),
            Probe::Tree(_) if meta.is_dir() => Answer::Tree(self.tree(&real)?.digest_below("")),
            Probe::Listing(_) if meta.is_dir() => {
                let mut names: Vec<_> = fs::read_dir(&real)
                    .map_err(|e| StepError::io("list", &real, &e))?
                    .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
                    .filter(|name| !LEFT_OUT.contains(&name.as_str()))
                    .collect();
                names.sort();
                let mut hasher = Hasher::new();
                for name in names {
                    hasher.update(name.as_bytes());
                    hasher.update(b"\0");
                }
                Answer::Listing(hasher.finish())
            }
            _ if meta.is_dir() => Answer::Directory,
            Probe::Listing(_) => Answer::Exists(kind),
            _ if !meta.is_file() => Answer::Exists(FileKind::Other),
            _ => match self.stat.digest(&real) {
                Ok((digest, executable)) => Answer::File { digest, executable },
                // Not readable by us, nor by the step.
                Err(_) => Answer::Exists(kind),
            },
        })
    }

    /// A folder as it is now; one of the system as it was when it was first looked at.
    pub fn tree(&self, real: &Path) -> Result<Arc<Snapshot>, StepError> {
        let take = || Snapshot::take(real, &|_| false, &self.stat).map(Arc::new);
        if !real.to_str().is_some_and(is_system) {
            return take();
        }
        let mut known = self.system.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = known.get(real) {
            return Ok(Arc::clone(tree));
        }
        let tree = take()?;
        known.insert(real.to_owned(), Arc::clone(&tree));
        Ok(tree)
    }
}

/// What a path in a `.git` means where that lies further up: steps are shown it in the folder that they work in.
fn in_repository(real: &Path) -> Option<PathBuf> {
    let inside = real.ancestors().filter(|dir| dir.file_name().is_some_and(|name| name == ".git")).last()?;
    let top = inside.parent()?.ancestors().find(|dir| dir.join(".git").exists())?;
    let rest = real.strip_prefix(inside).ok()?;
    Some(if rest.as_os_str().is_empty() { top.join(".git") } else { top.join(".git").join(rest) })
}

/// Without `..`, by names alone: what lies there need not exist.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}
