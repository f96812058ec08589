//! What a project in Erlang alone is, as its own tool said it (the answer of the `describe` step).

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::project::Application;

/// The answer of the `describe` step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErlangProject {
    /// The tool, as release.yaml names it.
    pub tool: String,
    /// The profile of rebar3.
    pub profile: String,
    /// Its applications and their dependencies, each after those it needs.
    pub applications: Vec<Application>,
    /// The `relx` section with the profile applied, as the text of one Erlang term.
    pub relx: Option<String>,
    /// OTP's version, as exact as the installation says.
    pub otp: String,
    /// The runtime system's version.
    pub erts: String,
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
