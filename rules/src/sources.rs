//! The folders of a project and of what lies beside it, looked at once per build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use relgraph_cache::{Digest, StatCache};
use relgraph_engine::{StepContext, StepError};

use crate::layout::normal;
use crate::namespace::{Namespace, Place};
use crate::reach::Trees;
use crate::source::{Snapshot, same_age};
use crate::steps::fetch;
use crate::vm::Vm;

/// Looks at folders and remembers what it saw.
pub struct Sources {
    root: PathBuf,
    stat: Arc<StatCache>,
    seen: Mutex<BTreeMap<String, Arc<Snapshot>>>,
    left_out: Mutex<Option<PathBuf>>,
    system: Trees,
    stored: Mutex<BTreeMap<PathBuf, Arc<Snapshot>>>,
}

impl Sources {
    /// For the project in `root`.
    pub fn new(root: &Path, stat: Arc<StatCache>) -> Self {
        Sources {
            root: root.to_owned(),
            stat,
            seen: Mutex::default(),
            stored: Mutex::default(),
            left_out: Mutex::default(),
            system: Trees::default(),
        }
    }

    /// The project's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What knows the digests of files.
    pub fn stat(&self) -> Arc<StatCache> {
        Arc::clone(&self.stat)
    }

    /// Folders of the system that were looked at.
    pub fn system(&self) -> Trees {
        Arc::clone(&self.system)
    }

    /// Looks into all folders but this one, given by its path seen from the project's.
    pub fn leave_out(&self, folder: Option<&str>) {
        let wanted = folder.map(|folder| normal(&self.root.join(folder)));
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        if *left_out != wanted {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
            *left_out = wanted;
        }
    }

    /// Everything in a folder, given by its path seen from the project's (`.`, `../shared`).
    pub fn whole(&self, folder: &str) -> Result<Arc<Snapshot>, StepError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = seen.get(folder) {
            return Ok(Arc::clone(snapshot));
        }
        let dir = if folder == "." { self.root.clone() } else { self.root.join(folder) };
        let left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let inside = left_out.and_then(|folder| Some(folder.strip_prefix(normal(&dir)).ok()?.to_owned()));
        let skip = |path: &str| inside.as_deref().is_some_and(|inside| Path::new(path) == inside);
        let snapshot = Arc::new(Snapshot::take(&dir, &skip, &self.stat)?);
        seen.insert(folder.to_owned(), Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// What a tool fetched into a folder, without what it compiled there.
    pub fn installed(&self, folder: &str) -> Result<Arc<Snapshot>, StepError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = seen.get(folder) {
            return Ok(Arc::clone(snapshot));
        }
        let dir = self.root.join(folder);
        let sources = dir.join("src").is_dir();
        let made = |path: &str| path == ".rebar3" || (sources && path.split('/').next() == Some("ebin"));
        let snapshot = Arc::new(Snapshot::take(&dir, &made, &self.stat)?);
        seen.insert(folder.to_owned(), Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// What a step fetched, in a folder of the store: its files are all of one age.
    pub fn stored(&self, folder: &Path) -> Result<Arc<Snapshot>, StepError> {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(snapshot) = stored.get(folder) {
            return Ok(Arc::clone(snapshot));
        }
        let snapshot = Arc::new(Snapshot::take(folder, &|_| false, &self.stat)?.of_one_age());
        stored.insert(folder.to_owned(), Arc::clone(&snapshot));
        Ok(snapshot)
    }

    /// The sources of one application: its folder without those of the other applications in it.
    pub fn of(&self, dest: &str, others: &[&str]) -> Result<Arc<Snapshot>, StepError> {
        let inner: Vec<&str> = others
            .iter()
            .filter_map(|other| {
                if dest == "." {
                    (!other.starts_with("..") && *other != ".").then_some(*other)
                } else {
                    other.strip_prefix(dest)?.strip_prefix('/')
                }
            })
            .collect();
        let skip = |path: &str| inner.iter().any(|folder| within(path, folder));
        if dest == "." || dest.starts_with("..") {
            return Ok(Arc::new(self.whole(dest)?.part("", &skip)));
        }
        Ok(Arc::new(self.whole(".")?.part(dest, &skip)))
    }

    /// The folders that were looked at.
    pub fn seen(&self) -> Vec<(String, Arc<Snapshot>)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(folder, snapshot)| (folder.clone(), Arc::clone(snapshot))).collect()
    }
}

/// The sources of one application.
#[derive(Clone)]
pub enum Source {
    /// A folder of the user's.
    Folder {
        /// Where it lies, seen from the project's.
        at: String,
        /// What is in it.
        files: Arc<Snapshot>,
        /// The step that makes the `.git` from which its version is computed.
        history: Option<String>,
    },
    /// What a step fetched.
    Fetched {
        /// Where `mix deps.get` would have put it, seen from the project's folder.
        at: String,
        /// The step.
        step: String,
    },
}

impl Source {
    /// Where they lie, seen from the project's folder.
    pub fn at(&self) -> &str {
        match self {
            Source::Folder { at, .. } | Source::Fetched { at, .. } => at,
        }
    }

    /// The step that makes them.
    pub fn step(&self) -> Option<&str> {
        match self {
            Source::Folder { history, .. } => history.as_deref(),
            Source::Fetched { step, .. } => Some(step),
        }
    }

    /// They as something that can be read, at `at`.
    pub fn put(&self, namespace: &mut Namespace, at: &str, cx: &StepContext<'_>) -> Result<(), StepError> {
        if let Some(history) = self.history(cx)? {
            namespace.put(format!("{at}/.git"), Place::Tree(history));
        }
        namespace.put(
            at,
            match self {
                Source::Folder { files, .. } => Place::Source(Arc::clone(files)),
                Source::Fetched { step, .. } => Place::Tree(cx.need(step)?.output(fetch::SOURCE)?),
            },
        );
        Ok(())
    }

    /// What a version is computed from that is not among the files.
    pub fn history(&self, cx: &StepContext<'_>) -> Result<Option<Digest>, StepError> {
        match self {
            Source::Folder { history: Some(step), .. } => cx.need(step)?.output(fetch::SOURCE).map(Some),
            _ => Ok(None),
        }
    }

    /// Copies them to `at` in the folder that a VM works in. `false`: a file moved meanwhile.
    pub fn stage(&self, cx: &StepContext<'_>, vm: &Vm<'_>, at: &str) -> Result<bool, StepError> {
        let same = match self {
            Source::Folder { files, .. } => files.stage(&vm.real(at))?,
            Source::Fetched { step, .. } => {
                vm.copy_tree(&cx.need(step)?.output(fetch::SOURCE)?, at)?;
                same_age(&vm.real(at))?;
                true
            }
        };
        if let Some(history) = self.history(cx)? {
            vm.copy_tree(&history, &format!("{at}/.git"))?;
        }
        Ok(same)
    }
}

fn within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
