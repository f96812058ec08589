//! `fetch APP`: the sources of a locked dependency, from where they are published.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use crate::fetch::{Remotes, Whose};
use crate::lock::Locked;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "fetch", version: 1 };

/// The name of the step that fetches an application.
pub fn step(app: &str) -> String {
    format!("fetch {app}")
}

/// The output of this step: the sources, as Hex or git leaves them in `deps/APP`.
pub const SOURCE: &str = "source";

/// Fetches one locked dependency.
pub struct Fetch {
    /// The application.
    pub app: String,
    /// What the lock says of it: all that its key is made of.
    pub locked: Locked,
    /// Whose lock it is.
    pub whose: Whose,
    /// Where the tool may have put the same.
    pub checkout: Option<PathBuf>,
    /// Only the history of a commit, from which versions are computed: its files lie in the checkout, edited.
    pub history: bool,
    /// How to reach where it is published.
    pub remotes: Arc<Remotes>,
}

impl Action for Fetch {
    fn declare(&self, _cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        let mut text = |name: &str, value: Option<&String>| {
            if let Some(value) = value {
                parts.text(name, value);
            }
        };
        match &self.locked {
            Locked::Hex(package) => {
                text("package", Some(&package.name));
                text("version", Some(&package.version));
                text("repository", Some(&package.repo));
                text("inner checksum", package.inner.as_ref());
                text("outer checksum", package.outer.as_ref());
            }
            // The same commit is the same wherever it is: where the repository is said to be makes no difference.
            Locked::Git(git) => {
                text("commit", Some(&git.commit));
                text("sparse", git.sparse.as_ref());
                text("only", self.history.then_some(&"history".to_owned()));
                text("submodules", git.submodules.then_some(&"yes".to_owned()));
            }
            Locked::Other(kind) => text("kind", Some(kind)),
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let checkout = self.checkout.as_deref();
        let tree = match &self.locked {
            Locked::Git(commit) if self.history => {
                self.remotes.history(cx, &self.whose, &self.app, commit, checkout)?
            }
            locked => self.remotes.get(cx, &self.whose, &self.app, locked, checkout)?,
        };
        Ok(Ran { outputs: BTreeMap::from([(SOURCE.to_owned(), tree)]), ..Ran::default() })
    }
}
