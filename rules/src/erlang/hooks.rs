//! Hooks of a rebar3 project that belong to none of its applications: they run in the project's folder, before the first of
//! its applications is compiled and after the last one, and may read and change what they like.
//!
//! What they change becomes part of what comes later: files among the sources are put over the sources of the applications
//! and of the release, files of compiled applications over these.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, Store, TreeBuilder, TreeError};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::compile::{drop_dead_links, inner_step, looked_for_in_vain, plugins, recipe_named};
use super::project::PROJECT;
use crate::attempt::Prepared;
use crate::discover::{Native, Scope};
use crate::namespace::{Namespace, Place};
use crate::project::Application;
use crate::source::{Entry, Snapshot};
use crate::steps::assemble::conflict;
use crate::steps::compile::{outputs, step};
use crate::steps::custom::move_into;
use crate::steps::describe::Whole;
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of these steps.
pub const RULE: Rule = Rule { name: "rebar3 hooks", version: 1 };
/// The rule of the step that takes up what they made of a compiled application.
pub const TAKE_UP: Rule = Rule { name: "after rebar3 hooks", version: 1 };

/// The step that runs those before the applications are compiled.
pub const BEFORE: &str = "hooks before compile";
/// The step that runs those after they are.
pub const AFTER: &str = "hooks after compile";

/// Folders of a compiled application.
const PARTS: [&str; 3] = ["ebin", "include", "priv"];
/// Those of them that rebar3 links to the sources.
const LINKED: [&str; 2] = ["include", "priv"];
/// The name under which the files are kept that hooks took away.
const GONE: &str = "gone";

/// When hooks run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the applications of the project are compiled, and after its dependencies are.
    Before,
    /// After all is compiled.
    After,
}

/// Runs the hooks of the project itself.
pub struct Hooks {
    /// What it shares with the others.
    pub common: Common,
    /// The project.
    pub whole: Whole,
    /// When they run.
    pub when: When,
    /// What is compiled by then.
    pub applications: Vec<Application>,
    /// The plugins of rebar3.
    pub plugins: Arc<Vec<String>>,
    /// Whether there are others that run before.
    pub follow: bool,
}

/// What hooks did to the sources.
#[derive(Debug, Clone, Default)]
pub struct Made {
    /// What they wrote, seen from the project's folder.
    pub files: BTreeMap<String, Node>,
    /// What they took away.
    pub gone: Vec<String>,
}

impl Made {
    /// What the hooks did that ran in a step.
    pub fn by(cx: &StepContext<'_>, name: &str) -> Result<Made, StepError> {
        let result = cx.need(name)?;
        let gone = result.values.get(GONE).map(|text| text.lines().map(str::to_owned).collect());
        let files = cx.store.walk(&result.output("files")?)?.into_iter().collect();
        Ok(Made { files, gone: gone.unwrap_or_default() })
    }

    /// What of it lies where `keep` says.
    pub fn only(mut self, keep: &dyn Fn(&str) -> bool) -> Made {
        self.files.retain(|path, _| keep(path));
        self.gone.retain(|path| keep(path));
        self
    }

    /// Its parts of a key.
    pub fn part(&self, parts: &mut KeyParts, store: &Store) -> Result<(), StepError> {
        if !self.files.is_empty() || !self.gone.is_empty() {
            parts.digest("made by hooks", &self.tree(store)?).list("taken away by hooks", &self.gone);
        }
        Ok(())
    }

    fn tree(&self, store: &Store) -> Result<Digest, StepError> {
        let mut tree = TreeBuilder::new();
        for (path, node) in &self.files {
            put(&mut tree, path, node).map_err(conflict)?;
        }
        Ok(tree.finish(store)?)
    }

