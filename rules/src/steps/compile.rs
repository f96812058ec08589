//! `compile APP`: one application from its own sources.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use relgraph_cache::{Digest, Node, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::fetch;
use super::generated::{self, generated};
use super::{assemble::conflict, config, custom, describe::DEPENDENCY, strip::NO_WARN_UNDEFINED};
use crate::attempt::{Prepared, Request};
use crate::beam_file;
use crate::discover::{Native, Scope};
use crate::foreign::{self, Rust};
use crate::layout::Layout;
use crate::namespace::{Namespace, Place};
use crate::project::Application;
use crate::reach::Reach;
use crate::sources::Source;
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "compile", version: 2 };

/// The name of the step that compiles an application.
pub fn step(app: &str) -> String {
    format!("compile {app}")
}

/// A compiled application that another one sees.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its name.
    pub app: String,
    /// Where it is built, seen from the project's folder.
    pub build: String,
}

/// An entry of Mix's list of dependencies.
#[derive(Debug, Clone)]
pub struct Dependency {
    /// What Mix knows of it, as the description has it.
    pub mix: String,
    /// Its sources, seen from the project's folder.
    pub dest: String,
    /// Where it is built, seen from the project's folder.
    pub build: String,
}

/// What a step of the user makes among the sources of an application.
#[derive(Debug, Clone)]
pub struct Made {
    /// The step.
    pub step: String,
    /// What it makes, seen from the project's folder.
    pub outputs: Vec<String>,
}

/// Compiles one application.
pub struct Compile {
    /// What it shares with the others, `MIX_ENV` being this application's own.
    pub common: Common,
    /// The application; for the project itself made up from its description.
    pub application: Application,
    /// Whether it is the project itself.
    pub root: bool,
    /// Its sources.
    pub source: Source,
    /// What the user's steps make among its sources, which does not count as one of them.
    pub made: Vec<Made>,
    /// Whether a step of the user comes after it, and finds what compilers made among its sources.
    pub feeds: bool,
    /// Where things lie inside the sandbox.
    pub layout: Layout,
    /// What there is on this machine.
    pub reach: Reach,
    /// What it sees, in the order of the description.
    pub sees: Vec<Seen>,
    /// What Mix's own list of dependencies says of those that it sees, and of itself unless it is the project.
    pub dependencies: Vec<Dependency>,
    /// What the project hands down to dependencies.
    pub dependency_config: String,
    /// Applications that its sources name, seen or not: it may ask for their configuration.
    pub named: BTreeSet<String>,
    /// Names of all applications of the project: the configuration of one that it neither sees nor names is none of its
    /// business.
    pub all: Arc<BTreeSet<String>>,
    /// Where dependencies lie, seen from the project's folder.
    pub deps_path: String,
    /// The lock file, seen from the project's folder.
    pub lockfile: String,
    /// Where Mix builds, seen from the project's folder.
    pub build_path: String,
    /// The folder that holds this for every environment.
    pub build_root: String,
    /// Whether mix.exs names a folder for it that is not among the project's.
    pub builds_outside: bool,
}

impl Compile {
    /// The configuration that it can ask for.
    fn configuration(&self, cx: &StepContext<'_>) -> Result<Vec<(String, Digest)>, StepError> {
        let tree = cx.need("config")?.output("config")?;
        let mut found = config::applications(cx.store, &tree)?;
        found.retain(|(app, _)| {
            *app == self.application.app
                || self.sees.iter().any(|seen| seen.app == *app)
                || self.named.contains(app)
                || !self.all.contains(app)
        });
        Ok(found)
    }

    fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = Namespace::new(cx.store);
        namespace.around(self.reach.clone());
        self.source.put(&mut namespace, &self.layout.at(self.source.at()), cx)?;
        for seen in &self.sees {
            let result = cx.need(&step(&seen.app))?;
            namespace.put(self.layout.at(&seen.build), Place::Tree(result.output("app")?));
            namespace.put(format!("views/{}", seen.app), Place::Tree(result.output("views")?));
        }
        Ok(namespace)
    }

    fn manager(&self) -> &str {
        self.application.manager.as_deref().unwrap_or("none")
    }
}

