//! `assemble`: puts the trees together. No bytes move.

use std::collections::BTreeMap;

use relgraph_cache::{Digest, Node, Store, StoreError, TreeBuilder, TreeError};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError, StepResult};
use serde::Serialize;

use super::boot::{self, Boot};
use super::compile::Seen;
use super::{driver, functions, protocols, runtime, scripts, strip};
use crate::project::BootFacts;
use crate::vm::DRIVER;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "assemble", version: 2 };
/// The name of this step.
pub const STEP: &str = "assemble";
/// The schema of the manifest that a release carries.
pub const MANIFEST_SCHEMA: &str = "relgraph.manifest/1";

/// Something laid over the release: the step that made it, the name of its output, and the folder it goes to.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The step.
    pub step: String,
    /// Its output.
    pub output: String,
    /// The folder inside the release; empty: its root.
    pub into: String,
    /// Whether it was made of the assembled release.
    pub late: bool,
}

/// What a Mix release is put together from, besides layers.
#[derive(Debug, Clone)]
pub struct MixParts {
    /// Every application of the project.
    pub applications: Vec<Seen>,
    /// Whether it is laid out for hot upgrades.
    pub hot: bool,
    /// Whether protocols are consolidated.
    pub consolidated: bool,
    /// `MIX_ENV`.
    pub environment: String,
    /// Versions of Elixir and OTP.
    pub elixir: String,
    /// OTP's version.
    pub otp: String,
    /// Whether functions of the user are among the steps of the release.
    pub functions: bool,
}

/// What a release in Erlang alone is put together from, besides layers.
#[derive(Debug, Clone)]
pub struct ErlangParts {
    /// Every application of the project.
    pub applications: Vec<String>,
    /// Whether the start script is relgraph's: relx brings its own.
    pub scripts: bool,
    /// `relx`, `hot` or `otp`.
    pub layout: &'static str,
    /// Whether it can be upgraded while it runs.
    pub hot: bool,
    /// The profile of rebar3.
    pub environment: String,
    /// OTP's version.
    pub otp: String,
}

/// What a release is put together from, besides layers.
#[derive(Debug, Clone)]
pub enum Parts {
    /// A Mix project.
    Mix(MixParts),
    /// A project in Erlang alone.
    Erlang(ErlangParts),
    /// No project.
    None,
}

/// Puts a release together.
pub struct Assemble {
    /// What comes of the project.
    pub parts: Parts,
    /// What is laid over it, in order.
    pub layers: Vec<Layer>,
}

/// What a manifest says besides what the step `boot` found out.
struct Made<'a> {
    environment: &'a str,
    layout: &'static str,
    elixir: Option<&'a str>,
    otp: &'a str,
}

impl Parts {
    /// Every application of the project.
    pub fn applications(&self) -> Vec<&str> {
        match self {
            Parts::Mix(mix) => mix.applications.iter().map(|seen| seen.app.as_str()).collect(),
            Parts::Erlang(erlang) => erlang.applications.iter().map(String::as_str).collect(),
            Parts::None => Vec::new(),
        }
    }

    fn hot(&self) -> bool {
        match self {
            Parts::Mix(mix) => mix.hot,
            Parts::Erlang(erlang) => erlang.hot,
            Parts::None => false,
        }
    }

    fn has_scripts(&self) -> bool {
        match self {
            Parts::Mix(_) => true,
            Parts::Erlang(erlang) => erlang.scripts,
            Parts::None => false,
        }
    }

    /// The steps whose results a release is put together from.
    pub fn needs(&self) -> Vec<String> {
        let mut needs: Vec<String> = self.applications().into_iter().map(strip::step).collect();
        if !matches!(self, Parts::None) {
            needs.extend([boot::STEP, runtime::STEP].map(str::to_owned));
        }
        if self.has_scripts() {
            needs.push(scripts::STEP.to_owned());
        }
        if matches!(self, Parts::Mix(mix) if mix.consolidated) {
            needs.push(protocols::STEP.to_owned());
        }
        if self.hot() {
            needs.push(DRIVER.to_owned());
        }
        needs
    }

    fn made(&self) -> Option<Made<'_>> {
        match self {
            Parts::Mix(mix) => Some(Made {
                environment: &mix.environment,
                layout: if mix.hot { "hot" } else { "mix" },
                elixir: Some(&mix.elixir),
                otp: &mix.otp,
            }),
            Parts::Erlang(erlang) => Some(Made {
                environment: &erlang.environment,
                layout: erlang.layout,
                elixir: None,
                otp: &erlang.otp,
            }),
            Parts::None => None,
        }
    }
}

/// What a release carries about itself in `releases/VERSION/relgraph.json`.
#[derive(Debug, Serialize)]
struct Manifest<'a> {
    schema: &'static str,
    name: &'a str,
    version: &'a str,
    environment: &'a str,
    layout: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    elixir: Option<&'a str>,
    otp: &'a str,
    erts: &'a str,
    applications: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    name: &'a str,
    version: &'a str,
    mode: &'a str,
}

