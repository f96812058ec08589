//! `compile APP` for a project of erlang.mk: make builds it in its own folder, and may read anything that it sees.
//!
//! Make decides by times of files. All sources are of one old time and all that was built is of a later one, as in a
//! checkout in which nothing was built since: the order in which files came to lie in a checkout means nothing.
//!
//! Of the applications that it sees, what make and its programs have read counts, as the file system tells it (`accessed`).

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use relgraph_cache::{Digest, Node, Probe};
use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::accessed;
use super::compile::{Other, recipe};
use crate::discover::{Native, Scope};
use crate::foreign;
use crate::layout::Layout;
use crate::namespace::{Namespace, Place};
use crate::project::Application;
use crate::reach::Reach;
use crate::source::{Entry, Snapshot};
use crate::steps::compile::{outputs, step};
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "compile erlang.mk", version: 3 };

/// The time of sources: seconds since 1970.
const SOURCES: u64 = 946_684_800;
/// The time of what was built from them.
const BUILT: u64 = SOURCES + 3600;

/// Variables of the user that make sees, besides those that release.yaml names: all of them count.
pub const SEEN: [&str; 20] = [
    "AR",
    "BINDIR",
    "CC",
    "CFLAGS",
    "CPPFLAGS",
    "CXX",
    "CXXFLAGS",
    "EMU",
    "HEX_OFFLINE",
    "HOME",
    "LANG",
    "LC_ALL",
    "LD",
    "LDFLAGS",
    "LDLIBS",
    "PATH",
    "PKG_CONFIG_PATH",
    "PROGNAME",
    "ROOTDIR",
    "TZ",
];

/// Compiles one application.
pub struct Make {
    /// What it shares with the others.
    pub common: Common,
    /// The application.
    pub application: Application,
    /// Its folder, with what an earlier make left there.
    pub source: Arc<Snapshot>,
    /// Where things lie inside the sandbox.
    pub layout: Layout,
    /// What there is on this machine.
    pub machine: Reach,
    /// What it sees, those in the folder of another one after that.
    pub sees: Vec<Other>,
    /// Folders of applications inside its own, seen from there.
    pub inner: Vec<String>,
    /// What lies elsewhere in the project and is included, or lies beside the dependencies: seen from the project's folder.
    pub shared: Arc<Snapshot>,
}

/// The variables that make sees.
pub fn seen(common: &Common) -> BTreeSet<String> {
    let names = SEEN.iter().map(|&name| name.to_owned());
    let set = common.env.keys().chain(&common.pass_env).chain(&common.secrets);
    names.chain(set.cloned()).collect()
}

/// Their names, for a request.
pub fn keep(common: &Common) -> Value {
    Value::List(seen(common).into_iter().map(Value::text).collect())
}

/// Whether a file of an application was made by an earlier make: the path is seen from the application's folder.
pub fn is_made(path: &str) -> bool {
    let in_ebin = path.strip_prefix("ebin/").is_some_and(|name| !name.ends_with(".appup"));
    in_ebin
        || path.split('/').any(|part| part == ".erlang.mk")
        || (!path.contains('/') && path.ends_with(".d"))
}

impl Make {
    fn namespace(&self, cx: &StepContext<'_>) -> Result<Namespace, StepError> {
        let mut namespace = Namespace::new(cx.store);
        namespace.on(self.machine.clone());
        namespace.put("shared", Place::Source(Arc::clone(&self.shared)));
        namespace.put(self.layout.at(&self.application.dest), Place::Source(Arc::new(self.clean_source())));
        for (seen, _) in &self.sees {
            let result = cx.need(&step(&seen.app))?;
            namespace.put(self.layout.at(&seen.dest), Place::Tree(result.output("shown")?));
            namespace.put(format!("views/{}", seen.app), Place::Tree(result.output("views")?));
        }
        Ok(namespace)
    }

    /// Its sources, without what an earlier make left.
    fn clean_source(&self) -> Snapshot {
        self.source.only(&|path, _| !is_made(path))
    }

    /// Whether an earlier make left something. Where it did, it may have left more than can be told by its name.
    fn is_left(&self) -> bool {
        self.source.entries().any(|(path, entry)| *entry != Entry::Directory && is_made(path))
    }

    fn folder(&self, application: &Application) -> String {
        self.layout.at(&application.dest)
    }
}

