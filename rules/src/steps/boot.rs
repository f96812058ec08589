//! `boot`: what lies below `releases/`: boot scripts, sys.config, vm.args, env scripts, and the list of applications.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, Probe, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError, StepResult};

use super::assemble::conflict;
use super::compile::{self, Seen};
use super::config;
use super::describe::Whole;
use super::functions::{Before, Functions};
use crate::attempt::{Answered, Prepared};
use crate::discover::{Native, Scope};
use crate::foreign;
use crate::namespace::{Namespace, Place};
use crate::project::BootFacts;
use crate::terms::Value;
use crate::toolchain::Erlang;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "boot", version: 1 };
/// The name of this step.
pub const STEP: &str = "boot";

/// Which runtime a release holds.
#[derive(Debug, Clone)]
pub enum Runtime {
    /// None.
    None,
    /// The one that builds it.
    Own,
    /// Another installation.
    Other(Erlang),
}

/// Makes what lies below `releases/`.
#[derive(Clone)]
pub struct Boot {
    /// What it shares with the others.
    pub common: Common,
    /// The project.
    pub whole: Whole,
    /// Every application of the project, the project itself last.
    pub applications: Vec<Seen>,
    /// The name of the release.
    pub release: String,
    /// Its version, where release.yaml gives one.
    pub version: Option<String>,
    /// Applications and modes that release.yaml gives.
    pub modes: Vec<(String, String)>,
    /// Its runtime.
    pub runtime: Runtime,
    /// `unix`, `windows`; `None`: as the release's options say once its functions have run.
    pub executables_for: Option<Vec<String>>,
    /// Whether it is laid out for hot upgrades.
    pub hot: bool,
    /// Whether protocols are consolidated.
    pub consolidated: bool,
    /// Where Mix builds, seen from the project's folder.
    pub build_path: String,
    /// What its functions may change; `None`: there are none among its steps.
    pub functions: Option<Functions>,
}

impl Boot {
    /// What the step found out about the release.
    pub fn read(store: &Store, result: &StepResult) -> Result<BootFacts, StepError> {
        let tree = result.output("facts")?;
        let Some(Node::File { digest, .. }) = store.lookup(&tree, "release.json")? else {
            return Err(StepError::internal("the step `boot` left no release.json"));
        };
        serde_json::from_slice(&store.read(&digest)?)
            .map_err(|e| StepError::internal(format!("release.json cannot be read: {e}")))
    }

    pub(super) fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = self.whole.namespace(cx)?;
        for seen in &self.applications {
            let result = cx.need(&compile::step(&seen.app))?;
            namespace.put(self.whole.layout.at(&seen.build), Place::Tree(result.output("app")?));
            namespace.put(format!("views/{}", seen.app), Place::Tree(result.output("views")?));
        }
        Ok(namespace)
    }
}

impl Boot {
    /// What is known of it before the VM runs.
    pub(super) fn parts(&self, cx: &StepContext<'_>) -> Result<KeyParts, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("release", &self.release);
        parts.text("version", self.version.as_deref().unwrap_or("of the project"));
        parts.list("modes", self.modes.iter().map(|(app, mode)| format!("{app} {mode}")));
        match &self.executables_for {
            Some(executables_for) => parts.list("executables", executables_for),
            None => parts.text("executables", "as the steps of the release say"),
        };
        parts.list("folders", self.whole.places());
        parts.list("applications", self.applications.iter().map(|seen| seen.app.as_str()));
        parts.text("layout", if self.hot { "hot upgrades" } else { "mix" });
        parts.text("consolidated", if self.consolidated { "yes" } else { "no" });
        match &self.runtime {
            Runtime::None => parts.text("runtime", "none"),
            Runtime::Own => parts.text("runtime", "own"),
            Runtime::Other(erlang) => {
                let libraries = super::runtime::libraries(&erlang.root)?;
                parts.text("runtime", &erlang.erts).list("runtime applications", libraries)
            }
        };
        parts.digest("configuration", &cx.need("config")?.output("config")?);
        if let Some(functions) = &self.functions {
            functions.parts(&mut parts);
        }
        Ok(parts)
    }
}

impl Action for Boot {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        Ok(Declared::discovering(self.parts(cx)?, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let before = Before::default();
        let prepare = |vm: &mut Vm<'_>| {
            let prepared = self.prepare(cx, vm)?;
            if self.functions.is_some() {
                before.look(vm, &self.whole.layout, &self.release_path())?;
            }
            Ok(prepared)
        };
        let answered = self.whole.ask_with(cx, &self.common, "boot", self.tools(), &prepare)?;
        let probes = self.probes(cx, &answered)?;
        let mut outputs = self.outputs(cx, &answered.vm, &answered.said.answer)?;
        if let Some(functions) = &self.functions {
            let version = answered.said.answer["version"].as_str().unwrap_or_default();
            outputs.extend(functions.outputs(cx, self, &answered.vm, &before, version)?);
        }
        Ok(Ran { probes, stable: answered.same, ..super::ran(answered.said.finished, outputs) })
    }
}

impl Boot {
    /// What of this machine the VM sees besides the project.
    pub(super) fn tools(&self) -> Vec<(PathBuf, String)> {
        match &self.runtime {
            Runtime::Other(erlang) => vec![(erlang.root.clone(), "runtime".to_owned())],
            Runtime::None | Runtime::Own => Vec::new(),
        }
    }

