//! The user's own steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::{Lowered, Lowering, Steps, failed};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::project::Application;
use crate::steps::assemble::{self, Layer, Parts};
use crate::steps::compile::{self, Made};
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
            None,
            vec![],
        )
    }

    /// What the user's steps make among the sources of an application that is compiled after them.
    pub(super) fn made_for(&self, application: &Application) -> Result<Vec<Made>, Vec<Diagnostic>> {
        let step = compile::step(&application.app);
        let mut made = Vec::new();
        let mut errors = Vec::new();
        for (name, custom) in self.file.steps.iter().filter(|(_, custom)| custom.before.contains(&step)) {
            for (index, output) in custom.outputs.iter().enumerate() {
                let inside = application.dest == "." || Path::new(output).starts_with(&application.dest);
                if !inside {
                    let message = format!(
                        "step `{name}` makes `{output}`, which is not among the sources of `{}`",
                        application.app
                    );
                    errors.push(
                        Diagnostic::error(message)
                            .in_file(self.file.file())
                            .at(self.file.span(&format!("steps.{name}.outputs[{index}]")))
                            .hint(format!("they are in `{}`", application.dest)),
                    );
                }
            }
            made.push(Made { step: name.clone(), outputs: custom.outputs.clone() });
        }
        if errors.is_empty() { Ok(made) } else { Err(errors) }
    }

    /// What the user's steps make for an application that is compiled after them.
    pub(super) fn outputs_for(&self, application: &Application) -> impl Iterator<Item = &str> {
        let step = compile::step(&application.app);
        let steps = self.file.steps.values().filter(move |custom| custom.before.contains(&step));
        steps.flat_map(|custom| custom.outputs.iter().map(String::as_str))
    }

    /// Whether all that steps come before are applications of the project.
    pub(super) fn check_before(&self, applications: &[Application]) -> Vec<Diagnostic> {
        let known: Vec<String> = applications
            .iter()
            .filter(|application| !application.fetchable)
            .map(|application| compile::step(&application.app))
            .collect();
        let named = self.file.steps.iter().flat_map(|(name, step)| {
            step.before.iter().enumerate().map(move |(index, before)| (name, index, before))
        });
        named
            .filter(|(_, _, before)| !known.contains(*before))
            .map(|(name, index, before)| {
                let message = format!("step `{name}` cannot come before `{before}`");
                let complaint = Diagnostic::error(message)
                    .in_file(self.file.file())
                    .at(self.before_span(name, index))
                    .note("it can come before a step that compiles an application of a Mix project");
                match nearest(before, known.iter().map(String::as_str)) {
                    Some(near) => complaint.hint(format!("did you mean `{near}`?")),
                    None => complaint,
                }
            })
            .collect()
    }

    /// Steps of the user that see the assembled release, by themselves or by others that they need.
    fn late(&self) -> BTreeSet<&String> {
        let mut late: BTreeSet<&String> = BTreeSet::new();
        loop {
            let before = late.len();
            for (name, step) in &self.file.steps {
                if step.needs.iter().any(|need| need == assemble::STEP || late.contains(need)) {
                    late.insert(name);
                }
            }
            if late.len() == before {
                return late;
            }
        }
    }

    /// The place of an entry of `before`, which may stand alone.
    fn before_span(&self, step: &str, index: usize) -> Option<Span> {
        let key = format!("steps.{step}.before");
        self.file.span(&format!("{key}[{index}]")).or_else(|| self.file.span(&key))
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
        let misplaced = self.check_before(applications.unwrap_or_default());
        if !misplaced.is_empty() {
            return Err(misplaced);
        }
        let files = self.sources.whole(".").map_err(failed)?;
        let compiled: BTreeMap<String, &Application> =
            applications.unwrap_or_default().iter().map(|a| (compile::step(&a.app), a)).collect();
        let late = self.late();
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
            let feeds = feeding.contains(name) || !step.before.is_empty();
            let placed = self.file.span(&format!("steps.{name}.into")).is_some();
            if !step.outputs.is_empty() && (placed || !feeds) {
                layers.push(Layer {
                    step: name.clone(),
                    output: "files".into(),
                    into: step.into.clone(),
                    late: late.contains(name),
                });
            }
        }
        Ok(layers)
    }
}
