//! What a Mix project is, as Mix itself said it (the answer of the `describe` step).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// The answer of the `describe` step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Description {
    /// The project itself.
    pub project: Project,
    /// Its dependencies, umbrella children among them, each after those it needs.
    pub applications: Vec<Application>,
    /// The release that was asked for, as `mix.exs` has it.
    pub release: Option<Declared>,
    /// Folders of an application that this Elixir's Mix copies into a release.
    pub copied: Vec<String>,
    /// Versions of what builds it.
    pub toolchain: Versions,
}

/// The project whose `mix.exs` stands in the project's folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Project {
    /// Its application; none for an umbrella.
    pub app: Option<String>,
    /// Its version; an umbrella may have none.
    pub version: Option<String>,
    /// Whether it only holds other projects.
    pub umbrella: bool,
    /// Its applications in the order in which Mix compiles them; none but for an umbrella.
    pub umbrella_order: Vec<String>,
    /// Where config.exs is, seen from the project's folder.
    pub config_path: String,
    /// Where dependencies are.
    pub deps_path: String,
    /// Where Mix builds for this environment.
    pub build_path: String,
    /// The folder that holds what it builds for every environment.
    pub build_root: String,
    /// Whether mix.exs names one for it that is not among the project's folders.
    pub builds_outside: bool,
    /// Whether protocols are consolidated.
    pub consolidate_protocols: bool,
    /// Tasks of `mix release` that nobody runs here, and that mix.exs makes do something else.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// The lock file.
    pub lockfile: String,
    /// The release built when none is named.
    pub default_release: Option<String>,
    /// Names of the releases that it declares.
    pub releases: Vec<String>,
    /// What it hands down to dependencies; only the driver reads it.
    pub dependency_config: String,
}

/// One dependency.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Application {
    /// Its name.
    pub app: String,
    /// Its sources, seen from the project's folder; may climb (`../shared`).
    pub dest: String,
    /// Where it is built, seen from the project's folder.
    pub build: String,
    /// `mix`, `rebar3`, `make`; none when only a command builds it.
    pub manager: Option<String>,
    /// `MIX_ENV` that it is compiled in.
    pub env: String,
    /// `path`, `umbrella`, `git` or `hex`.
    pub scm: String,
    /// Whether it came from elsewhere.
    pub fetchable: bool,
    /// `compile:` of the dependency: a command, `false`, or nothing.
    pub compile: Option<serde_json::Value>,
    /// `false` where no `.app` file comes of it.
    pub app_file: bool,
    /// Whether the dependency is optional.
    pub optional: bool,
    /// Whether it is there at run time.
    pub runtime: bool,
    /// Whether it is a child of an umbrella.
    pub from_umbrella: bool,
    /// Applications it depends on.
    pub children: Vec<String>,
    /// Environment variables that its compilation gets.
    pub system_env: BTreeMap<String, String>,
    /// Its entry in Mix's list of dependencies; only the driver reads it. Empty for the project itself.
    pub mix: String,
    /// The same as a dependency gets to see it: without what depends on who asks for it.
    #[serde(default)]
    pub mix_below: String,
    /// The configuration that rebar3 gets, where it is the manager.
    pub rebar_config: Option<String>,
    /// Why it cannot be used.
    pub problem: Option<Problem>,
}

/// Why a dependency cannot be used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// `unavailable`, `diverged`, `overridden`, …: Mix's own words.
    pub kind: String,
    /// What Mix says about it.
    pub message: String,
}

/// A release as `mix.exs` declares it, or as Mix would make up one that it does not.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Declared {
    /// Whether `mix.exs` names it.
    pub declared: bool,
    /// `true`, `false` or a path.
    pub include_erts: serde_json::Value,
    /// How modules are stripped; none: not at all.
    pub strip: Option<StripRecipe>,
    /// Functions among its steps.
    pub functions: Functions,
    /// Whether a package is made.
    pub tar: bool,
    /// Whether a cookie is given. The cookie itself is nowhere in the store.
    #[serde(default)]
    pub cookie: Option<String>,
    /// Applications that it names.
    pub applications: Vec<String>,
    /// Folders laid over the release.
    pub overlays: Vec<String>,
    /// The folder of templates.
    pub templates: String,
    /// `unix`, `windows`.
    pub executables_for: Vec<String>,
}

