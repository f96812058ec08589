//! What is looked at in a release before it is put in its place, and what becomes of what is found.
//!
//! | file | its job |
//! |---|---|
//! | `release` | reads a release: applications, boot scripts, modules, native files |
//! | `modules` | every module of a boot script and of an application is there once |
//! | `modes` | applications have those that they need, and do not wait for one that is never started |
//! | `calls` | calls lead to functions that are there |
//! | `natives` | native files run on the machines that the release is for; modules find theirs |
//! | `config` | `sys.config` can be read back |
//! | `judge` | from findings and the levels of release.yaml to errors and warnings |
//! | `environment` | reads environment files |
//! | `start` | reads the configuration of a Mix release as a node does when it starts, with the variables of such a file |
//! | `templates` | fills in `sys.config.src` and `vm.args.src` of other releases with them |

mod calls;
mod config;
mod environment;
mod judge;
mod modes;
mod modules;
mod natives;
mod release;
mod start;
mod templates;

use serde::{Deserialize, Serialize};

use crate::schema::Level;

pub use environment::Environment;
pub use judge::{Judged, at, judge};
pub(crate) use release::Release;
pub use release::{Around, Part};
pub use start::{Problem, Start, start};
pub use templates::templates;

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A module that is not there, or there twice.
    Modules,
    /// An application without one that it needs.
    Modes,
    /// An application that waits for one that is never started.
    Orphaned,
    /// A call that leads nowhere.
    MissingCalls,
    /// A module without its native code.
    Nifs,
    /// A native file that does not run there.
    Native,
    /// A shared library that may not be there.
    Libraries,
    /// A configuration that cannot be read.
    Config,
}

impl Kind {
    /// The key in release.yaml.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Modules => "modules",
            Kind::Modes => "modes",
            Kind::Orphaned => "orphaned",
            Kind::MissingCalls => "missing_calls",
            Kind::Nifs => "nifs",
            Kind::Native => "native",
            Kind::Libraries => "libraries",
            Kind::Config => "config",
        }
    }

    /// What becomes of a build where release.yaml says nothing.
    pub fn usual(self) -> Level {
        match self {
            Kind::MissingCalls | Kind::Nifs | Kind::Libraries => Level::Warn,
            Kind::Modules | Kind::Modes | Kind::Orphaned | Kind::Native | Kind::Config => Level::Error,
        }
    }
}

/// How much a finding says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// It is so.
    Certain,
    /// It may be all right: it ends no build.
    Likely,
    /// One of many in code of others: they are summed up in one line.
    Summed,
    /// Nothing to worry about: said where all findings are asked for.
    Aside,
}

/// Something found in a release.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: Kind,
    /// How much it says.
    pub weight: Weight,
    /// The application.
    pub application: Option<String>,
    /// The module.
    pub module: Option<String>,
    /// The function, as `name/arity`.
    pub function: Option<String>,
    /// A source file seen from the project's folder, or else a file seen from the release's.
    pub file: Option<String>,
    /// The line in it.
    pub line: Option<u32>,
    /// What was called, asked for or waited for: a function, a library, an application.
    pub about: Option<String>,
    /// What is wrong, in words: lower case, one line, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Finding {
    fn new(kind: Kind, message: impl Into<String>) -> Finding {
        Finding {
            kind,
            weight: Weight::Certain,
            application: None,
            module: None,
            function: None,
            file: None,
            line: None,
            about: None,
            message: message.into(),
            hint: None,
        }
    }

    fn of(mut self, application: &str) -> Finding {
        self.application = Some(application.to_owned());
        self
    }

    fn module(mut self, module: &str) -> Finding {
        self.module = Some(module.to_owned());
        self
    }

    fn file(mut self, file: &str) -> Finding {
        self.file = Some(file.to_owned());
        self
    }

    fn about(mut self, about: impl Into<String>) -> Finding {
        self.about = Some(about.into());
        self
    }

    fn weight(mut self, weight: Weight) -> Finding {
        self.weight = weight;
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }
}

/// Looks at a release.
pub(crate) fn look(release: &Release<'_>) -> Result<Vec<Finding>, relgraph_engine::StepError> {
    let mut findings = modules::look(release);
    findings.extend(modes::look(release));
    findings.extend(calls::look(release)?);
    findings.extend(natives::look(release)?);
    findings.extend(config::look(release)?);
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// A module as its language writes it: `Shop.Cart`, `:observer`.
pub(crate) fn module_name(module: &str) -> String {
    match module.strip_prefix("Elixir.") {
        Some(name) => name.to_owned(),
        None => format!(":{module}"),
    }
}
