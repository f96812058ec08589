//! `finish release`: lays what steps made of the assembled release over it.

use std::collections::BTreeMap;

use relgraph_cache::{Node, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::assemble::{Layer, lay_over, versioned};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "finish", version: 1 };
/// The name of this step.
pub const STEP: &str = "finish release";

/// Puts the last layers over a release.
pub struct Finish {
    /// The step that made the release.
    pub of: String,
    /// What is laid over it, in order.
    pub layers: Vec<Layer>,
}

impl Action for Finish {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        parts.digest(format!("input {}", self.of), &cx.need(&self.of)?.output("release")?);
        for (index, layer) in self.layers.iter().enumerate() {
            parts.digest(format!("input {}", layer.step), &cx.need(&layer.step)?.output(&layer.output)?);
            parts.text(format!("place of {}", layer.step), format!("{index} {}", layer.into));
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let base = cx.need(&self.of)?.output("release")?;
        let mut tree = TreeBuilder::from_tree(cx.store, &base)?;
        let folders = applications(cx.store, &base)?;
        for layer in &self.layers {
            let over = cx.need(&layer.step)?.output(&layer.output)?;
            let into = versioned(&layer.into, folders.iter().map(String::as_str));
            lay_over(cx.store, &mut tree, &over, &into)?;
        }
        let release = tree.finish(cx.store)?;
        Ok(Ran { outputs: BTreeMap::from([("release".to_owned(), release)]), ..Ran::default() })
    }
}

/// `lib/APP-VERSION` for each application of a release.
fn applications(store: &Store, release: &relgraph_cache::Digest) -> Result<Vec<String>, StepError> {
    let Some(Node::Directory { digest }) = store.lookup(release, "lib")? else { return Ok(Vec::new()) };
    Ok(store.directory(&digest)?.entries.keys().map(|name| format!("lib/{name}")).collect())
}
