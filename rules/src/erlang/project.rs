//! What a project in Erlang alone is, as its own tool said it (the answer of the `describe` step).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::project::{Application, StripRecipe};

/// The answer of the `describe` step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErlangProject {
    /// The tool, as release.yaml names it.
    pub tool: String,
    /// The profile of rebar3.
    pub profile: String,
    /// Its applications and their dependencies, each after those it needs.
    pub applications: Vec<Application>,
    /// What relx is told about releases; none where it is told nothing.
    #[serde(default)]
    pub release: Option<Relx>,
    /// How OTP itself strips modules.
    pub stripping: StripRecipe,
    /// Makefiles that applications include from outside of their own folders.
    #[serde(default)]
    pub shared: Vec<String>,
    /// Hidden folders beside the dependencies, with what Mix needs to build one of them.
    #[serde(default)]
    pub beside: Vec<String>,
    /// Plugins of rebar3 that are there, and what they need: the folders that they are built in.
    #[serde(default)]
    pub plugins: Vec<String>,
    /// Plugins that are asked for and not there.
    #[serde(default)]
    pub no_plugins: Vec<String>,
    /// Hooks of the project that belong to none of its applications.
    #[serde(default)]
    pub hooks: ProjectHooks,
    /// Dependencies that are not there. While there are any, nothing else here is of use.
    #[serde(default)]
    pub missing: Vec<Missing>,
    /// OTP's version, as exact as the installation says.
    pub otp: String,
    /// The runtime system's version.
    pub erts: String,
}

/// Whether a project has hooks that run before its applications are compiled, and after they are.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct ProjectHooks {
    /// Before.
    pub pre: bool,
    /// After.
    pub post: bool,
}

/// A dependency that is not there.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub app: String,
    /// Where it was looked for, seen from the project's folder.
    pub at: String,
    /// Which application needs it, where that is known.
    pub parent: Option<String>,
    /// Where it comes from, as rebar.config says it.
    pub source: Option<String>,
}

/// What the project says about its releases that must be known before anything is compiled.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Relx {
    /// Names of the releases that it declares.
    pub releases: Vec<String>,
    /// Whether the version comes from the history of the project.
    pub history: bool,
    /// `true`, `false` or a path.
    pub include_erts: serde_json::Value,
    /// `true`, `false` or a path.
    pub system_libs: serde_json::Value,
    /// Whether sources are part of the release.
    pub include_src: bool,
    /// Modules that are left out, by their application.
    pub excluded: BTreeMap<String, Vec<String>>,
    /// Whether modules are stripped.
    pub strip: bool,
}

/// `scm` of an application that belongs to the project itself.
pub const PROJECT: &str = "project";

impl ErlangProject {
    /// The application of that name.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications.iter().find(|a| a.app == name)
    }

    /// All that an application sees: what it needs, and what these need, in the order of the description.
    pub fn visible(&self, application: &Application) -> Vec<&Application> {
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut queue: Vec<&str> = application.children.iter().map(String::as_str).collect();
        while let Some(name) = queue.pop() {
            if let Some(found) = self.application(name)
                && found.app != application.app
                && wanted.insert(found.app.as_str())
            {
                queue.extend(found.children.iter().map(String::as_str));
            }
        }
        self.applications.iter().filter(|a| wanted.contains(a.app.as_str())).collect()
    }
}
