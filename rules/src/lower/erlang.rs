//! A project in Erlang alone as steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_engine::Graph;

use super::custom::Beside;
use super::{Around, DESCRIBE, Lowered, Lowering, NONE, Steps, failed, names};
use crate::diagnostic::Diagnostic;
use crate::erlang::compile::{self, Compile};
use crate::erlang::describe::{self, Describe};
use crate::erlang::history::{self, History};
use crate::erlang::hooks::{self, Hooks, TakeUp, When};
use crate::erlang::make::{self, Make};
use crate::erlang::project::{ErlangProject, PROJECT};
use crate::erlang::relx_config::{self, RelxConfig};
use crate::project::Application;
use crate::source::{Entry, Snapshot};
use crate::steps::assemble::Parts;
use crate::steps::compile::step;
use crate::steps::describe::Whole;
use crate::steps::driver::{self, Driver};
use crate::steps::fetch;
use crate::tool::{self, Tool};
use crate::vm::{Common, DRIVER};

/// Where rebar3 puts what it fetches.
const PLACES: [&str; 2] = ["_build/default/lib", "_build/default/plugins"];

impl Lowering {
    /// The graph that asks the tool what the project is.
    pub fn describing_erlang(&self, common: &Common, around: &Around) -> Result<Graph, Vec<Diagnostic>> {
        let mut steps = Steps::default();
        self.add_describe_erlang(&mut steps, common, around);
        self.graph(steps)
    }

    fn add_describe_erlang(&self, steps: &mut Steps, common: &Common, around: &Around) {
        let whole = self.whole(around);
        steps.add(DRIVER, NONE, driver::RULE, Driver { common: common.clone() });
        let folders = match common.tool {
            Tool::Otp => tool::applications(&self.root),
            _ => Vec::new(),
        };
        let release = self.file.release.clone();
        let action = Describe { common: common.clone(), whole, folders, release };
        steps.add(DESCRIBE, [DRIVER], describe::RULE, action);
    }

    /// The whole graph of a release in Erlang alone.
    pub fn erlang_release(
        &self,
        common: &Common,
        project: ErlangProject,
        around: &Around,
    ) -> Result<Lowered, Vec<Diagnostic>> {
        let unknown = self.network_unknown(project.applications.iter().map(|a| a.app.as_str()));
        if !unknown.is_empty() {
            return Err(unknown);
        }
        let mut steps = Steps::default();
        self.add_describe_erlang(&mut steps, common, around);
        self.add_fetches(&mut steps, around, around.fetched.keys());
        self.add_erlang_compiles(&mut steps, common, &project, around)?;
        let relx_config = self.relx_config(common)?;
        let mut warnings = relx_config.as_ref().map(|config| self.not_followed(config)).unwrap_or_default();
        warnings.extend(self.rebar_lock_warnings(around, &project));
        warnings.extend(no_plugins(&project));
        let parts = self.add_erlang_release(
            &mut steps,
            common,
            &project,
            around,
            relx_config.as_ref(),
            &mut warnings,
        )?;
        // All compilations, describe and boot.
        common.spares.expect(project.applications.len() + 2);
        let mut layers = self.add_overlays(&mut steps, Some("rel/overlays"), &[])?;
        let visible = |application: &Application| -> Vec<&str> {
            project.visible(application).into_iter().map(|seen| seen.app.as_str()).collect()
        };
        // What make compiles is told by its Makefile what comes first.
        let before = common.tool != Tool::ErlangMk;
        let beside =
            Beside { applications: &project.applications, before, visible: &visible, ..Beside::default() };
        let (more, said) = self.add_custom(&mut steps, &beside)?;
        layers.extend(more);
        warnings.extend(said);
        let packages = self.file.package.clone().unwrap_or_default();
        let parts = Parts::Erlang(parts);
        let applications = &project.applications;
        let lowered =
            self.finish(steps, parts, layers, packages, None, applications, None, None, warnings)?;
        Ok(Lowered { erlang: Some(project), ..lowered })
    }

