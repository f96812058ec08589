//! A Mix project as steps.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use relgraph_engine::Graph;

use super::custom::Beside;
use super::{Around, CONFIG, DESCRIBE, Lowered, Lowering, NONE, Steps, failed, names, word};
use crate::diagnostic::Diagnostic;
use crate::names::{Code, Named, named};
use crate::project::{Application, Description, StripRecipe};
use crate::schema::{self, PackageFormat};
use crate::sources::Source;
use crate::steps::assemble::{Layer, MixParts, Parts};
use crate::steps::boot::{self, Boot, Runtime};
use crate::steps::compile::{self, Compile, Dependency, Seen};
use crate::steps::config::{self, Config};
use crate::steps::describe::{self, Describe, Whole};
use crate::steps::driver::{self, Driver};
use crate::steps::fetch;
use crate::steps::functions::{Functions, Home, ReleaseSteps};
use crate::steps::overlay::{self, Overlay};
use crate::steps::protocols::{self, Consolidate};
use crate::steps::runtime::{self, IncludeRuntime, Manner};
use crate::steps::scripts::{self, Scripts};
use crate::steps::strip::{self, Strip};
use crate::terms::Value;
use crate::toolchain::Erlang;
use crate::vm::{Common, DRIVER};

impl Lowering {
    /// The step that asks Mix.
    pub fn describe(&self, common: &Common, around: &Around) -> Describe {
        let strip = self.file.strip_wanted().map(|strip| match strip {
            schema::Strip::No => Value::Bool(false),
            schema::Strip::Yes { keep, compress } => Value::List(vec![
                Value::pair(Value::atom("keep"), Value::texts(keep)),
                Value::pair(Value::atom("compress"), Value::Bool(compress)),
            ]),
        });
        Describe {
            common: common.clone(),
            whole: self.whole(around),
            release: self.file.release.clone(),
            strip,
        }
    }

    /// The graph that asks Mix what the project is. With the place of its configuration guessed, that is evaluated at the
    /// same time.
    pub fn describing(
        &self,
        common: &Common,
        around: &Around,
        config: Option<&str>,
    ) -> Result<Graph, Vec<Diagnostic>> {
        let mut steps = Steps::default();
        self.add_describe(&mut steps, common, around);
        if let Some(path) = config {
            Self::add_config(&mut steps, common, self.whole(around), path);
        }
        self.graph(steps)
    }

    pub(super) fn add_config(steps: &mut Steps, common: &Common, whole: Whole, path: &str) {
        let config = Config { common: common.clone(), whole, path: path.to_owned() };
        steps.add(CONFIG, [DRIVER], config::RULE, config);
    }

    pub(super) fn add_describe(&self, steps: &mut Steps, common: &Common, around: &Around) {
        steps.add(DRIVER, NONE, driver::RULE, Driver { common: common.clone() });
        self.add_fetches(steps, around, around.fetched.keys().chain(&around.histories));
        let fetched: Vec<String> = around.fetched.keys().map(|app| fetch::step(app)).collect();
        steps.add(DESCRIBE, names(&[DRIVER], &fetched), describe::RULE, self.describe(common, around));
    }

