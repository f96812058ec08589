//! From release.yaml and what Mix says about the project to a graph of steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::{StatCache, Store};
use relgraph_engine::{Action, Graph, GraphBuilder, GraphError, Rule, Step, StepError};

use crate::diagnostic::{Diagnostic, nearest};
use crate::layout::Layout;
use crate::project::{Application, Description, StripRecipe};
use crate::schema::{self, PackageFormat, ReleaseFile, StartMode, Upgrades};
use crate::sources::Sources;
use crate::steps::assemble::{self, Assemble, Layer, MixParts};
use crate::steps::boot::{self, Boot, Runtime};
use crate::steps::compile::{self, Compile, Seen};
use crate::steps::config::{self, Config};
use crate::steps::custom::{self, Custom};
use crate::steps::describe::{self, Describe, Whole};
use crate::steps::driver::{self, Driver};
use crate::steps::overlay::{self, Overlay};
use crate::steps::package::{self, Package};
use crate::steps::protocols::{self, Consolidate};
use crate::steps::runtime::{self, IncludeRuntime};
use crate::steps::scripts::{self, Scripts};
use crate::steps::strip::{self, Strip};
use crate::terms::Value;
use crate::toolchain::{Erlang, Toolchain};
use crate::vm::{Common, DRIVER};

/// The name of the step that asks Mix what the project is.
pub const DESCRIBE: &str = "describe";
/// The name of the step that evaluates the configuration.
pub const CONFIG: &str = "config";

/// A release.yaml, the project it is about, and what builds it.
pub struct Lowering {
    /// What the user wrote.
    pub file: ReleaseFile,
    /// The project's folder, absolute.
    pub root: PathBuf,
    /// Its files.
    pub sources: Arc<Sources>,
    /// What is needed to build a Mix project; `None`: there is none.
    pub common: Option<Common>,
}

/// A release as a graph of steps.
pub struct Lowered {
    /// The steps.
    pub graph: Graph,
    /// The packages wanted.
    pub packages: Vec<PackageFormat>,
    /// Where the version comes from, when no step says it.
    pub version: Option<String>,
    /// The project, where Mix was asked.
    pub description: Option<Description>,
    /// What the user should know.
    pub warnings: Vec<Diagnostic>,
}

impl Lowering {
    /// Looks at the project that a release.yaml is about. `path` is the variable PATH.
    pub fn new(
        file: ReleaseFile,
        root: &Path,
        store: &Store,
        stat: Arc<StatCache>,
        path: &str,
    ) -> Result<Self, Box<Diagnostic>> {
        if !root.is_dir() {
            let message = format!("there is no folder {}", root.display());
            return Err(Box::new(Diagnostic::error(message).in_file(file.file()).at(file.span("project"))));
        }
        let common = if root.join("mix.exs").is_file() {
            Some(Common {
                toolchain: Arc::new(Toolchain::find(path, store)?),
                environment: file.environment_name().to_owned(),
                target: file.target_name().to_owned(),
                env: file.env.clone(),
                pass_env: file.pass_env.clone(),
                spares: Arc::default(),
            })
        } else if file.steps.is_empty() {
            let message = format!("there is no mix.exs in {}", root.display());
            let hint = "name the project's folder (`project: PATH`), or give the release steps of its own (`steps:`)";
            let complaint =
                Diagnostic::error(message).in_file(file.file()).at(file.span("project")).hint(hint);
            return Err(Box::new(complaint));
        } else {
            None
        };
        let sources = Arc::new(Sources::new(root, stat));
        Ok(Lowering { file, root: root.to_owned(), sources, common })
    }

    /// Folders beside the project that its mix.exs seems to name: a guess that saves asking Mix twice.
    pub fn guess_beside(&self) -> BTreeSet<String> {
        let text = std::fs::read_to_string(self.root.join("mix.exs")).unwrap_or_default();
        let quoted = text.split("path:").skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
        quoted
            .filter_map(|rest| rest.split('"').next())
            .filter(|path| path.starts_with("../") && self.root.join(path).is_dir())
            .map(|path| path.trim_end_matches('/').to_owned())
            .collect()
    }

