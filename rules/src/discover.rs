//! From what a VM was seen to read to what its step depends on.
//!
//! A module of another application is three things (ARCHITECTURE.md, "Three identities of a .beam"): one that was
//! loaded ran, so all of what runs in it counts; one that was only looked at counts with what others can see of it;
//! and a module that was looked for and not found counts through the names of its folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use relgraph_cache::{Answer, Probe};
use relgraph_engine::{Available, StepError};

use crate::foreign;
use crate::git;
use crate::launch::is_visible;
use crate::namespace::Namespace;
use crate::reach::{self, Reach};
use crate::vm::Facts;

/// What the programs that a step starts may depend on, beside its sources.
#[derive(Debug, Default)]
pub struct Native {
    /// Whether they may be compilers.
    pub compiled: bool,
    /// Whether what they compile may be native code.
    pub sources: bool,
    /// Variables that they may read.
    pub variables: BTreeSet<String>,
    /// Variables that release.yaml sets or lets through.
    pub set: BTreeMap<String, String>,
}

impl Native {
    /// For a step with its sources in the folder `at`; `real`: where a path seen from the prefix is.
    pub fn of(
        facts: &Facts,
        at: &str,
        real: &dyn Fn(&str) -> PathBuf,
        set: BTreeMap<String, String>,
    ) -> Native {
        let mut native = Native { set, ..Native::default() };
        let elsewhere = facts.reads.iter().filter(|(kind, path)| kind == "tree" && !path.starts_with('/'));
        let outside =
            elsewhere.map(|(_, path)| path.as_str()).filter(|path| !within(path, at) && !within(at, path));
        for folder in outside.chain([at]).map(real) {
            native.sources |= !facts.programs.is_empty() && foreign::has_native(&folder);
            native.variables.extend(foreign::variables(&facts.programs, &folder));
        }
        native.compiled = native.sources;
        native
    }
}

/// Where a step's inputs lie.
pub struct Scope<'a> {
    /// What it could read.
    pub namespace: &'a Namespace,
    /// What there is on this machine; without it, nothing but its own sources was in sight.
    pub reach: Option<&'a Reach>,
    /// Its own sources: everything in there, and what was looked for in vain, counts.
    pub own: Vec<String>,
    /// Names of other applications by their folders (`project/_build/prod/lib/NAME`).
    pub dependencies: BTreeMap<String, String>,
    /// Folders that the step itself fills.
    pub ignored: Vec<String>,
    /// Whether a look at a path, of a kind, means nothing.
    pub ignores: &'a dyn Fn(&str, &str) -> bool,
    /// What programs that nobody watches may depend on.
    pub native: Native,
    /// Variables with secrets that it is given.
    pub secrets: BTreeSet<String>,
    /// Variables that are part of the key anyway.
    pub declared_env: BTreeSet<String>,
}

