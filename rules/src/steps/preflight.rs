//! `preflight`: looks at the release that was put together, before it is put in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;

use relgraph_cache::{Digest, Node, Store, TreeBuilder};
use relgraph_engine::{Action, Declared, KeyParts, Ran, Rule, StepContext, StepError, StepResult};

use super::assemble::conflict;
use super::strip::NO_WARN_UNDEFINED;
use super::{boot, compile, strip};
use crate::native::{NativeFile, Target};
use crate::preflight::{self, Around, Finding, Part, Release};
use crate::toolchain::Toolchain;

/// The rule of this step.
pub const RULE: Rule = Rule { name: "preflight", version: 1 };
/// The name of this step.
pub const STEP: &str = "preflight";
/// The schema of what is found.
pub const SCHEMA: &str = "relgraph.findings/1";

/// Looks at a release.
pub struct Preflight {
    /// The applications of the project: their names, whether they are the user's own, and where their sources are.
    pub applications: Vec<(String, bool, String)>,
    /// What builds the project, where there is one.
    pub toolchain: Option<Arc<Toolchain>>,
    /// The machines that the release is for, as far as release.yaml says.
    pub target: Target,
    /// The step that the release comes out of.
    pub of: String,
    /// Whether its runtime comes from another installation than the one that builds it.
    pub foreign: bool,
}

/// The steps that it needs besides the one that the release comes out of.
pub fn needs(applications: &[(String, bool, String)]) -> Vec<String> {
    applications.iter().flat_map(|(app, _, _)| [compile::step(app), strip::step(app)]).collect()
}

impl Preflight {
    /// What was found.
    pub fn read(store: &Store, result: &StepResult) -> Result<Vec<Finding>, StepError> {
        let Some(Node::File { digest, .. }) = store.lookup(&result.output("findings")?, FILE)? else {
            return Err(StepError::internal(format!("the step `preflight` left no {FILE}")));
        };
        serde_json::from_slice(&store.read(&digest)?)
            .map_err(|e| StepError::internal(format!("{FILE} cannot be read: {e}")))
    }

