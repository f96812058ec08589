//! `compile APP` for a project in Erlang alone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, Probe};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::history::History;
use super::hooks;
use super::project::PROJECT;
use crate::attempt::{Prepared, Request};
use crate::discover::{Native, Scope};
use crate::layout::Layout;
use crate::lower::DESCRIBE;
use crate::namespace::{Namespace, Place};
use crate::project::Application;
use crate::reach::Reach;
use crate::source::{Entry, Snapshot};
use crate::steps::compile::{Made, outputs, step};
use crate::steps::custom;
use crate::terms::Value;
use crate::tool::Tool;
use crate::vm::{Common, Facts, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "compile erlang", version: 2 };

/// Folders of a compiled application.
const PARTS: [&str; 3] = ["ebin", "include", "priv"];

/// The name of the step that compiles an application of a project whose hooks may change what was compiled.
pub fn inner_step(app: &str) -> String {
    format!("compile {app} before hooks")
}

/// Another application that is seen: itself, and its sources.
pub type Other = (Application, Arc<Snapshot>);

/// Compiles one application.
pub struct Compile {
    /// What it shares with the others.
    pub common: Common,
    /// The application.
    pub application: Application,
    /// Its sources.
    pub source: Arc<Snapshot>,
    /// What of the project's folder belongs to no application, where the application is one of several in it.
    pub rest: Option<Arc<Snapshot>>,
    /// What the user's steps make among its sources, which does not count as one of them.
    pub made: Vec<Made>,
    /// Its history, where its version comes from it.
    pub history: Option<History>,
    /// Where things lie inside the sandbox.
    pub layout: Layout,
    /// What there is on this machine.
    pub reach: Reach,
    /// What it sees, in the order of the description.
    pub sees: Vec<Other>,
    /// The folders of all applications of the project.
    pub all: Arc<Vec<String>>,
    /// Whether hooks of the project ran before.
    pub hooks: bool,
    /// Whether hooks of the project run afterwards, which may change what was compiled.
    pub hooked: bool,
    /// The plugins of rebar3: the folders that they are built in, seen from the project's.
    pub plugins: Arc<Vec<String>>,
}

/// The plugins that rebar3 built when the project was described.
pub(super) fn plugins(cx: &StepContext<'_>, folders: &[String]) -> Result<Vec<(String, Digest)>, StepError> {
    if folders.is_empty() {
        return Ok(Vec::new());
    }
    let tree = cx.need(DESCRIBE)?.output("plugins")?;
    let found = folders.iter().map(|folder| match cx.store.lookup(&tree, folder)? {
        Some(Node::Directory { digest }) => Ok((folder.clone(), digest)),
        _ => Err(StepError::internal(format!("the step `describe` left no plugin in {folder}"))),
    });
    found.collect()
}

/// What its tool found out about an application.
pub(super) fn recipe(cx: &StepContext<'_>, application: &Application) -> Result<Digest, StepError> {
    recipe_in(cx, &format!("{}.etf", application.app))
}

/// What it found out about something else.
pub(super) fn recipe_named(cx: &StepContext<'_>, name: &str) -> Result<Digest, StepError> {
    recipe_in(cx, &format!("{name}.recipe"))
}

fn recipe_in(cx: &StepContext<'_>, path: &str) -> Result<Digest, StepError> {
    let recipes = cx.need(DESCRIBE)?.output("recipes")?;
    match cx.store.lookup(&recipes, path)? {
        Some(Node::File { digest, .. }) => Ok(digest),
        _ => Err(StepError::internal(format!("the step `describe` left no {path}"))),
    }
}

impl Compile {
    /// The name of the step that compiles an application that it sees.
    pub fn step_of(&self, seen: &Application) -> String {
        if self.hooked && seen.scm == PROJECT { inner_step(&seen.app) } else { step(&seen.app) }
    }

    /// What hooks of the project made among what it sees.
    fn by_hooks(&self, cx: &StepContext<'_>) -> Result<hooks::Made, StepError> {
        if !self.hooks || self.application.scm != PROJECT {
            return Ok(hooks::Made::default());
        }
        let others: Vec<&str> = self
            .sees
            .iter()
            .filter(|(seen, _)| seen.scm == PROJECT)
            .map(|(seen, _)| seen.dest.as_str())
            .collect();
        let all = self.all.iter().map(String::as_str);
        let folder = |path: &str| {
            all.clone().filter(|dest| Path::new(path).starts_with(dest)).max_by_key(|dest| dest.len())
        };
        Ok(hooks::Made::by(cx, hooks::BEFORE)?.only(&|path| match folder(path) {
            None => true,
            Some(dest) if dest == self.application.dest => true,
            Some(dest) => path.ends_with(".hrl") && others.contains(&dest),
        }))
    }