    /// Puts it over the project's folder in that of a VM.
    pub fn stage(&self, cx: &StepContext<'_>, vm: &Vm<'_>, project: &str) -> Result<(), StepError> {
        if !self.files.is_empty() {
            vm.copy_tree(&self.tree(cx.store)?, "made-by-hooks")?;
            move_into(&vm.real("made-by-hooks"), &vm.real(project))?;
        }
        for path in &self.gone {
            let real = vm.real(&format!("{project}/{path}"));
            if let Err(error) = fs::remove_file(&real)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                return Err(StepError::io("remove", &real, &error));
            }
        }
        Ok(())
    }

    /// Where it lies inside the sandbox.
    pub fn places(&self, project: &str) -> impl Iterator<Item = String> {
        let files = self.files.iter().filter(|(_, node)| !matches!(node, Node::Directory { .. }));
        files.map(|(path, _)| path).chain(&self.gone).map(move |path| format!("{project}/{path}"))
    }
}

fn put(tree: &mut TreeBuilder, path: &str, node: &Node) -> Result<(), TreeError> {
    match node {
        Node::Directory { .. } => tree.directory(path),
        Node::Symlink { target } => tree.symlink(path, target),
        Node::File { digest, executable } => tree.file(path, *digest, *executable),
    }
}

/// The name of the step whose result says what an application was compiled to by the time that hooks run.
fn compiled(application: &Application) -> String {
    if application.scm == PROJECT { inner_step(&application.app) } else { step(&application.app) }
}

impl Hooks {
    fn project(&self) -> String {
        self.whole.layout.project()
    }

    fn made_before(&self, cx: &StepContext<'_>) -> Result<Made, StepError> {
        if self.follow { Made::by(cx, BEFORE) } else { Ok(Made::default()) }
    }

    fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = self.whole.namespace(cx)?;
        for application in &self.applications {
            let result = cx.need(&compiled(application))?;
            let tree = result.output("app")?;
            let at = self.whole.layout.at(&application.build);
            for part in PARTS {
                if let Some(Node::Directory { digest }) = cx.store.lookup(&tree, part)? {
                    namespace.put(format!("{at}/{part}"), Place::Tree(digest));
                }
            }
            namespace.put(format!("views/{}", application.app), Place::Tree(result.output("views")?));
        }
        for (at, tree) in plugins(cx, &self.plugins)? {
            namespace.put(self.whole.layout.at(&at), Place::Tree(tree));
        }
        Ok(namespace)
    }

    fn prepare(&self, cx: &StepContext<'_>, vm: &mut Vm<'_>) -> Result<Prepared, StepError> {
        let same = self.whole.stage(vm)?;
        self.made_before(cx)?.stage(cx, vm, &self.project())?;
        let mut code_paths = Vec::new();
        for application in &self.applications {
            let tree = cx.need(&compiled(application))?.output("app")?;
            let (build, dest) =
                [&application.build, &application.dest].map(|at| self.whole.layout.at(at)).into();
            for part in PARTS {
                let linked = LINKED.contains(&part) && build != dest;
                let at = format!("{}/{part}", if linked { &dest } else { &build });
                if let Some(Node::Directory { digest }) = cx.store.lookup(&tree, part)? {
                    put_there(vm, &digest, &at)?;
                }
                if linked {
                    link(&vm.real(&at), &vm.real(&format!("{build}/{part}")))?;
                }
            }
            code_paths.push(Value::text(vm.inside(&format!("{build}/ebin"))));
        }
        for (at, tree) in plugins(cx, &self.plugins)? {
            put_there(vm, &tree, &self.whole.layout.at(&at))?;
        }
        vm.write("recipe.etf", &cx.store.read(&recipe_named(cx, "hooks")?)?)?;
        let when = if self.when == When::Before { "pre" } else { "post" };
        let pairs = vec![
            ("recipe", Value::text(vm.inside("recipe.etf"))),
            ("type", Value::atom(when)),
            ("code_paths", Value::List(code_paths)),
        ];
        Ok((same, pairs))
    }

    /// What the project's folder has become.
    fn made(&self, cx: &StepContext<'_>, vm: &Vm<'_>) -> Result<Made, StepError> {
        let before = self.whole.snapshot(".")?;
        let known = self.made_before(cx)?;
        let linked: Vec<String> = self
            .applications
            .iter()
            .filter(|application| application.build != application.dest)
            .flat_map(|application| LINKED.map(|part| below(&application.dest, part)))
            .collect();
        let passed = |path: &str| {
            let left_out = path.split('/').any(|part| crate::source::LEFT_OUT.contains(&part));
            !left_out && !linked.iter().any(|folder| Path::new(path).starts_with(folder))
        };
        let now = cx.store.ingest(&vm.real(&self.project()), &passed)?;
        let mut made = Made::default();
        let mut seen = std::collections::BTreeSet::new();
        for (path, node) in cx.store.walk(&now)? {
            let old = known.files.get(&path).cloned().or_else(|| entry(&before, &path));
            let same = match (&node, &old) {
                (Node::Directory { .. }, Some(Node::Directory { .. })) => true,
                (node, Some(old)) => node == old,
                _ => false,
            };
            if !same {
                made.files.insert(path.clone(), node);
            }
            seen.insert(path);
        }
        let files = before.entries().filter(|(_, entry)| **entry != Entry::Directory).map(|(path, _)| path);
        let files =
            files.chain(known.files.iter().filter_map(|(path, node)| {
                (!matches!(node, Node::Directory { .. })).then_some(path.as_str())
            }));
        let hidden = |path: &str| self.whole.hidden.iter().any(|folder| Path::new(path).starts_with(folder));
        made.gone = files
            .filter(|path| {
                passed(path) && !seen.contains(*path) && !known.gone.iter().any(|gone| gone == path)
            })
            .filter(|path| !hidden(path))
            .map(str::to_owned)
            .collect();
        made.gone.sort();
        made.gone.dedup();
        Ok(made)
    }

    /// The compiled applications that are not what they were.
    fn changed(&self, cx: &StepContext<'_>, vm: &Vm<'_>) -> Result<Digest, StepError> {
        let mut tree = TreeBuilder::new();
        for application in self.applications.iter().filter(|application| application.scm == PROJECT) {
            let build = vm.real(&self.whole.layout.at(&application.build));
            drop_dead_links(&build)?;
            let kept = |path: &str| PARTS.contains(&path.split('/').next().unwrap_or_default());
            let now = cx.store.ingest_dereferenced(&build, &kept)?;
            if now != cx.need(&compiled(application))?.output("app")? {
                tree.graft(&application.app, now).map_err(conflict)?;
            }
        }
        Ok(tree.finish(cx.store)?)
    }
}

/// A tree in the place of what lies there.
fn put_there(vm: &Vm<'_>, tree: &Digest, at: &str) -> Result<(), StepError> {
    let real = vm.real(at);
    if fs::symlink_metadata(&real).is_ok() {
        relgraph_cache::remove_tree(&real)?;
    }
    vm.copy_tree(tree, at)
}

/// `priv` of an application in a folder, seen from the project's.
fn below(dest: &str, part: &str) -> String {
    if dest == "." { part.to_owned() } else { format!("{dest}/{part}") }
}

fn entry(snapshot: &Snapshot, path: &str) -> Option<Node> {
    snapshot.named(path).map(|(_, entry)| match entry {
        Entry::File { digest, executable } => Node::File { digest: *digest, executable: *executable },
        Entry::Symlink(target) => Node::Symlink { target: target.clone() },
        // Its content is compared file by file.
        Entry::Directory => Node::Directory { digest: Digest::of(b"") },
    })
}