    /// What the application says not to complain about, as a digest for the key and as values.
    fn excluded(
        &self,
        cx: &StepContext<'_>,
        app: &str,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, StepError> {
        let mut excluded = BTreeMap::new();
        if let Some(text) = cx.need(&compile::step(app))?.values.get(NO_WARN_UNDEFINED) {
            excluded.insert("*".to_owned(), serde_json::from_str(text).unwrap_or_default());
        }
        let stripped = cx.need(&strip::step(app))?;
        if let Some(Node::File { digest, .. }) =
            cx.store.lookup(&stripped.output(NO_WARN_UNDEFINED)?, NO_WARN_UNDEFINED)?
        {
            let modules: BTreeMap<String, BTreeSet<String>> =
                serde_json::from_slice(&cx.store.read(&digest)?).unwrap_or_default();
            excluded.extend(modules);
        }
        Ok(excluded)
    }

    fn around(&self, cx: &StepContext<'_>) -> Result<Around, StepError> {
        let tree = cx.need(&self.of)?.output("release")?;
        let mut parts = Vec::new();
        for (app, own, dest) in &self.applications {
            let compiled = cx.need(&compile::step(app))?.output("app")?;
            let here =
                cx.store.walk(&compiled)?.into_iter().filter_map(|(path, _)| {
                    Some(path.strip_prefix("ebin/")?.strip_suffix(".beam")?.to_owned())
                });
            let released = is_released(cx.store, &tree, app)?;
            let left_out = if released { BTreeSet::new() } else { here.collect() };
            let excluded = self.excluded(cx, app)?;
            parts.push(Part { app: app.clone(), own: *own, dest: dest.clone(), excluded, left_out });
        }
        let (mut installed, mut machine) = (BTreeMap::new(), None);
        if let Some(toolchain) = &self.toolchain {
            for files in toolchain.files() {
                installed.extend(files.inside("lib").filter_map(|(path, _)| module_of(path)));
            }
            let erlang = &toolchain.erlang;
            let emulator = erlang.root.join(format!("erts-{}/bin/beam.smp", erlang.erts));
            machine = fs::read(emulator).ok().as_deref().and_then(NativeFile::read);
        }
        Ok(Around {
            parts,
            installed,
            modes_of_no_concern: self.modes_of_no_concern(cx),
            target: self.target.clone(),
            machine,
            foreign: self.foreign,
        })
    }

    /// `skip_mode_validation_for` of mix.exs.
    fn modes_of_no_concern(&self, cx: &StepContext<'_>) -> BTreeSet<String> {
        let facts = cx.needs.get(boot::STEP).and_then(|boot| boot::Boot::read(cx.store, boot).ok());
        facts.map(|facts| facts.skip_mode_validation_for).unwrap_or_default()
    }
}

/// The file in its output.
const FILE: &str = "findings.json";

/// A module in an installation, and its application: `lib/APP-VERSION/ebin/MODULE.beam`.
fn module_of(path: &str) -> Option<(String, String)> {
    let ["lib", folder, "ebin", file] = path.split('/').collect::<Vec<_>>()[..] else { return None };
    let module = file.strip_suffix(".beam")?;
    Some((module.to_owned(), folder.rsplit_once('-').map_or(folder, |(app, _)| app).to_owned()))
}

/// Whether an application has a folder in the release.
fn is_released(store: &Store, tree: &Digest, app: &str) -> Result<bool, StepError> {
    let Some(Node::Directory { digest }) = store.lookup(tree, "lib")? else { return Ok(false) };
    let folders = store.walk(&digest)?;
    Ok(folders.iter().any(|(path, _)| path.ends_with(&format!("/ebin/{app}.app"))))
}

impl Action for Preflight {
    fn declare(&self, cx: &StepContext<'_>) -> Result<Declared, StepError> {
        let mut parts = KeyParts::new();
        let release = cx.need(&self.of)?.output("release")?;
        parts.digest("release", &release);
        parts.text("target", self.target.to_string());
        parts.text("runtime", if self.foreign { "of another installation" } else { "own" });
        for (app, own, dest) in &self.applications {
            let compiled = cx.need(&compile::step(app))?;
            let whose = if *own { "own" } else { "of others" };
            parts.list(format!("application {app}"), [whose, dest.as_str()]);
            parts.text(
                format!("excluded by {app}"),
                compiled.values.get(NO_WARN_UNDEFINED).map_or("", String::as_str),
            );
            let excluded = cx.need(&strip::step(app))?.output(NO_WARN_UNDEFINED)?;
            parts.digest(format!("excluded in {app}"), &excluded);
            if !is_released(cx.store, &release, app)? {
                parts.digest(format!("left out {app}"), &compiled.output("views")?);
            }
        }
        parts.list("modes of no concern", self.modes_of_no_concern(cx));
        if let Some(toolchain) = &self.toolchain {
            parts.digest("toolchain", &toolchain.digest);
        }
        Ok(Declared::new(parts))
    }

    fn run(&self, cx: &StepContext<'_>) -> Result<Ran, StepError> {
        let around = self.around(cx)?;
        let tree = cx.need(&self.of)?.output("release")?;
        let findings = preflight::look(&Release::read(cx.store, &tree, &around)?)?;
        let json = serde_json::to_vec_pretty(&findings)
            .map_err(|e| StepError::internal(format!("what was found cannot be written: {e}")))?;
        let mut tree = TreeBuilder::new();
        tree.file(FILE, cx.store.put_bytes(&json)?, false).map_err(conflict)?;
        let outputs = BTreeMap::from([("findings".to_owned(), tree.finish(cx.store)?)]);
        Ok(Ran { outputs, ..Ran::default() })
    }
}
