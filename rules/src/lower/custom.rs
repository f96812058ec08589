//! The user's own steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::{Around, CONFIG, DESCRIBE, Lowered, Lowering, Steps, failed};
use crate::diagnostic::{Diagnostic, Span, nearest};
use crate::project::Application;
use crate::steps::assemble::{self, Layer, Parts};
use crate::steps::compile::{self, Made};
use crate::steps::custom::{self, Compiled, Custom};
use crate::steps::tools::{Brought, Tools};
use crate::steps::{fetch, functions};
use crate::tool::Tool;
use crate::vm::{Common, DRIVER};

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
        let mut layers = self.add_overlays(&mut steps, Some("rel/overlays"), &[])?;
        let (more, warnings) = self.add_custom(&mut steps, &Beside::default())?;
        layers.extend(more);
        self.finish(
            steps,
            Parts::None,
            layers,
            self.file.package.clone().unwrap_or_default(),
            Some(version),
            &[],
            None,
            None,
            warnings,
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

    /// Whether a step of the user comes after an application of a Mix project that lies in its folder.
    pub(super) fn feeds(&self, application: &Application) -> bool {
        let step = compile::step(&application.app);
        let mix = self.common.as_ref().is_some_and(|common| common.tool == Tool::Mix);
        let inside = !application.fetchable && !application.dest.starts_with("..");
        mix && inside && self.file.steps.values().any(|custom| custom.needs.contains(&step))
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
                    .note("it can come before a step that compiles an application of a project of Mix, rebar3 or OTP");
                match nearest(before, known.iter().map(String::as_str)) {
                    Some(near) => complaint.hint(format!("did you mean `{near}`?")),
                    None => complaint,
                }
            })
            .collect()
    }

    /// Steps of the user that see the assembled release, by themselves or by others that they need.
    pub(crate) fn late(&self) -> BTreeSet<&String> {
        let mut late: BTreeSet<&String> = BTreeSet::new();
        loop {
            let before = late.len();
            for (name, step) in &self.file.steps {
                if step.needs.iter().any(|need| is_release(need) || late.contains(need)) {
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

    fn compiled(&self, application: &Application) -> Compiled {
        Compiled {
            app: application.app.clone(),
            build: application.build.clone(),
            generated: self.feeds(application).then(|| application.dest.clone()),
        }
    }

    pub(super) fn add_custom(
        &self,
        steps: &mut Steps,
        beside: &Beside<'_>,
    ) -> Result<(Vec<Layer>, Vec<Diagnostic>), Vec<Diagnostic>> {
        let mut layers = Vec::new();
        if self.file.steps.is_empty() {
            return Ok((layers, Vec::new()));
        }
        let applications = beside.applications;
        let mut wrong = self.check_before(if beside.before { applications } else { &[] });
        wrong.extend(self.check_tools());
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let files = self.sources.whole(".").map_err(failed)?;
        let compiled: BTreeMap<String, &Application> =
            applications.iter().map(|a| (compile::step(&a.app), a)).collect();
        let build_path = match beside.build_path {
            Some(path) => path.to_owned(),
            None => format!("_build/{}", self.file.environment_name()),
        };
        let assembled = if beside.functions { functions::STEP } else { assemble::STEP };
        let late = self.late();
        let feeding: BTreeSet<&String> = self.file.steps.values().flat_map(|step| &step.needs).collect();
        for (name, step) in &self.file.steps {
            let mut needed: Vec<&Application> =
                step.needs.iter().filter_map(|need| compiled.get(need).copied()).collect();
            let mut needs = step.needs.clone();
            let sees = step.needs.iter().any(|need| is_release(need));
            if sees {
                needs.push(assembled.to_owned());
            }
            let tools = match &self.common {
                Some(common) if step.toolchain => {
                    needed = self.with_visible(&needed, beside);
                    needs.extend(needed.iter().map(|a| compile::step(&a.app)));
                    needs.push(DRIVER.to_owned());
                    if beside.mix {
                        needs.extend([DESCRIBE, CONFIG].map(str::to_owned));
                    }
                    Some(self.tools(common, &needed, beside, &mut needs)?)
                }
                _ => None,
            };
            needs.sort();
            needs.dedup();
            let action = Custom {
                step: step.clone(),
                files: Arc::clone(&files),
                applications: needed.iter().map(|a| self.compiled(a)).collect(),
                after: step.needs.iter().filter(|n| self.file.steps.contains_key(*n)).cloned().collect(),
                release: sees
                    .then(|| (assembled.to_owned(), format!("{build_path}/rel/{}", self.file.release))),
                tools,
            };
            steps.add(name, needs, custom::RULE, action);
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
        Ok((layers, self.untracked()))
    }

    /// These, and all that they see.
    fn with_visible<'a>(&self, needed: &[&'a Application], beside: &Beside<'a>) -> Vec<&'a Application> {
        let seen: BTreeSet<&str> = needed
            .iter()
            .flat_map(|application| {
                let visible = (beside.visible)(application);
                visible.into_iter().chain([application.app.as_str()])
            })
            .collect();
        beside.applications.iter().filter(|a| seen.contains(a.app.as_str())).collect()
    }

    fn tools(
        &self,
        common: &Common,
        needed: &[&Application],
        beside: &Beside<'_>,
        needs: &mut Vec<String>,
    ) -> Result<Tools, Vec<Diagnostic>> {
        let mut brought = BTreeMap::new();
        for application in needed.iter().filter(|application| application.fetchable) {
            let at = application.dest.clone();
            let fetched = beside.around.and_then(|around| around.fetched.get(&application.app));
            let sources = match fetched {
                Some(_) => {
                    let step = fetch::step(&application.app);
                    needs.push(step.clone());
                    Brought::Fetched(step)
                }
                None => Brought::Folder(self.sources.whole(&at).map_err(failed)?),
            };
            brought.insert(at, sources);
        }
        let layout = self.whole(beside.around.unwrap_or(&Around::default())).layout;
        Ok(Tools { common: common.clone(), layout, brought })
    }

    /// A toolchain is that of a project.
    fn check_tools(&self) -> Vec<Diagnostic> {
        let wanted = self.file.steps.iter().filter(|(_, step)| step.toolchain && self.common.is_none());
        let complaint = |(name, _): (&String, _)| {
            Diagnostic::error(format!(
                "step `{name}` wants the toolchain of the project, and there is no project"
            ))
            .in_file(self.file.file())
            .at(self.file.span(&format!("steps.{name}.toolchain")))
            .hint("take `toolchain: true` away: what is in /usr/bin is there")
        };
        wanted.map(complaint).collect()
    }

    /// Steps that call programs of Erlang and Elixir without being given those that build the project.
    fn untracked(&self) -> Vec<Diagnostic> {
        let steps = self.file.steps.iter().filter(|(_, step)| !step.toolchain && self.common.is_some());
        let called = steps.filter_map(|(name, step)| Some((name, program(&step.script())?)));
        let warning = |(name, program): (&String, &str)| {
            Diagnostic::warning(format!("step `{name}` calls `{program}` of this machine, whatever version that is"))
                .in_file(self.file.file())
                .at(self.file.span(&format!("steps.{name}.run")))
                .hint("with `toolchain: true` it gets the Erlang and Elixir that build the project, and sees it compiled")
        };
        called.map(warning).collect()
    }
}

/// Whether it is a step that the assembled release comes out of.
fn is_release(need: &str) -> bool {
    [assemble::STEP, functions::STEP].contains(&need)
}

/// What the user's steps may see of a project.
pub(super) struct Beside<'a> {
    /// Its applications.
    pub applications: &'a [Application],
    /// Whether it is one of Mix.
    pub mix: bool,
    /// Whether steps may come before its applications are compiled.
    pub before: bool,
    /// The names of those that an application sees.
    pub visible: &'a dyn Fn(&Application) -> Vec<&'a str>,
    /// What was found around it.
    pub around: Option<&'a Around>,
    /// Where it is built, where the tool says so.
    pub build_path: Option<&'a str>,
    /// Whether functions of the user are among the steps of the release.
    pub functions: bool,
}

impl Default for Beside<'_> {
    fn default() -> Self {
        Beside {
            applications: &[],
            mix: false,
            before: false,
            visible: &|_| Vec::new(),
            around: None,
            build_path: None,
            functions: false,
        }
    }
}

/// Programs of Erlang and Elixir.
const PROGRAMS: [&str; 7] = ["elixir", "erl", "erlc", "escript", "iex", "mix", "rebar3"];

/// The first of them that a script calls: the first word of a command, settings of variables left aside.
fn program(script: &str) -> Option<&'static str> {
    let commands = script.split(['\n', ';', '|', '&', '(', '`', '{']);
    let first = |command: &str| -> Option<&'static str> {
        let word = command.split_whitespace().find(|word| !word.contains('='))?;
        PROGRAMS.into_iter().find(|program| *program == word)
    };
    commands.into_iter().find_map(first)
}

#[cfg(test)]
mod tests {
    use super::program;

    #[test]
    fn a_program_is_found_where_it_is_called() {
        assert_eq!(program("cd assets && MIX_ENV=prod mix phx.digest\n"), Some("mix"));
        assert_eq!(program("x=$(erl -noshell)\n"), Some("erl"));
        assert_eq!(program("ls mix.exs; echo mix # mix\ncat elixir"), None);
    }
}
