//! What a step could read: folders of sources and stored trees under the names that the sandbox gives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use relgraph_cache::{Answer, Digest, FileKind, Hasher, Node, Probe, Store};
use relgraph_engine::{Available, StepError};

use crate::reach::Reach;
use crate::source::Snapshot;

/// Where something comes from.
#[derive(Debug, Clone)]
pub enum Place {
    /// A folder of sources.
    Source(Arc<Snapshot>),
    /// A stored tree.
    Tree(Digest),
}

/// Places by path, seen from the fixed path of the sandbox (`project`, `project/_build/prod/lib/jason`).
#[derive(Clone)]
pub struct Namespace {
    store: Store,
    places: BTreeMap<String, Place>,
    reach: Option<Reach>,
    system: Option<Reach>,
    repositories: bool,
}

impl Namespace {
    /// Nothing yet.
    pub fn new(store: &Store) -> Self {
        Namespace {
            store: store.clone(),
            places: BTreeMap::new(),
            reach: None,
            system: None,
            repositories: false,
        }
    }

    /// Puts something at a path; what is deeper wins over what is above it.
    pub fn put(&mut self, path: impl Into<String>, place: Place) {
        self.places.insert(path.into(), place);
    }

    /// Looks up on this machine what is in no place.
    pub fn around(&mut self, reach: Reach) {
        self.reach = Some(reach);
    }

    /// Looks up on this machine what is part of its system.
    pub fn on(&mut self, system: Reach) {
        self.system = Some(system);
    }

    /// Looks up on this machine what is in a repository of git, and nothing else.
    pub fn repositories(&mut self, reach: Reach) {
        self.around(reach);
        self.repositories = true;
    }

    /// Whether what is part of the system has an answer.
    pub fn sees_system(&self) -> bool {
        self.system.is_some() || (self.reach.is_some() && !self.repositories)
    }

    fn outside(&self, probe: &Probe, path: &str) -> Result<Answer, StepError> {
        let system = self.system.as_ref().filter(|_| path.starts_with('/'));
        let shown = !self.repositories || path.split('/').any(|part| part == ".git");
        let reach = self.reach.as_ref().filter(|_| shown);
        system.or(reach).map_or(Ok(Answer::Absent), |reach| reach.answer(probe, path))
    }

    /// The place that a path belongs to, and the rest of the path.
    pub fn find<'a, 'p>(&'a self, path: &'p str) -> Option<(&'a str, &'a Place, &'p str)> {
        let mut end = path.len();
        loop {
            if let Some((at, place)) = self.places.get_key_value(&path[..end]) {
                return Some((at, place, path[end..].trim_start_matches('/')));
            }
            end = path[..end].rfind('/')?;
        }
    }

    fn in_tree(&self, probe: &Probe, tree: &Digest, path: &str) -> Result<Answer, StepError> {
        let node = if path.is_empty() {
            Some(Node::Directory { digest: *tree })
        } else {
            self.store.lookup(tree, path)?
        };
        Ok(match (probe, node) {
            (_, None) => Answer::Absent,
            (Probe::Kind(_) | Probe::Listing(_), Some(Node::File { .. })) => Answer::Exists(FileKind::File),
            (Probe::Kind(_), Some(Node::Directory { .. })) => Answer::Exists(FileKind::Directory),
            (_, Some(Node::Symlink { target })) => Answer::Symlink(target),
            (Probe::Listing(_), Some(Node::Directory { digest })) => {
                let mut hasher = Hasher::new();
                for name in self.store.directory(&digest)?.entries.keys() {
                    hasher.update(name.as_bytes());
                    hasher.update(b"\0");
                }
                Answer::Listing(hasher.finish())
            }
            (Probe::Tree(_), Some(Node::Directory { digest })) => Answer::Tree(digest),
            (_, Some(Node::Directory { .. })) => Answer::Directory,
            (_, Some(Node::File { digest, executable })) => Answer::File { digest, executable },
        })
    }
}

impl Available for Namespace {
    fn answer(&self, probe: &Probe) -> Result<Answer, StepError> {
        let (Probe::Content(path) | Probe::Kind(path) | Probe::Listing(path) | Probe::Tree(path)) = probe
        else {
            return Ok(Answer::Absent);
        };
        match self.find(path) {
            None => self.outside(probe, path),
            Some((_, Place::Source(snapshot), rest)) => match snapshot.answer(probe, rest) {
                Answer::Absent => self.outside(probe, path),
                answer => Ok(answer),
            },
            Some((_, Place::Tree(tree), rest)) => self.in_tree(probe, tree, rest),
        }
    }
}
