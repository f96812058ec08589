//! The release of a project in Erlang alone as steps: what comes after its applications are compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Around, DESCRIBE, Lowering, Steps, failed, names, word};
use crate::diagnostic::{Diagnostic, nearest};
use crate::erlang::hooks;
use crate::erlang::project::{ErlangProject, PROJECT, Relx};
use crate::erlang::release::{self, Release};
use crate::erlang::relx_config::{Declared, RelxConfig};
use crate::project::StripRecipe;
use crate::schema::{self, Platform};
use crate::source::Snapshot;
use crate::steps::assemble::ErlangParts;
use crate::steps::boot::{self, Runtime};
use crate::steps::compile;
use crate::steps::runtime::{self, IncludeRuntime, Manner};
use crate::steps::scripts::{self, Scripts};
use crate::steps::strip::{self, SOURCES, Strip};
use crate::vm::{Common, DRIVER};

/// What is copied of an application.
const COPIED: [&str; 3] = ["ebin", "include", "priv"];

impl Lowering {
    /// Adds what comes between the applications of the project and the release.
    pub(super) fn add_erlang_release(
        &self,
        steps: &mut Steps,
        common: &Common,
        project: &ErlangProject,
        around: &Around,
        config: Option<&RelxConfig>,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<ErlangParts, Vec<Diagnostic>> {
        let relx = self.relx(project, warnings)?;
        let named = config.and_then(|config| config.release(&self.file.release));
        let modes = self.modes(common, project, relx.is_some(), named)?;
        let erts = config.and_then(|config| config.include_erts.clone()).filter(|_| named.is_some());
        let erts = erts.unwrap_or(serde_json::Value::Bool(true));
        let declared = relx.map_or(erts, |relx| relx.include_erts.clone());
        let runtime = self.runtime(&declared).map_err(|e| vec![*e])?;
        let libraries = match relx.map(|relx| &relx.system_libs) {
            Some(serde_json::Value::Bool(false)) => false,
            Some(serde_json::Value::String(folder)) => {
                self.check_system_libs(&runtime, folder)?;
                true
            }
            _ => true,
        };
        if self.file.upgrades.is_hot() && !libraries {
            let complaint = Diagnostic::error(
                "with `{system_libs, false}` relx makes no releases/RELEASES, which upgrades need",
            )
            .in_file(self.file.file())
            .at(self.file.span("upgrades"));
            return Err(vec![complaint.hint("take `{system_libs, false}` out of rebar.config")]);
        }
        let other = matches!(self.file.runtime.include, Some(schema::Runtime::At(_)))
            || relx.is_some_and(|relx| relx.system_libs.is_string());
        let history = relx.filter(|relx| relx.history).and_then(|_| history(&self.root));
        if history.is_none() && relx.is_some_and(|relx| relx.history) && self.file.version.is_none() {
            warnings.push(
                Diagnostic::warning(
                    "the version of the release comes from git, and the project has no folder .git",
                )
                .note("relx takes 0.0.0 then")
                .hint("say the version in release.yaml (`version:`)"),
            );
        }
        let names_of: Vec<String> = project.applications.iter().map(|a| a.app.clone()).collect();
        let compiles: Vec<String> = names_of.iter().map(|app| compile::step(app)).collect();
        let hooks: Vec<&'static str> =
            [project.hooks.pre.then_some(hooks::BEFORE), project.hooks.post.then_some(hooks::AFTER)]
                .into_iter()
                .flatten()
                .collect();
        let mut compiles = compiles;
        compiles.extend(hooks.iter().map(|&step| step.to_owned()));
        let action = Release {
            common: common.clone(),
            whole: self.whole(around),
            hooks: hooks.clone(),
            applications: project.applications.clone(),
            relx: relx.is_some(),
            release: self.file.release.clone(),
            version: self.file.version.clone().or_else(|| named?.version.clone()),
            configuration: named
                .and(config)
                .map(|config| (config.sys_config.clone(), config.vm_args.clone())),
            modes,
            runtime: runtime.clone(),
            other_libraries: other,
            history,
        };
        steps.add(boot::STEP, names(&[DRIVER, DESCRIBE], &compiles), release::RULE, action);

        let recipe = self.recipe(project, relx);
        let mut copied: Vec<String> = COPIED.map(str::to_owned).into();
        let include_src = relx.is_some_and(|relx| relx.include_src);
        if include_src {
            copied.extend(SOURCES.map(str::to_owned));
        }
        let excluded = relx.map(|relx| relx.excluded.clone()).unwrap_or_default();
        self.add_erlang_strips(steps, project, around, recipe.as_ref(), &copied, &excluded, include_src)?;
        let include = IncludeRuntime {
            toolchain: Arc::clone(&common.toolchain),
            stat: self.sources.stat(),
            runtime,
            recipe,
            copied,
            manner: Manner::Relx { libraries, excluded },
        };
        steps.add(runtime::STEP, [boot::STEP], runtime::RULE, include);
        if relx.is_none() {
            let scripts = Scripts { executables_for: Some(vec!["unix".into()]), elixir: false };
            steps.add(scripts::STEP, [boot::STEP], scripts::RULE, scripts);
        }
        Ok(ErlangParts {
            applications: names_of,
            scripts: relx.is_none(),
            layout: if relx.is_some() { "relx" } else { "otp" },
            hot: self.file.upgrades.is_hot(),
            environment: common.environment.clone(),
            otp: project.otp.clone(),
        })
    }

    /// What relx is told about the release; `None` where it is told nothing at all.
    fn relx<'a>(
        &self,
        project: &'a ErlangProject,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Option<&'a Relx>, Vec<Diagnostic>> {
        let file = &self.file;
        if file.executables_for.iter().flatten().any(|platform| *platform == Platform::Windows) {
            let complaint = Diagnostic::warning("no start script for Windows is made")
                .in_file(file.file())
                .at(file.span("executables_for"));
            warnings.push(match project.release {
                Some(_) => complaint
                    .hint("relx makes it: `{include_start_scripts_for, [unix, win32]}` in rebar.config"),
                None => complaint.note("relgraph has one for releases with Elixir only"),
            });
        }
        let Some(relx) = &project.release else { return Ok(None) };
        if !relx.releases.contains(&file.release) {
            let complaint = Diagnostic::error(format!("relx is told of no release `{}`", file.release))
                .in_file(file.file())
                .at(file.span("release"))
                .note(format!("rebar.config declares {}", relx.releases.join(", ")));
            return Err(vec![match nearest(&file.release, relx.releases.iter().map(String::as_str)) {
                Some(name) => complaint.hint(format!("did you mean `{name}`?")),
                None => complaint,
            }]);
        }
        if file.cookie.is_some() {
            warnings.push(
                Diagnostic::warning("the start script of relx does not read the cookie of release.yaml")
                    .in_file(file.file())
                    .at(file.span("cookie"))
                    .hint("set RELX_COOKIE where the release runs, or write `-setcookie` to vm.args"),
            );
        }
        Ok(Some(relx))
    }

    /// Applications and modes: those of release.yaml, or all of the project's own where nothing says them.
    fn modes(
        &self,
        common: &Common,
        project: &ErlangProject,
        relx: bool,
        named: Option<&Declared>,
    ) -> Result<Vec<(String, String)>, Vec<Diagnostic>> {
        let file = &self.file;
        let known: BTreeSet<String> =
            project.applications.iter().map(|a| a.app.clone()).chain(Self::libraries(common)).collect();
        let mut errors = Vec::new();
        for (app, _) in file.applications.iter().filter(|(app, _)| !known.contains(app)) {
            let complaint = Diagnostic::error(format!("there is no application `{app}`"))
                .in_file(file.file())
                .at(file.key_span(&format!("applications.{app}")));
            errors.push(match nearest(app, known.iter().map(String::as_str)) {
                Some(name) => complaint.hint(format!("did you mean `{name}`?")),
                None => complaint.hint("it is neither a dependency of the project nor part of Erlang"),
            });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let said: Vec<(String, String)> =
            file.applications.iter().map(|(app, mode)| (app.clone(), word(*mode).to_owned())).collect();
        if let Some(named) = named {
            let more =
                said.iter().filter(|(app, _)| !named.applications.iter().any(|(other, _)| other == app));
            let mode =
                |app: &String| said.iter().find(|(other, _)| other == app).map(|(_, mode)| mode.clone());
            let theirs = named.applications.iter();
            let theirs = theirs.map(|(app, own)| (app.clone(), mode(app).unwrap_or_else(|| own.clone())));
            return Ok(theirs.chain(more.cloned()).collect());
        }
        if relx || !said.is_empty() {
            return Ok(said);
        }
        let own = project.applications.iter().filter(|a| a.scm == PROJECT);
        Ok(own.map(|a| (a.app.clone(), "permanent".to_owned())).collect())
    }

    /// relx takes applications of OTP from any folder; here it is that of a whole installation.
    fn check_system_libs(&self, runtime: &Runtime, folder: &str) -> Result<(), Vec<Diagnostic>> {
        let same = match runtime {
            Runtime::Other(erlang) => {
                let real = |path: &Path| std::fs::canonicalize(path).ok();
                real(&self.root.join(folder)) == real(&erlang.root.join("lib"))
            }
            _ => false,
        };
        if same {
            return Ok(());
        }
        let message = format!("relx is told to take OTP from {folder}, and the runtime from elsewhere");
        let hint = "name one installation: `{include_erts, ROOT}` with `{system_libs, \"ROOT/lib\"}`, or `runtime: ROOT` in release.yaml";
        Err(vec![Diagnostic::error(message).hint(hint)])
    }

    /// How modules are stripped. What release.yaml says wins.
    /// How the modules of a release are stripped; `None`: they are not.
    pub fn stripping(&self, project: &ErlangProject) -> Option<StripRecipe> {
        self.recipe(project, project.release.as_ref())
    }

    fn recipe(&self, project: &ErlangProject, relx: Option<&Relx>) -> Option<StripRecipe> {
        let chunks = &project.stripping.chunks;
        match self.file.strip_wanted() {
            Some(schema::Strip::No) => None,
            Some(schema::Strip::Yes { keep, compress }) => {
                let more = keep.into_iter().filter(|id| !chunks.contains(id));
                Some(StripRecipe { chunks: chunks.iter().cloned().chain(more).collect(), compress })
            }
            None => match relx {
                Some(relx) => relx.strip.then(|| project.stripping.clone()),
                None => Some(StripRecipe { compress: false, ..project.stripping.clone() }),
            },
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn add_erlang_strips(
        &self,
        steps: &mut Steps,
        project: &ErlangProject,
        around: &Around,
        recipe: Option<&StripRecipe>,
        copied: &[String],
        excluded: &BTreeMap<String, Vec<String>>,
        include_src: bool,
    ) -> Result<(), Vec<Diagnostic>> {
        let whole = self.whole(around);
        for application in &project.applications {
            let sources: Option<Arc<Snapshot>> = if include_src {
                Some(self.erlang_source(&whole, around, project, &application.dest).map_err(failed)?)
            } else {
                None
            };
            let action = Strip {
                app: application.app.clone(),
                recipe: recipe.cloned(),
                copied: copied.to_vec(),
                excluded: excluded.get(&application.app).cloned().unwrap_or_default(),
                sources,
            };
            let needs = [compile::step(&application.app)];
            steps.add(&strip::step(&application.app), needs, strip::RULE, action);
        }
        Ok(())
    }
}

/// The history of a project: it may be part of a larger one.
pub(crate) fn history(root: &Path) -> Option<PathBuf> {
    root.ancestors().map(|folder| folder.join(".git")).find(|git| git.is_dir())
}
