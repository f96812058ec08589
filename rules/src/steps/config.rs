//! `config`: evaluates the compile-time configuration and gives each application its own part.

use std::collections::BTreeMap;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, Store};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::describe::Whole;
use crate::discover::Scope;
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
        Ok(Declared::discovering(parts, Arc::new(self.whole.namespace(cx)?)))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let mut vm = Vm::ready(cx, &self.common)?;
        let same = self.whole.stage(&vm)?;
        let out = vm.inside("out");
        let pairs = vec![("config_path", Value::text(&self.path)), ("out", Value::text(out))];
        let said = vm.request("config", &self.whole.layout, pairs)?;
        let namespace = self.whole.namespace(cx)?;
        let scope = Scope {
            namespace: &namespace,
            own: self.whole.own(),
            dependencies: BTreeMap::new(),
            ignored: self.whole.ignored(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let probes = scope.probes(&said.facts, cx.env)?;
        let tree = cx.store.ingest(&vm.real("out"), &|_| true)?;
        let outputs = BTreeMap::from([("config".to_owned(), tree)]);
        Ok(Ran { probes, stable: same, ..super::ran(said.finished, outputs) })
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
