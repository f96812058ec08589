//! `boot` for a project in Erlang alone: the files that relx makes, or `systools` where the project has no rebar3.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, TreeBuilder};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::hooks::Made;
use crate::discover::{Native, Scope};
use crate::namespace::{Namespace, Place};
use crate::project::{Application, BootFacts};
use crate::steps::assemble::conflict;
use crate::steps::boot::Runtime;
use crate::steps::compile::step;
use crate::steps::describe::Whole;
use crate::steps::runtime::libraries;
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "boot erlang", version: 2 };

/// Folders of a compiled application.
const PARTS: [&str; 3] = ["ebin", "include", "priv"];

/// Makes what of a release is not an application or the runtime.
pub struct Release {
    /// What it shares with the others.
    pub common: Common,
    /// The project.
    pub whole: Whole,
    /// Steps that ran hooks of the project, in their order: they may have changed what is read here.
    pub hooks: Vec<&'static str>,
    /// Every application that was compiled.
    pub applications: Vec<Application>,
    /// Whether relx makes it.
    pub relx: bool,
    /// The name of the release.
    pub release: String,
    /// Its version, where release.yaml gives one.
    pub version: Option<String>,
    /// Files of configuration that relx.config names: that of the system, and flags of the VM.
    pub configuration: Option<(Option<String>, Option<String>)>,
    /// Applications and modes, where nothing but release.yaml says them.
    pub modes: Vec<(String, String)>,
    /// Its runtime.
    pub runtime: Runtime,
    /// Whether the applications of OTP come from another installation, too.
    pub other_libraries: bool,
    /// The history of the project, where the version comes from it.
    pub history: Option<PathBuf>,
}

impl Release {
    /// Files of configuration that have another name than they would.
    fn files(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let (sys, vm) =
            self.configuration.as_ref().map_or((None, None), |(sys, vm)| (sys.as_ref(), vm.as_ref()));
        sys.map(|file| ("sys_config", file)).into_iter().chain(vm.map(|file| ("vm_args", file)))
    }

    /// Where a compiled application lies inside the sandbox.
    fn at(&self, application: &Application) -> String {
        if self.relx {
            self.whole.layout.at(&application.build)
        } else {
            format!("applications/{}", application.app)
        }
    }

    fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = self.whole.namespace(cx)?;
        for application in &self.applications {
            let result = cx.need(&step(&application.app))?;
            let tree = result.output("app")?;
            let at = self.at(application);
            for part in PARTS {
                if let Some(Node::Directory { digest }) = cx.store.lookup(&tree, part)? {
                    namespace.put(format!("{at}/{part}"), Place::Tree(digest));
                }
            }
            namespace.put(format!("views/{}", application.app), Place::Tree(result.output("views")?));
        }
        Ok(namespace)
    }

    /// Puts the compiled applications in their places, over what lies there.
    fn show(&self, cx: &StepContext<'_>, vm: &Vm<'_>) -> Result<(), StepError> {
        for application in &self.applications {
            let tree = cx.need(&step(&application.app))?.output("app")?;
            for part in PARTS {
                let at = format!("{}/{part}", self.at(application));
                if let Some(Node::Directory { digest }) = cx.store.lookup(&tree, part)? {
                    let real = vm.real(&at);
                    if real.exists() {
                        fs::remove_dir_all(&real).map_err(|e| StepError::io("remove", &real, &e))?;
                    }
                    vm.copy_tree(&digest, &at)?;
                }
            }
        }
        Ok(())
    }

    fn mounts(&self, vm: &mut Vm<'_>) {
        if let Runtime::Other(erlang) = &self.runtime {
            vm.mount(&erlang.root, "runtime");
        }
        if let Some(history) = &self.history {
            vm.mount(history, &format!("{}/.git", self.whole.layout.project()));
        }
    }
}

