//! `describe`: asks Mix what the project is.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::{Probe, TreeBuilder};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use crate::attempt::{Answered, Prepare, Request};
use crate::discover::{Native, Scope};
use crate::foreign;
use crate::layout::Layout;
use crate::lower::Fetched;
use crate::namespace::{Namespace, Place};
use crate::project::Description;
use crate::reach::Reach;
use crate::source::Snapshot;
use crate::sources::Sources;
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "describe", version: 1 };

/// Files by which Mix tells how a dependency is built.
pub(super) const DEPENDENCY: [&str; 7] =
    ["Makefile", "Makefile.win", "mix.exs", "rebar", "rebar.config", "rebar.config.script", "rebar.lock"];

/// The whole project as Mix sees it: its folder, and folders beside it that dependencies lie in.
#[derive(Clone)]
pub struct Whole {
    /// The folders.
    pub sources: Arc<Sources>,
    /// Folders beside the project's (`../shared`).
    pub beside: BTreeSet<String>,
    /// Whether one of them holds the project (`../..`: its umbrella).
    pub around_it: bool,
    /// Folders of the user that nobody is shown, seen from the project's.
    pub hidden: BTreeSet<String>,
    /// Where the project builds, seen from its folder, where that is not `_build`.
    pub built: Option<String>,
    /// Dependencies that were fetched, by application: they lie where `mix deps.get` would have put them.
    pub fetched: BTreeMap<String, Fetched>,
    /// Folders below one that is left out (`_build/default/lib/cowboy`), where a tool puts what it fetched.
    pub installed: BTreeSet<String>,
    /// Where they lie inside the sandbox.
    pub layout: Layout,
}

impl Whole {
    /// The folders, seen from the project's: itself, beside it, and fetched into it.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        let own = (!self.around_it).then_some(".");
        own.into_iter().chain(self.beside.iter().chain(&self.installed).map(String::as_str))
    }

    /// What is in one of the folders.
    pub fn snapshot(&self, folder: &str) -> Result<Arc<Snapshot>, StepError> {
        if self.installed.contains(folder) {
            self.sources.installed(folder)
        } else {
            self.sources.whole(folder)
        }
    }

    fn snapshots(&self) -> Result<Vec<(String, Arc<Snapshot>)>, StepError> {
        let shown = self.folders().filter(|folder| !self.hidden.contains(*folder));
        shown.map(|folder| Ok((self.layout.at(folder), self.shown(folder)?))).collect()
    }

    /// A folder without what nobody is shown.
    fn shown(&self, folder: &str) -> Result<Arc<Snapshot>, StepError> {
        let whole = self.snapshot(folder)?;
        let at = self.layout.at(folder);
        let inner: Vec<String> = self
            .hidden
            .iter()
            .filter_map(|hidden| {
                Some(self.layout.at(hidden).strip_prefix(&at)?.strip_prefix('/')?.to_owned())
            })
            .collect();
        if inner.is_empty() {
            return Ok(whole);
        }
        Ok(Arc::new(whole.part("", &|path| inner.iter().any(|hidden| Path::new(path).starts_with(hidden)))))
    }

    /// All of it as something that can be read.
    pub fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = Namespace::new(cx.store);
        namespace.around(self.reach());
        for (at, snapshot) in self.snapshots()? {
            namespace.put(at, Place::Source(snapshot));
        }
        for fetched in self.fetched.values() {
            namespace.put(self.layout.at(&fetched.at), Place::Tree(fetched.tree));
        }
        Ok(namespace)
    }

    /// Copies all of it into the folder that a VM works in. `false`: a file moved meanwhile.
    pub fn stage(&self, vm: &Vm<'_>) -> Result<bool, StepError> {
        let mut same = true;
        for (at, snapshot) in self.snapshots()? {
            same &= snapshot.stage(&vm.real(&at))?;
        }
        for fetched in self.fetched.values() {
            vm.copy_tree(&fetched.tree, &self.layout.at(&fetched.at))?;
        }
        Ok(same)
    }

    /// Where its own files lie inside the sandbox.
    pub fn own(&self) -> Vec<String> {
        let fetched = self.fetched.values().map(|fetched| self.layout.at(&fetched.at));
        self.folders().map(|folder| self.layout.at(folder)).chain(fetched).collect()
    }

    /// Where the user's folders lie inside the sandbox: what is fetched shows by what is found there.
    pub fn places(&self) -> Vec<String> {
        self.folders().map(|folder| self.layout.at(folder)).collect()
    }

    /// What there is on this machine.
    pub fn reach(&self) -> Reach {
        Reach::new(&self.sources, &self.layout, &self.hidden)
    }

    /// Makes a request to a VM that sees all of it, and more where it turns out to look for more.
    pub fn ask<'c>(
        &self,
        cx: &'c StepContext<'c>,
        common: &'c Common,
        op: &'static str,
        pairs: &dyn Fn(&Vm<'c>) -> Vec<(&'static str, Value)>,
    ) -> Result<Answered<'c>, StepError> {
        self.ask_with(cx, common, op, Vec::new(), &|vm| Ok((self.stage(vm)?, pairs(vm))))
    }

    /// The same, with more in sight: what `prepare` puts in place, and `tools` of this machine.
    pub(crate) fn ask_with<'c>(
        &self,
        cx: &'c StepContext<'c>,
        common: &'c Common,
        op: &'static str,
        tools: Vec<(PathBuf, String)>,
        prepare: &Prepare<'c, '_>,
    ) -> Result<Answered<'c>, StepError> {
        let reach = self.reach();
        let request = Request {
            cx,
            common,
            op,
            layout: &self.layout,
            reach: &reach,
            folder: self.layout.project(),
            build: None,
            tools,
            ignores: &|_, path| self.passes(&reach, path),
        };
        request.make(prepare)
    }

    /// Folders beside the project are dependencies, of which Mix is asked with them in sight.
    pub(crate) fn passes(&self, reach: &Reach, path: &str) -> bool {
        !self.own().iter().any(|folder| Path::new(path).starts_with(folder))
            && reach
                .real(path)
                .is_some_and(|real| real.is_dir() || DEPENDENCY.iter().any(|f| real.ends_with(f)))
    }

    /// The probes of what was read.
    pub fn probes(
        &self,
        cx: &StepContext<'_>,
        common: &Common,
        answered: &Answered<'_>,
    ) -> Result<Vec<Probe>, StepError> {
        let (namespace, reach) = (self.namespace(cx)?, self.reach());
        let scope = Scope {
            namespace: &namespace,
            reach: Some(&reach),
            own: self.own(),
            dependencies: BTreeMap::new(),
            ignored: self.ignored(),
            native: Native {
                compiled: false,
                variables: foreign::variables(
                    &answered.said.facts.programs,
                    &answered.vm.real(&self.layout.project()),
                ),
                ..Native::default()
            },
            ignores: &|_, path| self.passes(&reach, path),
            secrets: common.secrets.clone(),
            declared_env: common.env.keys().chain(&common.pass_env).cloned().collect(),
        };
        let mut probes = scope.probes(&answered.said.facts, cx.env)?;
        probes.extend(answered.probes.iter().cloned());
        Ok(probes)
    }

    /// The build folder, which is nobody's input.
    pub fn ignored(&self) -> Vec<String> {
        let built = self.built.iter().map(|built| self.layout.at(built));
        built.chain([format!("{}/_build", self.layout.project())]).collect()
    }
}