    /// The project with folders beside it.
    pub fn whole(&self, beside: &BTreeSet<String>) -> Whole {
        let climbs = beside.iter().map(|path| crate::project::climbs(path)).max().unwrap_or(0);
        let texts: Vec<String> = beside
            .iter()
            .flat_map(|folder| ["mix.exs", "rebar.config"].map(|file| self.root.join(folder).join(file)))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect();
        let named = |name: &str| {
            let (inside, whole) = (format!("/{name}/"), format!("/{name}\""));
            texts.iter().any(|text| text.contains(&inside) || text.contains(&whole))
        };
        let layout = Layout::new(&self.root, climbs, &named);
        Whole { sources: Arc::clone(&self.sources), beside: beside.clone(), layout }
    }

    /// The step that asks Mix.
    pub fn describe(&self, common: &Common, beside: &BTreeSet<String>) -> Describe {
        let strip = self.file.strip_wanted().map(|strip| match strip {
            schema::Strip::No => Value::Bool(false),
            schema::Strip::Yes { keep, compress } => Value::List(vec![
                Value::pair(Value::atom("keep"), Value::texts(keep)),
                Value::pair(Value::atom("compress"), Value::Bool(compress)),
            ]),
        });
        Describe {
            common: common.clone(),
            whole: self.whole(beside),
            release: self.file.release.clone(),
            strip,
        }
    }

    /// The graph that asks Mix what the project is. With the place of its configuration guessed, that is evaluated at the
    /// same time.
    pub fn describing(
        &self,
        common: &Common,
        beside: &BTreeSet<String>,
        config: Option<&str>,
    ) -> Result<Graph, Vec<Diagnostic>> {
        let mut steps = Steps::default();
        self.add_describe(&mut steps, common, beside);
        if let Some(path) = config {
            Self::add_config(&mut steps, common, self.whole(beside), path);
        }
        self.graph(steps)
    }

    fn add_config(steps: &mut Steps, common: &Common, whole: Whole, path: &str) {
        let config = Config { common: common.clone(), whole, path: path.to_owned() };
        steps.add(CONFIG, [DRIVER], config::RULE, config);
    }