impl Scope<'_> {
    /// The probes that stand for what was read.
    pub fn probes(&self, facts: &Facts, env: &BTreeMap<String, String>) -> Result<Vec<Probe>, StepError> {
        let loaded: BTreeSet<&str> = facts.loaded.iter().map(|(_, path)| path.as_str()).collect();
        let docs: BTreeSet<String> = facts.docs.iter().map(|module| format!("{module}.beam")).collect();
        let mut probes = BTreeSet::new();
        for (kind, path) in &facts.reads {
            let (own, ignored) = (deepest(&self.own, path), deepest(&self.ignored, path));
            // Its own sources count whenever a program was started.
            let around = || self.own.iter().any(|own| within(own, path));
            if kind == "tree" && (own.is_some() || path.starts_with('/') || around()) {
                continue;
            }
            let dependency = deepest(self.dependencies.keys(), path);
            if let Some((at, name)) = dependency
                .filter(|at| own.is_none_or(|own| own.len() < at.len()))
                .filter(|at| ignored.is_none_or(|folder| folder.len() <= at.len()))
                .and_then(|at| self.dependencies.get_key_value(at))
            {
                let rest = path[at.len()..].trim_start_matches('/');
                match rest.strip_prefix("ebin/") {
                    Some(beam) if beam.ends_with(".beam") => {
                        probes.insert(self.module(name, at, path, beam, kind, &loaded, &docs)?);
                    }
                    _ => self.insert(&mut probes, kind, path)?,
                }
            } else if !(self.ignores)(kind, path) && self.counts(path) {
                self.insert(&mut probes, kind, path)?;
            }
        }
        if !facts.programs.iter().all(|words| git::only(words)) {
            // What another program read is nobody's knowledge: it may have been anything that was there.
            probes.extend(self.own.iter().map(|folder| Probe::Tree(folder.clone())));
            probes.extend(self.dependencies.keys().map(|folder| Probe::Tree(folder.clone())));
            let asked = self.native.variables.iter().filter(|name| is_visible(name));
            let asked = asked.filter(|name| !self.declared_env.contains(*name));
            probes.extend(asked.map(|name| Probe::Env(name.clone())));
            probes.extend(self.secrets.iter().map(|name| Probe::Env(name.clone())));
            if self.namespace.sees_system() {
                probes.extend(foreign::programs(&facts.programs, &self.native, env));
            }
        }
        let all = facts.env.iter().any(|name| name == "*");
        let asked = facts.env.iter().filter(|name| *name != "*").chain(env.keys().filter(|_| all));
        let shown = |name: &&String| is_visible(name) || self.secrets.contains(*name);
        let asked = asked.filter(|name| shown(name) && !self.declared_env.contains(*name));
        probes.extend(asked.map(|name| Probe::Env(name.clone())));
        Ok(probes.into_iter().collect())
    }

    /// Whether a probe is about what the step itself makes, or others made.
    pub fn is_built(&self, probe: &Probe) -> bool {
        let (Probe::Content(path) | Probe::Kind(path) | Probe::Listing(path) | Probe::Tree(path)) = probe
        else {
            return false;
        };
        !self.counts(path) || self.dependencies.keys().any(|folder| within(path, folder))
    }

    /// Whether a path stands for an input: relgraph's own files and what the system makes up are none.
    fn counts(&self, path: &str) -> bool {
        if path.starts_with('/') {
            return self.reach.is_some() && reach::is_system(path);
        }
        if deepest(&self.own, path).is_some() || deepest(&self.ignored, path).is_some() {
            return self.is_source(path);
        }
        self.reach.is_some_and(|reach| reach.name(path).is_some())
    }

    /// Folders lie inside of others: the deepest says what a path is.
    fn is_source(&self, path: &str) -> bool {
        let ignored = deepest(&self.ignored, path);
        deepest(&self.own, path).is_some_and(|own| ignored.is_none_or(|folder| folder.len() < own.len()))
    }

    #[allow(clippy::too_many_arguments)]
    fn module(
        &self,
        name: &str,
        at: &str,
        path: &str,
        beam: &str,
        kind: &str,
        loaded: &BTreeSet<&str>,
        docs: &BTreeSet<String>,
    ) -> Result<Probe, StepError> {
        if self.namespace.answer(&Probe::Kind(path.to_owned()))? == Answer::Absent {
            return Ok(Probe::Listing(format!("{at}/ebin")));
        }
        Ok(if kind != "checked" && loaded.contains(path) {
            Probe::Content(format!("views/{name}/run/{beam}"))
        } else if kind == "kind" {
            Probe::Kind(path.to_owned())
        } else if docs.contains(beam) {
            Probe::Content(path.to_owned())
        } else {
            Probe::Content(format!("views/{name}/interface/{beam}"))
        })
    }

    fn insert(&self, probes: &mut BTreeSet<Probe>, kind: &str, path: &str) -> Result<(), StepError> {
        let probe = match kind {
            "content" | "checked" => Probe::Content(path.to_owned()),
            "listing" => Probe::Listing(path.to_owned()),
            "tree" => Probe::Tree(path.to_owned()),
            _ => Probe::Kind(path.to_owned()),
        };
        probes.insert(probe);
        Ok(())
    }
}

/// The deepest of some folders that a path lies in.
fn deepest<'a>(folders: impl IntoIterator<Item = &'a String>, path: &str) -> Option<&'a str> {
    let found = folders.into_iter().filter(|folder| within(path, folder));
    found.map(String::as_str).max_by_key(|folder| folder.len())
}

fn within(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