/// Asks Mix what the project is.
pub struct Describe {
    /// What it shares with the others.
    pub common: Common,
    /// The project.
    pub whole: Whole,
    /// The release wanted.
    pub release: String,
    /// How modules are stripped, where release.yaml says so.
    pub strip: Option<Value>,
}

impl Describe {
    /// The answer as it was stored.
    pub fn read(
        store: &relgraph_cache::Store,
        result: &relgraph_engine::StepResult,
    ) -> Result<Description, StepError> {
        let tree = result.output("project")?;
        let Some(relgraph_cache::Node::File { digest, .. }) = store.lookup(&tree, "project.json")? else {
            return Err(StepError::internal("the step `describe` left no project.json"));
        };
        serde_json::from_slice(&store.read(&digest)?)
            .map_err(|e| StepError::internal(format!("project.json cannot be read: {e}")))
    }

    fn ask<'c>(&'c self, cx: &'c StepContext<'c>) -> Result<(Answered<'c>, Description), StepError> {
        let pairs = || {
            let mut pairs = vec![("release", Value::atom(&self.release))];
            pairs.extend(self.strip.clone().map(|strip| ("strip", strip)));
            pairs
        };
        let answered = self.whole.ask(cx, &self.common, "describe", &|_| pairs())?;
        let description: Description = serde_json::from_value(answered.said.answer.clone())
            .map_err(|e| StepError::internal(format!("the project's description cannot be read: {e}")))?;
        Ok((answered, description))
    }

    /// The cookie that mix.exs gives. It is asked for each time, so that it is never stored.
    pub fn cookie(&self, cx: &StepContext<'_>) -> Result<Option<String>, StepError> {
        Ok(self.ask(cx)?.1.release.and_then(|release| release.cookie))
    }
}

impl Action for Describe {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("release", &self.release);
        parts.list("folders", self.whole.places());
        if let Some(strip) = &self.strip {
            parts.text("strip", format!("{strip:?}"));
        }
        Ok(Declared::discovering(parts, Arc::new(self.whole.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let (answered, mut description) = self.ask(cx)?;
        let cookie = description.release.as_mut().and_then(|release| release.cookie.take());
        // Enough to see that it moved; not the cookie.
        let values = cookie.map(|cookie| ("cookie".to_owned(), fingerprint(&cookie))).into_iter().collect();
        let probes = self.whole.probes(cx, &self.common, &answered)?;
        let json = serde_json::to_vec_pretty(&description)
            .map_err(|e| StepError::internal(format!("the description cannot be written: {e}")))?;
        let mut tree = TreeBuilder::new();
        tree.file("project.json", cx.store.put_bytes(&json)?, false).map_err(super::assemble::conflict)?;
        let outputs = BTreeMap::from([("project".to_owned(), tree.finish(cx.store)?)]);
        Ok(Ran { probes, values, stable: answered.same, ..super::ran(answered.said.finished, outputs) })
    }
}

/// What is kept of a cookie: enough to tell whether it is the same.
pub fn fingerprint(cookie: &str) -> String {
    blake3::Hash::from_bytes(blake3::derive_key("relgraph cookie v1", cookie.as_bytes())).to_hex().to_string()
}
