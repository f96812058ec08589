//! `package FORMAT`: the release as one file.

use std::collections::BTreeMap;

use relgraph_cache::TreeBuilder;
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError};

use super::assemble::conflict;
use crate::package;
use crate::schema::PackageFormat;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "package", version: 1 };

/// The name of the step that makes a package.
pub fn step(format: PackageFormat) -> String {
    format!("package {}", format.name())
}

/// Makes one package.
pub struct Package {
    /// Its format.
    pub format: PackageFormat,
    /// The step that the release comes out of.
    pub of: String,
}

/// The name of the file in the output `package`.
pub const FILE: &str = "package";

impl Action for Package {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        parts.digest(format!("input {}", self.of), &cx.need(&self.of)?.output("release")?);
        parts.text("format", self.format.name());
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let tree = cx.need(&self.of)?.output("release")?;
        let scratch = cx.store.scratch()?;
        let out = scratch.path().join("package");
        match self.format {
            PackageFormat::TarGz => package::tar_gz(cx.store, &tree, None, &out)
                .map_err(|e| StepError::new(relgraph_engine::StepErrorKind::Io, e.to_string()))?,
        };
        let mut made = TreeBuilder::new();
        made.file(FILE, cx.store.put_file(&out)?, false).map_err(conflict)?;
        Ok(Ran {
            outputs: BTreeMap::from([("package".to_owned(), made.finish(cx.store)?)]),
            ..Ran::default()
        })
    }
}