    /// `compile APP` for each application.
    pub(super) fn add_erlang_compiles(
        &self,
        steps: &mut Steps,
        common: &Common,
        project: &ErlangProject,
        around: &Around,
    ) -> Result<(), Vec<Diagnostic>> {
        let whole = self.whole(around);
        let mut sources: BTreeMap<&str, Arc<Snapshot>> = BTreeMap::new();
        for application in &project.applications {
            let source = self.erlang_source(&whole, around, project, &application.dest).map_err(failed)?;
            sources.insert(&application.app, source);
        }
        let folders: Vec<&str> = project.applications.iter().map(|a| a.dest.as_str()).collect();
        let rest = self.sources.of(".", &folders).map_err(failed)?;
        // All compilations and describe.
        common.spares.expect(project.applications.len() + 1);
        if common.tool == Tool::ErlangMk {
            return self.add_make_compiles(steps, common, project, around, &sources);
        }
        let plugins = Arc::new(project.plugins.clone());
        let own = project.applications.iter().filter(|application| application.scm == PROJECT);
        let all = Arc::new(own.map(|application| application.dest.clone()).collect::<Vec<_>>());
        for application in &project.applications {
            let sees: Vec<compile::Other> = project
                .visible(application)
                .into_iter()
                .filter_map(|seen| Some((seen.clone(), Arc::clone(sources.get(seen.app.as_str())?))))
                .collect();
            let made = self.made_for(application)?;
            let mut needs: Vec<String> = sees.iter().map(|(seen, _)| compiled(project, seen)).collect();
            needs.extend(around.fetched.get(&application.app).map(|_| fetch::step(&application.app)));
            needs.extend(made.iter().map(|made| made.step.clone()));
            let Some(source) = sources.get(application.app.as_str()) else { continue };
            let own = application.scm == PROJECT;
            if own && project.hooks.pre {
                needs.push(hooks::BEFORE.to_owned());
            }
            let hooked = project.hooks.post;
            let action = Compile {
                common: Common { network: self.file.network.contains(&application.app), ..common.clone() },
                application: application.clone(),
                all: Arc::clone(&all),
                hooks: project.hooks.pre,
                hooked,
                source: Arc::clone(source),
                rest: (application.scm == PROJECT && application.dest != ".").then(|| Arc::clone(&rest)),
                made,
                history: self.history(source, around, &application.dest),
                layout: whole.layout.clone(),
                reach: whole.reach(),
                sees,
                plugins: Arc::clone(&plugins),
            };
            let name = compiled(project, application);
            steps.add(&name, names(&[DRIVER, DESCRIBE], &needs), compile::RULE, action);
        }
        self.add_hooks(steps, common, project, around);
        Ok(())
    }

    /// The hooks of a rebar3 project that belong to none of its applications.
    fn add_hooks(&self, steps: &mut Steps, common: &Common, project: &ErlangProject, around: &Around) {
        let mut add = |name: &str, when: When, applications: Vec<Application>| {
            let mut needs: Vec<String> = applications.iter().map(|seen| compiled(project, seen)).collect();
            let follow = when == When::After && project.hooks.pre;
            needs.extend(follow.then(|| hooks::BEFORE.to_owned()));
            let action = Hooks {
                common: common.clone(),
                whole: self.whole(around),
                when,
                applications,
                plugins: Arc::new(project.plugins.clone()),
                follow,
            };
            steps.add(name, names(&[DRIVER, DESCRIBE], &needs), hooks::RULE, action);
        };
        let of = |own: bool| {
            project.applications.iter().filter(move |a| own || a.scm != PROJECT).cloned().collect()
        };
        if project.hooks.pre {
            add(hooks::BEFORE, When::Before, of(false));
        }
        if project.hooks.post {
            add(hooks::AFTER, When::After, of(true));
            for application in project.applications.iter().filter(|application| application.scm == PROJECT) {
                let app = application.app.clone();
                let needs = [compile::inner_step(&app), hooks::AFTER.to_owned()];
                steps.add(&step(&app), needs, hooks::TAKE_UP, TakeUp { app: app.clone() });
            }
        }
    }