    /// The whole graph of a Mix release.
    pub fn mix_release(
        &self,
        common: &Common,
        description: Description,
        around: &Around,
    ) -> Result<Lowered, Vec<Diagnostic>> {
        let mut warnings = self.check(common, &description, around)?;
        let mut steps = Steps::default();
        self.add_describe(&mut steps, common, around);
        let whole = self.whole(around);
        let declared =
            description.release.clone().ok_or_else(|| vec![Diagnostic::error("Mix described no release")])?;
        Self::add_config(&mut steps, common, whole.clone(), &description.project.config_path);

        let applications = self.all_applications(&description);
        self.add_compiles(&mut steps, common, &description, &applications, &whole, around)?;
        // All compilations, describe, config, protocols and boot.
        common.spares.expect(applications.len() + 4);
        let recipe = declared.strip.clone();
        let seen: Vec<Seen> =
            applications.iter().map(|a| Seen { app: a.app.clone(), build: a.build.clone() }).collect();
        self.add_strips(&mut steps, &seen, recipe.as_ref(), &description.copied);

        let hot = self.file.upgrades.is_hot();
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
        let wanted = self.file.executables_for.as_ref().map(|wanted| {
            let word = |platform: &schema::Platform| match platform {
                schema::Platform::Unix => "unix".to_owned(),
                schema::Platform::Windows => "windows".to_owned(),
            };
            wanted.iter().map(word).collect()
        });
        let functions = declared.functions.any().then(|| Functions {
            here: !declared.functions.before.is_empty(),
            homes: applications
                .iter()
                .map(|a| Home { app: a.app.clone(), dest: a.dest.clone(), build: a.build.clone() })
                .collect(),
            recipe: recipe.clone(),
            copied: description.copied.clone(),
        });
        // A function may change what its options say.
        let executables_for = match &functions {
            Some(_) => wanted,
            None => wanted.or(Some(declared.executables_for.clone())),
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
            build_path: description.project.build_path.clone(),
            functions: functions.clone(),
        };
        let later = functions.map(|functions| {
            let functions = Some(Functions { here: true, ..functions });
            let action = ReleaseSteps { boot: Boot { functions, ..boot.clone() } };
            (names(&[DRIVER, CONFIG], &compiles), action)
        });
        steps.add(boot::STEP, names(&[DRIVER, CONFIG], &compiles), boot::RULE, boot);
        let include = IncludeRuntime {
            toolchain: Arc::clone(&common.toolchain),
            stat: self.sources.stat(),
            runtime,
            recipe,
            copied: description.copied.clone(),
            manner: Manner::Mix,
        };
        steps.add(runtime::STEP, [boot::STEP], runtime::RULE, include);
        steps.add(scripts::STEP, [boot::STEP], scripts::RULE, Scripts { executables_for, elixir: true });

        // What Mix lays over the release is found by `boot` where functions may make it.
        let (default, overlays) = match later {
            Some(_) => (None, &[][..]),
            None => (Some(format!("{}/overlays", declared.templates)), declared.overlays.as_slice()),
        };
        let mut layers = self.add_overlays(&mut steps, default.as_deref(), overlays)?;
        let visible = |application: &Application| -> Vec<&str> {
            description.visible(application, None).into_iter().map(|seen| seen.app.as_str()).collect()
        };
        let beside = Beside {
            applications: &applications,
            mix: true,
            before: true,
            visible: &visible,
            around: Some(around),
            build_path: Some(&description.project.build_path),
            functions: later.is_some(),
        };
        let (more, said) = self.add_custom(&mut steps, &beside)?;
        layers.extend(more);
        warnings.extend(said);
        let mix = MixParts {
            applications: seen,
            hot,
            consolidated,
            environment: common.environment.clone(),
            elixir: description.toolchain.elixir.clone(),
            otp: description.toolchain.otp.clone(),
            functions: later.is_some(),
        };
        let packages = match &self.file.package {
            Some(packages) => packages.clone(),
            None if declared.tar => vec![PackageFormat::TarGz],
            None => Vec::new(),
        };
        let parts = Parts::Mix(mix);
        self.finish(steps, parts, layers, packages, None, &applications, Some(description), later, warnings)
    }