    fn prepare(&self, cx: &StepContext<'_>, vm: &mut Vm<'_>) -> Result<Prepared, StepError> {
        let app = &self.application;
        let (at, build) = (self.layout.at(&app.dest), self.layout.at(&app.build));
        let mut same = match &self.rest {
            Some(rest) => rest.stage(&vm.real(&self.layout.project()))?,
            None => true,
        };
        let mut code_paths = Vec::new();
        let mut beside = Vec::new();
        for other in &self.sees {
            same &= self.show(cx, vm, other)?;
            let seen = &other.0;
            code_paths.push(Value::text(vm.inside(&self.layout.at(&format!("{}/ebin", seen.build)))));
            if seen.scm == PROJECT {
                beside.push(Value::text(vm.inside(&self.layout.at(&seen.dest))));
            }
        }
        same &= self.source.stage(&vm.real(&at))?;
        for made in &self.made {
            vm.copy_tree(&cx.need(&made.step)?.output("files")?, "made")?;
            custom::move_into(&vm.real("made"), &vm.real(&self.layout.project()))?;
        }
        self.by_hooks(cx)?.stage(cx, vm, &self.layout.project())?;
        for (at, tree) in plugins(cx, &self.plugins)? {
            vm.copy_tree(&tree, &self.layout.at(&at))?;
        }
        vm.write("recipe.etf", &cx.store.read(&recipe(cx, &self.application)?)?)?;
        let mut pairs = vec![
            ("recipe", Value::text(vm.inside("recipe.etf"))),
            ("app", Value::atom(&app.app)),
            ("dest", Value::text(vm.inside(&at))),
            ("build", Value::text(vm.inside(&build))),
            ("code_paths", Value::List(code_paths)),
            ("beside", Value::List(beside)),
        ];
        pairs.extend(self.history.iter().map(|history| ("history", history.value())));
        Ok((same, pairs))
    }

    fn is_built_in_place(&self, application: &Application) -> bool {
        self.layout.at(&application.dest) == self.layout.at(&application.build)
    }

    fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = Namespace::new(cx.store);
        namespace.on(self.reach.clone());
        namespace.repositories(self.reach.clone());
        if let Some(rest) = &self.rest {
            namespace.put(self.layout.project(), Place::Source(Arc::clone(rest)));
        }
        namespace.put(self.layout.at(&self.application.dest), Place::Source(Arc::clone(&self.source)));
        for (seen, source) in &self.sees {
            let result = cx.need(&self.step_of(seen))?;
            let app = result.output("app")?;
            namespace.put(self.layout.at(&seen.dest), Place::Source(Arc::clone(source)));
            for at in [&seen.dest, &seen.build] {
                for part in PARTS {
                    if let Some(Node::Directory { digest }) = cx.store.lookup(&app, part)? {
                        namespace.put(self.layout.at(&format!("{at}/{part}")), Place::Tree(digest));
                    }
                }
            }
            namespace.put(format!("views/{}", seen.app), Place::Tree(result.output("views")?));
        }
        for (at, tree) in plugins(cx, &self.plugins)? {
            namespace.put(self.layout.at(&at), Place::Tree(tree));
        }
        Ok(namespace)
    }

    /// Puts in place what it sees of another application: what that was compiled to, and the headers among its sources.
    fn show(&self, cx: &StepContext<'_>, vm: &Vm<'_>, other: &Other) -> Result<bool, StepError> {
        let (seen, source) = other;
        let app = cx.need(&self.step_of(seen))?.output("app")?;
        vm.copy_tree(&app, &self.layout.at(&seen.build))?;
        let dest = self.layout.at(&seen.dest);
        let headers = source.only(&|path, entry| {
            let top = path.split('/').next().unwrap_or_default();
            !PARTS.contains(&top) && (path.ends_with(".hrl") || *entry == Entry::Directory)
        });
        let same = headers.stage(&vm.real(&dest))?;
        if !self.is_built_in_place(seen) {
            self.link_headers(vm, seen, &headers)?;
        }
        if !self.is_built_in_place(seen)
            && let Some(Node::Directory { digest }) = cx.store.lookup(&app, "include")?
        {
            vm.copy_tree(&digest, &format!("{dest}/include"))?;
        }
        Ok(same)
    }

    /// `-include_lib("other/src/other.hrl")` finds the sources where the other application is built.
    fn link_headers(&self, vm: &Vm<'_>, seen: &Application, headers: &Snapshot) -> Result<(), StepError> {
        let top =
            headers.entries().filter(|(path, entry)| **entry == Entry::Directory && !path.contains('/'));
        for (folder, _) in top {
            let [from, to] =
                [&seen.dest, &seen.build].map(|at| vm.real(&self.layout.at(&format!("{at}/{folder}"))));
            if to.symlink_metadata().is_err() {
                hooks::link(&from, &to)?;
            }
        }
        Ok(())
    }

    /// rebar3 links folders of the sources into the build folder: what is read there is read from the sources.
    fn resolved(&self, mut facts: Facts, vm: &Vm<'_>) -> Facts {
        let mut links: Vec<(String, String)> = Vec::new();
        for application in self.sees.iter().map(|(seen, _)| seen).chain([&self.application]) {
            if !self.is_built_in_place(application) {
                links.push((self.layout.at(&application.build), self.layout.at(&application.dest)));
            }
        }
        for (_, path) in &mut facts.reads {
            for (from, to) in &links {
                if let Some(rest) = path.strip_prefix(&format!("{from}/"))
                    && rest != "ebin"
                    && !rest.starts_with("ebin/")
                {
                    *path = format!("{to}/{rest}");
                    break;
                }
            }
        }
        looked_for_in_vain(&mut facts, &self.plugin_folders(), vm);
        facts
    }

    /// Where plugins lie inside the sandbox.
    fn plugin_folders(&self) -> Vec<String> {
        self.plugins.iter().map(|at| self.layout.at(at)).collect()
    }
}

