//! `overlay FOLDER`: files that are laid over the release as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use relgraph_cache::TreeBuilder;
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::assemble::conflict;
use crate::source::{Entry, Snapshot};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "overlay", version: 1 };

/// The name of the step that takes in a folder.
pub fn step(folder: &str) -> String {
    format!("overlay {folder}")
}

/// Takes in one folder.
pub struct Overlay {
    /// The folder as the user wrote it.
    pub folder: String,
    /// What is in it.
    pub files: Arc<Snapshot>,
}

impl Action for Overlay {
    fn declare(&self, _cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        for (path, entry) in self.files.entries() {
            match entry {
                Entry::File { digest, executable } => {
                    let note = if *executable { " (executable)" } else { "" };
                    parts.digest(format!("source {}/{path}{note}", self.folder), digest)
                }
                Entry::Directory => parts.text(format!("source {}/{path}", self.folder), "folder"),
                Entry::Symlink(target) => parts.text(format!("source {}/{path}", self.folder), target),
            };
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let mut tree = TreeBuilder::new();
        let mut stable = true;
        for (path, entry) in self.files.entries() {
            match entry {
                Entry::Directory => tree.directory(path),
                Entry::Symlink(target) => tree.symlink(path, target),
                Entry::File { digest, executable } => {
                    let stored = cx.store.put_file(&self.files.root().join(path))?;
                    stable &= stored == *digest;
                    tree.file(path, stored, *executable)
                }
            }
            .map_err(conflict)?;
        }
        Ok(Ran {
            outputs: BTreeMap::from([("files".to_owned(), tree.finish(cx.store)?)]),
            stable,
            ..Ran::default()
        })
    }
}