    /// `relx.config` of a project that rebar3 does not build.
    fn relx_config(&self, common: &Common) -> Result<Option<RelxConfig>, Vec<Diagnostic>> {
        match common.tool {
            Tool::ErlangMk | Tool::Otp => RelxConfig::read(&self.root).map_err(|error| vec![*error]),
            _ => Ok(None),
        }
    }

    /// What it says and is not followed.
    fn not_followed(&self, config: &RelxConfig) -> Vec<Diagnostic> {
        let mut warnings = Vec::new();
        let file = relx_config::FILE;
        match config.release(&self.file.release) {
            None if config.releases.is_empty() => {}
            None => {
                let names: Vec<&str> = config.releases.iter().map(|release| release.name.as_str()).collect();
                let message = format!(
                    "{file} declares no release `{}`: it says nothing of what belongs to it",
                    self.file.release
                );
                let complaint =
                    Diagnostic::warning(message).in_file(self.file.file()).at(self.file.span("release"));
                warnings.push(complaint.hint(format!("it declares {}", names.join(", "))));
            }
            Some(release) if release.version.is_none() && self.file.version.is_none() => {
                let message = format!("the version that {file} gives is no text, and is not followed");
                let hint = "say it in release.yaml (`version:`): left out, it is that of the application of the release's name";
                warnings.push(Diagnostic::warning(message).hint(hint));
            }
            Some(_) => {}
        }
        if !config.other.is_empty() {
            let message = format!("not followed in {file}: {}", config.other.join(", "));
            warnings.push(
                Diagnostic::warning(message)
                    .note("relx makes releases of rebar3's projects only; here OTP's systools does")
                    .hint("`overlays:` and `steps:` in release.yaml put files into the release"),
            );
        }
        warnings
    }

    /// The same where make compiles.
    fn add_make_compiles(
        &self,
        steps: &mut Steps,
        common: &Common,
        project: &ErlangProject,
        around: &Around,
        sources: &BTreeMap<&str, Arc<Snapshot>>,
    ) -> Result<(), Vec<Diagnostic>> {
        let whole = self.sources.whole(".").map_err(failed)?;
        let place = self.whole(around);
        for application in &project.applications {
            let mut seen = project.visible(application);
            // What lies in the folder of another one comes after that.
            seen.sort_by_key(|seen| seen.dest.len());
            let needs: Vec<String> = seen.iter().map(|seen| step(&seen.app)).collect();
            let sees: Vec<compile::Other> = seen
                .into_iter()
                .filter_map(|seen| Some((seen.clone(), Arc::clone(sources.get(seen.app.as_str())?))))
                .collect();
            let Some(source) = sources.get(application.app.as_str()) else { continue };
            let inner = project.applications.iter().filter_map(|other| match application.dest.as_str() {
                "." => (other.dest != ".").then(|| other.dest.clone()),
                dest => Some(other.dest.strip_prefix(dest)?.strip_prefix('/')?.to_owned()),
            });
            let inner: Vec<String> = inner.collect();
            let by_mix = source.named("mix.exs").is_some();
            let beside = |path: &str| {
                by_mix && project.beside.iter().any(|folder| Path::new(path).starts_with(folder))
            };
            let own = |path: &str| application.dest != "." && Path::new(path).starts_with(&application.dest);
            let shared = whole.only(&|path, entry| {
                let included = project.shared.iter().any(|file| file == path);
                let above = *entry == Entry::Directory
                    && project.shared.iter().any(|file| Path::new(file).starts_with(path));
                (included || above || beside(path)) && !own(path)
            });
            let action = Make {
                common: Common { network: self.file.network.contains(&application.app), ..common.clone() },
                application: application.clone(),
                source: Arc::clone(source),
                layout: place.layout.clone(),
                machine: place.reach(),
                sees,
                inner,
                shared: Arc::new(shared),
            };
            steps.add(&step(&application.app), names(&[DRIVER, DESCRIBE], &needs), make::RULE, action);
        }
        Ok(())
    }