    /// Where Mix assembles it, seen from the project's folder.
    pub(super) fn release_path(&self) -> String {
        format!("{}/rel/{}", self.build_path, self.release)
    }

    /// What a request depends on that was answered with all of the project in sight.
    pub(super) fn probes(
        &self,
        cx: &StepContext<'_>,
        answered: &Answered<'_>,
    ) -> Result<Vec<Probe>, StepError> {
        let reach = self.whole.reach();
        let facts = &answered.said.facts;
        let (ignored, native) = match &self.functions {
            None => (Vec::new(), Native::default()),
            // What functions build, and what the programs that they start may read.
            Some(_) => {
                let folder = answered.vm.real(&self.whole.layout.project());
                let variables = foreign::variables(&facts.programs, &folder);
                let ignored = [self.whole.ignored(), vec![self.whole.layout.at(&self.build_path)]].concat();
                (ignored, Native { variables, ..Native::default() })
            }
        };
        let scope = Scope {
            namespace: &self.namespace(cx)?,
            reach: Some(&reach),
            ignores: &|_, path| self.whole.passes(&reach, path),
            own: self.whole.own(),
            dependencies: self
                .applications
                .iter()
                .map(|seen| (self.whole.layout.at(&seen.build), seen.app.clone()))
                .collect(),
            ignored,
            native,
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let mut probes = scope.probes(facts, cx.env)?;
        probes.extend(answered.probes.iter().cloned());
        if let Some(functions) = &self.functions {
            probes.extend(functions.probes(&self.whole.layout));
        }
        Ok(probes)
    }

    pub(super) fn prepare(&self, cx: &StepContext<'_>, vm: &mut Vm<'_>) -> Result<Prepared, StepError> {
        let same = self.whole.stage(vm)?;
        let mut paths = Vec::new();
        for seen in &self.applications {
            let folder = self.whole.layout.at(&seen.build);
            vm.copy_tree(&cx.need(&compile::step(&seen.app))?.output("app")?, &folder)?;
            paths.push(Value::text(vm.inside(&format!("{folder}/ebin"))));
        }
        if let Some(functions) = &self.functions {
            functions.link(vm, &self.whole.layout)?;
        }
        let tree = cx.need("config")?.output("config")?;
        let mut files = Vec::new();
        for (name, digest) in config::applications(cx.store, &tree)? {
            vm.write(&format!("config/{name}.etf"), &cx.store.read(&digest)?)?;
            files.push(Value::text(vm.inside(&format!("config/{name}.etf"))));
        }
        Ok((same, self.pairs(vm, paths, files)))
    }

    fn pairs(&self, vm: &Vm<'_>, code_paths: Vec<Value>, config: Vec<Value>) -> Vec<(&'static str, Value)> {
        let include_erts = match &self.runtime {
            Runtime::None => Value::Bool(false),
            Runtime::Own => Value::Bool(true),
            Runtime::Other(erlang) => Value::text(vm.inside(&format!("runtime/erts-{}", erlang.erts))),
        };
        let modes =
            self.modes.iter().map(|(app, mode)| Value::pair(Value::atom(app), Value::atom(mode))).collect();
        let mut pairs = vec![
            ("release", Value::atom(&self.release)),
            ("out", Value::text(vm.inside("out"))),
            ("code_paths", Value::List(code_paths)),
            ("config", Value::List(config)),
            ("include_erts", include_erts),
            ("applications", Value::List(modes)),
            ("path", Value::text(vm.inside(&self.whole.layout.at(&self.release_path())))),
            ("functions", Value::Bool(self.functions.is_some())),
            ("upgrades", Value::atom(if self.hot { "hot" } else { "none" })),
            ("consolidated", Value::Bool(self.consolidated)),
        ];
        pairs.extend(self.version.as_ref().map(|version| ("version", Value::text(version))));
        let executables_for = self.executables_for.iter();
        pairs.extend(
            executables_for
                .map(|all| ("executables_for", Value::List(all.iter().map(Value::atom).collect()))),
        );
        pairs
    }

    fn outputs(
        &self,
        cx: &StepContext<'_>,
        vm: &Vm<'_>,
        answer: &serde_json::Value,
    ) -> Result<BTreeMap<String, Digest>, StepError> {
        let mut facts: BootFacts = serde_json::from_value(answer.clone())
            .map_err(|e| StepError::internal(format!("the facts of the release cannot be read: {e}")))?;
        let prefix = vm.inside("");
        for application in &mut facts.applications {
            if let Some(path) = application.path.strip_prefix(&prefix) {
                application.path = path.to_owned();
            }
        }
        let json = serde_json::to_vec_pretty(&facts)
            .map_err(|e| StepError::internal(format!("the facts of the release cannot be written: {e}")))?;
        let mut tree = TreeBuilder::new();
        tree.file("release.json", cx.store.put_bytes(&json)?, false).map_err(conflict)?;
        let out = vm.real("out");
        let below = |folder: &str| cx.store.ingest(&out.join(folder), &|_| true);
        let loose = cx.store.ingest(&out, &|path| ["erl", "start_erl.data", "RELEASES"].contains(&path))?;
        Ok(BTreeMap::from([
            ("facts".to_owned(), tree.finish(cx.store)?),
            ("version".to_owned(), below("version")?),
            ("specs".to_owned(), below("apps")?),
            ("files".to_owned(), loose),
        ]))
    }
}