    /// The project itself as one more application, last: it sees all others.
    pub(super) fn all_applications(&self, description: &Description) -> Vec<Application> {
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
                mix: String::new(),
                mix_below: String::new(),
                rebar_config: None,
                problem: None,
            });
        }
        all
    }

    pub(super) fn add_compiles(
        &self,
        steps: &mut Steps,
        common: &Common,
        description: &Description,
        applications: &[Application],
        whole: &Whole,
        around: &Around,
    ) -> Result<(), Vec<Diagnostic>> {
        let all: Arc<BTreeSet<String>> = Arc::new(applications.iter().map(|a| a.app.clone()).collect());
        let folders: Vec<&str> = applications.iter().map(|a| a.dest.as_str()).collect();
        let source = |application: &Application| -> Result<Source, Vec<Diagnostic>> {
            let others = folders.iter().copied().filter(|folder| *folder != application.dest);
            let mut inner: Vec<&str> = others.collect();
            inner.extend(
                [&description.project.deps_path, &description.project.build_root].map(String::as_str),
            );
            // What a step makes is taken from there, and not from the checkout.
            inner.extend(self.outputs_for(application));
            Ok(match whole.fetched.get(&application.app) {
                Some(fetched) => {
                    Source::Fetched { at: fetched.at.clone(), step: fetch::step(&application.app) }
                }
                None => {
                    let edited = around.histories.contains(&application.app);
                    // What lies in a part of a repository may look at the rest of it.
                    let at = if edited { around.at(&application.app) } else { application.dest.clone() };
                    let files = self.sources.of(&at, &inner).map_err(failed)?;
                    Source::Folder { at, files, history: edited.then(|| fetch::step(&application.app)) }
                }
            })
        };
        let sources: Vec<Source> = applications.iter().map(source).collect::<Result<_, _>>()?;
        let named = self.named(applications, &sources, whole)?;
        for (application, source) in applications.iter().zip(sources) {
            let made = self.made_for(application)?;
            let named = named.get(&application.app);
            let visible: Vec<&Application> = description
                .visible(application, named)
                .into_iter()
                .filter(|seen| seen.app != application.app)
                .collect();
            let dependencies = visible
                .iter()
                .copied()
                .chain((!application.mix.is_empty()).then_some(application))
                .map(|seen| Dependency {
                    mix: if application.dest == "." { seen.mix.clone() } else { seen.mix_below.clone() },
                    dest: seen.dest.clone(),
                    build: seen.build.clone(),
                })
                .collect();
            let sees: Vec<Seen> = visible
                .iter()
                .map(|seen| Seen { app: seen.app.clone(), build: seen.build.clone() })
                .collect();
            let mut needs: Vec<String> = sees.iter().map(|s| compile::step(&s.app)).collect();
            needs.extend(source.step().map(str::to_owned));
            needs.extend(made.iter().map(|made| made.step.clone()));
            let action = Compile {
                common: Common {
                    environment: application.env.clone(),
                    network: self.file.network.contains(&application.app),
                    ..common.clone()
                },
                application: application.clone(),
                root: application.dest == ".",
                source,
                made,
                feeds: self.feeds(application),
                layout: whole.layout.clone(),
                reach: whole.reach(),
                sees,
                dependencies,
                dependency_config: description.project.dependency_config.clone(),
                named: named.cloned().unwrap_or_default(),
                all: Arc::clone(&all),
                deps_path: description.project.deps_path.clone(),
                lockfile: description.project.lockfile.clone(),
                build_path: description.project.build_path.clone(),
                build_root: description.project.build_root.clone(),
                builds_outside: description.project.builds_outside,
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

    /// Which applications name which others. The project itself sees all of them anyway.
    fn named(
        &self,
        applications: &[Application],
        sources: &[Source],
        whole: &Whole,
    ) -> Result<Named, Vec<Diagnostic>> {
        let project = applications.iter().find(|application| application.dest == ".");
        let dependencies: Vec<(&str, Code<'_>)> = applications
            .iter()
            .zip(sources)
            .filter(|(application, _)| application.dest != ".")
            .filter_map(|(application, source)| {
                let code = match source {
                    Source::Folder { files, .. } => Code::Folder(files),
                    Source::Fetched { .. } => {
                        Code::Tree(&self.store, whole.fetched.get(&application.app)?.tree)
                    }
                };
                Some((application.app.as_str(), code))
            })
            .collect();
        named(&dependencies, project.map(|project| project.app.as_str()), self.names.as_deref())
            .map_err(failed)
    }

    pub(super) fn add_strips(
        &self,
        steps: &mut Steps,
        seen: &[Seen],
        recipe: Option<&StripRecipe>,
        copied: &[String],
    ) {
        for one in seen {
            let action = Strip {
                app: one.app.clone(),
                recipe: recipe.cloned(),
                copied: copied.to_vec(),
                excluded: Vec::new(),
                sources: None,
            };
            steps.add(&strip::step(&one.app), [compile::step(&one.app)], strip::RULE, action);
        }
    }

    pub(super) fn add_overlays(
        &self,
        steps: &mut Steps,
        default: Option<&str>,
        declared: &[String],
    ) -> Result<Vec<Layer>, Vec<Diagnostic>> {
        let mut folders: Vec<(String, Option<String>)> = Vec::new();
        if let Some(default) = default.filter(|default| self.root.join(default).is_dir()) {
            folders.push((default.to_owned(), None));
        }
        folders.extend(declared.iter().map(|folder| (folder.clone(), None)));
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
            layers.push(Layer { step: name, output: "files".into(), into: String::new(), late: false });
        }
        Ok(layers)
    }

    pub(super) fn runtime(&self, declared: &serde_json::Value) -> Result<Runtime, Box<Diagnostic>> {
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
}