    /// The history of an application, where its version comes from it.
    fn history(&self, source: &Snapshot, around: &Around, dest: &str) -> Option<History> {
        let specifications = source.entries().map(|(path, _)| path).filter(|path| path.contains(".app.src"));
        let texts = specifications.filter_map(|path| std::fs::read_to_string(source.root().join(path)).ok());
        texts
            .into_iter()
            .any(|text| history::is_asked_for(&text))
            .then(|| History::of(&self.folder_of(around, dest)))
    }

    /// Files besides the sources that decided what is built.
    pub fn looked_at(&self, project: &ErlangProject, around: &Around) -> BTreeSet<PathBuf> {
        let folders = project.applications.iter().map(|application| application.dest.as_str());
        let whole = self.whole(around);
        let source = |dest| Some((dest, self.erlang_source(&whole, around, project, dest).ok()?));
        let sources = folders.filter_map(source);
        let mut found: BTreeSet<PathBuf> = sources
            .filter_map(|(dest, source)| self.history(&source, around, dest))
            .flat_map(|history| history.looked_at)
            .collect();
        found.extend(PLACES.map(|place| self.root.join(place)));
        found.insert(self.root.join(relx_config::FILE));
        found
    }

    pub(super) fn erlang_source(
        &self,
        whole: &Whole,
        around: &Around,
        project: &ErlangProject,
        dest: &str,
    ) -> Result<Arc<Snapshot>, relgraph_engine::StepError> {
        if let Some(fetched) = self.fetched_source(around, dest)? {
            return Ok(fetched);
        }
        if whole.installed.contains(dest) {
            return whole.snapshot(dest);
        }
        let mut inner: Vec<&str> =
            project.applications.iter().map(|a| a.dest.as_str()).filter(|other| *other != dest).collect();
        // What a step makes is taken from there, and not from the checkout.
        if let Some(application) = project.applications.iter().find(|a| a.dest == dest) {
            inner.extend(self.outputs_for(application));
        }
        self.sources.of(dest, &inner)
    }

    /// Where the project's tool puts what it fetches, where that lies below its build folder.
    pub(super) fn installed(&self) -> BTreeSet<String> {
        let rebar3 = self.common.as_ref().filter(|common| common.tool == Tool::Rebar3);
        let Some(common) = rebar3 else { return BTreeSet::new() };
        let mut found = BTreeSet::new();
        for profile in ["default", &common.environment] {
            for kind in ["lib", "plugins"] {
                let folder = format!("_build/{profile}/{kind}");
                let entries = std::fs::read_dir(self.root.join(&folder)).into_iter().flatten().flatten();
                found.extend(
                    entries
                        .filter(|entry| is_installed(&entry.path()))
                        .filter_map(|entry| entry.file_name().into_string().ok())
                        .filter(|name| !name.starts_with('.'))
                        .map(|name| format!("{folder}/{name}")),
                );
            }
        }
        found
    }
}

/// The step whose result says what an application was compiled to, before hooks of the project change it.
fn compiled(project: &ErlangProject, application: &Application) -> String {
    let hooked = project.hooks.post && application.scm == PROJECT;
    if hooked { compile::inner_step(&application.app) } else { step(&application.app) }
}

/// rebar3 goes on without a plugin that it cannot fetch, and so do steps.
fn no_plugins(project: &ErlangProject) -> Option<Diagnostic> {
    let names: Vec<String> = project.no_plugins.iter().map(|name| format!("`{name}`")).collect();
    let (what, are) = match &names[..] {
        [] => return None,
        [_] => ("plugin", "is"),
        _ => ("plugins", "are"),
    };
    let message =
        format!("{what} {} {are} not there: what rebar3 would do with it is not done", names.join(", "));
    Some(
        Diagnostic::warning(message)
            .note("looked for in _checkouts and _build/default/plugins; rebar3 does not lock plugins, so they are not fetched")
            .hint("run `rebar3 get-deps` in the project's folder, which fetches them, or take out what no build needs"),
    )
}

/// What rebar3 compiles of the project itself lies beside what it fetches, and leads back to the sources by links.
fn is_installed(folder: &Path) -> bool {
    let is_link = |path: &Path| path.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    let is_folder = folder.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    is_folder && !["src", "include", "priv"].iter().any(|name| is_link(&folder.join(name)))
}