impl Action for Release {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("maker", if self.relx { "relx" } else { "systools" });
        parts.text("release", &self.release);
        parts.text("version", self.version.as_deref().unwrap_or("of the project"));
        for (kind, file) in self.files() {
            parts.text(kind, file);
        }
        parts.list("modes", self.modes.iter().map(|(app, mode)| format!("{app} {mode}")));
        parts.list("folders", self.whole.own());
        parts.list("applications", self.applications.iter().map(|a| format!("{} {}", a.app, self.at(a))));
        parts.text("libraries", if self.other_libraries { "of the runtime" } else { "own" });
        match &self.runtime {
            Runtime::None => parts.text("runtime", "none"),
            Runtime::Own => parts.text("runtime", "own"),
            Runtime::Other(erlang) => {
                let libraries = libraries(&erlang.root)?;
                parts.text("runtime", &erlang.erts).list("runtime applications", libraries)
            }
        };
        if let Some(history) = &self.history {
            parts.text("history", state_of(history)?);
        }
        for step in &self.hooks {
            Made::by(cx, step)?.part(&mut parts, cx.store)?;
        }
        Ok(Declared::discovering(parts, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let mounts = matches!(self.runtime, Runtime::Other(_)) || self.history.is_some();
        // What is mounted must be so before the VM starts.
        let mut vm = if mounts { Vm::new(cx, &self.common)? } else { Vm::ready(cx, &self.common)? };
        let same = self.whole.stage(&vm)?;
        for step in &self.hooks {
            Made::by(cx, step)?.stage(cx, &vm, &self.whole.layout.project())?;
        }
        self.show(cx, &vm)?;
        self.mounts(&mut vm);
        let pairs = self.pairs(&vm);
        let operation = if self.relx { "release_rebar3" } else { "release_otp" };
        let said = vm.request(operation, &self.whole.layout, pairs)?;
        let namespace = self.namespace(cx)?;
        let scope = Scope {
            namespace: &namespace,
            reach: None,
            native: Native::default(),
            ignores: &|_, _| false,
            own: self.whole.own(),
            dependencies: self.applications.iter().map(|a| (self.at(a), a.app.clone())).collect(),
            ignored: self.whole.ignored(),
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let probes = scope.probes(&said.facts, cx.env)?;
        let outputs = self.outputs(cx, &vm, &said.answer)?;
        Ok(Ran { probes, stable: same, ..crate::steps::ran(said.finished, outputs) })
    }
}

impl Release {
    fn pairs(&self, vm: &Vm<'_>) -> Vec<(&'static str, Value)> {
        let pair = |(app, mode): &(String, String)| Value::pair(Value::atom(app), Value::atom(mode));
        let mut pairs = vec![
            ("release", Value::atom(&self.release)),
            ("out", Value::text(vm.inside("out"))),
            ("applications", Value::List(self.modes.iter().map(pair).collect())),
        ];
        let inside = |a: &Application| Value::pair(Value::atom(&a.app), Value::text(vm.inside(&self.at(a))));
        pairs.push(("compiled", Value::List(self.applications.iter().map(inside).collect())));
        pairs.extend(self.files().map(|(kind, file)| (kind, Value::text(file))));
        pairs.extend(self.version.as_ref().map(|version| ("version", Value::text(version))));
        let other = match &self.runtime {
            Runtime::Other(erlang) => Some(erlang),
            _ => None,
        };
        let root = vm.inside(if other.is_some() { "runtime" } else { "otp" });
        if self.other_libraries || !self.relx {
            pairs.push(("libraries", Value::text(format!("{root}/lib"))));
        }
        let erts = other.map_or(&self.common.toolchain.erlang.erts, |erlang| &erlang.erts);
        pairs.push(("erts", Value::text(erts)));
        let include_erts = match &self.runtime {
            Runtime::None => Value::Bool(false),
            Runtime::Own => Value::Bool(true),
            Runtime::Other(_) => Value::text(&root),
        };
        pairs.push(("include_erts", include_erts));
        let roots = ["otp/", "runtime/"].map(|at| Value::text(vm.inside(at)));
        pairs.push(("roots", Value::List(roots.into())));
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
        let dir = answer["dir"].as_str().and_then(|dir| dir.strip_prefix(&prefix)).unwrap_or("out");
        let files = cx.store.ingest(&vm.real(dir), &|_| true)?;
        Ok(BTreeMap::from([("facts".to_owned(), tree.finish(cx.store)?), ("files".to_owned(), files)]))
    }
}

/// What of the history decides versions that come from it: the commit, and the tags.
fn state_of(history: &Path) -> Result<String, StepError> {
    let ask = |args: &[&str]| -> Result<String, StepError> {
        let output =
            Command::new("git").arg("--git-dir").arg(history).args(args).output().map_err(|e| {
                StepError::input(format!("the version comes from git, which cannot be run: {e}"))
            })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let refs = ask(&["for-each-ref", "--format=%(refname) %(objectname)", "refs/tags"])?;
    Ok(format!("{}{refs}", ask(&["rev-parse", "HEAD"])?))
}
