//! Comparing two releases: applications, modules, configuration, files, sizes.

mod applications;
mod archive;
mod bill;
mod boot;
mod classes;
mod config;
mod contents;
mod facts;
mod files;
mod functions;
mod holders;
pub mod mask;
mod modules;
mod native;
mod pair;
mod protocols;
mod release;
mod report;
mod settings;
mod side;
mod supervisors;
mod symbolic;
mod verdict;
mod walk;
mod warnings;

use std::io;
use std::path::PathBuf;

use relgraph_cache::StoreError;
use thiserror::Error;

use applications::Known;
use pair::Pair;
use release::{Opened, Resources};
use verdict::Items;

pub use archive::unpack;
pub use bill::{Bill, BilledApplication, BilledFile, bill};
pub use contents::{Contents, contents};
pub use modules::how;
pub use pair::CONSOLIDATED;
pub use report::*;
pub use side::Side;

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

/// Whether somebody wrote how the state of a module's processes is changed with its code: a `code_change` that does more
/// than to give the state back, as those do that behaviours put in place.
pub fn migrates(module: &[u8]) -> bool {
    facts::Facts::of(module).code_change == CodeChange::Real
}

/// Compares two releases.
pub fn compare(old: &Side<'_>, new: &Side<'_>) -> Result<Comparison, CompareError> {
    // One after the other: what both have in common is read once.
    let known = Resources::default();
    let mut pair = Pair::of(Opened::open(old, &known)?, Opened::open(new, &known)?)?;
    let native = native::native(&pair)?;
    let modules = modules::modules(&pair)?;
    let files = files::files(&pair, &native);
    let runtime = boot::runtime(&mut pair, &files)?;
    let known = Known { modules: &modules, files: &files, native: &native };
    let (applications, own) = applications::applications(&pair, &known)?;
    let boot = boot::boot(&pair, &applications)?;
    let protocols = protocols::protocols(&pair, &modules)?;
    let config = settings::config(&pair)?;
    let items = Items {
        runtime: &runtime,
        boot: boot.as_ref(),
        applications: &applications,
        protocols: &protocols,
        config: &config,
        own,
    };
    let verdict = verdict::verdict(&pair, &known, items);
    let warnings = warnings::warnings(&pair, &known, &applications)?;
    let sizes = files::sizes(&pair)?;
    let (old, new) = (&pair.old.release, &pair.new.release);
    Ok(Comparison {
        schema: SCHEMA,
        same: pair.differences.is_empty() && old.version == new.version && old.erts == new.erts,
        verdict,
        warnings,
        runtime,
        boot,
        applications,
        modules: modules.applications,
        moved: modules.moved,
        protocols,
        config,
        native,
        files,
        sizes,
        old: pair.old.release,
        new: pair.new.release,
    })
}

/// Names of Elixir without what the machine puts in front.
fn shown(name: &str) -> &str {
    name.strip_prefix("Elixir.").unwrap_or(name)
}
