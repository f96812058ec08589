//! Finding out what explanations are checked against, from a build that is done.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_cache::{Digest, Node, Store};
use relgraph_engine::{RunReport, StepError};

use super::clock::Window;
use super::facts::{Asked, Cookie, Facts, Laid};
use super::listing::Listing;
use super::names::Names;
use super::paths::Roots;
use crate::lower::{DESCRIBE, Lowered, Lowering};
use crate::project::BootFacts;
use crate::steps::boot::{self, Boot};
use crate::steps::{overlay, scripts};

/// What is known of a build that is done: of `ours`, and of `theirs`, made in the time `made`. `roots`: where ours was
/// compiled, unless theirs was compiled there as well.
pub fn facts(
    store: &Store,
    lowering: &Lowering,
    lowered: &Lowered,
    report: &RunReport,
    (ours, theirs): (&Listing<'_>, &Listing<'_>),
    made: Window,
    roots: Option<Roots>,
) -> Result<Facts, StepError> {
    let file = &lowering.file;
    let boot = report.result(boot::STEP).map(|result| Boot::read(store, result)).transpose()?;
    let launchers = match report.result(scripts::STEP) {
        Some(result) => files(store, &result.output("scripts")?)?,
        None => BTreeMap::new(),
    };
    let our_version = version(ours).or(lowered.version.clone()).unwrap_or_default();
    let their_version = version(theirs).unwrap_or_else(|| our_version.clone());
    let cookie = match (&file.cookie, report.result(DESCRIBE).and_then(|result| result.values.get("cookie")))
    {
        (Some(_), _) => Cookie::ReleaseYaml,
        (None, Some(known)) => Cookie::Project(known.clone()),
        (None, None) => Cookie::Made,
    };
    let declared = lowered.description.as_ref().and_then(|description| description.release.as_ref());
    let recipe = declared.and_then(|declared| declared.strip.as_ref()).map(|recipe| recipe.chunks.clone());
    let asked = Asked {
        strip: file.strip_wanted().map(|_| recipe),
        version: file.version.is_some(),
        applications: file.applications.iter().map(|(name, _)| name.clone()).collect(),
        runtime: file.runtime_wanted().and(boot.as_ref()).map(brought),
        executables_for: file.executables_for.is_some(),
        layers: layers(store, lowering, report)?,
    };
    let is_release = theirs.entries.contains_key("releases");
    let asked = if is_release { asked } else { asked.of_applications() };
    Ok(Facts {
        names: Names { name: file.release.clone(), our_version, their_version, hot: file.upgrades.is_hot() },
        launchers,
        cookie,
        asked,
        roots,
        theirs_made: made,
        now: super::tool::now(),
    })
}

/// The version that a release says it has.
fn version(theirs: &Listing<'_>) -> Option<String> {
    let text = String::from_utf8(theirs.bytes("releases/start_erl.data")?).ok()?;
    text.split_whitespace().nth(1).map(str::to_owned)
}

/// The applications that come and go with the runtime.
fn brought(boot: &BootFacts) -> BTreeSet<String> {
    boot.applications.iter().filter(|application| application.otp).map(|a| a.name.clone()).collect()
}

fn files(store: &Store, tree: &Digest) -> Result<BTreeMap<String, Digest>, StepError> {
    let file = |(path, node)| match node {
        Node::File { digest, .. } => Some((path, digest)),
        _ => None,
    };
    Ok(store.walk(tree)?.into_iter().filter_map(file).collect())
}

/// What `overlays:` and `steps:` of release.yaml put where. Later ones lie over earlier ones.
fn layers(
    store: &Store,
    lowering: &Lowering,
    report: &RunReport,
) -> Result<BTreeMap<String, (String, Laid)>, StepError> {
    let mut layers = BTreeMap::new();
    let mut add = |key: String, step: &str, into: &str| -> Result<(), StepError> {
        let Some(result) = report.result(step) else { return Ok(()) };
        for (path, node) in store.walk(&result.output("files")?)? {
            let at = if into.is_empty() { path } else { format!("{into}/{path}") };
            let laid = match node {
                Node::Directory { .. } => Laid::Folder,
                Node::Symlink { target } => Laid::Link(target),
                Node::File { digest, executable } => Laid::File(digest, executable),
            };
            layers.insert(at, (key.clone(), laid));
        }
        // The folders on the way come with it.
        let parents: Vec<&str> = into.split('/').filter(|part| !part.is_empty()).collect();
        for end in 1..=parents.len() {
            layers.entry(parents[..end].join("/")).or_insert((key.clone(), Laid::Folder));
        }
        Ok(())
    };
    for (index, folder) in lowering.file.overlays.iter().flatten().enumerate() {
        add(format!("overlays[{index}]"), &overlay::step(&folder.to_string_lossy()), "")?;
    }
    // What is made of the assembled release comes last.
    let late = lowering.late();
    let mut steps: Vec<_> = lowering.file.steps.iter().filter(|(_, step)| !step.outputs.is_empty()).collect();
    steps.sort_by_key(|(name, _)| late.contains(name));
    for (name, step) in steps {
        add(format!("steps.{name}"), name, &step.into)?;
    }
    Ok(layers)
}
