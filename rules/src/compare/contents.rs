//! One release by itself: what it is made of, and how large.

use serde::Serialize;

use super::report::{Application, Release};
use super::{CompareError, Opened, Side, found_application};

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
    let opened = Opened::open(side)?;
    let runtime = opened.files.iter().filter(|(path, _)| path.starts_with("erts-VSN/"));
    Ok(Contents {
        applications: opened
            .applications
            .iter()
            .map(|(name, found)| found_application(name, found))
            .collect(),
        files: opened.files.len(),
        size: opened.files.values().map(|file| file.kind.size()).sum(),
        erts_size: runtime.map(|(_, file)| file.kind.size()).sum(),
        release: opened.release,
    })
}
