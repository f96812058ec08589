//! `strip APP`: what a release holds of an application: its modules without what does not run, `priv`, `include`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::Arc;

use rayon::prelude::*;
use relgraph_cache::{Digest, Node, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::assemble::conflict;
use super::compile;
use crate::beam_file;
use crate::project::StripRecipe;
use crate::source::{Entry, Snapshot};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "strip", version: 2 };

/// The name of the step that strips an application.
pub fn step(app: &str) -> String {
    format!("strip {app}")
}

/// Strips one application.
pub struct Strip {
    /// The application.
    pub app: String,
    /// How; `None`: not at all.
    pub recipe: Option<StripRecipe>,
    /// Which of its folders go into a release.
    pub copied: Vec<String>,
    /// Modules that are left out.
    pub excluded: Vec<String>,
    /// Its sources, where these go into a release, too.
    pub sources: Option<Arc<Snapshot>>,
}

impl Action for Strip {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        let compile = compile::step(&self.app);
        parts.digest(format!("input {compile}"), &cx.need(&compile)?.output("app")?);
        recipe_part(&mut parts, self.recipe.as_ref());
        parts.list("folders", &self.copied);
        if !self.excluded.is_empty() {
            parts.list("excluded modules", &self.excluded);
        }
        for (path, entry) in self.shipped() {
            match entry {
                Entry::File { digest, executable } => {
                    let note = if *executable { " (executable)" } else { "" };
                    parts.digest(format!("source {path}{note}"), digest)
                }
                Entry::Directory => parts.text(format!("source {path}"), "folder"),
                Entry::Symlink(target) => parts.text(format!("source {path}"), target),
            };
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let tree = cx.need(&compile::step(&self.app))?.output("app")?;
        let spec = format!("ebin/{}.app", self.app);
        let keep =
            |path: &str| path != spec && is_copied(&self.copied, path) && !is_excluded(&self.excluded, path);
        let mut stripped = strip_tree(cx.store, &tree, self.recipe.as_ref(), &keep)?;
        let mut stable = true;
        if self.sources.is_some() {
            (stripped, stable) = self.with_sources(cx, &stripped)?;
        }
        let quiet = no_warn_undefined(cx.store, &tree)?;
        let outputs = BTreeMap::from([("app".to_owned(), stripped), (NO_WARN_UNDEFINED.to_owned(), quiet)]);
        Ok(Ran { outputs, stable, ..Ran::default() })
    }
}

impl Strip {
    /// The sources that go into a release.
    fn shipped(&self) -> impl Iterator<Item = (&str, &Entry)> {
        let top = |path: &str| path.split('/').next().is_some_and(|top| SOURCES.contains(&top));
        self.sources.iter().flat_map(|all| all.entries()).filter(move |(path, _)| top(path))
    }

    fn with_sources(&self, cx: &StepContext<'_>, stripped: &Digest) -> Result<(Digest, bool), StepError> {
        let mut tree = TreeBuilder::new();
        let mut stable = true;
        tree.graft("", *stripped).map_err(conflict)?;
        let Some(root) = self.sources.as_ref().map(|all| all.root()) else { return Ok((*stripped, true)) };
        for (path, entry) in self.shipped() {
            match entry {
                Entry::Directory => tree.directory(path),
                Entry::Symlink(target) => tree.symlink(path, target),
                Entry::File { digest, executable } => {
                    let stored = cx.store.put_file(&root.join(path))?;
                    stable &= stored == *digest;
                    tree.file(path, stored, *executable)
                }
            }
            .map_err(conflict)?;
        }
        Ok((tree.finish(cx.store)?, stable))
    }
}

/// Folders of sources, which relx copies where it is told to.
pub const SOURCES: [&str; 3] = ["src", "lib", "c_src"];

/// Whether a path of an application is one of these modules.
pub fn is_excluded(excluded: &[String], path: &str) -> bool {
    let module = path.strip_prefix("ebin/").and_then(|name| name.strip_suffix(".beam"));
    module.is_some_and(|module| excluded.iter().any(|other| other == module))
}

