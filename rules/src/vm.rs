//! One Erlang VM, confined, that carries out one request of a step.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::{Digest, Scratch};
use relgraph_engine::{Finished, KeyParts, Mount, SandboxMode, SandboxSpec, StepContext, StepError};
use serde::Deserialize;
use serde_json::Value as Json;

use crate::layout::Layout;
use crate::terms::{self, Value};
use crate::toolchain::Toolchain;

/// What every step of one project shares.
#[derive(Clone)]
pub struct Common {
    /// What builds the project.
    pub toolchain: Arc<Toolchain>,
    /// `MIX_ENV`.
    pub environment: String,
    /// `MIX_TARGET`.
    pub target: String,
    /// Variables that release.yaml sets.
    pub env: BTreeMap<String, String>,
    /// Variables of the user that release.yaml lets through: part of every key.
    pub pass_env: BTreeSet<String>,
}

impl Common {
    /// The parts of a key that every step with a VM has.
    pub fn parts(&self, cx: &StepContext<'_>) -> Result<KeyParts, StepError> {
        let mut parts = KeyParts::new();
        parts.digest("toolchain", &self.toolchain.digest);
        parts.digest("driver", &driver(cx)?);
        parts.text("env MIX_ENV", &self.environment);
        parts.text("env MIX_TARGET", &self.target);
        for (name, value) in &self.env {
            parts.text(format!("env {name}"), value);
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

    fn set(&self, cx: &StepContext<'_>) -> BTreeMap<String, String> {
        let passed = self.pass_env.iter().filter_map(|name| Some((name.clone(), cx.env.get(name)?.clone())));
        passed.chain(self.env.clone()).collect()
    }
}

/// The name of the step that compiles the driver.
pub const DRIVER: &str = "prepare driver";

fn driver(cx: &StepContext<'_>) -> Result<Digest, StepError> {
    cx.need(DRIVER)?.output("ebin")
}

/// A folder to work in, and what the VM will see besides.
pub struct Vm<'a> {
    cx: &'a StepContext<'a>,
    common: &'a Common,
    scratch: Scratch,
    prefix: String,
    mounts: Vec<Mount>,
    /// Variables of this step alone.
    pub env: BTreeMap<String, String>,
}

/// What the driver noticed while it worked.
#[derive(Debug, Default, Deserialize)]
pub struct Facts {
    /// `content`, `checked` (content, for warnings only), `listing` or `kind`, and a path seen from the prefix.
    pub reads: Vec<(String, String)>,
    /// Modules that were loaded, and from which file.
    pub loaded: Vec<(String, String)>,
    /// Environment variables that were asked for; `*`: all of them.
    pub env: Vec<String>,
    /// Programs that were started.
    pub programs: Vec<String>,
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

impl<'a> Vm<'a> {
    /// An empty folder to work in.
    pub fn new(cx: &'a StepContext<'a>, common: &'a Common) -> Result<Self, StepError> {
        let scratch = cx.store.scratch()?;
        let prefix = cx.sandbox.prefix(scratch.path());
        Ok(Vm { cx, common, scratch, prefix, mounts: Vec::new(), env: BTreeMap::new() })
    }

    /// The real path of something in the folder.
    pub fn real(&self, path: &str) -> PathBuf {
        self.scratch.path().join(path)
    }

    /// The path at which the VM sees it.
    pub fn inside(&self, path: &str) -> String {
        format!("{}/{path}", self.prefix)
    }

    /// Whether what lies outside is seen at a fixed path.
    pub fn confined(&self) -> bool {
        self.cx.sandbox.mode() != SandboxMode::Plain
    }

    /// Shows a real file or folder, read-only.
    pub fn mount(&mut self, from: &Path, at: &str) {
        let at = self.inside(at);
        self.mounts.push(Mount::read_only(from, at));
    }

    /// Shows a stored tree, read-only.
    pub fn mount_tree(&mut self, tree: &Digest, at: &str) -> Result<(), StepError> {
        let real = self.cx.store.checkout(tree)?;
        self.mount(&real, at);
        Ok(())
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
        self.mount_tree(&driver(self.cx)?, "driver")?;
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
        let main = format!("Relgraph.Driver.main(\"{}\")", self.inside("request"));
        let driver = self.inside("driver");
        let finished = self.elixir(&["-pa", &driver], &["-e", &main], op)?;
        let path = self.real("response");
        let text = fs::read(&path).map_err(|e| StepError::io("read", &path, &e))?;
        let answer: Json = serde_json::from_slice(&text)
            .map_err(|e| StepError::internal(format!("the driver's answer to {op} is not JSON: {e}")))?;
        let facts = Facts::deserialize(&answer)
            .map_err(|e| StepError::internal(format!("the driver's answer to {op} lacks a fact: {e}")))?;
        Ok(Said { answer, facts, finished })
    }