/// Functions among the steps of a release, each as people call it, by where they stand.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Functions {
    /// Before `:assemble`.
    pub before: Vec<String>,
    /// After it.
    pub after: Vec<String>,
    /// After `:tar`.
    pub late: Vec<String>,
}

impl Functions {
    /// Whether there are some that are run.
    pub fn any(&self) -> bool {
        !self.before.is_empty() || !self.after.is_empty()
    }
}

/// Which chunks are kept of a module, in order, as this Elixir's `Mix.Release.strip_beam/2` does it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StripRecipe {
    /// Names of chunks.
    pub chunks: Vec<String>,
    /// Whether the module is compressed.
    pub compress: bool,
}

/// Versions of what builds a project.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Versions {
    /// Elixir's.
    pub elixir: String,
    /// OTP's, as exact as the installation says.
    pub otp: String,
    /// The runtime system's.
    pub erts: String,
}

impl Description {
    /// The dependency of that name.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications.iter().find(|a| a.app == name)
    }

    /// All that an application can see: what it depends on, what it names of those that Mix compiles before it, and what
    /// these depend on, in the order of the description.
    pub fn visible(&self, application: &Application, named: Option<&BTreeSet<String>>) -> Vec<&Application> {
        let before: BTreeSet<&str> = self.before(&application.app).into_iter().collect();
        let named = named.into_iter().flatten().filter(|name| before.contains(name.as_str()));
        let mut wanted: BTreeSet<&str> = BTreeSet::new();
        let mut queue: Vec<&str> = application.children.iter().chain(named).map(String::as_str).collect();
        while let Some(name) = queue.pop() {
            if let Some(application) = self.application(name)
                && wanted.insert(application.app.as_str())
            {
                queue.extend(application.children.iter().map(String::as_str));
            }
        }
        self.applications.iter().filter(|a| wanted.contains(a.app.as_str())).collect()
    }

    /// What Mix compiles before a dependency: those in front of it, the umbrella's own applications being last, in an
    /// order of their own.
    fn before(&self, app: &str) -> Vec<&str> {
        let children = &self.project.umbrella_order;
        let others =
            self.applications.iter().map(|a| a.app.as_str()).filter(|&a| !children.iter().any(|c| c == a));
        others.chain(children.iter().map(String::as_str)).take_while(|&before| before != app).collect()
    }

    /// How many folders above the project's the farthest source lies.
    pub fn climbs(&self) -> usize {
        self.applications.iter().map(|a| climbs(&a.dest)).max().unwrap_or(0)
    }
}

/// How many `..` a relative path begins with.
pub fn climbs(path: &str) -> usize {
    path.split('/').take_while(|part| *part == "..").count()
}

/// What the `boot` step says about the release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BootFacts {
    /// The name of the release.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of its runtime.
    pub erts_version: String,
    /// Its applications in the order in which they start.
    pub applications: Vec<ReleasedApplication>,
    /// Where runtime.exs came from.
    pub runtime_config: Option<String>,
    /// Whether it boots a second time after reading its configuration.
    pub reboot: bool,
    /// Folders laid over it.
    pub overlays: Vec<String>,
    /// The folder of templates.
    pub templates: String,
    /// What the user should know about it.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Applications whose modes Mix was told not to look at.
    #[serde(default)]
    pub skip_mode_validation_for: BTreeSet<String>,
    /// `unix`, `windows`: what it is started by.
    #[serde(default)]
    pub executables_for: Vec<String>,
    /// Whether functions of the user come after `:assemble`.
    #[serde(default)]
    pub functions: bool,
}

/// One application of a release.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReleasedApplication {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is started.
    pub mode: String,
    /// Whether it comes with Erlang.
    pub otp: bool,
    /// Where the build found it, inside the sandbox.
    pub path: String,
}
