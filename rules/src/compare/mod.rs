//! Comparing two releases: applications, modules, configuration, files, sizes.

mod archive;
mod bill;
mod config;
mod contents;
pub mod mask;
mod modules;
mod release;
mod report;
mod side;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use rayon::prelude::*;
use relgraph_cache::StoreError;
use thiserror::Error;

use release::{Opened, Placed};
use side::Kind;

pub use archive::unpack;
pub use bill::{Bill, BilledApplication, BilledFile, bill};
pub use contents::{Contents, contents};
pub use report::*;
pub use side::Side;

/// In the place of an application: the consolidated protocols of a release.
pub const CONSOLIDATED: &str = "(consolidated)";

/// Why two releases could not be compared.
#[derive(Debug, Error)]
pub enum CompareError {
    /// A stored tree is incomplete or damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An archive that is damaged, or that asks for what no release needs.
    #[error("cannot unpack {}: {reason}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no release there.
    #[error("{place} is not a release: {reason}")]
    NotARelease {
        /// The folder, or the digest of the tree.
        place: String,
        /// What is missing.
        reason: String,
    },
}

/// Compares two releases.
pub fn compare(old: &Side<'_>, new: &Side<'_>) -> Result<Comparison, CompareError> {
    let (old, new) = (Opened::open(old)?, Opened::open(new)?);
    let differing = differing(&old, &new)?;
    let files = files(&old, &new, &differing);
    let applications = applications(&old, &new);
    let modules = modules(&old, &new, &differing)?;
    let config = config(&old, &new, &differing)?;
    let same = differing.is_empty()
        && old.release.version == new.release.version
        && old.release.erts == new.release.erts;
    let sizes = sizes(&old, &new);
    Ok(Comparison {
        schema: SCHEMA,
        same,
        old: old.release,
        new: new.release,
        applications,
        modules,
        config,
        files,
        sizes,
        ..Comparison::default()
    })
}

/// The paths (without versions) at which the two sides differ. Digests settle what is stored; of folders, only files
/// of equal size are read.
fn differing(old: &Opened<'_>, new: &Opened<'_>) -> Result<BTreeMap<String, Change>, CompareError> {
    let paths: BTreeSet<&String> = old.files.keys().chain(new.files.keys()).collect();
    let paths: Vec<&String> = paths.into_iter().collect();
    let change = |path: &&String| -> Result<Option<(String, Change)>, CompareError> {
        let change = match (old.files.get(*path), new.files.get(*path)) {
            (Some(one), Some(other)) if equal(old, one, new, other)? => return Ok(None),
            (Some(_), Some(_)) => Change::Changed,
            (None, _) => Change::Added,
            (_, None) => Change::Removed,
        };
        Ok(Some(((*path).clone(), change)))
    };
    let changes: Vec<Option<(String, Change)>> = paths.par_iter().map(change).collect::<Result<_, _>>()?;
    Ok(changes.into_iter().flatten().collect())
}

fn equal(old: &Opened<'_>, one: &Placed, new: &Opened<'_>, other: &Placed) -> Result<bool, CompareError> {
    match (&one.kind, &other.kind) {
        (Kind::Symlink(one), Kind::Symlink(other)) => Ok(one == other),
        (
            Kind::File { size: old_size, executable: old_mode, .. },
            Kind::File { size: new_size, executable: new_mode, .. },
        ) => Ok(old_size == new_size && old_mode == new_mode && old.digest(one)? == new.digest(other)?),
        _ => Ok(false),
    }
}

fn applications(old: &Opened<'_>, new: &Opened<'_>) -> Applications {
    let mut applications = Applications::default();
    for (name, found) in &old.applications {
        match new.applications.get(name) {
            None => applications.removed.push(found_application(name, found)),
            Some(other) if found.version != other.version || found.mode != other.mode => {
                applications.changed.push(ApplicationChange {
                    name: name.clone(),
                    old_version: found.version.clone(),
                    new_version: other.version.clone(),
                    old_mode: found.mode.clone(),
                    new_mode: other.mode.clone(),
                    ..ApplicationChange::default()
                });
            }
            Some(_) => applications.unchanged += 1,
        }
    }
    for (name, found) in &new.applications {
        if !old.applications.contains_key(name) {
            applications.added.push(found_application(name, found));
        }
    }
    applications
}

fn found_application(name: &str, found: &release::Found) -> Application {
    Application {
        name: name.to_owned(),
        version: found.version.clone(),
        mode: found.mode.clone(),
        modules: found.modules,
        size: found.size,
        ..Application::default()
    }
}