    /// Runs Elixir's own command line: `flags` go to the VM, `args` to Elixir.
    pub fn elixir(&mut self, flags: &[&str], args: &[&str], what: &str) -> Result<Finished, StepError> {
        let toolchain = &self.common.toolchain;
        let (erlang, elixir) = (toolchain.erlang.root.clone(), toolchain.elixir.root.clone());
        self.mount(&erlang, "otp");
        self.mount(&elixir, "elixir");
        if let Some(rebar3) = toolchain.rebar3.clone() {
            self.mount(&rebar3, "tools/rebar3");
        }
        // Scripts of an installation may name it by its own path.
        for root in [&erlang, &elixir] {
            if self.confined() && !root.starts_with("/usr") {
                self.mounts.push(Mount::read_only(root, root.to_string_lossy()));
            }
        }
        let bin = self.inside(&format!("otp/erts-{}/bin", toolchain.erlang.erts));
        // One scheduler: maps of more than 32 atoms iterate in an order that follows scheduling. Little busy waiting, for
        // other steps have a use for the core; without any, each of the thousands of file operations puts two threads to
        // sleep and wakes them.
        let flags_of_vm = "-noshell -noinput +S 1:1 +SDio 1 +SDcpu 1:1 \
                           +sbwt very_short +sbwtdcpu none +sbwtdio very_short";
        let mut argv = vec![format!("{bin}/erlexec")];
        argv.extend(flags_of_vm.split_whitespace().map(str::to_owned));
        argv.push("-elixir_root".into());
        argv.push(self.inside("elixir/lib"));
        argv.push("-pa".into());
        argv.extend(
            toolchain.elixir.libraries.iter().map(|name| self.inside(&format!("elixir/lib/{name}/ebin"))),
        );
        argv.extend(flags.iter().map(|&flag| flag.to_owned()));
        argv.extend(
            ["-s", "elixir", "start_cli", "-elixir", "ansi_enabled", "false", "-extra"].map(str::to_owned),
        );
        argv.extend(args.iter().map(|&arg| arg.to_owned()));
        let env = self.environment(&bin);
        let spec = SandboxSpec {
            work: self.scratch.path().to_owned(),
            mounts: std::mem::take(&mut self.mounts),
            argv,
            env,
            ..SandboxSpec::default()
        };
        let cx = self.cx;
        let finished = cx.sandbox.run(&spec, cx.cancel, &|stream, line| cx.line(stream, line))?;
        finished.check(what)
    }

    fn environment(&self, bin: &str) -> BTreeMap<String, String> {
        let mut env = visible(self.cx.env);
        env.extend(self.common.set(self.cx));
        env.extend(self.env.clone());
        let home = self.inside("home");
        let path =
            format!("{}:{}:/usr/local/bin:/usr/bin:/bin", self.inside("otp/bin"), self.inside("elixir/bin"));
        let fixed = [
            ("ROOTDIR", self.inside("otp")),
            ("BINDIR", bin.to_owned()),
            ("EMU", "beam".into()),
            ("PROGNAME", "erl".into()),
            ("PATH", path),
            ("HOME", home.clone()),
            ("MIX_HOME", format!("{home}/.mix")),
            ("HEX_HOME", format!("{home}/.hex")),
            ("HEX_OFFLINE", "1".into()),
            ("MIX_ENV", self.common.environment.clone()),
            ("MIX_TARGET", self.common.target.clone()),
            ("LANG", "C.UTF-8".into()),
            ("LC_ALL", "C.UTF-8".into()),
            ("TZ", "UTC".into()),
            ("TERM", "dumb".into()),
            ("ERL_CRASH_DUMP_SECONDS", "0".into()),
        ];
        env.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
        env
    }
}

/// Variables that differ between people, machines and terminals and mean nothing to a build, or that relgraph sets.
const HIDDEN: [&str; 51] = [
    "_",
    "BINDIR",
    "COLORTERM",
    "COLUMNS",
    "DISPLAY",
    "EDITOR",
    "EMU",
    "HISTFILE",
    "HISTSIZE",
    "HOME",
    "HOSTNAME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "LANG",
    "LANGUAGE",
    "LESS",
    "LINES",
    "LOGNAME",
    "LS_COLORS",
    "MAIL",
    "MANPATH",
    "MIX_ARCHIVES",
    "MIX_BUILD_PATH",
    "MIX_BUILD_ROOT",
    "MIX_DEBUG",
    "MIX_DEPS_PATH",
    "MIX_ENV",
    "MIX_EXS",
    "MIX_HOME",
    "MIX_PATH",
    "MIX_QUIET",
    "MIX_REBAR3",
    "MIX_TARGET",
    "MIX_XDG",
    "OLDPWD",
    "PAGER",
    "PATH",
    "PROGNAME",
    "PS1",
    "PWD",
    "ROOTDIR",
    "SHELL",
    "SHLVL",
    "TEMP",
    "TERM",
    "TMP",
    "TMPDIR",
    "TZ",
    "USER",
    "VISUAL",
    "WAYLAND_DISPLAY",
];

const HIDDEN_PREFIXES: [&str; 12] = [
    "ASDF_",
    "CARGO",
    "DBUS_",
    "ELIXIR_ERL_",
    "ERL_",
    "HEX_",
    "LC_",
    "RELGRAPH_",
    "RUST",
    "SSH_",
    "SUDO_",
    "XDG_",
];

/// Whether a step is shown the user's own value of a variable.
pub fn is_visible(name: &str) -> bool {
    !HIDDEN.contains(&name) && !HIDDEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn visible(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    env.iter().filter(|(name, _)| is_visible(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}
