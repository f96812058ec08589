//! From release.yaml and what Mix says about the project to a graph of steps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::{StatCache, Store};
use relgraph_engine::{Action, Graph, GraphBuilder, GraphError, Rule, Step, StepError};

use crate::diagnostic::Diagnostic;
use crate::erlang::project::ErlangProject;
use crate::fetch::Remotes;
use crate::layout::Layout;
use crate::project::{Application, Description};
use crate::schema::{PackageFormat, ReleaseFile, StartMode};
use crate::sources::Sources;
use crate::steps::assemble::{self, Assemble, Layer, Parts};
use crate::steps::boot;
use crate::steps::describe::Whole;
use crate::steps::finish::{self, Finish};
use crate::steps::functions::{self, ReleaseSteps};
use crate::steps::package::{self, Package};
use crate::steps::preflight;
use crate::tool::Tool;
use crate::toolchain::{Choice, Toolchain};
use crate::vm::Common;

mod around;
mod beside;
mod check;
mod custom;
mod erlang;
mod locked;
mod look;
mod mix;
mod origins;
pub(crate) mod release;

pub use around::{Around, Fetched};

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
    /// What was fetched.
    pub store: Store,
    /// What is needed to build the project; `None`: there is none.
    pub common: Option<Common>,
    /// How dependencies are fetched.
    pub remotes: Arc<Remotes>,
    /// What the user should know about the toolchain.
    pub warnings: Vec<Diagnostic>,
    /// Paths that the choice of the toolchain depends on.
    pub watched: Vec<PathBuf>,
    /// Variables that it depends on, besides PATH.
    pub variables: Vec<&'static str>,
    /// Where it is kept which applications name which others, to save looking again.
    pub names: Option<PathBuf>,
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
    /// The project, where it is one in Erlang alone.
    pub erlang: Option<ErlangProject>,
    /// What the user should know.
    pub warnings: Vec<Diagnostic>,
}

