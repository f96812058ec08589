//! One Erlang VM, confined, that carries out one request of a step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::{Digest, Link, Scratch};
use relgraph_engine::{Background, Finished, KeyParts, Mount, StepContext, StepError};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::foreign::Rust;
use crate::launch;
use crate::layout::Layout;
use crate::links::Work;
use crate::spares::{GATE, Spares};
use crate::terms::{self, Value};
use crate::tool::Tool;
use crate::toolchain::Toolchain;

/// What every step of one project shares.
#[derive(Clone)]
pub struct Common {
    /// The tool whose project it is.
    pub tool: Tool,
    /// What builds the project.
    pub toolchain: Arc<Toolchain>,
    /// `MIX_ENV`, or the profile of rebar3.
    pub environment: String,
    /// `MIX_TARGET`.
    pub target: String,
    /// Variables that release.yaml sets.
    pub env: BTreeMap<String, String>,
    /// Variables of the user that release.yaml lets through: part of every key.
    pub pass_env: BTreeSet<String>,
    /// Variables of the user with secrets that release.yaml lets through: part of the key of who reads them, by a keyed hash.
    pub secrets: BTreeSet<String>,
    /// VMs that are started ahead.
    pub spares: Arc<Spares>,
    /// cargo, for steps that build crates.
    pub rust: Option<Arc<Rust>>,
    /// Whether the network may be used.
    pub network: bool,
}

impl Common {
    /// The parts of a key that every step with a VM has.
    pub fn parts(&self, cx: &StepContext<'_>) -> Result<KeyParts, StepError> {
        let mut parts = KeyParts::new();
        parts.digest("toolchain", &self.toolchain.digest);
        parts.digest("driver", &driver(cx)?);
        if self.tool == Tool::Rebar3 {
            parts.digest("rebar3", &rebar3(cx)?);
            parts.text("profile", &self.environment);
        }
        if self.toolchain.elixir.is_some() {
            parts.text("env MIX_ENV", &self.environment);
            parts.text("env MIX_TARGET", &self.target);
        }
        for (name, value) in &self.env {
            parts.text(format!("env {name}"), value);
        }
        if let Some(rust) = &self.rust {
            rust.part(&mut parts);
        }
        if self.network {
            parts.text("network", "yes");
        }
        // What comes from the user may be a secret: the key knows it by its digest alone.
        for name in self.pass_env.iter().filter(|name| !self.env.contains_key(*name)) {
            match cx.env.get(name) {
                Some(value) => parts.digest(format!("env {name}"), &Digest::of(value.as_bytes())),
                None => parts.text(format!("env {name}"), "not set"),
            };
        }
        Ok(parts)
    }

    /// Variables that the user sets or lets through.
    pub(crate) fn set(&self, cx: &StepContext<'_>) -> BTreeMap<String, String> {
        let passed = self.pass_env.iter().filter_map(|name| Some((name.clone(), cx.env.get(name)?.clone())));
        passed.chain(self.env.clone()).collect()
    }
}

/// The name of the step that compiles the driver.
pub const DRIVER: &str = "prepare driver";

/// The compiled driver.
pub(crate) fn driver(cx: &StepContext<'_>) -> Result<Digest, StepError> {
    cx.need(DRIVER)?.output("ebin")
}

/// The modules of rebar3, a folder per application: a VM takes them from there.
pub(crate) fn rebar3(cx: &StepContext<'_>) -> Result<Digest, StepError> {
    cx.need(DRIVER)?.output("rebar3")
}

/// A folder to work in, and the VM that works there. Its VM may run already, waiting for the request.
pub struct Vm<'a> {
    cx: &'a StepContext<'a>,
    common: &'a Common,
    // Before the folder, so that it has ended when that is removed.
    waiting: Option<Background>,
    scratch: Scratch,
    prefix: String,
    mounts: Vec<Mount>,
}

/// What the driver noticed while it worked.
#[derive(Debug, Default, Deserialize)]
pub struct Facts {
    /// `content`, `checked` (content, for warnings only), `listing`, `kind` or `tree` (a program was started in that
    /// folder), and a path seen from the prefix; an absolute
    /// one where it is not below that.
    pub reads: Vec<(String, String)>,
    /// Modules that were loaded, and from which file.
    pub loaded: Vec<(String, String)>,
    /// Environment variables that were asked for; `*`: all of them.
    pub env: Vec<String>,
    /// Programs that were started, with their arguments; what is for a shell is one word.
    pub programs: Vec<Vec<String>>,
    /// Modules whose documentation was read.
    pub docs: Vec<String>,
}

/// What came of a request.
pub struct Said {
    /// The driver's answer.
    pub answer: Json,
    /// What it noticed.
    pub facts: Facts,
    /// What the VM printed, and how it was confined.
    pub finished: Finished,
}

/// What came of a request that may have failed.
pub struct Attempt {
    /// What the driver noticed before it failed, unless it could not even say that.
    pub facts: Option<Facts>,
    /// What the VM printed.
    pub printed: String,
    /// The answer, or why there is none.
    pub said: Result<Said, StepError>,
}

impl<'a> Vm<'a> {
    /// An empty folder to work in, with a VM of its own.
    pub fn new(cx: &'a StepContext<'a>, common: &'a Common) -> Result<Self, StepError> {
        Ok(Self::with(cx, common, cx.store.scratch()?, None))
    }