impl Action for Compile {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common(cx)?.parts(cx)?;
        let app = &self.application;
        parts.text("application", &app.app);
        parts.text("folder", self.layout.at(&app.dest));
        parts.text("build folder", self.layout.at(&app.build));
        if let Some(history) = self.source.history(cx)? {
            parts.digest("history", &history);
        }
        parts.text("manager", self.manager());
        parts.text("root", if self.root { "yes" } else { "no" });
        parts.text("fetchable", if app.fetchable { "yes" } else { "no" });
        parts.list("dependencies", self.sees.iter().map(|seen| seen.app.as_str()));
        parts.list("dependency options", self.dependencies.iter().map(|seen| seen.mix.as_str()));
        parts.text("dependency configuration", &self.dependency_config);
        if let Some(config) = &app.rebar_config {
            parts.text("rebar.config", config);
        }
        if app.from_umbrella {
            parts.text("from umbrella", "yes");
        }
        if self.feeds {
            parts.text("generated", "yes");
        }
        for made in &self.made {
            parts.digest(format!("input {}", made.step), &cx.need(&made.step)?.output("files")?);
        }
        if let Some(command) = &app.compile {
            parts.text("command", command.to_string());
        }
        for (name, value) in &app.system_env {
            parts.text(format!("env {name}"), value);
        }
        if self.manager() == "rebar3"
            && let Some(rebar3) = &self.common.toolchain.rebar3_digest
        {
            parts.digest("rebar3", rebar3);
        }
        for (name, digest) in self.configuration(cx)? {
            parts.digest(format!("config {name}"), &digest);
        }
        Ok(Declared::discovering(parts, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let app = &self.application;
        if self.manager() == "rebar3" && self.common.toolchain.rebar3.is_none() {
            return Err(StepError::input(format!("`{}` is built by rebar3, which is not in PATH", app.app))
                .with_hint(
                    "install rebar3 (on Debian and Ubuntu: apt-get install rebar3), or put it in PATH",
                ));
        }
        let (at, build) = (self.layout.at(self.source.at()), self.layout.at(&app.build));
        let ignores = |kind: &str, path: &str| self.ignores(kind, path);
        let common = self.common(cx)?;
        let request = Request {
            cx,
            common: &common,
            op: "compile",
            layout: &self.layout,
            reach: &self.reach,
            folder: at.clone(),
            build: Some(build.clone()),
            tools: Vec::new(),
            ignores: &ignores,
        };
        let answered = request.make(&|vm| self.prepare(cx, vm))?;
        let namespace = self.namespace(cx)?;
        let scope = Scope {
            namespace: &namespace,
            reach: Some(&self.reach),
            own: vec![at.clone()],
            dependencies: self
                .sees
                .iter()
                .map(|seen| (self.layout.at(&seen.build), seen.app.clone()))
                .collect(),
            // What a step made is in the key already.
            ignored: [build.clone(), format!("{at}/_build"), self.layout.at(&self.build_root)]
                .into_iter()
                .chain(self.made.iter().flat_map(|made| &made.outputs).map(|output| self.layout.at(output)))
                .collect(),
            native: Native::of(&answered.said.facts, &at, &|path| answered.vm.real(path), common.set(cx)),
            ignores: &ignores,
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let mut probes = scope.probes(&answered.said.facts, cx.env)?;
        probes.extend(answered.probes);
        self.put_back(&answered.vm, &at)?;
        let linked = answered.vm.work().linked(&build)?;
        probes.extend(linked.into_iter().filter(|probe| !scope.is_built(probe)));
        let mut outputs = outputs(cx.store, &answered.vm.real(&build), &app.app)?;
        if let (true, Source::Folder { files, .. }) = (self.feeds, &self.source) {
            let others = self.others(&at, &answered.shown);
            let tree = generated(cx.store, &answered.vm.real(&at), files, &others)?;
            outputs.insert(generated::OUTPUT.to_owned(), tree);
        }
        let excluded = answered.said.answer.get(NO_WARN_UNDEFINED);
        let values = excluded.map(|excluded| (NO_WARN_UNDEFINED.to_owned(), excluded.to_string()));
        let values = values.into_iter().collect();
        Ok(Ran { probes, stable: answered.same, values, ..super::ran(answered.said.finished, outputs) })
    }
}

impl Compile {
    /// With cargo, where it has a crate.
    fn common(&self, cx: &StepContext<'_>) -> Result<Common, StepError> {
        let mut common = self.common.clone();
        let wanted = match &self.source {
            Source::Folder { files, .. } => Rust::is_wanted(files),
            Source::Fetched { step, .. } => {
                Rust::is_wanted_by(cx.store, &cx.need(step)?.output(fetch::SOURCE)?)?
            }
        };
        if wanted {
            common.rust = Rust::find(cx.env)?.map(Arc::new);
        }
        Ok(common)
    }

    /// What lies in its folder and is none of its sources, nor made of them.
    fn others(&self, at: &str, shown: &BTreeSet<String>) -> BTreeSet<String> {
        let made = self.made.iter().flat_map(|made| &made.outputs);
        let folders =
            self.dependencies.iter().map(|seen| &seen.dest).filter(|dest| **dest != self.application.dest);
        let all =
            folders.chain(made).chain([&self.deps_path, &self.build_root]).map(|path| self.layout.at(path));
        let all = all.chain([self.layout.at(&self.application.build)]).chain(shown.iter().cloned());
        all.filter_map(|path| Some(path.strip_prefix(at)?.strip_prefix('/')?.to_owned())).collect()
    }

    /// Objects that were taken away and that nobody made are sources after all.
    fn put_back(&self, vm: &Vm<'_>, at: &str) -> Result<(), StepError> {
        let Some(root) = self.reach.real(at).filter(|root| root.is_dir()) else { return Ok(()) };
        let folder = vm.real(at);
        if !foreign::has_native(&folder) {
            return Ok(());
        }
        for object in foreign::leftovers(&root.join("priv")) {
            let to = folder.join(object.strip_prefix(&root).unwrap_or(&object));
            if fs::symlink_metadata(&to).is_err() && to.parent().is_some_and(Path::is_dir) {
                fs::copy(&object, &to).map_err(|e| StepError::io("copy", &object, &e))?;
            }
        }
        Ok(())
    }

    /// What Mix looks at to see what a dependency is, or whether something is older than the lock: the graph knows.
    fn ignores(&self, _kind: &str, path: &str) -> bool {
        let of_others = |dest: &str| {
            let rest = path.strip_prefix(&self.layout.at(dest)).and_then(|rest| match rest {
                "" => Some(""),
                rest => rest.strip_prefix('/'),
            });
            dest != self.application.dest
                && rest.is_some_and(|rest| rest.is_empty() || DEPENDENCY.contains(&rest))
        };
        (!self.root && path == self.layout.at(&self.lockfile))
            || path == self.layout.at(&self.deps_path)
            || self.dependencies.iter().any(|seen| of_others(&seen.dest))
    }

    fn prepare(&self, cx: &StepContext<'_>, vm: &mut Vm<'_>) -> Result<Prepared, StepError> {
        let app = &self.application;
        let same = self.source.stage(cx, vm, &self.layout.at(self.source.at()))?;
        let folder = vm.real(&self.layout.at(self.source.at()));
        if foreign::has_native(&folder) {
            for object in foreign::leftovers(&folder) {
                fs::remove_file(&object).map_err(|e| StepError::io("remove", &object, &e))?;
            }
        }
        for made in &self.made {
            vm.copy_tree(&cx.need(&made.step)?.output("files")?, "made")?;
            custom::move_into(&vm.real("made"), &vm.real(&self.layout.project()))?;
        }
        let build = self.layout.at(&app.build);
        vm.write(&format!("{build}/.relgraph"), b"")?;
        let mut paths = Vec::new();
        for seen in &self.sees {
            let folder = self.layout.at(&seen.build);
            vm.copy_tree(&cx.need(&step(&seen.app))?.output("app")?, &folder)?;
            paths.push(Value::text(vm.inside(&format!("{folder}/ebin"))));
        }
        let mut files = Vec::new();
        for (name, digest) in self.configuration(cx)? {
            vm.write(&format!("config/{name}.etf"), &cx.store.read(&digest)?)?;
            files.push(Value::text(vm.inside(&format!("config/{name}.etf"))));
        }
        Ok((same, self.pairs(vm, paths, files)))
    }

    fn pairs(&self, vm: &Vm<'_>, code_paths: Vec<Value>, config: Vec<Value>) -> Vec<(&'static str, Value)> {
        let app = &self.application;
        let inside = |path: &str| Value::text(vm.inside(&self.layout.at(path)));
        let system_env =
            app.system_env.iter().map(|(n, v)| Value::pair(Value::text(n), Value::text(v))).collect();
        let dependencies = self.dependencies.iter().map(|seen| {
            Value::pair(Value::text(&seen.mix), Value::pair(inside(&seen.dest), inside(&seen.build)))
        });
        let mut pairs = vec![
            ("cwd", inside(&app.dest)),
            ("app", Value::atom(&app.app)),
            ("dest", inside(&app.dest)),
            ("build", inside(&app.build)),
            ("env_path", inside(&self.build_path)),
            ("deps_path", inside(&self.deps_path)),
            ("lockfile", inside(&self.lockfile)),
            ("manager", Value::atom(self.manager())),
            ("root", Value::Bool(self.root)),
            ("builds_outside", Value::Bool(self.builds_outside)),
            ("fetchable", Value::Bool(app.fetchable)),
            ("from_umbrella", Value::Bool(app.from_umbrella)),
            ("rebar_config", Value::text(app.rebar_config.as_deref().unwrap_or_default())),
            ("code_paths", Value::List(code_paths)),
            ("dependencies", Value::List(dependencies.collect())),
            ("dependency_config", Value::text(&self.dependency_config)),
            ("config", Value::List(config)),
            ("system_env", Value::List(system_env)),
        ];
        match &app.compile {
            Some(serde_json::Value::String(command)) => pairs.push(("command", Value::text(command))),
            Some(serde_json::Value::Bool(false)) => pairs.push(("command", Value::Bool(false))),
            _ => {}
        }
        pairs
    }
}

/// What counts of a folder that an application was built in.
pub(crate) fn tree(store: &Store, build: &Path) -> Result<Digest, StepError> {
    let kept = |path: &str| {
        let top = path.split('/').next().unwrap_or_default();
        ["ebin", "include", "priv"].contains(&top)
    };
    Ok(store.ingest_dereferenced(build, &kept)?)
}

/// What a compiled application gives to others: itself, what they see of its modules, what concerns protocols, and its
/// specification.
pub(crate) fn outputs(store: &Store, build: &Path, app: &str) -> Result<BTreeMap<String, Digest>, StepError> {
    let tree = tree(store, build)?;
    let ebin = build.join("ebin");
    let mut names: Vec<String> = fs::read_dir(&ebin)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".beam"))
        .collect();
    names.sort();
    let looked: Result<Vec<_>, StepError> = names
        .par_iter()
        .map(|name| {
            let path = ebin.join(name);
            let bytes = fs::read(&path).map_err(|e| StepError::io("read", &path, &e))?;
            // What is no module counts as a whole.
            let whole = Digest::of(&bytes);
            let run = beam_file::running_digest(&bytes).unwrap_or(whole);
            let interface = beam_file::interface_digest(&bytes).unwrap_or(whole);
            let protocol =
                beam_file::info(&bytes).is_ok_and(|info| info.protocol || info.implements.is_some());
            Ok((
                name,
                store.put_bytes(run.to_string().as_bytes())?,
                store.put_bytes(interface.to_string().as_bytes())?,
                protocol.then_some(whole),
            ))
        })
        .collect();
    let mut views = TreeBuilder::new();
    let mut protocols = TreeBuilder::new();
    for (name, run, interface, protocol) in looked? {
        views.file(&format!("run/{name}"), run, false).map_err(conflict)?;
        views.file(&format!("interface/{name}"), interface, false).map_err(conflict)?;
        if let Some(whole) = protocol {
            protocols.file(name, whole, false).map_err(conflict)?;
        }
    }
    let mut spec = TreeBuilder::new();
    if let Some(Node::File { digest, .. }) = store.lookup(&tree, &format!("ebin/{app}.app"))? {
        spec.file(&format!("{app}.app"), digest, false).map_err(conflict)?;
    }
    Ok(BTreeMap::from([
        ("app".to_owned(), tree),
        ("views".to_owned(), views.finish(store)?),
        ("protocols".to_owned(), protocols.finish(store)?),
        ("spec".to_owned(), spec.finish(store)?),
    ]))
}
