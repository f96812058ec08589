//! A release that a patch is made from or made to: everything in it, by path, in the store.

use std::collections::BTreeMap;

use relgraph_cache::{Digest, Node, Store};

use super::paths::{Part, part, unversioned};
use super::{PatchError, Version};
use crate::compare::{Side, contents};

pub(super) struct Tree<'a> {
    pub(super) store: &'a Store,
    pub(super) version: Version,
    pub(super) entries: BTreeMap<String, Node>,
    applications: Vec<(String, String)>,
}

impl<'a> Tree<'a> {
    /// Reads a release. What is made where it runs is left out, its cookie above all.
    pub(super) fn open(store: &'a Store, side: &Side<'_>) -> Result<Tree<'a>, PatchError> {
        let contents = contents(side)?;
        let tree = match side {
            Side::Folder(folder) => {
                let secret = |path: &str| path.ends_with("/releases/COOKIE");
                store.ingest(folder, &|path| part(path) != Part::Local && !secret(path))?
            }
            Side::Tree { tree, .. } | Side::Named { tree, .. } => *tree,
        };
        let mut entries: BTreeMap<String, Node> = store.walk(&tree)?.into_iter().collect();
        if let Some(prefix) = around(&entries) {
            entries = entries
                .into_iter()
                .filter_map(|(path, node)| Some((path.strip_prefix(&prefix)?.to_owned(), node)))
                .collect();
        }
        entries.retain(|path, _| part(path) != Part::Local);
        let release = contents.release;
        Ok(Tree {
            store,
            entries,
            version: Version {
                name: release.name,
                version: release.version,
                erts: release.erts.unwrap_or_default(),
            },
            applications: contents.applications.into_iter().map(|app| (app.name, app.version)).collect(),
        })
    }

    /// What its path is without versions.
    pub(super) fn unversioned(&self, path: &str) -> String {
        unversioned(path, &self.applications, &self.version.version, &self.version.erts)
    }

    pub(super) fn read(&self, digest: &Digest) -> Result<Vec<u8>, PatchError> {
        Ok(self.store.read(digest)?)
    }
}

/// The one folder around a release, as some archives have it.
fn around(entries: &BTreeMap<String, Node>) -> Option<String> {
    let mut top = entries.keys().filter(|path| !path.contains('/'));
    let (first, more) = (top.next()?, top.next());
    let prefix = format!("{first}/");
    (more.is_none() && entries.contains_key(&format!("{prefix}releases"))).then_some(prefix)
}
