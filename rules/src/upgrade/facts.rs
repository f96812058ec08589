//! What changed in an application, as far as a running node is concerned.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;
use relgraph_cache::{Digest, Node};

use super::UpgradeError;
use super::released::{Application, Released};
use crate::beam_file::{self, ModuleInfo};
use crate::compare::{How, how};

/// What a module says about itself.
pub(super) struct Facts {
    pub(super) info: ModuleInfo,
    pub(super) bytes: Vec<u8>,
}

/// In what a module changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extent {
    /// It runs the same, and so do its stack traces look.
    Debug,
    /// Its stack traces show other lines.
    Lines,
    /// It runs something else.
    Code,
}

/// A module of both versions.
pub(super) struct Changed {
    pub(super) extent: Extent,
    pub(super) old: Facts,
    pub(super) new: Facts,
}

/// In what two versions of an application differ.
#[derive(Default)]
pub(super) struct Difference {
    pub(super) added: BTreeMap<String, Facts>,
    pub(super) removed: BTreeMap<String, Facts>,
    pub(super) changed: BTreeMap<String, Changed>,
    /// Files besides modules and the `.app` and `.appup` files, by their path in the application's folder; whether the old
    /// version has it.
    pub(super) files: BTreeMap<String, bool>,
}

impl Difference {
    /// Whether there is something in it that runs.
    pub(super) fn runs(&self) -> bool {
        let code = self.changed.values().any(|changed| changed.extent == Extent::Code);
        code || !self.added.is_empty() || !self.removed.is_empty()
    }

    /// Native libraries of the old version that the new one has not, or not as they were: they may be loaded.
    pub(super) fn native(&self) -> impl Iterator<Item = &String> {
        let native = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or_default();
            name.ends_with(".so")
                || name.contains(".so.")
                || name.ends_with(".dylib")
                || name.ends_with(".dll")
        };
        self.files.iter().filter(|(_, had)| **had).map(|(path, _)| path).filter(native)
    }
}

fn facts(release: &Released<'_>, name: &str, digest: &Digest) -> Result<Facts, UpgradeError> {
    let bytes = release.read_module(digest)?;
    let info = beam_file::info(&bytes).map_err(|error| UpgradeError::Unreadable {
        release: format!("{} {}", release.name, release.version),
        reason: format!("the module {name} cannot be read: {error}"),
    })?;
    Ok(Facts { info, bytes })
}

/// Compares two versions of an application.
pub(super) fn difference(
    (old, before): (&Released<'_>, &Application),
    (new, after): (&Released<'_>, &Application),
) -> Result<Difference, UpgradeError> {
    let names: BTreeSet<&String> = before.modules.keys().chain(after.modules.keys()).collect();
    let names: Vec<&String> =
        names.into_iter().filter(|name| before.modules.get(*name) != after.modules.get(*name)).collect();
    enum One {
        Added(Facts),
        Removed(Facts),
        Changed(Box<Changed>),
    }
    let look = |name: &&String| -> Result<Option<(String, One)>, UpgradeError> {
        let one = match (before.modules.get(*name), after.modules.get(*name)) {
            (Some(one), Some(other)) => {
                let (old, new) = (facts(old, name, one)?, facts(new, name, other)?);
                One::Changed(Box::new(Changed { extent: extent(&old.bytes, &new.bytes), old, new }))
            }
            (Some(one), None) => One::Removed(facts(old, name, one)?),
            (None, Some(other)) => One::Added(facts(new, name, other)?),
            (None, None) => return Ok(None),
        };
        Ok(Some(((*name).clone(), one)))
    };
    let mut difference = Difference { files: files((old, before), (new, after)), ..Difference::default() };
    for (name, one) in
        names.par_iter().filter_map(|name| look(name).transpose()).collect::<Result<Vec<_>, _>>()?
    {
        match one {
            One::Added(facts) => drop(difference.added.insert(name, facts)),
            One::Removed(facts) => drop(difference.removed.insert(name, facts)),
            One::Changed(changed) => drop(difference.changed.insert(name, *changed)),
        }
    }
    Ok(difference)
}

fn extent(old: &[u8], new: &[u8]) -> Extent {
    match how(old, new) {
        How::OnlyDebug => Extent::Debug,
        How::OnlyLines => Extent::Lines,
        How::Code => Extent::Code,
    }
}

fn files(
    (old, before): (&Released<'_>, &Application),
    (new, after): (&Released<'_>, &Application),
) -> BTreeMap<String, bool> {
    let listed = |release: &Released<'_>, application: &Application| -> BTreeMap<String, Node> {
        let prefix = format!("{}/", application.folder);
        let own = |path: &str| {
            let path = path.strip_prefix(&prefix)?;
            let known = path.strip_prefix("ebin/").is_some_and(|name| {
                name.ends_with(".beam") || name.ends_with(".app") || name.ends_with(".appup")
            });
            (!known).then(|| path.to_owned())
        };
        let below = release.entries().range(prefix.clone()..);
        below
            .take_while(|(path, _)| path.starts_with(&prefix))
            .filter(|(_, node)| !matches!(node, Node::Directory { .. }))
            .filter_map(|(path, node)| Some((own(path)?, node.clone())))
            .collect()
    };
    let (old, new) = (listed(old, before), listed(new, after));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differs.map(|name| (name.clone(), old.contains_key(name))).collect()
}
