//! What can be said before anything is compiled.

use std::collections::BTreeSet;

use super::{Around, Lowering};
use crate::diagnostic::{Diagnostic, nearest};
use crate::project::Description;
use crate::vm::Common;

impl Lowering {
    /// What can be said before anything is compiled.
    pub(super) fn check(
        &self,
        common: &Common,
        description: &Description,
        around: &Around,
    ) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let file = &self.file;
        let mut errors = Vec::new();
        let mut warnings = self.lock_warnings(around, description);
        errors.extend(self.unlocked_complaint(around, description));
        for application in &description.applications {
            if let Some(problem) = &application.problem {
                if self.is_unlocked(around, application) {
                    continue;
                }
                let message = format!("dependency `{}`: {}", application.app, problem.message.trim());
                errors.push(self.locked_complaint(around, application, Diagnostic::error(message)));
            }
        }
        if let Some(release) = &description.release {
            let names = &description.project.releases;
            if !release.declared && !names.is_empty() {
                let complaint = Diagnostic::error(format!("mix.exs declares no release `{}`", file.release))
                    .in_file(file.file())
                    .at(file.span("release"))
                    .note(format!("it declares {}", names.join(", ")));
                errors.push(match nearest(&file.release, names.iter().map(String::as_str)) {
                    Some(name) => complaint.hint(format!("did you mean `{name}`?")),
                    None => complaint,
                });
            } else if !release.declared && description.project.umbrella && file.applications.is_empty() {
                errors.push(
                    Diagnostic::error("an umbrella project does not say which of its applications to release")
                        .in_file(file.file())
                        .at(file.span("release"))
                        .hint("name them in release.yaml (`applications: {my_app: permanent}`) or under `releases:` in mix.exs"),
                );
            }
            for step in &release.functions.late {
                warnings.push(
                    Diagnostic::warning(format!(
                        "the release step {step} of mix.exs is not run: it comes after `:tar`"
                    ))
                    .note("what it does with the package, such as sending it somewhere, happens outside of the release")
                    .hint(
                        "do it after `relgraph build`; what changes the release itself belongs before `:tar`",
                    ),
                );
            }
        }
        for alias in &description.project.aliases {
            warnings.push(
                Diagnostic::warning(format!(
                    "the alias `{alias}` of mix.exs is not run: relgraph assembles by itself"
                ))
                .hint(
                    "what else it does is a step of release.yaml (`steps:`); what has to happen while compiling is a \
                     compiler (`compilers:` in mix.exs), which is run",
                ),
            );
        }
        let known = self.known(common, description);
        for (app, _) in &file.applications {
            if !known.contains(app) {
                let complaint = Diagnostic::error(format!("there is no application `{app}`"))
                    .in_file(file.file())
                    .at(file.key_span(&format!("applications.{app}")));
                errors.push(match nearest(app, known.iter().map(String::as_str)) {
                    Some(name) => complaint.hint(format!("did you mean `{name}`?")),
                    None => complaint
                        .hint("it is neither a dependency of the project nor part of Erlang or Elixir"),
                });
            }
        }
        let own = description.project.app.iter().map(String::as_str);
        errors
            .extend(self.network_unknown(description.applications.iter().map(|a| a.app.as_str()).chain(own)));
        if errors.is_empty() { Ok(warnings) } else { Err(errors) }
    }

    /// Names under `network:` that are no application of the project.
    pub(super) fn network_unknown<'a>(
        &self,
        known: impl Iterator<Item = &'a str> + Clone,
    ) -> Vec<Diagnostic> {
        let unknown = self.file.network.iter().filter(|app| !known.clone().any(|name| name == *app));
        let complaint = |app: &String| {
            let complaint = Diagnostic::error(format!("the project has no application `{app}` to compile"))
                .in_file(self.file.file())
                .at(self.file.span("network"));
            match nearest(app, known.clone()) {
                Some(name) => complaint.hint(format!("did you mean `{name}`?")),
                None => complaint,
            }
        };
        unknown.map(complaint).collect()
    }

    pub(super) fn known(&self, common: &Common, description: &Description) -> BTreeSet<String> {
        let own = description.applications.iter().map(|a| a.app.clone());
        let elixir = common.toolchain.elixir.iter().flat_map(|elixir| elixir.libraries.clone());
        own.chain(description.project.app.clone()).chain(elixir).chain(Self::libraries(common)).collect()
    }
    /// The applications of OTP.
    pub(super) fn libraries(common: &Common) -> impl Iterator<Item = String> + '_ {
        common.toolchain.erlang_files.inside("lib").filter_map(|(path, _)| {
            let name = path.strip_prefix("lib/")?;
            (!name.contains('/')).then(|| name.rsplit_once('-').map_or(name, |(app, _)| app).to_owned())
        })
    }
}