/// What differs in the modules of the applications that both sides have.
fn modules(
    old: &Opened<'_>,
    new: &Opened<'_>,
    differing: &BTreeMap<String, Change>,
) -> Result<Vec<ApplicationModules>, CompareError> {
    let mut by_application: BTreeMap<String, ApplicationModules> = BTreeMap::new();
    let mut changed = Vec::new();
    for (path, change) in differing {
        let (one, other) = (old.files.get(path), new.files.get(path));
        let Some((application, module)) = one.or(other).and_then(|file| file.module.clone()) else {
            continue;
        };
        let both =
            |side: &Opened<'_>| application == CONSOLIDATED || side.applications.contains_key(&application);
        if !both(old) || !both(new) {
            continue;
        }
        let entry = by_application.entry(application.clone()).or_insert_with(|| ApplicationModules {
            application: application.clone(),
            ..ApplicationModules::default()
        });
        match (change, one, other) {
            (Change::Added, ..) => entry.added.push(module),
            (Change::Changed, Some(one), Some(other)) => changed.push((application, module, one, other)),
            _ => entry.removed.push(module),
        }
    }
    let changes: Vec<(String, ModuleChange)> = changed
        .into_par_iter()
        .map(|(application, module, one, other)| {
            Ok((application, modules::compare(&module, &old.read(one)?, &new.read(other)?)))
        })
        .collect::<Result<_, CompareError>>()?;
    for (application, change) in changes {
        if let Some(entry) = by_application.get_mut(&application) {
            entry.changed.push(change);
        }
    }
    Ok(by_application.into_values().collect())
}

const SYS_CONFIG: &str = "releases/VSN/sys.config";
const RUNTIME: &str = "releases/VSN/runtime.exs";

fn config(
    old: &Opened<'_>,
    new: &Opened<'_>,
    differing: &BTreeMap<String, Change>,
) -> Result<Config, CompareError> {
    let mut config = Config::default();
    if differing.contains_key(SYS_CONFIG) {
        let read =
            |side: &Opened<'_>| side.files.get(SYS_CONFIG).map_or(Ok(Vec::new()), |file| side.read(file));
        config = config::compare(&read(old)?, &read(new)?, [&old.release.version, &new.release.version]);
    }
    config.runtime = differing.get(RUNTIME).copied();
    Ok(config)
}

fn files(old: &Opened<'_>, new: &Opened<'_>, differing: &BTreeMap<String, Change>) -> Vec<FileChange> {
    let mut files = Vec::new();
    for (path, change) in differing {
        let (one, other) = (old.files.get(path), new.files.get(path));
        let Some(file) = one.or(other) else { continue };
        let told = |side: &Opened<'_>| {
            file.application.as_ref().is_none_or(|name| side.applications.contains_key(name))
        };
        // Modules and configuration have their own places, and so have applications that only one side has.
        if file.module.is_some() || path == SYS_CONFIG || path == RUNTIME || !told(old) || !told(new) {
            continue;
        }
        files.push(FileChange {
            path: path.clone(),
            role: role(path),
            application: file.application.clone(),
            change: *change,
            old_size: one.map(|file| file.kind.size()),
            new_size: other.map(|file| file.kind.size()),
            ..FileChange::default()
        });
    }
    files
}

fn role(path: &str) -> FileRole {
    let parts: Vec<&str> = path.split('/').collect();
    let ends = |endings: &[&str]| endings.iter().any(|ending| path.ends_with(ending));
    match parts[..] {
        ["releases", "COOKIE"] => FileRole::Cookie,
        ["releases", "RELEASES" | "start_erl.data"] => FileRole::Boot,
        ["releases", ..] if ends(&[".boot", ".script", ".rel"]) => FileRole::Boot,
        ["releases", "VSN", _] if ends(&[".sh", ".bat", ".args", "/elixir", "/iex"]) => FileRole::Script,
        ["bin", ..] => FileRole::Script,
        ["erts-VSN", ..] => FileRole::Erts,
        ["lib", _, "ebin", _] if ends(&[".app", ".appup"]) => FileRole::Resource,
        ["lib", ..] => FileRole::Application,
        _ => FileRole::Other,
    }
}

fn sizes(old: &Opened<'_>, new: &Opened<'_>) -> Sizes {
    let total = |side: &Opened<'_>| side.files.values().map(|file| file.kind.size()).sum();
    let names: BTreeSet<&String> = old.applications.keys().chain(new.applications.keys()).collect();
    let size = |side: &Opened<'_>, name: &String| side.applications.get(name).map(|found| found.size);
    let application = |name: &String| ApplicationSize {
        application: name.clone(),
        old: size(old, name),
        new: size(new, name),
    };
    Sizes {
        old: total(old),
        new: total(new),
        applications: names.into_iter().map(application).collect(),
        ..Sizes::default()
    }
}
