//! What the command hands to the libraries, which look at none of it themselves: the environment, folders, the terminal.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use relgraph_cache::remote::Shared;
use relgraph_cache::{Store, StoreError};
use relgraph_rules::diagnostic::Diagnostic;

use super::sharing::{self, Team};
use super::stop::Stop;
use super::{Format, Global};
use crate::render::{diagnostic, page, say, tell};

/// The surroundings of one command.
pub struct Context {
    /// What every command understands.
    pub global: Global,
    /// The user's environment; a variable that is not UTF-8 is not there.
    pub env: BTreeMap<String, String>,
    /// Whether errors are coloured.
    pub colour: bool,
    /// Whether output is coloured.
    pub colour_out: bool,
    /// The remotes of this command: what was found out about them outlives a build that starts over.
    pub(super) team: OnceLock<Team>,
    /// The remotes behind the store that this command looks into.
    shared: OnceLock<Option<Arc<Shared>>>,
}

impl Context {
    /// Looks around.
    pub fn new(global: Global) -> Self {
        let env: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let wanted = |terminal: bool| {
            let set = |name: &str| env.get(name).is_some_and(|value| !value.is_empty() && value != "0");
            if env.get("NO_COLOR").is_some_and(|value| !value.is_empty()) {
                return false;
            }
            set("CLICOLOR_FORCE") || (terminal && env.get("TERM").is_none_or(|term| term != "dumb"))
        };
        let colour = wanted(std::io::stderr().is_terminal());
        let colour_out = wanted(std::io::stdout().is_terminal());
        Context { global, env, colour, colour_out, team: OnceLock::new(), shared: OnceLock::new() }
    }

    /// Where the store is.
    pub fn cache_dir(&self) -> Result<PathBuf, Box<Diagnostic>> {
        if let Some(dir) = &self.global.cache_dir {
            return std::path::absolute(dir)
                .map_err(|e| Box::new(Diagnostic::error(format!("{}: {e}", dir.display()))));
        }
        let from =
            |name: &str| self.env.get(name).filter(|value| Path::new(value).is_absolute()).map(PathBuf::from);
        from("XDG_CACHE_HOME")
            .or_else(|| from("HOME").map(|home| home.join(".cache")))
            .map(|dir| dir.join("relgraph"))
            .ok_or_else(|| {
                let hint = "set RELGRAPH_CACHE_DIR, or pass --cache-dir DIR";
                Box::new(
                    Diagnostic::error(
                        "there is no place for the store: neither HOME nor XDG_CACHE_HOME is set",
                    )
                    .hint(hint),
                )
            })
    }

    /// Opens the store.
    pub fn store(&self) -> Result<Store, Box<Diagnostic>> {
        let dir = self.cache_dir()?;
        Store::open(&dir).map_err(|error| Box::new(store_trouble(&dir, &error)))
    }

    /// Opens the store, with the remotes behind it.
    pub fn shared_store(&self) -> Result<Store, Stop> {
        let store = self.store()?;
        let (file, here) = (sharing::here(), std::env::current_dir().unwrap_or_default());
        let release = file.as_ref().map(|file| (file, here.as_path()));
        let shared = sharing::open(self, release, false, &store)?;
        let _ = self.shared.set(shared);
        Ok(store)
    }

    /// The remotes behind the store, where it was opened with them.
    pub fn shared(&self) -> Option<Arc<Shared>> {
        self.shared.get().cloned().flatten()
    }

    /// Something was damaged or gone, and is made again. Where a remote lost it, that was said.
    pub fn made_again(&self, what: &str) {
        if !self.team.get().is_some_and(Team::has_lost) {
            self.complain(&[Diagnostic::warning(format!("{what}; it is made again"))]);
        }
    }

    /// Whether the report is for programs.
    pub fn json(&self) -> bool {
        self.global.format == Format::Json
    }

    /// Says a report: one JSON object, or text unless quiet is asked for.
    pub fn report(&self, json: impl FnOnce() -> serde_json::Value, text: impl FnOnce() -> String) {
        if self.json() {
            say(&json().to_string());
        } else if !self.global.quiet {
            page(&text());
        }
    }

    /// Shows complaints.
    pub fn complain(&self, complaints: &[Diagnostic]) {
        for complaint in complaints {
            tell(&diagnostic::render(complaint, self.colour));
        }
    }
}

/// A store that cannot be used.
pub fn store_trouble(dir: &Path, error: &StoreError) -> Diagnostic {
    let mut message = format!("the store in {} cannot be used: {error}", dir.display());
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if !message.contains(&inner.to_string()) {
            message = format!("{message}: {inner}");
        }
        cause = inner.source();
    }
    Diagnostic::error(message).hint("another folder can be given with --cache-dir or RELGRAPH_CACHE_DIR")
}
