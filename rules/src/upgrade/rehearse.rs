//! The step `rehearse`: the old release is started, moved to the new one and back, and looked at.
//!
//! Everything is started by the releases' own scripts, in a folder that is thrown away, with an epmd of its own. What is
//! compared is what a node tells of itself (`rules/beam/relgraph_rehearse.erl`).

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use relgraph_cache::{Digest, Link, Node, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, Mount, Ran, Rule, StepContext, StepError, StepResult, Stream};
use serde::{Deserialize, Serialize};

use super::{step, summary};
use crate::launch;
use crate::package;
use crate::schema;
use crate::steps::assemble::conflict;
use crate::steps::driver::UPGRADE_OUTPUT;
use crate::terms::{self, Value};
use crate::vm::{Common, DRIVER};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "rehearse", version: 1 };

/// The name of the step that rehearses the way from this version.
pub fn name(old: &str) -> String {
    format!("rehearse {old}")
}

/// How long a rehearsal may take, in seconds, where nobody says.
const PATIENCE: u64 = 300;

/// Rehearses an upgrade.
pub struct Rehearse {
    /// What it shares with the others.
    pub common: Common,
    /// The name of the release.
    pub release: String,
    /// The old release: its version and its tree.
    pub old: (String, Digest),
    /// The new one.
    pub new: (String, Digest),
    /// How it is rehearsed.
    pub settings: schema::Rehearse,
    /// What the script sees of the project.
    pub files: Digest,
}

/// What came of a rehearsal that passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// The version that ran.
    pub from: String,
    /// The version that it was moved to.
    pub to: String,
    /// What was done, in order.
    pub stages: Vec<Stage>,
    /// How many modules the new release has loaded, all of which are its own.
    pub modules: u64,
    /// How many supervised processes went on.
    pub processes: u64,
    /// What whoever upgrades should know.
    pub notes: Vec<String>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// What: `start new`, `start old`, `upgrade`, `check upgrade`, `downgrade`, `check downgrade`, `script`.
    pub name: String,
    /// How long it took.
    pub milliseconds: u64,
}

const FACTS: &str = "rehearsal.json";

impl Rehearsed {
    /// What the step found out.
    pub fn read(store: &Store, result: &StepResult) -> Result<Rehearsed, StepError> {
        let tree = result.output("facts")?;
        let Some(Node::File { digest, .. }) = store.lookup(&tree, FACTS)? else {
            return Err(StepError::internal("the rehearsal left no facts"));
        };
        serde_json::from_slice(&store.read(&digest)?)
            .map_err(|e| StepError::internal(format!("the facts of the rehearsal cannot be read: {e}")))
    }
}

/// The files of a project that a script sees, as a tree.
pub fn files(store: &Store, root: &Path, inputs: &[String]) -> Result<Digest, StepError> {
    let mut globs = GlobSetBuilder::new();
    for input in inputs {
        let glob = GlobBuilder::new(input).literal_separator(true).build();
        globs.add(glob.map_err(|e| StepError::input(format!("`{input}` is not a glob: {e}")))?);
    }
    let globs: GlobSet = globs.build().map_err(|e| StepError::input(e.to_string()))?;
    if globs.is_empty() {
        return Ok(TreeBuilder::new().finish(store)?);
    }
    let wanted = |path: &str| {
        let built = path.split('/').next().is_some_and(|first| matches!(first, "_build" | ".git"));
        !built && (root.join(path).is_dir() || globs.is_match(path))
    };
    Ok(store.ingest(root, &wanted)?)
}

