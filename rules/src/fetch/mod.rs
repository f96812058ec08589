//! Getting what a lock names from where it is published: packages from Hex repositories, commits from git ones.
//!
//! What arrives is the same whoever sent it, for the lock says its checksum or its commit: so addresses, mirrors, proxies
//! and credentials are part of no key, and nothing of them is in a result, a log or an error.

pub mod git;
mod hex;
mod http;
mod package;
mod rebar3;
mod settings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use relgraph_cache::{Digest, Store};
use relgraph_engine::{StepContext, StepError};

use crate::lock::{GitCommit, HexPackage, Locked};
use crate::tool::Tool;
use settings::Settings;

pub use package::manifest;
pub use settings::PUBLIC_URL;

/// How the world beyond this machine is reached: what the command hands in.
#[derive(Default)]
pub struct Remotes {
    env: BTreeMap<String, String>,
    offline: bool,
    settings: OnceLock<Result<Settings, String>>,
}

/// Whose lock it is: whose settings hold, and what the user is told to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Mix, or rebar3.
    pub tool: Tool,
    /// The project's folder.
    pub root: PathBuf,
}

impl Whose {
    /// What fetches dependencies.
    fn get(&self) -> &'static str {
        if self.is_rebar3() { "rebar3 get-deps" } else { "mix deps.get" }
    }

    /// Where that puts them.
    fn folder(&self) -> &'static str {
        if self.is_rebar3() { "_build/default/lib" } else { "deps/" }
    }

    /// What locks another version or commit.
    fn update(&self) -> &'static str {
        if self.is_rebar3() { "rebar3 upgrade" } else { "mix deps.update" }
    }

    fn is_rebar3(&self) -> bool {
        self.tool == Tool::Rebar3
    }
}

impl Remotes {
    /// With the user's environment. `offline`: nothing is fetched, whatever the environment says.
    pub fn new(env: &BTreeMap<String, String>, offline: bool) -> Self {
        Remotes { env: env.clone(), offline, settings: OnceLock::new() }
    }

    /// Why nothing may be fetched, if so.
    pub fn offline(&self, whose: &Whose) -> Result<Option<&'static str>, StepError> {
        if self.offline {
            return Ok(Some("--offline was given"));
        }
        if self.env.get("REBAR_OFFLINE").is_some_and(|value| value == "1") && whose.is_rebar3() {
            return Ok(Some("REBAR_OFFLINE is set"));
        }
        Ok(self.settings(whose)?.offline.then_some("HEX_OFFLINE or Hex's `offline` is set"))
    }

    /// The user's environment: what `git` is run with.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// What Hex would go by. Read when it is first needed.
    fn settings(&self, whose: &Whose) -> Result<&Settings, StepError> {
        let read = self.settings.get_or_init(|| {
            let settings = Settings::read(&self.env)?;
            if whose.is_rebar3() { rebar3::more(settings, &self.env, &whose.root) } else { Ok(settings) }
        });
        read.as_ref().map_err(|message| {
            StepError::input(message.clone()).with_hint("`mix hex.config` shows and changes Hex's settings")
        })
    }

    /// Gets what is locked into the store, and returns its tree. `checkout`: where `mix deps.get` may have put the same.
    pub fn get(
        &self,
        cx: &StepContext<'_>,
        whose: &Whose,
        app: &str,
        locked: &Locked,
        checkout: Option<&Path>,
    ) -> Result<Digest, StepError> {
        match locked {
            Locked::Hex(package) => self.hex(cx, whose, app, package),
            Locked::Git(commit) => git::get(self, cx, whose, app, commit, checkout),
            Locked::Other(kind) => {
                let hint =
                    format!("run `{}`: what lies in {} is built as it is", whose.get(), whose.folder());
                Err(StepError::input(format!("`{app}` is locked as `{kind}`, which relgraph cannot fetch"))
                    .with_hint(hint))
            }
        }
    }

    /// The contents of a `.git` from which versions can be computed, as a tree of the store.
    pub fn history(
        &self,
        cx: &StepContext<'_>,
        whose: &Whose,
        app: &str,
        locked: &GitCommit,
        checkout: Option<&Path>,
    ) -> Result<Digest, StepError> {
        git::history(self, cx, whose, app, locked, checkout)
    }

    fn hex(
        &self,
        cx: &StepContext<'_>,
        whose: &Whose,
        app: &str,
        package: &HexPackage,
    ) -> Result<Digest, StepError> {
        if package.outer.is_none() && package.inner.is_none() {
            let message =
                format!("the lock has no checksum for `{app}` ({} {})", package.name, package.version);
            return Err(StepError::input(message).with_hint(if whose.is_rebar3() {
                "run `rebar3 lock` with a newer rebar3, which writes checksums into rebar.lock"
            } else {
                "run `mix deps.get` with a newer Hex, which writes checksums into mix.lock"
            }));
        }
        let settings = self.settings(whose)?;
        let mut cached = settings.cached(package).into_iter();
        if let Some(tarball) = cached.find(|path| package::is_whole(path, package)) {
            return package::unpack(cx.store, whose, &tarball, package);
        }
        if let Some(why) = self.offline(whose)? {
            return Err(missing(whose, app, &format!("{} {}", package.name, package.version), why));
        }
        let scratch = cx.store.scratch()?;
        let tarball = scratch.path().join("package.tar");
        hex::download(cx, whose, settings, package, &tarball)?;
        package::unpack(cx.store, whose, &tarball, package)
    }
}

/// Something is not here, and may not be fetched.
fn missing(whose: &Whose, app: &str, what: &str, why: &str) -> StepError {
    let message = format!("`{app}` ({what}) is neither in {} nor in the store, and {why}", whose.folder());
    let hint = format!("build once where the network is there, or run `{}`", whose.get());
    StepError::new(relgraph_engine::StepErrorKind::Input, message).with_hint(hint)
}

/// A tree of a store with more files in it.
fn with_files(store: &Store, tree: &Digest, files: &[(&str, &[u8])]) -> Result<Digest, StepError> {
    let mut builder = relgraph_cache::TreeBuilder::from_tree(store, tree)?;
    for (path, bytes) in files {
        let node = relgraph_cache::Node::File { digest: store.put_bytes(bytes)?, executable: false };
        builder.replace(path, node)?;
    }
    Ok(builder.finish(store)?)
}