impl Action for Make {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("application", &self.application.app);
        parts.text("folder", self.folder(&self.application));
        parts.list("dependencies", self.sees.iter().map(|(seen, _)| seen.app.as_str()));
        parts.text("cleaned", if self.is_left() { "yes" } else { "no" });
        parts.digest("recipe", &recipe(cx, &self.application)?);
        Ok(Declared::discovering(parts, Arc::new(self.namespace(cx)?)).given(&self.common.secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let mut vm = Vm::ready(cx, &self.common)?;
        let at = self.folder(&self.application);
        let own = vm.real(&at);
        let mut same = true;
        // The application may lie in the folder of one that it sees, and the other way round.
        let outside = |(seen, _): &&Other| {
            !self.inner.iter().any(|inner| at_inner(&self.application.dest, inner) == seen.dest)
        };
        for (seen, source) in self.sees.iter().filter(outside) {
            self.show(cx, &vm, seen, source)?;
        }
        let source = self.clean_source();
        same &= source.stage(&own)?;
        set_times(&own, source.entries().map(|(path, _)| path), SOURCES)?;
        for (seen, source) in self.sees.iter().filter(|other| !outside(other)) {
            self.show(cx, &vm, seen, source)?;
        }
        let project = vm.real(&self.layout.at("."));
        let missing =
            self.shared.only(&|path, entry| *entry == Entry::Directory || !project.join(path).exists());
        same &= missing.stage(&project)?;
        set_times(&project, missing.entries().map(|(path, _)| path), SOURCES)?;
        vm.write("recipe.etf", &cx.store.read(&recipe(cx, &self.application)?)?)?;
        let pairs = vec![
            ("recipe", Value::text(vm.inside("recipe.etf"))),
            ("app", Value::atom(&self.application.app)),
            ("dest", Value::text(vm.inside(&at))),
            ("keep", keep(&self.common)),
            ("clean", Value::Bool(self.is_left())),
        ];
        let told = accessed::is_told(&vm.real("."));
        let said = vm.request("compile_erlang_mk", &self.layout, pairs)?;
        let read = if told { self.read(cx, &vm)? } else { Vec::new() };
        let namespace = self.namespace(cx)?;
        let scope = Scope {
            namespace: &namespace,
            reach: None,
            native: Native {
                compiled: true,
                sources: foreign::has_native(&vm.real(&at)),
                set: self.common.set(cx),
                variables: foreign::variables(&said.facts.programs, &vm.real(&at)),
            },
            ignores: &|_, _| false,
            own: vec![at.clone(), "shared".to_owned()],
            dependencies: self.sees.iter().map(|(seen, _)| (self.folder(seen), seen.app.clone())).collect(),
            ignored: Vec::new(),
            secrets: self.common.secrets.clone(),
            declared_env: self.common.env.keys().chain(&self.common.pass_env).cloned().collect(),
        };
        let mut probes = scope.probes(&said.facts, cx.env)?;
        for (folder, read) in read {
            let whole = Probe::Tree(folder);
            probes.retain(|probe| *probe != whole);
            probes.extend(read);
        }
        let mut outputs = outputs(cx.store, &own, &self.application.app)?;
        let shown = |path: &str| {
            let top = path.split('/').next().unwrap_or_default();
            let left = [".erlang.mk", "test", "logs"].contains(&top) || path.ends_with(".o");
            !left && !self.inner.iter().any(|inner| path == inner)
        };
        outputs.insert("shown".to_owned(), cx.store.ingest(&own, &shown)?);
        Ok(Ran { probes, stable: same, ..crate::steps::ran(said.finished, outputs) })
    }
}

impl Make {
    /// What was read of the applications that it sees, by their folders, where that can be told.
    fn read(&self, cx: &StepContext<'_>, vm: &Vm<'_>) -> Result<Vec<(String, BTreeSet<Probe>)>, StepError> {
        let mut all = Vec::new();
        for (seen, _) in &self.sees {
            let (folder, tree) = (self.folder(seen), cx.need(&step(&seen.app))?.output("shown")?);
            let read = accessed::probes(cx.store, &tree, &vm.real(&folder), &folder)?;
            all.extend(read.map(|read| (folder, read)));
        }
        Ok(all)
    }

    /// Puts another application in its place: its sources, and what they were built to.
    fn show(
        &self,
        cx: &StepContext<'_>,
        vm: &Vm<'_>,
        seen: &Application,
        source: &Snapshot,
    ) -> Result<(), StepError> {
        let tree: Digest = cx.need(&step(&seen.app))?.output("shown")?;
        let folder = self.folder(seen);
        vm.copy_tree(&tree, &folder)?;
        let real = vm.real(&folder);
        let files = cx.store.walk(&tree)?;
        let is_source = |path: &str, node: &Node| match (source.named(path), node) {
            (Some((_, Entry::File { digest, .. })), Node::File { digest: now, .. }) => {
                digest == now && !is_made(path)
            }
            _ => false,
        };
        let (sources, built): (Vec<_>, Vec<_>) = files.iter().partition(|(path, node)| is_source(path, node));
        give(&real, sources.iter().map(|(path, _)| path.as_str()), accessed::unread(SOURCES))?;
        give(&real, built.iter().map(|(path, _)| path.as_str()), accessed::unread(BUILT))
    }
}

fn at_inner(dest: &str, inner: &str) -> String {
    if dest == "." { inner.to_owned() } else { format!("{dest}/{inner}") }
}

/// Makes files, of a folder, of one time.
fn set_times<'a>(folder: &Path, paths: impl Iterator<Item = &'a str>, seconds: u64) -> Result<(), StepError> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    give(folder, paths, FileTimes::new().set_modified(time))
}

fn give<'a>(folder: &Path, paths: impl Iterator<Item = &'a str>, times: FileTimes) -> Result<(), StepError> {
    let paths: Vec<&str> = paths.collect();
    paths.par_iter().try_for_each(|path| {
        let real = folder.join(path);
        let is_file = fs::symlink_metadata(&real).is_ok_and(|meta| meta.is_file());
        let set = || File::open(&real)?.set_times(times);
        if is_file { set().map_err(|e| StepError::io("set the time of", &real, &e)) } else { Ok(()) }
    })
}

/// What of a project a description may look at: everything's name, and the content of what says how it is built. A file
/// of sources is empty for it, so that no edit there concerns it.
pub fn outline(whole: &Snapshot) -> Snapshot {
    whole.only(&|path, _| !is_left_anywhere(path)).hollow(&|path| {
        let name = path.rsplit('/').next().unwrap_or(path);
        if name == "release.yaml" {
            return true;
        }
        let end = name.rsplit_once('.').map_or("", |(_, end)| end);
        [
            "erl", "hrl", "ex", "exs", "xrl", "yrl", "asn1", "c", "h", "cc", "cpp", "hpp", "md", "js", "css",
            "beam", "tar",
        ]
        .contains(&end)
    })
}

fn is_left_anywhere(path: &str) -> bool {
    path.split('/').any(|part| part == ".erlang.mk")
        || (path.contains("ebin/") && path.ends_with(".beam"))
        || (path.ends_with(".d") && !path.contains("c_src/"))
}
