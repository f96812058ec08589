//! `config`: evaluates the compile-time configuration and gives each application its own part.

use std::collections::BTreeMap;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, Store};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::describe::Whole;
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "config", version: 1 };

/// Evaluates config.exs.
pub struct Config {
    /// What it shares with the others.
    pub common: Common,
    /// The project.
    pub whole: Whole,
    /// Where config.exs is, seen from the project's folder.
    pub path: String,
}

impl Action for Config {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("config path", &self.path);
        parts.list("folders", self.whole.places());
        Ok(Declared::discovering(parts, Arc::new(self.whole.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let pairs = |vm: &Vm<'_>| {
            let out = Value::text(vm.inside("out"));
            vec![("config_path", Value::text(&self.path)), ("out", out)]
        };
        let answered = self.whole.ask(cx, &self.common, "config", &pairs)?;
        let probes = self.whole.probes(cx, &self.common, &answered)?;
        let tree = cx.store.ingest(&answered.vm.real("out"), &|_| true)?;
        let outputs = BTreeMap::from([("config".to_owned(), tree)]);
        Ok(Ran { probes, stable: answered.same, ..super::ran(answered.said.finished, outputs) })
    }
}

/// The configured applications, in the order of the configuration, with what belongs to each.
pub fn applications(store: &Store, tree: &Digest) -> Result<Vec<(String, Digest)>, StepError> {
    let Some(Node::File { digest, .. }) = store.lookup(tree, "order")? else { return Ok(Vec::new()) };
    let order = String::from_utf8_lossy(&store.read(&digest)?).into_owned();
    let mut found = Vec::new();
    for app in order.lines() {
        if let Some(Node::File { digest, .. }) = store.lookup(tree, &format!("{app}.etf"))? {
            found.push((app.to_owned(), digest));
        }
    }
    Ok(found)
}