impl Lowering {
    /// Looks at the project that a release.yaml is about.
    pub fn new(
        file: ReleaseFile,
        root: &Path,
        store: &Store,
        stat: Arc<StatCache>,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, Box<Diagnostic>> {
        if !root.is_dir() {
            let message = format!("there is no folder {}", root.display());
            return Err(Box::new(Diagnostic::error(message).in_file(file.file()).at(file.span("project"))));
        }
        let tool = match file.tool {
            Some(tool) if !tool.is_of(root) => return Err(Box::new(not_of(&file, tool, root))),
            Some(tool) => Some(tool),
            None => Tool::of(root),
        };
        let mut choice = Choice::new(env, root, Some(&file));
        let common = if let Some(tool) = tool {
            Some(Common {
                tool,
                toolchain: Arc::new(Toolchain::find(&mut choice, needs_elixir(tool, root), store)?),
                environment: file.environment_name().to_owned(),
                target: file.target_name().to_owned(),
                env: file.env.clone(),
                pass_env: file.pass_env.clone(),
                secrets: file.secrets.names().cloned().collect(),
                spares: Arc::default(),
                rust: None,
                network: false,
            })
        } else if file.steps.is_empty() {
            let message = format!("there is no project in {}", root.display());
            let note = "it would have mix.exs, rebar.config, a Makefile that includes erlang.mk, or src/NAME.app.src";
            let hint = "name the project's folder (`project: PATH`), or give the release steps of its own (`steps:`)";
            let complaint = Diagnostic::error(message)
                .in_file(file.file())
                .at(file.span("project"))
                .note(note)
                .hint(hint);
            return Err(Box::new(complaint));
        } else {
            None
        };
        let Choice { warnings, watched, variables, .. } = choice;
        let sources = Arc::new(Sources::new(root, stat));
        let (store, remotes) = (store.clone(), Arc::default());
        let root = root.to_owned();
        Ok(Lowering {
            file,
            root,
            sources,
            store,
            common,
            remotes,
            warnings,
            watched,
            variables,
            names: None,
        })
    }

    /// The project with what belongs to it.
    pub fn whole(&self, around: &Around) -> Whole {
        let beside = &around.beside;
        let places = beside.iter().chain(around.fetched.values().map(|fetched| &fetched.at));
        let climbs = places.map(|path| crate::project::climbs(path)).max().unwrap_or(0);
        let texts: Vec<String> = beside
            .iter()
            .flat_map(|folder| ["mix.exs", "rebar.config"].map(|file| self.root.join(folder).join(file)))
            .filter_map(|file| std::fs::read_to_string(file).ok())
            .collect();
        // What the project lies in leads to it by the names of its folders.
        let around_it = beside.iter().any(|folder| self.inside(".", folder));
        let named = |name: &str| {
            let (inside, whole) = (format!("/{name}/"), format!("/{name}\""));
            around_it || texts.iter().any(|text| text.contains(&inside) || text.contains(&whole))
        };
        let layout = Layout::new(&self.root, climbs, &named);
        Whole {
            sources: Arc::clone(&self.sources),
            beside: beside.clone(),
            around_it,
            hidden: around.hidden(),
            built: around.built.clone(),
            fetched: around.fetched.clone(),
            installed: self.installed(),
            layout,
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn finish(
        &self,
        mut steps: Steps,
        parts: Parts,
        layers: Vec<Layer>,
        packages: Vec<PackageFormat>,
        version: Option<String>,
        applications: &[Application],
        description: Option<Description>,
        functions: Option<(Vec<String>, ReleaseSteps)>,
        warnings: Vec<Diagnostic>,
    ) -> Result<Lowered, Vec<Diagnostic>> {
        let (late, layers): (Vec<Layer>, Vec<Layer>) = layers.into_iter().partition(|layer| layer.late);
        let mut last = assemble::STEP;
        if functions.is_some() {
            last = functions::STEP;
        }
        let assembled = last;
        if !late.is_empty() {
            last = finish::STEP;
        }
        let preflight = self.preflight(&parts, applications, description.as_ref(), last);
        let mut needs: Vec<String> = layers.iter().map(|layer| layer.step.clone()).collect();
        needs.extend(parts.needs());
        steps.add(assemble::STEP, needs, assemble::RULE, Assemble { parts, layers });
        if let Some((mut needs, functions)) = functions {
            needs.extend([boot::STEP, assemble::STEP].map(str::to_owned));
            steps.add(functions::STEP, needs, functions::RULE, functions);
        }
        if !late.is_empty() {
            let needs = late.iter().map(|layer| layer.step.clone()).chain([assembled.to_owned()]);
            let needs: Vec<String> = needs.collect();
            steps.add(finish::STEP, needs, finish::RULE, Finish { of: assembled.to_owned(), layers: late });
        }
        if let Some((needs, preflight)) = preflight {
            steps.add(preflight::STEP, needs, preflight::RULE, preflight);
        }
        for &format in &packages {
            let action = Package { format, of: last.to_owned() };
            steps.add(&package::step(format), [last], package::RULE, action);
        }
        let graph = self.graph(steps)?;
        let warnings = self.warnings.iter().cloned().chain(warnings).collect();
        Ok(Lowered { graph, packages, version, description, erlang: None, warnings })
    }

    pub(super) fn graph(&self, steps: Steps) -> Result<Graph, Vec<Diagnostic>> {
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
                    let apps: Option<Vec<&str>> =
                        path.iter().map(|step| step.strip_prefix("compile ")).collect();
                    if let Some(apps) = apps.filter(|_| self.common.is_some()) {
                        let message = format!("applications need each other: {}", apps.join(" -> "));
                        let hint = "take one out of `applications` of another, in its .app.src or the like";
                        return vec![Diagnostic::error(message).hint(hint)];
                    }
                    let own = path.windows(2).find(|pair| file.steps.contains_key(&pair[0]));
                    complaint.at(own.and_then(|pair| self.need(&pair[0], &pair[1])))
                }
                GraphError::Duplicate { name } => complaint.at(file.key_span(&format!("steps.{name}"))),
            }]
        })
    }

    pub(super) fn need(&self, step: &str, need: &str) -> Option<crate::diagnostic::Span> {
        let index = self.file.steps.get(step)?.needs.iter().position(|n| n == need)?;
        self.file.span(&format!("steps.{step}.needs[{index}]"))
    }
}

/// release.yaml names a tool whose files are not there.
fn not_of(file: &ReleaseFile, tool: Tool, root: &Path) -> Diagnostic {
    let message = format!("the project in {} has no files of {}", root.display(), tool.name());
    let complaint = Diagnostic::error(message).in_file(file.file()).at(file.span("tool"));
    match Tool::of(root) {
        Some(other) => complaint.hint(format!("it has those of `{}`", other.name())),
        None => complaint.hint("name the project's folder (`project: PATH`)"),
    }
}

/// An application of an erlang.mk project may be one of Mix.
fn needs_elixir(tool: Tool, root: &Path) -> bool {
    let is_mix = |folder: &Path| folder.join("mix.exs").is_file();
    let any = |folder: &str| {
        std::fs::read_dir(root.join(folder))
            .into_iter()
            .flatten()
            .flatten()
            .any(|entry| is_mix(&entry.path()))
    };
    tool == Tool::Mix || tool == Tool::ErlangMk && (any("deps") || any("apps"))
}

/// No needs.
const NONE: [&str; 0] = [];

#[derive(Default)]
pub(crate) struct Steps(GraphBuilder);

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
