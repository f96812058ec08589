//! `consolidate protocols`: dispatch tables of protocols, made for exactly the implementations that are there.

use std::collections::BTreeMap;

use relgraph_engine::{Action, Declared, Ran, Rule, StepContext, StepError};

use super::compile::{self, Seen};
use super::strip;
use crate::layout::Layout;
use crate::project::StripRecipe;
use crate::terms::Value;
use crate::vm::{Common, Vm};

/// The rule of this step.
pub const RULE: Rule = Rule { name: "protocols", version: 1 };
/// The name of this step.
pub const STEP: &str = "consolidate protocols";

/// Consolidates the protocols of a project.
pub struct Consolidate {
    /// What it shares with the others.
    pub common: Common,
    /// Where things lie inside the sandbox.
    pub layout: Layout,
    /// Every application of the project, the project itself last.
    pub applications: Vec<Seen>,
    /// How modules are stripped.
    pub recipe: Option<StripRecipe>,
}

impl Action for Consolidate {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = self.common.parts(cx)?;
        for seen in &self.applications {
            let step = compile::step(&seen.app);
            parts.digest(format!("protocols of {}", seen.app), &cx.need(&step)?.output("protocols")?);
        }
        strip::recipe_part(&mut parts, self.recipe.as_ref());
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let mut vm = Vm::ready(cx, &self.common)?;
        let mut paths = Vec::new();
        for seen in &self.applications {
            let folder = format!("{}/ebin", self.layout.at(&seen.build));
            vm.copy_tree(&cx.need(&compile::step(&seen.app))?.output("protocols")?, &folder)?;
            paths.push(Value::text(vm.inside(&folder)));
        }
        vm.write(&format!("{}/.relgraph", self.layout.project()), b"")?;
        let out = vm.inside("out");
        let pairs = vec![("code_paths", Value::List(paths)), ("out", Value::text(out))];
        let said = vm.request("consolidate", &self.layout, pairs)?;
        let whole = cx.store.ingest(&vm.real("out"), &|_| true)?;
        let tree = strip::strip_tree(cx.store, &whole, self.recipe.as_ref(), &|_| true)?;
        Ok(super::ran(said.finished, BTreeMap::from([("consolidated".to_owned(), tree)])))
    }
}