impl Action for Rehearse {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        parts.text("old version", &self.old.0).digest("old release", &self.old.1);
        parts.text("new version", &self.new.0).digest("new release", &self.new.1);
        parts.digest("upgrade", &cx.need(step::STEP)?.output("upgrade")?);
        parts.text("script", self.settings.script()).digest("files", &self.files);
        parts.text("network", if self.settings.network { "yes" } else { "no" });
        for (name, value) in &self.settings.env {
            parts.text(format!("variable {name}"), value);
        }
        for name in &self.settings.pass_env {
            match cx.env.get(name) {
                Some(_) if cx.secrets.contains(name) => parts
                    .text(format!("secret {name}"), cx.secrets.mark(name).as_deref().unwrap_or("not set")),
                Some(value) => parts.digest(format!("variable {name}"), &Digest::of(value.as_bytes())),
                None => parts.text(format!("variable {name}"), "not set"),
            };
        }
        let secrets = self.settings.pass_env.iter().filter(|name| cx.secrets.contains(name));
        Ok(Declared::new(parts).given(secrets))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let scratch = cx.store.scratch()?;
        let work = scratch.path();
        let prefix = cx.sandbox.prefix(work);
        let inside = |path: &str| format!("{prefix}/{path}");
        cx.store.materialize(&self.old.1, &work.join("old"), Link::Copy)?;
        cx.store.materialize(&self.new.1, &work.join("new"), Link::Copy)?;
        cx.store.materialize(&self.files, &work.join("project"), Link::Copy)?;
        for folder in ["home", "tmp"] {
            let folder = work.join(folder);
            std::fs::create_dir_all(&folder).map_err(|e| StepError::io("create", &folder, &e))?;
        }
        let tree = cx.need(step::STEP)?.output("upgrade")?;
        package::tar_gz_with(cx.store, &tree, None, &work.join("package.tar.gz"), 1)
            .map_err(|e| StepError::new(relgraph_engine::StepErrorKind::Io, e.to_string()))?;
        let script = self.settings.script();
        let write = |name: &str, text: &[u8]| {
            let path = work.join(name);
            std::fs::write(&path, text).map_err(|e| StepError::io("write", &path, &e))
        };
        write("script", script.as_bytes())?;
        let mut env = self.settings.env.clone();
        for name in self.settings.pass_env.iter().filter(|name| !self.settings.env.contains_key(*name)) {
            env.extend(cx.env.get(name).map(|value| (name.clone(), value.clone())));
        }
        let summary = summary::Summary::read(cx.store, cx.need(step::STEP)?)?;
        let way = summary.ways.iter().find(|way| way.from == self.old.0);
        let restarted =
            way.iter().flat_map(|way| &way.applications).filter(|application| application.is_restarted());
        let pairs = vec![
            ("restarted", Value::texts(restarted.map(|application| application.name.clone()))),
            ("work", Value::text(prefix.clone())),
            ("driver", Value::text(inside("driver"))),
            ("installer", Value::text(inside("installer"))),
            ("release", Value::text(&self.release)),
            ("old", Value::text(&self.old.0)),
            ("new", Value::text(&self.new.0)),
            ("script", Value::Bool(!script.trim().is_empty())),
            ("port", Value::text(free_port()?.to_string())),
            ("patience", Value::text(self.settings.timeout.unwrap_or(PATIENCE).to_string())),
            (
                "env",
                Value::List(env.iter().map(|(k, v)| Value::pair(Value::text(k), Value::text(v))).collect()),
            ),
        ];
        write("plan", terms::request(&pairs).as_bytes())?;
        let flags = vec!["-pa".to_owned(), inside("driver")];
        let start = ["-run", "relgraph_rehearse", "main", &inside("plan")].map(str::to_owned).into();
        let mut spec = launch::vm(cx, &self.common, work, flags, start);
        let driver = cx.need(DRIVER)?.output("ebin")?;
        spec.mounts.push(Mount::read_only(cx.store.checkout(&driver)?, inside("driver")));
        let installer = cx.need(DRIVER)?.output(UPGRADE_OUTPUT)?;
        spec.mounts.push(Mount::read_only(cx.store.checkout(&installer)?, inside("installer")));
        spec.network = self.settings.network;
        let finished =
            cx.sandbox.run(&spec, cx.cancel, &|stream: Stream, line: &str| cx.line(stream, line))?;
        let answer = std::fs::read(work.join("answer"));
        let finished = match answer.as_deref().map(serde_json::from_slice::<Answer>) {
            Ok(Ok(answer)) if !answer.failures.is_empty() => return Err(self.failed(&answer)),
            _ => finished.check("the rehearsal")?,
        };
        let answer = answer.map_err(|e| StepError::io("read", &work.join("answer"), &e))?;
        let rehearsed: Rehearsed = serde_json::from_slice(&answer)
            .map_err(|e| StepError::internal(format!("the answer of the rehearsal cannot be read: {e}")))?;
        let text = serde_json::to_vec(&rehearsed)
            .map_err(|e| StepError::internal(format!("the facts of the rehearsal cannot be written: {e}")))?;
        let mut facts = TreeBuilder::new();
        facts.file(FACTS, cx.store.put_bytes(&text)?, false).map_err(conflict)?;
        let outputs = BTreeMap::from([("facts".to_owned(), facts.finish(cx.store)?)]);
        Ok(Ran { outputs, sandbox: Some(finished.mode), ..Ran::default() })
    }
}

/// What a rehearsal that failed says.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    failures: Vec<String>,
    #[serde(default)]
    output: String,
}

impl Rehearse {
    fn failed(&self, answer: &Answer) -> StepError {
        let lines: Vec<String> = answer.failures.iter().map(|failure| format!("  {failure}")).collect();
        let message =
            format!("the rehearsal of {} -> {} failed:\n{}", self.old.0, self.new.0, lines.join("\n"));
        let mut error =
            StepError::input(message).with_hint("the package is not made; without --rehearse it is, untried");
        error.stdout.clone_from(&answer.output);
        error
    }
}

/// A port of this machine that nobody listens at, for an epmd of the rehearsal's own: without a network of its own it
/// would meet that of others.
fn free_port() -> Result<u16, StepError> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.map(|address| address.port())
        .map_err(|e| StepError::input(format!("no port of 127.0.0.1 is free: {e}")))
}
