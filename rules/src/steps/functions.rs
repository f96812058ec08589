//! `release steps`: the functions among the steps of a release that come after `:assemble`, run on the assembled release.
//!
//! Those before it run where boot scripts are made (`boot`), since they may change all that goes into these. What they
//! leave behind in the project's folder is there for the later ones.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use relgraph_cache::{Digest, Node, Probe, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};
use walkdir::WalkDir;

use super::assemble::{self, conflict};
use super::boot::{self, Boot};
use super::{compile, custom, strip};
use crate::layout::Layout;
use crate::project::StripRecipe;
use crate::terms::Value;
use crate::vm::Vm;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "release steps", version: 1 };
/// The name of this step.
pub const STEP: &str = "release steps";

/// Applications that a function changed, as they go into the release.
pub const CHANGED: &str = "changed";
/// What a function put into the release's folder before it was assembled.
pub const PLACED: &str = "placed";
/// What Mix lays over the release.
pub const OVERLAYS: &str = "overlays";
/// What there is to know for the functions after `:assemble`.
const HANDED: &str = "handed";
/// What a function left in the project's folder.
const LEFT: &str = "left";

/// An application as functions find it.
#[derive(Debug, Clone)]
pub struct Home {
    /// Its name.
    pub app: String,
    /// Its sources, seen from the project's folder.
    pub dest: String,
    /// Where it is built, seen from the project's folder.
    pub build: String,
}

/// What functions may change of a release while it is made.
#[derive(Debug, Clone)]
pub struct Functions {
    /// Whether some run in this step.
    pub here: bool,
    /// Every application of the project.
    pub homes: Vec<Home>,
    /// How modules are stripped.
    pub recipe: Option<StripRecipe>,
    /// Which folders of an application go into a release.
    pub copied: Vec<String>,
}

impl Functions {
    /// Their part of a key.
    pub(super) fn parts(&self, parts: &mut KeyParts) {
        parts.text("functions", if self.here { "some" } else { "none here" });
        if self.here {
            strip::recipe_part(parts, self.recipe.as_ref());
            parts.list("copied", &self.copied);
        }
    }

    /// Makes `priv` and `include` of each application what they are where Mix builds: links to those of the sources, in
    /// which compilations have made what they make there.
    pub(super) fn link(&self, vm: &Vm<'_>, layout: &Layout) -> Result<(), StepError> {
        for (home, part) in self.linked() {
            let [source, built] = [&home.dest, &home.build].map(|at| layout.at(&format!("{at}/{part}")));
            let (real, link) = (vm.real(&source), vm.real(&built));
            if !real.is_dir() || !link.is_dir() {
                continue;
            }
            // A compilation had all of it in sight that counts, and what steps of the user made in place of it.
            let removed = if real.is_symlink() { fs::remove_file(&real) } else { fs::remove_dir_all(&real) };
            removed.map_err(|e| StepError::io("remove", &real, &e))?;
            fs::rename(&link, &real).map_err(|e| StepError::io("move", &link, &e))?;
            let climbs = "../".repeat(built.matches('/').count());
            symlink(format!("{climbs}{source}"), &link).map_err(|e| StepError::io("create", &link, &e))?;
        }
        Ok(())
    }

    /// What is read through these links was made by compilations.
    pub(super) fn probes(&self, layout: &Layout) -> Vec<Probe> {
        self.linked().map(|(home, part)| Probe::Tree(layout.at(&format!("{}/{part}", home.build)))).collect()
    }

    fn linked(&self) -> impl Iterator<Item = (&Home, &'static str)> {
        let homes = self.homes.iter().filter(|_| self.here);
        homes.flat_map(|home| ["priv", "include"].map(|part| (home, part)))
    }

    /// What functions that ran in a VM left there.
    pub(super) fn outputs(
        &self,
        cx: &StepContext<'_>,
        boot: &Boot,
        vm: &Vm<'_>,
        before: &Before,
        version: &str,
    ) -> Result<BTreeMap<String, Digest>, StepError> {
        let layout = &boot.whole.layout;
        let out = vm.real("out");
        let mut outputs = BTreeMap::from([
            (OVERLAYS.to_owned(), cx.store.ingest(&out.join(OVERLAYS), &|_| true)?),
            (HANDED.to_owned(), cx.store.ingest(&out.join(HANDED), &|_| true)?),
        ]);
        let (mut changed, mut left, mut placed) =
            (TreeBuilder::new(), TreeBuilder::new(), TreeBuilder::new());
        if self.here {
            for home in &self.homes {
                if let Some(tree) = self.changed(cx, vm, layout, home)? {
                    changed.graft(&home.app, tree).map_err(conflict)?;
                }
            }
            before.left(cx, vm, layout, &mut left)?;
            let release = vm.real(&layout.at(&boot.release_path()));
            if release.is_dir() {
                // Mix begins with an empty folder for this version.
                let version = format!("releases/{version}");
                let kept = |path: &str| !Path::new(path).starts_with(&version);
                placed.graft("", cx.store.ingest(&release, &kept)?).map_err(conflict)?;
            }
        }
        for (name, tree) in [(CHANGED, changed), (LEFT, left), (PLACED, placed)] {
            outputs.insert(name.to_owned(), tree.finish(cx.store)?);
        }
        Ok(outputs)
    }