    fn add_describe(&self, steps: &mut Steps, common: &Common, beside: &BTreeSet<String>) {
        steps.add(DRIVER, NONE, driver::RULE, Driver { common: common.clone() });
        steps.add(DESCRIBE, [DRIVER], describe::RULE, self.describe(common, beside));
    }

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
            None,
            layers,
            self.file.package.clone().unwrap_or_default(),
            Some(version),
            None,
            vec![],
        )
    }

    /// The whole graph of a Mix release.
    pub fn mix_release(
        &self,
        common: &Common,
        description: Description,
        beside: &BTreeSet<String>,
    ) -> Result<Lowered, Vec<Diagnostic>> {
        let warnings = self.check(common, &description)?;
        let mut steps = Steps::default();
        self.add_describe(&mut steps, common, beside);
        let whole = self.whole(beside);
        let declared =
            description.release.clone().ok_or_else(|| vec![Diagnostic::error("Mix described no release")])?;
        Self::add_config(&mut steps, common, whole.clone(), &description.project.config_path);

        let applications = self.all_applications(&description);
        self.add_compiles(&mut steps, common, &description, &applications, &whole.layout)?;
        // All compilations, describe, config, protocols and boot.
        common.spares.expect(applications.len() + 4);
        let recipe = declared.strip.clone();
        let seen: Vec<Seen> =
            applications.iter().map(|a| Seen { app: a.app.clone(), build: a.build.clone() }).collect();
        self.add_strips(&mut steps, &seen, recipe.as_ref(), &description.copied);

        let hot = self.file.upgrades == Some(Upgrades::Hot);
        let consolidated = description.project.consolidate_protocols;
        let compiles: Vec<String> = seen.iter().map(|s| compile::step(&s.app)).collect();
        if consolidated {
            let action = Consolidate {
                common: common.clone(),
                layout: whole.layout.clone(),
                applications: seen.clone(),
                recipe: recipe.clone(),
            };
            steps.add(protocols::STEP, names(&[DRIVER], &compiles), protocols::RULE, action);
        }
        let executables_for = match &self.file.executables_for {
            Some(wanted) => wanted
                .iter()
                .map(|platform| match platform {
                    schema::Platform::Unix => "unix".to_owned(),
                    schema::Platform::Windows => "windows".to_owned(),
                })
                .collect(),
            None => declared.executables_for.clone(),
        };
        let runtime = self.runtime(&declared.include_erts).map_err(|e| vec![*e])?;
        let boot = Boot {
            common: common.clone(),
            whole,
            applications: seen.clone(),
            release: self.file.release.clone(),
            version: self.file.version.clone(),
            modes: self
                .file
                .applications
                .iter()
                .map(|(app, mode)| (app.clone(), word(*mode).to_owned()))
                .collect(),
            runtime: runtime.clone(),
            executables_for: executables_for.clone(),
            hot,
            consolidated,
        };
        steps.add(boot::STEP, names(&[DRIVER, CONFIG], &compiles), boot::RULE, boot);
        let include = IncludeRuntime {
            toolchain: Arc::clone(&common.toolchain),
            stat: self.sources.stat(),
            runtime,
            recipe,
            copied: description.copied.clone(),
        };
        steps.add(runtime::STEP, [boot::STEP], runtime::RULE, include);
        steps.add(scripts::STEP, [boot::STEP], scripts::RULE, Scripts { executables_for });

        let mut layers = self.add_overlays(&mut steps, &declared)?;
        layers.extend(self.add_custom(&mut steps, Some(&applications))?);
        let mix = MixParts {
            applications: seen,
            hot,
            consolidated,
            environment: common.environment.clone(),
            elixir: description.toolchain.elixir.clone(),
            otp: description.toolchain.otp.clone(),
        };
        let packages = match &self.file.package {
            Some(packages) => packages.clone(),
            None if declared.tar => vec![PackageFormat::TarGz],
            None => Vec::new(),
        };
        self.finish(steps, Some(mix), layers, packages, None, Some(description), warnings)
    }

    /// The project itself as one more application, last: it sees all others.
    fn all_applications(&self, description: &Description) -> Vec<Application> {
        let mut all = description.applications.clone();
        if let (Some(app), false) = (&description.project.app, description.project.umbrella) {
            all.push(Application {
                app: app.clone(),
                dest: ".".into(),
                build: format!("{}/lib/{app}", description.project.build_path),
                manager: Some("mix".into()),
                env: self.file.environment_name().to_owned(),
                scm: "project".into(),
                fetchable: false,
                compile: None,
                app_file: true,
                optional: false,
                runtime: true,
                from_umbrella: false,
                children: description.applications.iter().map(|a| a.app.clone()).collect(),
                system_env: BTreeMap::new(),
                problem: None,
            });
        }
        all
    }

    fn add_compiles(
        &self,
        steps: &mut Steps,
        common: &Common,
        description: &Description,
        applications: &[Application],
        layout: &Layout,
    ) -> Result<(), Vec<Diagnostic>> {
        let all: Arc<BTreeSet<String>> = Arc::new(applications.iter().map(|a| a.app.clone()).collect());
        let folders: Vec<&str> = applications.iter().map(|a| a.dest.as_str()).collect();
        for application in applications {
            let mut inner: Vec<&str> = folders.clone();
            inner.push(&description.project.deps_path);
            let source = self.sources.of(&application.dest, &inner).map_err(failed)?;
            let sees: Vec<Seen> = description
                .visible(&application.children)
                .into_iter()
                .filter(|seen| seen.app != application.app)
                .map(|seen| Seen { app: seen.app.clone(), build: seen.build.clone() })
                .collect();
            let needs: Vec<String> = sees.iter().map(|s| compile::step(&s.app)).collect();
            let action = Compile {
                common: Common { environment: application.env.clone(), ..common.clone() },
                application: application.clone(),
                root: application.dest == ".",
                source,
                layout: layout.clone(),
                sees,
                all: Arc::clone(&all),
                deps_path: description.project.deps_path.clone(),
                lockfile: description.project.lockfile.clone(),
                build_path: description.project.build_path.clone(),
            };
            steps.add(
                &compile::step(&application.app),
                names(&[DRIVER, CONFIG], &needs),
                compile::RULE,
                action,
            );
        }
        Ok(())
    }

    fn add_strips(&self, steps: &mut Steps, seen: &[Seen], recipe: Option<&StripRecipe>, copied: &[String]) {
        for one in seen {
            let action = Strip { app: one.app.clone(), recipe: recipe.cloned(), copied: copied.to_vec() };
            steps.add(&strip::step(&one.app), [compile::step(&one.app)], strip::RULE, action);
        }
    }

    fn add_overlays(
        &self,
        steps: &mut Steps,
        declared: &crate::project::Declared,
    ) -> Result<Vec<Layer>, Vec<Diagnostic>> {
        let mut folders: Vec<(String, Option<String>)> = Vec::new();
        let default = format!("{}/overlays", declared.templates);
        if self.root.join(&default).is_dir() {
            folders.push((default, None));
        }
        folders.extend(declared.overlays.iter().map(|folder| (folder.clone(), None)));
        for (index, folder) in self.file.overlays.iter().flatten().enumerate() {
            folders.push((folder.to_string_lossy().into_owned(), Some(format!("overlays[{index}]"))));
        }
        let mut layers = Vec::new();
        for (folder, key) in folders {
            let real = self.root.join(&folder);
            if !real.is_dir() {
                let complaint =
                    Diagnostic::error(format!("there is no folder `{folder}` to lay over the release"));
                return Err(vec![match key {
                    Some(key) => complaint.in_file(self.file.file()).at(self.file.span(&key)),
                    None => complaint.note("mix.exs names it in `overlays:`"),
                }]);
            }
            let files = self.sources.whole(&folder).map_err(failed)?;
            let name = overlay::step(&folder);
            steps.add(&name, NONE, overlay::RULE, Overlay { folder, files });
            layers.push(Layer { step: name, output: "files".into(), into: String::new() });
        }
        Ok(layers)
    }

    fn add_custom(
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

    #[allow(clippy::too_many_arguments)]
    fn finish(
        &self,
        mut steps: Steps,
        mix: Option<MixParts>,
        layers: Vec<Layer>,
        packages: Vec<PackageFormat>,
        version: Option<String>,
        description: Option<Description>,
        warnings: Vec<Diagnostic>,
    ) -> Result<Lowered, Vec<Diagnostic>> {
        let mut needs: Vec<String> = layers.iter().map(|layer| layer.step.clone()).collect();
        if let Some(mix) = &mix {
            needs.extend(mix.applications.iter().map(|seen| strip::step(&seen.app)));
            needs.extend([boot::STEP, runtime::STEP, scripts::STEP].map(str::to_owned));
            if mix.consolidated {
                needs.push(protocols::STEP.to_owned());
            }
        }
        steps.add(assemble::STEP, needs, assemble::RULE, Assemble { mix, layers });
        for &format in &packages {
            steps.add(&package::step(format), [assemble::STEP], package::RULE, Package { format });
        }
        let graph = self.graph(steps)?;
        Ok(Lowered { graph, packages, version, description, warnings })
    }

    fn graph(&self, steps: Steps) -> Result<Graph, Vec<Diagnostic>> {
        steps.0.build().map_err(|error| {
            let file = &self.file;
            let complaint = Diagnostic::error(error.to_string()).in_file(file.file());
            vec![match &error {
                GraphError::UnknownStep { name, needed_by, nearest } => {
                    let place = self.need(needed_by, name);
                    let complaint =
                        Diagnostic::error(format!("step `{needed_by}` needs `{name}`, which does not exist"))
                            .in_file(file.file())
                            .at(place);
                    match nearest {
                        Some(nearest) => complaint.hint(format!("did you mean `{nearest}`?")),
                        None => complaint.hint("`relgraph plan` lists the steps of this release"),
                    }
                }
                GraphError::Cycle { path } => {
                    let own = path.windows(2).find(|pair| file.steps.contains_key(&pair[0]));
                    complaint.at(own.and_then(|pair| self.need(&pair[0], &pair[1])))
                }
                GraphError::Duplicate { name } => complaint.at(file.key_span(&format!("steps.{name}"))),
            }]
        })
    }

    fn need(&self, step: &str, need: &str) -> Option<crate::diagnostic::Span> {
        let index = self.file.steps.get(step)?.needs.iter().position(|n| n == need)?;
        self.file.span(&format!("steps.{step}.needs[{index}]"))
    }

    fn runtime(&self, declared: &serde_json::Value) -> Result<Runtime, Box<Diagnostic>> {
        let at = |path: &Path| Erlang::at(&self.root.join(path)).map(Runtime::Other);
        match self.file.runtime_wanted() {
            Some(schema::Runtime::Exclude) => Ok(Runtime::None),
            Some(schema::Runtime::Own) => Ok(Runtime::Own),
            Some(schema::Runtime::At(path)) => {
                at(&path).map_err(|e| Box::new(e.in_file(self.file.file()).at(self.file.span("runtime"))))
            }
            None => match declared {
                serde_json::Value::Bool(false) => Ok(Runtime::None),
                serde_json::Value::String(path) => at(Path::new(path)),
                _ => Ok(Runtime::Own),
            },
        }
    }

    /// What can be said before anything is compiled.
    fn check(&self, common: &Common, description: &Description) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
        let file = &self.file;
        let mut errors = Vec::new();
        let mut warnings = Vec::new();
        for application in &description.applications {
            if let Some(problem) = &application.problem {
                let message = format!("dependency `{}`: {}", application.app, problem.message.trim());
                let complaint = Diagnostic::error(message);
                errors.push(if problem.kind == "unavailable" && application.fetchable {
                    complaint.hint("run `mix deps.get` to fetch it")
                } else {
                    complaint
                });
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
            for step in &release.steps {
                warnings.push(
                    Diagnostic::warning(format!("the release step {step} of mix.exs is not run: relgraph runs no Elixir functions as steps"))
                        .hint("write it as a step of release.yaml (`steps:`)"),
                );
            }
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
        if errors.is_empty() { Ok(warnings) } else { Err(errors) }
    }

    fn known(&self, common: &Common, description: &Description) -> BTreeSet<String> {
        let own = description.applications.iter().map(|a| a.app.clone());
        let elixir = common.toolchain.elixir.libraries.iter().cloned();
        let otp = common.toolchain.erlang_files.inside("lib").filter_map(|(path, _)| {
            let name = path.strip_prefix("lib/")?;
            (!name.contains('/')).then(|| name.rsplit_once('-').map_or(name, |(app, _)| app).to_owned())
        });
        own.chain(description.project.app.clone()).chain(elixir).chain(otp).collect()
    }
}

/// No needs.
const NONE: [&str; 0] = [];

#[derive(Default)]
struct Steps(GraphBuilder);

impl Steps {
    fn add<N, S>(&mut self, name: &str, needs: N, rule: Rule, action: impl Action + 'static)
    where
        N: IntoIterator<Item = S>,
        S: Into<String>,
    {
        let needs = needs.into_iter().map(Into::into).collect();
        self.0.add(Step { name: name.to_owned(), needs, rule, action: Arc::new(action) });
    }
}

fn names(fixed: &[&str], more: &[String]) -> Vec<String> {
    fixed.iter().map(|&name| name.to_owned()).chain(more.iter().cloned()).collect()
}

fn word(mode: StartMode) -> &'static str {
    match mode {
        StartMode::Permanent => "permanent",
        StartMode::Transient => "transient",
        StartMode::Temporary => "temporary",
        StartMode::Load => "load",
        StartMode::None => "none",
    }
}

fn failed(error: StepError) -> Vec<Diagnostic> {
    vec![Diagnostic::error(error.message)]
}