/// An output with one file of this name, and the small fact of a compile step: what is called knowing that it may not be there.
pub const NO_WARN_UNDEFINED: &str = "no_warn_undefined";

/// What each module says not to complain about when it is not there: some of it is gone once the module is stripped.
fn no_warn_undefined(store: &Store, tree: &Digest) -> Result<Digest, StepError> {
    let read: Result<Vec<(String, BTreeSet<String>)>, StepError> = store
        .walk(tree)?
        .into_par_iter()
        .filter_map(|(path, node)| match node {
            Node::File { digest, .. } => {
                let module = path.strip_prefix("ebin/")?.strip_suffix(".beam")?.to_owned();
                Some((module, digest))
            }
            _ => None,
        })
        .map(|(module, digest)| Ok((module, beam_file::excluded(&store.read(&digest)?))))
        .collect();
    let named: BTreeMap<String, BTreeSet<String>> =
        read?.into_iter().filter(|(_, excluded)| !excluded.is_empty()).collect();
    let mut builder = TreeBuilder::new();
    if !named.is_empty() {
        let json = serde_json::to_vec(&named)
            .map_err(|e| StepError::internal(format!("{NO_WARN_UNDEFINED} cannot be written: {e}")))?;
        builder.file(NO_WARN_UNDEFINED, store.put_bytes(&json)?, false).map_err(conflict)?;
    }
    Ok(builder.finish(store)?)
}

/// Whether a path of an application lies in a folder that goes into a release.
pub fn is_copied(copied: &[String], path: &str) -> bool {
    let top = path.split('/').next().unwrap_or_default();
    copied.iter().any(|folder| folder == top)
}

/// The recipe as a part of a key.
pub fn recipe_part(parts: &mut KeyParts, recipe: Option<&StripRecipe>) {
    match recipe {
        None => parts.text("strip", "no"),
        Some(recipe) => {
            parts.list("strip", &recipe.chunks).text("compress", if recipe.compress { "yes" } else { "no" })
        }
    };
}

/// A copy of a stored tree with its modules stripped and without the paths that `keep` refuses.
pub fn strip_tree(
    store: &Store,
    tree: &Digest,
    recipe: Option<&StripRecipe>,
    keep: &(dyn Fn(&str) -> bool + Sync),
) -> Result<Digest, StepError> {
    let nodes: Vec<(String, Node)> = store.walk(tree)?.into_iter().filter(|(path, _)| keep(path)).collect();
    let stripped: Result<Vec<(String, Node)>, StepError> = nodes
        .into_par_iter()
        .map(|(path, node)| match (&node, recipe) {
            (Node::File { digest, executable }, Some(recipe)) if path.ends_with(".beam") => {
                let digest = store.put_bytes(&strip(store.read(digest)?, recipe))?;
                Ok((path, Node::File { digest, executable: *executable }))
            }
            _ => Ok((path, node)),
        })
        .collect();
    let mut builder = TreeBuilder::new();
    for (path, node) in stripped? {
        match node {
            Node::File { digest, executable } => builder.file(&path, digest, executable),
            Node::Symlink { target } => builder.symlink(&path, &target),
            Node::Directory { .. } => builder.directory(&path),
        }
        .map_err(conflict)?;
    }
    Ok(builder.finish(store)?)
}

/// A stripped module; what is no module stays as it is, as with Mix.
pub fn strip(bytes: Vec<u8>, recipe: &StripRecipe) -> Vec<u8> {
    let Ok(stripped) = beam_file::strip(&bytes, &recipe.chunks) else { return bytes };
    if !recipe.compress {
        return stripped;
    }
    let mut gzip = flate2::GzBuilder::new().mtime(0).write(Vec::new(), flate2::Compression::default());
    match gzip.write_all(&stripped).and_then(|()| gzip.finish()) {
        Ok(compressed) => compressed,
        Err(_) => stripped,
    }
}