/// As rebar3 links it: whether it is there or not.
pub(super) fn link(to: &Path, at: &Path) -> Result<(), StepError> {
    if let Some(parent) = at.parent() {
        fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
    }
    let climbs = at.parent().map_or(0, |parent| parent.components().count());
    let common = to.components().zip(at.components()).take_while(|(a, b)| a == b).count();
    let up: std::path::PathBuf = std::iter::repeat_n("..", climbs - common.min(climbs)).collect();
    let down: std::path::PathBuf = to.components().skip(common).collect();
    symlink(up.join(down), at).map_err(|e| StepError::io("create", at, &e))
}

impl Action for Hooks {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("when", format!("{:?}", self.when));
        parts.digest("recipe", &recipe_named(cx, "hooks")?);
        parts.list("folders", self.whole.own());
        parts.list("applications", self.applications.iter().map(|a| format!("{} {}", a.app, a.build)));
        self.made_before(cx)?.part(&mut parts, cx.store)?;
        Ok(Declared::discovering(parts, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let answered =
            self.whole.ask_with(cx, &self.common, "hooks_rebar3", Vec::new(), &|vm| self.prepare(cx, vm))?;
        let mut facts = answered.said.facts;
        let folders: Vec<String> = self.plugins.iter().map(|at| self.whole.layout.at(at)).collect();
        looked_for_in_vain(&mut facts, &folders, &answered.vm);
        let (namespace, reach) = (self.namespace(cx)?, self.whole.reach());
        let project = self.project();
        let mut ignored = self.whole.ignored();
        ignored.extend(self.made_before(cx)?.places(&project));
        let scope = Scope {
            namespace: &namespace,
            reach: Some(&reach),
            native: Native {
                compiled: true,
                ..Native::of(&facts, &project, &|path| answered.vm.real(path), self.common.set(cx))
            },
            ignores: &|_, path| self.whole.passes(&reach, path),
            own: self.whole.own().into_iter().chain(folders).collect(),
            dependencies: self
                .applications
                .iter()
                .map(|application| (self.whole.layout.at(&application.build), application.app.clone()))
                .collect(),
            ignored,
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let mut probes = scope.probes(&facts, cx.env)?;
        probes.extend(answered.probes);
        let made = self.made(cx, &answered.vm)?;
        let mut results = BTreeMap::from([("files".to_owned(), made.tree(cx.store)?)]);
        if self.when == When::After {
            results.insert("applications".to_owned(), self.changed(cx, &answered.vm)?);
        }
        let gone = (!made.gone.is_empty()).then(|| (GONE.to_owned(), made.gone.join("\n")));
        let values = gone.into_iter().collect();
        Ok(Ran {
            probes,
            values,
            stable: answered.same,
            ..crate::steps::ran(answered.said.finished, results)
        })
    }
}

/// An application as it is after the hooks ran that come after compiling.
pub struct TakeUp {
    /// The application.
    pub app: String,
}

impl Action for TakeUp {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        parts.text("application", &self.app);
        for (name, digest) in &cx.need(&inner_step(&self.app))?.outputs {
            parts.digest(format!("output {name}"), digest);
        }
        if let Some(digest) = self.changed(cx)? {
            parts.digest("changed", &digest);
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let compiled = cx.need(&inner_step(&self.app))?;
        let outputs = match self.changed(cx)? {
            None => compiled.outputs.clone(),
            Some(tree) => {
                let scratch = cx.store.scratch()?;
                let build = scratch.path().join("app");
                cx.store.materialize(&tree, &build, relgraph_cache::Link::Copy)?;
                outputs(cx.store, &build, &self.app)?
            }
        };
        Ok(Ran { outputs, values: compiled.values.clone(), ..Ran::default() })
    }
}

impl TakeUp {
    fn changed(&self, cx: &StepContext<'_>) -> Result<Option<Digest>, StepError> {
        let tree = cx.need(AFTER)?.output("applications")?;
        Ok(match cx.store.lookup(&tree, &self.app)? {
            Some(Node::Directory { digest }) => Some(digest),
            _ => None,
        })
    }
}
