//! One release by itself: what it is made of, and how large.

use serde::Serialize;

use super::release::Resources;
use super::report::{Application, Release};
use super::walk::{Summaries, Summary};
use super::{CompareError, Opened, Side, applications};

/// What a release is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contents {
    /// What it says about itself.
    pub release: Release,
    /// Its applications, by name.
    pub applications: Vec<Application>,
    /// How many files it has.
    pub files: usize,
    /// Their bytes.
    pub size: u64,
    /// The bytes of the runtime system.
    pub erts_size: u64,
}

/// Looks into a release.
pub fn contents(side: &Side<'_>) -> Result<Contents, CompareError> {
    let mut opened = Opened::open(side, &Resources::default())?;
    let sums = Summaries::default();
    opened.sum_up(&sums)?;
    let erts = match opened.find("erts-VSN")? {
        Some(erts) => sums.of(side, &erts)?,
        None => Summary::default(),
    };
    let total = opened.total();
    Ok(Contents {
        applications: opened.applications.iter().map(|(name, found)| applications::of(name, found)).collect(),
        files: total.files,
        size: total.bytes,
        erts_size: erts.bytes,
        release: opened.release,
    })
}
