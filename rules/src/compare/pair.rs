//! Two releases side by side, with the files at which they differ.

use super::CompareError;
use super::release::Opened;
use super::report::Change;
use super::side::Placed;
use super::walk::{Difference, Summaries, differences};

/// In the place of an application: the consolidated protocols of a release.
pub const CONSOLIDATED: &str = "(consolidated)";

/// Two releases, opened.
pub(super) struct Pair<'a> {
    pub(super) old: Opened<'a>,
    pub(super) new: Opened<'a>,
    /// By path.
    pub(super) differences: Vec<Difference>,
}

/// What a file is, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A module of an application, or a consolidated protocol.
    Module { application: &'a str, module: &'a str },
    /// Another file of an application.
    Application { application: &'a str, rest: &'a str },
    /// Anything else.
    Release,
}

/// Whether relgraph has made it: its scripts know how to upgrade it.
pub(super) fn is_ours(side: &Opened<'_>) -> bool {
    side.find("releases/VSN/relgraph.json").is_ok_and(|found| found.is_some())
}

impl<'a> Pair<'a> {
    pub(super) fn of(mut old: Opened<'a>, mut new: Opened<'a>) -> Result<Pair<'a>, CompareError> {
        let sums = Summaries::default();
        old.sum_up(&sums)?;
        new.sum_up(&sums)?;
        let differences = differences([old.side, new.side], &old.root, &new.root)?;
        Ok(Pair { old, new, differences })
    }

    pub(super) fn read(&self, file: Option<&Placed>, new: bool) -> Result<Vec<u8>, CompareError> {
        let side = if new { self.new.side } else { self.old.side };
        file.map_or(Ok(Vec::new()), |file| side.read(file))
    }

    pub(super) fn read_both(&self, one: &Difference) -> Result<(Vec<u8>, Vec<u8>), CompareError> {
        Ok((self.read(one.old.as_ref(), false)?, self.read(one.new.as_ref(), true)?))
    }

    /// The difference at a path.
    pub(super) fn at(&self, path: &str) -> Option<&Difference> {
        let at = self.differences.binary_search_by(|one| one.path.as_str().cmp(path)).ok()?;
        self.differences.get(at)
    }

    /// What happened to the file at a path.
    pub(super) fn change(&self, path: &str) -> Option<Change> {
        self.at(path).map(Difference::change)
    }

    pub(super) fn both_have(&self, application: &str) -> bool {
        application == CONSOLIDATED
            || (self.old.applications.contains_key(application)
                && self.new.applications.contains_key(application))
    }

    fn one_has(&self, application: &str) -> bool {
        self.old.applications.contains_key(application) || self.new.applications.contains_key(application)
    }

    /// Whether consolidated protocols are replaced in a running system: those that lie in an application are by the release
    /// handler, others by the scripts of relgraph.
    pub(super) fn protocols_go_hot(&self) -> bool {
        let hot = |side: &Opened<'_>| side.release.hot_layout || is_ours(side);
        hot(&self.old) && hot(&self.new)
    }

    /// The application of the hot layout that holds nothing but consolidated protocols.
    pub(super) fn is_protocols(&self, application: &str) -> bool {
        [&self.old, &self.new].iter().any(|side| {
            application.strip_suffix("_protocols").is_some_and(|name| name == side.release.name)
                && side.release.hot_layout
        })
    }

    pub(super) fn place<'p>(&self, path: &'p str) -> Place<'p> {
        let beam = |rest: &'p str| rest.strip_suffix(".beam").filter(|name| !name.contains('/'));
        if let Some(module) = path.strip_prefix("releases/VSN/consolidated/").and_then(beam) {
            return Place::Module { application: CONSOLIDATED, module };
        }
        let inside = path.strip_prefix("lib/").and_then(|path| path.split_once('/'));
        let Some((folder, rest)) = inside else { return Place::Release };
        let Some(application) = folder.strip_suffix("-VSN").filter(|name| self.one_has(name)) else {
            return Place::Release;
        };
        if let Some(module) = rest.strip_prefix("consolidated/").and_then(beam) {
            return Place::Module { application: CONSOLIDATED, module };
        }
        match rest.strip_prefix("ebin/").and_then(beam) {
            Some(module) => Place::Module { application, module },
            None => Place::Application { application, rest },
        }
    }
}
