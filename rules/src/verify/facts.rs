//! What is known about the two releases besides their files: what explanations are checked against.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_cache::Digest;

use super::clock::Window;
use super::names::Names;
use super::paths::Roots;

/// What is known about the two releases besides their files.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Their names and versions.
    pub names: Names,
    /// What relgraph's own step `scripts` wrote, by path.
    pub launchers: BTreeMap<String, Digest>,
    /// Where the cookie of ours comes from.
    pub cookie: Cookie,
    /// What release.yaml asks for that mix.exs does not.
    pub asked: Asked,
    /// Where ours was compiled, unless theirs was compiled at the same paths.
    pub roots: Option<Roots>,
    /// When theirs was made.
    pub theirs_made: Window,
    /// This moment, in seconds since 1970.
    pub now: i64,
}

/// Where the cookie of our release comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cookie {
    /// From nowhere: it is made when the release first starts.
    Made,
    /// From release.yaml.
    ReleaseYaml,
    /// From the project's own files; what is known of it is a fingerprint.
    Project(String),
}

/// What release.yaml asks for. Each is checked against what it would do.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// `strip:`, or the environment `dev`: the chunks that are kept; none: all.
    pub strip: Option<Option<Vec<String>>>,
    /// `version:`.
    pub version: bool,
    /// `applications:`.
    pub applications: BTreeSet<String>,
    /// `runtime:`, or the environment `dev`: the applications that come with the runtime.
    pub runtime: Option<BTreeSet<String>>,
    /// `executables_for:`.
    pub executables_for: bool,
    /// Files that come from `overlays:` and `steps:`: the key, and the content and target of links.
    pub layers: BTreeMap<String, (String, Laid)>,
}

impl Asked {
    /// What of it concerns applications by themselves, where theirs is no release.
    #[must_use]
    pub fn of_applications(self) -> Asked {
        Asked { layers: self.layers, ..Asked::default() }
    }
}

/// What a layer puts at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Laid {
    /// A folder.
    Folder,
    /// A symlink.
    Link(String),
    /// A file and whether it may be executed.
    File(Digest, bool),
}
