//! The user's own steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Lowered, Lowering, Steps, failed};
use crate::diagnostic::Diagnostic;
use crate::project::Application;
use crate::steps::assemble::{Layer, Parts};
use crate::steps::compile;
use crate::steps::custom::{self, Custom};

impl Lowering {
    /// The whole graph of a release that has no Mix project: the user's own steps.
    pub fn custom_release(&self) -> Result<Lowered, Vec<Diagnostic>> {
        let Some(version) = self.file.version.clone() else {
            return Err(vec![
                Diagnostic::error("the release has no version")
                    .in_file(self.file.file())
                    .at(self.file.span("release"))
                    .hint("add `version: \"0.1.0\"`: without a mix.exs nothing else tells it"),
            ]);
        };
        let mut steps = Steps::default();
        let layers = self.add_custom(&mut steps, None)?;
        self.finish(
            steps,
            Parts::None,
            layers,
            self.file.package.clone().unwrap_or_default(),
            Some(version),
            &[],
            None,
            vec![],
        )
    }

    pub(super) fn add_custom(
        &self,
        steps: &mut Steps,
        applications: Option<&[Application]>,
    ) -> Result<Vec<Layer>, Vec<Diagnostic>> {
        let mut layers = Vec::new();
        if self.file.steps.is_empty() {
            return Ok(layers);
        }
        let files = self.sources.whole(".").map_err(failed)?;
        let compiled: BTreeMap<String, &Application> =
            applications.unwrap_or_default().iter().map(|a| (compile::step(&a.app), a)).collect();
        let feeding: BTreeSet<&String> = self.file.steps.values().flat_map(|step| &step.needs).collect();
        for (name, step) in &self.file.steps {
            let needed = step.needs.iter().filter_map(|need| compiled.get(need));
            let action = Custom {
                step: step.clone(),
                files: Arc::clone(&files),
                applications: needed.map(|a| (a.app.clone(), a.build.clone())).collect(),
                after: step.needs.iter().filter(|n| self.file.steps.contains_key(*n)).cloned().collect(),
            };
            steps.add(name, step.needs.clone(), custom::RULE, action);
            // What only feeds another step is no part of the release, unless it says where it goes.
            let feeds = feeding.contains(name);
            let placed = self.file.span(&format!("steps.{name}.into")).is_some();
            if !step.outputs.is_empty() && (placed || !feeds) {
                layers.push(Layer { step: name.clone(), output: "files".into(), into: step.into.clone() });
            }
        }
        Ok(layers)
    }
}