impl Assemble {
    /// The trees it puts together: the name of the part in the key, the tree, where it goes.
    fn trees(&self, cx: &StepContext<'_>) -> Result<Vec<(String, Digest, String)>, StepError> {
        let mut trees = Vec::new();
        if matches!(self.parts, Parts::None) {
            return Ok(trees);
        }
        let boot = cx.need(boot::STEP)?;
        let facts = Boot::read(cx.store, boot)?;
        let own = self.parts.applications();
        for application in &facts.applications {
            if own.contains(&application.name.as_str()) {
                let step = strip::step(&application.name);
                let at = format!("lib/{}-{}", application.name, application.version);
                let tree = match self.changed(cx, boot, &application.name)? {
                    Some(tree) => tree,
                    None => cx.need(&step)?.output("app")?,
                };
                trees.push((step.clone(), tree, at));
            }
        }
        trees.push((runtime::STEP.into(), cx.need(runtime::STEP)?.output("runtime")?, String::new()));
        if self.parts.has_scripts() {
            trees.push((scripts::STEP.into(), cx.need(scripts::STEP)?.output("scripts")?, String::new()));
        }
        if let Parts::Mix(mix) = &self.parts {
            let releases = format!("releases/{}", facts.version);
            trees.push((boot::STEP.into(), boot.output("version")?, releases.clone()));
            if mix.consolidated {
                let at = if mix.hot {
                    format!("lib/{0}_protocols-{1}/ebin", facts.name, facts.version)
                } else {
                    format!("{releases}/consolidated")
                };
                trees.push((protocols::STEP.into(), cx.need(protocols::STEP)?.output("consolidated")?, at));
            }
        }
        Ok(trees)
    }

    fn functions(&self) -> bool {
        matches!(&self.parts, Parts::Mix(mix) if mix.functions)
    }

    /// An application that a function of the user changed before it was put in here.
    fn changed(
        &self,
        cx: &StepContext<'_>,
        boot: &StepResult,
        app: &str,
    ) -> Result<Option<Digest>, StepError> {
        if !self.functions() {
            return Ok(None);
        }
        Ok(match cx.store.lookup(&boot.output(functions::CHANGED)?, app)? {
            Some(Node::Directory { digest }) => Some(digest),
            _ => None,
        })
    }

    /// What functions had put into the release's folder before lies under all that is put there now.
    fn over_placed(&self, cx: &StepContext<'_>, tree: TreeBuilder) -> Result<TreeBuilder, StepError> {
        let placed = cx.need(boot::STEP)?.output(functions::PLACED)?;
        if cx.store.directory(&placed)?.entries.is_empty() {
            return Ok(tree);
        }
        let mut all = TreeBuilder::from_tree(cx.store, &placed)?;
        lay_over(cx.store, &mut all, &tree.finish(cx.store)?, "")?;
        Ok(all)
    }

    fn mix_files(
        &self,
        cx: &StepContext<'_>,
        mix: &MixParts,
        tree: &mut TreeBuilder,
    ) -> Result<(), StepError> {
        let boot = cx.need(boot::STEP)?;
        let facts = Boot::read(cx.store, boot)?;
        let specs = boot.output("specs")?;
        let mut names: Vec<(&str, &str)> =
            facts.applications.iter().map(|a| (a.name.as_str(), a.version.as_str())).collect();
        let protocols = format!("{}_protocols", facts.name);
        if mix.hot && mix.consolidated {
            names.push((&protocols, &facts.version));
        }
        let runtime = cx.need(runtime::STEP)?.output("runtime")?;
        for (name, version) in names {
            let lib = format!("lib/{name}-{version}");
            // An application of OTP is not brought where there is no runtime.
            let ours = mix.applications.iter().any(|seen| seen.app == name) || name == protocols;
            if !ours && cx.store.lookup(&runtime, &lib)?.is_none() {
                continue;
            }
            if let Some(node) = cx.store.lookup(&specs, &format!("{name}.app"))? {
                tree.replace(&format!("{lib}/ebin/{name}.app"), node).map_err(conflict)?;
            }
        }
        let files = boot.output("files")?;
        for name in ["start_erl.data", "RELEASES"] {
            if let Some(node) = cx.store.lookup(&files, name)? {
                tree.replace(&format!("releases/{name}"), node).map_err(conflict)?;
            }
        }
        Ok(())
    }

    /// What moves the running system to another version lies beside the boot script, not on the code path.
    fn upgrade(&self, cx: &StepContext<'_>, tree: &mut TreeBuilder) -> Result<(), StepError> {
        if !self.parts.hot() {
            return Ok(());
        }
        let facts = Boot::read(cx.store, cx.need(boot::STEP)?)?;
        let modules = cx.need(DRIVER)?.output(driver::UPGRADE_OUTPUT)?;
        lay_over(cx.store, tree, &modules, &format!("releases/{}", facts.version))
    }

    fn manifest(&self, cx: &StepContext<'_>, tree: &mut TreeBuilder) -> Result<(), StepError> {
        let Some(made) = self.parts.made() else { return Ok(()) };
        let facts = Boot::read(cx.store, cx.need(boot::STEP)?)?;
        let manifest = cx.store.put_bytes(&manifest(&made, &facts)?)?;
        let path = format!("releases/{}/relgraph.json", facts.version);
        tree.replace(&path, Node::File { digest: manifest, executable: false }).map_err(conflict)
    }
}