    /// An application as it goes into the release, where it is no longer what its compilation made.
    fn changed(
        &self,
        cx: &StepContext<'_>,
        vm: &Vm<'_>,
        layout: &Layout,
        home: &Home,
    ) -> Result<Option<Digest>, StepError> {
        let build = layout.at(&home.build);
        // Links by a path of the sandbox lead nowhere out here.
        vm.work().linked(&build)?;
        let tree = compile::tree(cx.store, &vm.real(&build))?;
        if tree == cx.need(&compile::step(&home.app))?.output("app")? {
            return Ok(None);
        }
        let spec = format!("ebin/{}.app", home.app);
        let keep = |path: &str| path != spec && strip::is_copied(&self.copied, path);
        Ok(Some(strip::strip_tree(cx.store, &tree, self.recipe.as_ref(), &keep)?))
    }
}

/// What a file was before functions ran: enough to see that it was written since.
#[derive(PartialEq, Eq)]
struct Was {
    size: u64,
    time: (i64, i64),
    mode: u32,
}

/// The project's folder before functions ran.
#[derive(Default)]
pub(super) struct Before {
    files: Mutex<BTreeMap<String, Was>>,
    release: Mutex<String>,
}

impl Before {
    /// Looks at all of it but the release's own folder.
    pub(super) fn look(&self, vm: &Vm<'_>, layout: &Layout, release: &str) -> Result<(), StepError> {
        *self.release.lock().unwrap_or_else(PoisonError::into_inner) = release.to_owned();
        let found = self.walk(&vm.real(&layout.project()))?;
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    fn walk(&self, folder: &Path) -> Result<BTreeMap<String, Was>, StepError> {
        let release = self.release.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = BTreeMap::new();
        let below = |path: &Path| path.strip_prefix(folder).ok()?.to_str().map(str::to_owned);
        let entries = WalkDir::new(folder).min_depth(1).into_iter();
        for entry in entries.filter_entry(|entry| below(entry.path()).is_some_and(|path| path != release)) {
            let entry =
                entry.map_err(|e| StepError::input(format!("the project cannot be looked at: {e}")))?;
            let (Some(path), Ok(meta)) = (below(entry.path()), entry.metadata()) else { continue };
            // Of a folder it counts that it is there.
            let file = !meta.is_dir();
            let size = if file { meta.size() } else { 0 };
            let time = if file { (meta.mtime(), meta.mtime_nsec()) } else { (0, 0) };
            found.insert(path, Was { size, time, mode: meta.mode() });
        }
        Ok(found)
    }

    /// What was written since, seen from the project's folder.
    fn left(
        &self,
        cx: &StepContext<'_>,
        vm: &Vm<'_>,
        layout: &Layout,
        tree: &mut TreeBuilder,
    ) -> Result<(), StepError> {
        let folder = vm.real(&layout.project());
        let before = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        for (path, is) in self.walk(&folder)? {
            if before.get(&path) == Some(&is) {
                continue;
            }
            let real = folder.join(&path);
            let meta = fs::symlink_metadata(&real).map_err(|e| StepError::io("read", &real, &e))?;
            if meta.is_dir() {
                tree.directory(&path)
            } else if meta.is_symlink() {
                let target = fs::read_link(&real).map_err(|e| StepError::io("read", &real, &e))?;
                tree.symlink(&path, &target.to_string_lossy())
            } else if meta.is_file() {
                let executable = meta.permissions().mode() & 0o111 != 0;
                tree.file(&path, cx.store.put_file(&real)?, executable)
            } else {
                Ok(())
            }
            .map_err(conflict)?;
        }
        Ok(())
    }
}

/// Runs the functions after `:assemble`.
pub struct ReleaseSteps {
    /// The step before them, which knows the project.
    pub boot: Boot,
}

impl Action for ReleaseSteps {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.boot.parts(cx)?;
        parts.digest(format!("input {}", assemble::STEP), &cx.need(assemble::STEP)?.output("release")?);
        for output in [HANDED, LEFT] {
            parts.digest(format!("input {} {output}", boot::STEP), &cx.need(boot::STEP)?.output(output)?);
        }
        let available = Arc::new(self.boot.namespace(cx)?);
        Ok(Declared::discovering(parts, available).given(&self.boot.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let boot = cx.need(boot::STEP)?;
        let assembled = cx.need(assemble::STEP)?.output("release")?;
        if !Boot::read(cx.store, boot)?.functions {
            let outputs = BTreeMap::from([("release".to_owned(), assembled)]);
            return Ok(Ran { outputs, ..Ran::default() });
        }
        let layout = &self.boot.whole.layout;
        let release = layout.at(&self.boot.release_path());
        let prepare = |vm: &mut Vm<'_>| {
            let (same, mut pairs) = self.boot.prepare(cx, vm)?;
            vm.copy_tree(&boot.output(LEFT)?, LEFT)?;
            custom::move_into(&vm.real(LEFT), &vm.real(&layout.project()))?;
            vm.copy_tree(&assembled, &release)?;
            if let Some(Node::File { digest, .. }) = cx.store.lookup(&boot.output(HANDED)?, "release")? {
                vm.write("config/handed", &cx.store.read(&digest)?)?;
            }
            pairs.push(("handed", Value::text(vm.inside("config/handed"))));
            Ok((same, pairs))
        };
        let tools = self.boot.tools();
        let answered = self.boot.whole.ask_with(cx, &self.boot.common, "release_steps", tools, &prepare)?;
        let probes = self.boot.probes(cx, &answered)?;
        let tree = cx.store.ingest(&answered.vm.real(&release), &|_| true)?;
        let outputs = BTreeMap::from([("release".to_owned(), tree)]);
        Ok(Ran { probes, stable: answered.same, ..super::ran(answered.said.finished, outputs) })
    }
}
