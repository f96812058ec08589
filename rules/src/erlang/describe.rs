//! `describe` for a project in Erlang alone: asks its tool what the project is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use relgraph_cache::{Node, Probe, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError, StepResult};

use super::project::ErlangProject;
use super::{compile, make};
use crate::attempt::{Answered, Prepared};
use crate::discover::{Native, Scope};
use crate::foreign;
use crate::namespace::{Namespace, Place};
use crate::source::Snapshot;
use crate::steps::assemble::conflict;
use crate::steps::describe::Whole;
use crate::terms::Value;
use crate::tool::Tool;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "describe erlang", version: 2 };

/// Asks the project's tool what the project is.
pub struct Describe {
    /// What it shares with the others.
    pub common: Common,
    /// The project.
    pub whole: Whole,
    /// The folders of its applications, where no tool finds them.
    pub folders: Vec<String>,
    /// The release that is asked for.
    pub release: String,
}

impl Describe {
    /// The answer as it was stored.
    pub fn read(store: &Store, result: &StepResult) -> Result<ErlangProject, StepError> {
        let tree = result.output("project")?;
        let Some(Node::File { digest, .. }) = store.lookup(&tree, "project.json")? else {
            return Err(StepError::internal("the step `describe` left no project.json"));
        };
        serde_json::from_slice(&store.read(&digest)?)
            .map_err(|e| StepError::internal(format!("project.json cannot be read: {e}")))
    }

    /// What make may look at: a program that reads what it likes.
    fn outline(&self) -> Result<Option<Snapshot>, StepError> {
        if self.common.tool != Tool::ErlangMk {
            return Ok(None);
        }
        Ok(Some(make::outline(&*self.whole.snapshot(".")?)))
    }

    fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let Some(outline) = self.outline()? else { return self.whole.namespace(cx) };
        let mut namespace = Namespace::new(cx.store);
        namespace.put(self.whole.layout.project(), Place::Source(Arc::new(outline)));
        Ok(namespace)
    }

    fn operation(&self) -> &'static str {
        match self.common.tool {
            Tool::ErlangMk => "describe_erlang_mk",
            Tool::Otp => "describe_otp",
            _ => "describe_rebar3",
        }
    }
}

/// What of a plugin's folder may be used: not what rebar3 keeps there for itself.
fn is_plugin(path: &str) -> bool {
    !path.split('/').any(|part| [".git", ".rebar3", "_build"].contains(&part))
}

impl Describe {
    fn prepare(&self, vm: &mut Vm<'_>) -> Result<Prepared, StepError> {
        let same = match self.outline()? {
            Some(outline) => outline.stage(&vm.real(&self.whole.layout.project()))?,
            None => self.whole.stage(vm)?,
        };
        vm.write("out/.keep", b"")?;
        let pairs = vec![
            ("out", Value::text(vm.inside("out"))),
            ("release", Value::atom(&self.release)),
            ("folders", Value::texts(self.folders.iter().map(String::as_str))),
            ("keep", make::keep(&self.common)),
        ];
        Ok((same, pairs))
    }

    fn ask<'c>(&'c self, cx: &'c StepContext<'c>) -> Result<(Answered<'c>, Vec<Probe>), StepError> {
        if self.common.tool == Tool::Rebar3 {
            let prepare = |vm: &mut Vm<'c>| self.prepare(vm);
            let answered = self.whole.ask_with(cx, &self.common, self.operation(), Vec::new(), &prepare)?;
            let probes = self.whole.probes(cx, &self.common, &answered)?;
            return Ok((answered, probes));
        }
        let mut vm = Vm::ready(cx, &self.common)?;
        let (same, pairs) = self.prepare(&mut vm)?;
        let said = vm.request(self.operation(), &self.whole.layout, pairs)?;
        let namespace = self.namespace(cx)?;
        let scope = Scope {
            namespace: &namespace,
            reach: None,
            native: Native {
                compiled: false,
                variables: foreign::variables(&said.facts.programs, &vm.real(&self.whole.layout.project())),
                ..Native::default()
            },
            ignores: &|_, _| false,
            own: self.whole.own(),
            dependencies: BTreeMap::new(),
            ignored: self.whole.ignored(),
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let probes = scope.probes(&said.facts, cx.env)?;
        Ok((Answered { vm, said, same, probes: Vec::new(), shown: BTreeSet::new() }, probes))
    }
}

impl Action for Describe {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("tool", self.common.tool.name());
        parts.text("release", &self.release);
        parts.list("folders", self.whole.own());
        parts.list("applications", &self.folders);
        Ok(Declared::discovering(parts, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let (answered, probes) = self.ask(cx)?;
        let (vm, said, same) = (answered.vm, answered.said, answered.same);
        let mut project: ErlangProject = serde_json::from_value(said.answer.clone())
            .map_err(|e| StepError::internal(format!("the project's description cannot be read: {e}")))?;
        if let Some(otp) = self.common.toolchain.erlang.otp() {
            project.otp = otp;
        }
        let json = serde_json::to_vec_pretty(&project)
            .map_err(|e| StepError::internal(format!("the description cannot be written: {e}")))?;
        let mut tree = TreeBuilder::new();
        tree.file("project.json", cx.store.put_bytes(&json)?, false).map_err(conflict)?;
        let mut plugins = TreeBuilder::new();
        for at in &project.plugins {
            let real = vm.real(&self.whole.layout.at(at));
            compile::drop_dead_links(&real)?;
            plugins.graft(at, cx.store.ingest_dereferenced(&real, &is_plugin)?).map_err(conflict)?;
        }
        let outputs = BTreeMap::from([
            ("plugins".to_owned(), plugins.finish(cx.store)?),
            ("project".to_owned(), tree.finish(cx.store)?),
            ("recipes".to_owned(), cx.store.ingest(&vm.real("out"), &|path| path != ".keep")?),
        ]);
        Ok(Ran { probes, stable: same, ..crate::steps::ran(said.finished, outputs) })
    }
}