    /// An empty folder to work in, with a VM that was started ahead if there is one.
    pub fn ready(cx: &'a StepContext<'a>, common: &'a Common) -> Result<Self, StepError> {
        match common.spares.take(cx, common) {
            Some((scratch, waiting)) => Ok(Self::with(cx, common, scratch, Some(waiting))),
            None => Self::new(cx, common),
        }
    }

    fn with(
        cx: &'a StepContext<'a>,
        common: &'a Common,
        scratch: Scratch,
        waiting: Option<Background>,
    ) -> Self {
        let prefix = cx.sandbox.prefix(scratch.path());
        Vm { cx, common, waiting, scratch, prefix, mounts: Vec::new() }
    }

    /// The real path of something in the folder.
    pub fn real(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// The path at which the VM sees it.
    pub fn inside(&self, path: &str) -> String {
        format!("{}/{path}", self.prefix)
    }

    /// The folder, as what its links mean is found out.
    pub fn work(&self) -> Work<'_> {
        Work { real: self.scratch.path(), prefix: &self.prefix }
    }

    /// Shows a real file or folder, read-only. Not for a VM that may run already.
    pub fn mount(&mut self, from: &Path, at: &str) {
        let at = self.inside(at);
        self.mounts.push(Mount::read_only(from, at));
    }

    /// The same at a path that does not lie in the folder.
    pub fn mount_at(&mut self, from: &Path, at: &str) {
        self.mounts.push(Mount::read_only(from, at));
    }

    /// Copies a stored tree into the folder. A mount could not be made under a VM that runs, and a hard link would let
    /// root write to the store.
    pub fn copy_tree(&self, tree: &Digest, at: &str) -> Result<(), StepError> {
        let real = self.real(at);
        if let Some(parent) = real.parent() {
            fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
        }
        Ok(self.cx.store.materialize(tree, &real, Link::Copy)?)
    }

    /// Writes a file into the folder.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<(), StepError> {
        let real = self.real(path);
        if let Some(parent) = real.parent() {
            fs::create_dir_all(parent).map_err(|e| StepError::io("create", parent, &e))?;
        }
        fs::write(&real, bytes).map_err(|e| StepError::io("write", &real, &e))
    }

    /// Carries out a request of the driver.
    pub fn request(
        &mut self,
        op: &str,
        layout: &Layout,
        pairs: Vec<(&str, Value)>,
    ) -> Result<Said, StepError> {
        self.attempt(op, layout, pairs)?.said
    }

    /// The same, for those who want to know what a request that failed had looked for.
    pub fn attempt(
        &mut self,
        op: &str,
        layout: &Layout,
        pairs: Vec<(&str, Value)>,
    ) -> Result<Attempt, StepError> {
        let mut all = vec![
            ("op", Value::atom(op)),
            ("env", Value::atom(&self.common.environment)),
            ("target", Value::atom(&self.common.target)),
            ("prefix", Value::text(&self.prefix)),
            ("response", Value::text(self.inside("response"))),
            ("cwd", Value::text(self.inside(&layout.project()))),
        ];
        if self.common.toolchain.rebar3.is_some() {
            all.push(("rebar3", Value::text(self.inside("tools/rebar3"))));
        }
        for (key, value) in pairs {
            all.retain(|(known, _)| *known != key);
            all.push((key, value));
        }
        self.write("request", terms::request(&all).as_bytes())?;
        let cx = self.cx;
        let program = match self.waiting.take() {
            Some(program) => program,
            None => {
                let mut spec = launch::waiting(cx, self.common, self.scratch.path())?;
                spec.mounts.append(&mut self.mounts);
                cx.sandbox.start(spec, &self.real(GATE))?
            }
        };
        self.common.spares.refill(cx, self.common);
        let finished = program.finish(cx.cancel, &|stream, line| cx.line(stream, line))?;
        let printed = [&finished.stdout, &finished.stderr].map(|text| String::from_utf8_lossy(text)).concat();
        let said = finished.check(op).and_then(|finished| self.said(op, finished));
        let facts = match &said {
            Ok(_) => None,
            Err(_) => {
                fs::read(self.real("response")).ok().and_then(|text| serde_json::from_slice(&text).ok())
            }
        };
        Ok(Attempt { facts, printed, said })
    }

    fn said(&self, op: &str, finished: Finished) -> Result<Said, StepError> {
        let path = self.real("response");
        let text = fs::read(&path).map_err(|e| StepError::io("read", &path, &e))?;
        let answer: Json = serde_json::from_slice(&text)
            .map_err(|e| StepError::internal(format!("the driver's answer to {op} is not JSON: {e}")))?;
        let facts = Facts::deserialize(&answer)
            .map_err(|e| StepError::internal(format!("the driver's answer to {op} lacks a fact: {e}")))?;
        Ok(Said { answer, facts, finished })
    }

    /// Runs a VM that carries out `start` and ends.
    pub fn run(&self, flags: Vec<String>, start: Vec<String>, what: &str) -> Result<Finished, StepError> {
        let cx = self.cx;
        let spec = launch::vm(cx, self.common, self.scratch.path(), flags, start);
        let finished = cx.sandbox.run(&spec, cx.cancel, &|stream, line| cx.line(stream, line))?;
        finished.check(what)
    }
}