fn manifest(made: &Made<'_>, facts: &BootFacts) -> Result<Vec<u8>, StepError> {
    let listed =
        |a: &'_ crate::project::ReleasedApplication| (a.name.clone(), a.version.clone(), a.mode.clone());
    let applications: Vec<_> = facts.applications.iter().map(listed).collect();
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA,
        name: &facts.name,
        version: &facts.version,
        environment: made.environment,
        layout: made.layout,
        elixir: made.elixir,
        otp: made.otp,
        erts: &facts.erts_version,
        applications: applications
            .iter()
            .map(|(name, version, mode)| Listed { name, version, mode })
            .collect(),
    };
    let mut text = serde_json::to_vec_pretty(&manifest)
        .map_err(|e| StepError::internal(format!("the manifest cannot be written: {e}")))?;
    text.push(b'\n');
    Ok(text)
}

impl Action for Assemble {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        for (name, tree, at) in self.trees(cx)? {
            parts.digest(format!("input {name}"), &tree);
            parts.text(format!("place of {name}"), at);
        }
        let outputs: &[&str] = match &self.parts {
            Parts::Mix(_) => &["specs", "files", "facts"],
            Parts::Erlang(_) => &["files", "facts"],
            Parts::None => &[],
        };
        for &output in outputs {
            parts.digest(format!("input boot {output}"), &cx.need(boot::STEP)?.output(output)?);
        }
        if self.functions() {
            for output in [functions::PLACED, functions::OVERLAYS] {
                parts.digest(format!("input boot {output}"), &cx.need(boot::STEP)?.output(output)?);
            }
        }
        if self.parts.hot() {
            parts.digest("input upgrade", &cx.need(DRIVER)?.output(driver::UPGRADE_OUTPUT)?);
        }
        if let Some(made) = self.parts.made() {
            parts.list("made with", [made.environment, made.elixir.unwrap_or("no Elixir"), made.otp]);
            parts.text("layout", made.layout);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            parts.digest(format!("input {}", layer.step), &cx.need(&layer.step)?.output(&layer.output)?);
            parts.text(format!("place of {}", layer.step), format!("{index} {}", layer.into));
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let mut tree = TreeBuilder::new();
        let trees = self.trees(cx)?;
        for (_, digest, at) in &trees {
            tree.graft(at, *digest).map_err(conflict)?;
        }
        match &self.parts {
            Parts::Mix(mix) => self.mix_files(cx, mix, &mut tree)?,
            Parts::Erlang(_) => lay_over(cx.store, &mut tree, &cx.need(boot::STEP)?.output("files")?, "")?,
            Parts::None => {}
        }
        self.upgrade(cx, &mut tree)?;
        self.manifest(cx, &mut tree)?;
        if self.functions() {
            tree = self.over_placed(cx, tree)?;
            lay_over(cx.store, &mut tree, &cx.need(boot::STEP)?.output(functions::OVERLAYS)?, "")?;
        }
        for layer in &self.layers {
            let over = cx.need(&layer.step)?.output(&layer.output)?;
            let folders = trees.iter().map(|(_, _, at)| at.as_str());
            lay_over(cx.store, &mut tree, &over, &versioned(&layer.into, folders))?;
        }
        let release = tree.finish(cx.store)?;
        Ok(Ran { outputs: BTreeMap::from([("release".to_owned(), release)]), ..Ran::default() })
    }
}

/// Lays a stored tree over another: what both have is the later one's, folders become one.
pub(super) fn lay_over(
    store: &Store,
    tree: &mut TreeBuilder,
    over: &Digest,
    into: &str,
) -> Result<(), StepError> {
    for (path, node) in store.walk(over)? {
        let at = if into.is_empty() { path } else { format!("{into}/{path}") };
        match node {
            Node::Directory { .. } => tree.directory(&at),
            node => tree.replace(&at, node),
        }
        .map_err(conflict)?;
    }
    Ok(())
}

/// `lib/APP/priv` as `lib/APP-VERSION/priv`, for an application of the release.
pub(super) fn versioned<'a>(into: &str, mut folders: impl Iterator<Item = &'a str>) -> String {
    let mut parts = into.splitn(3, '/');
    let (Some("lib"), Some(app), rest) = (parts.next(), parts.next(), parts.next()) else {
        return into.to_owned();
    };
    let is_of = |folder: &&str| {
        folder
            .strip_prefix("lib/")
            .and_then(|name| name.rsplit_once('-'))
            .is_some_and(|(name, _)| name == app)
    };
    match (folders.find(is_of), rest) {
        (Some(folder), Some(rest)) => format!("{folder}/{rest}"),
        (Some(folder), None) => folder.to_owned(),
        (None, _) => into.to_owned(),
    }
}

/// Two parts of a release that want the same path.
pub fn conflict(error: TreeError) -> StepError {
    StepError::from(StoreError::from(error))
}