impl Action for Compile {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        let app = &self.application;
        parts.text("application", &app.app);
        parts.text("folder", self.layout.at(&app.dest));
        parts.text("build folder", self.layout.at(&app.build));
        parts.list("dependencies", self.sees.iter().map(|(seen, _)| seen.app.as_str()));
        parts.digest("recipe", &recipe(cx, &self.application)?);
        for made in &self.made {
            parts.digest(format!("input {}", made.step), &cx.need(&made.step)?.output("files")?);
        }
        if let Some(history) = &self.history {
            parts.list("history", [&history.version, &history.short, &history.long]);
        }
        self.by_hooks(cx)?.part(&mut parts, cx.store)?;
        Ok(Declared::discovering(parts, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let app = &self.application;
        let (at, build) = (self.layout.at(&app.dest), self.layout.at(&app.build));
        let op = match self.common.tool {
            Tool::Otp => "compile_otp",
            _ => "compile_rebar3",
        };
        let request = Request {
            cx,
            common: &self.common,
            op,
            layout: &self.layout,
            reach: &self.reach,
            folder: at.clone(),
            build: None,
            tools: Vec::new(),
            // It sees what it may see, and the repository that the project lies in.
            ignores: &|_, path| !path.split('/').any(|part| part == ".git"),
        };
        let answered = request.make(&|vm| self.prepare(cx, vm))?;
        let (vm, said, same) = (answered.vm, answered.said, answered.same);
        let facts = self.resolved(said.facts, &vm);
        let namespace = self.namespace(cx)?;
        let mut dependencies = BTreeMap::new();
        for (seen, _) in &self.sees {
            dependencies.insert(self.layout.at(&seen.dest), seen.app.clone());
            dependencies.insert(self.layout.at(&seen.build), seen.app.clone());
        }
        let mut ignored = vec![format!("{}/_build", self.layout.project())];
        // What a step made is in the key already.
        ignored.extend(self.by_hooks(cx)?.places(&self.layout.project()));
        ignored.extend(self.made.iter().flat_map(|made| &made.outputs).map(|output| self.layout.at(output)));
        if self.is_built_in_place(app) {
            ignored.extend(["ebin", ".rebar3"].map(|made| format!("{build}/{made}")));
        } else {
            ignored.push(build.clone());
        }
        let native = Native::of(&facts, &at, &|path| vm.real(path), self.common.set(cx));
        let mut own = vec![at];
        own.extend(self.rest.iter().map(|_| self.layout.project()));
        own.extend(self.plugin_folders());
        let scope = Scope {
            namespace: &namespace,
            reach: None,
            native,
            ignores: &|_, _| false,
            own,
            dependencies,
            ignored,
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let mut probes = scope.probes(&facts, cx.env)?;
        probes.extend(answered.probes);
        probes.extend(vm.work().linked(&build)?.into_iter().filter(|probe| !scope.is_built(probe)));
        if self.is_built_in_place(app) {
            // They are taken as they lie there: nobody read them.
            probes.extend(PARTS.map(|part| Probe::Tree(format!("{build}/{part}"))));
        }
        let built = vm.real(&build);
        drop_dead_links(&built)?;
        let outputs = outputs(cx.store, &built, &app.app)?;
        Ok(Ran { probes, stable: same, ..crate::steps::ran(said.finished, outputs) })
    }
}

/// Modules are looked for in each plugin before they are found elsewhere: what counts is which modules a plugin has.
pub(super) fn looked_for_in_vain(facts: &mut Facts, plugins: &[String], vm: &Vm<'_>) {
    for (kind, path) in &mut facts.reads {
        let Some((folder, _)) = path.rsplit_once('/').filter(|_| path.ends_with(".beam")) else { continue };
        if plugins.iter().any(|plugin| Path::new(folder).starts_with(plugin)) && !vm.real(path).exists() {
            "listing".clone_into(kind);
            *path = folder.to_owned();
        }
    }
}

/// rebar3 links `priv` and `include` into the build folder whether they are there or not.
pub(super) fn drop_dead_links(build: &Path) -> Result<(), StepError> {
    for part in PARTS {
        let path = build.join(part);
        if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) && !path.exists() {
            fs::remove_file(&path).map_err(|e| StepError::io("remove", &path, &e))?;
        }
    }
    Ok(())
}
