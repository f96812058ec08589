//! What a release is made of, to the last file: for a bill of materials.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::report::Release;
use super::side::Kind;
use super::{CompareError, Opened, Side};
use crate::etf::{Term, consult_one};
use crate::native::{NativeFile, looks_native};

/// A release, with all that is in it.
#[derive(Debug, Clone)]
pub struct Bill {
    /// What it says about itself.
    pub release: Release,
    /// Its applications, by name.
    pub applications: Vec<BilledApplication>,
    /// The files of the runtime system, by path.
    pub runtime: Vec<BilledFile>,
    /// All others, by path. A cookie is not among them.
    pub others: Vec<BilledFile>,
}

/// An application, as its `.app` file describes it.
#[derive(Debug, Clone, Default)]
pub struct BilledApplication {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is started; none for one that is not in the `.rel` file.
    pub mode: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// Applications of the release that it needs, includes, or uses where they are there, by name.
    pub needs: Vec<String>,
    /// Its files, by path.
    pub files: Vec<BilledFile>,
}

/// A file.
#[derive(Debug, Clone)]
pub struct BilledFile {
    /// Where it lies in the release.
    pub path: String,
    /// Its size.
    pub size: u64,
    /// SHA-1 of it.
    pub sha1: [u8; 20],
    /// SHA-256 of it.
    pub sha256: [u8; 32],
    /// What it is, where it is a program or a shared library.
    pub native: Option<NativeFile>,
}

/// The digest of it would give it away: it is short.
const COOKIE: &str = "releases/COOKIE";

/// Reads all of a release.
pub fn bill(side: &Side<'_>) -> Result<Bill, CompareError> {
    let opened = Opened::open(side)?;
    let placed: Vec<_> = opened
        .files
        .iter()
        .filter(|(path, file)| path.as_str() != COOKIE && matches!(file.kind, Kind::File { .. }))
        .collect();
    let read = |(plain, file): &(&String, &super::Placed)| -> Result<_, CompareError> {
        let bytes = opened.read(file)?;
        let is_app = file.application.is_some() && plain.ends_with(".app") && plain.contains("/ebin/");
        let described = is_app.then(|| consult_one(&bytes).ok()).flatten();
        let native = looks_native(&bytes).then(|| NativeFile::read(&bytes)).flatten();
        let billed = BilledFile {
            path: file.path.clone(),
            size: bytes.len() as u64,
            sha1: Sha1::digest(&bytes).into(),
            sha256: Sha256::digest(&bytes).into(),
            native,
        };
        Ok((file.application.clone(), plain.starts_with("erts-VSN/"), billed, described))
    };
    let read: Vec<_> = placed.par_iter().map(read).collect::<Result<_, _>>()?;
    let mut applications: BTreeMap<&String, BilledApplication> = BTreeMap::new();
    for (name, found) in &opened.applications {
        let (version, mode) = (found.version.clone(), found.mode.clone());
        let billed = BilledApplication { name: name.clone(), version, mode, ..BilledApplication::default() };
        applications.insert(name, billed);
    }
    let (mut runtime, mut others) = (Vec::new(), Vec::new());
    for (application, of_runtime, file, described) in read {
        match application.and_then(|name| applications.get_mut(&name)) {
            Some(application) => {
                if let Some(term) = described {
                    describe(application, &term);
                }
                application.files.push(file);
            }
            None if of_runtime => runtime.push(file),
            None => others.push(file),
        }
    }
    let mut applications: Vec<BilledApplication> = applications.into_values().collect();
    for application in &mut applications {
        application.needs.retain(|name| opened.applications.contains_key(name));
        application.files.sort_by(|a, b| a.path.cmp(&b.path));
    }
    runtime.sort_by(|a, b| a.path.cmp(&b.path));
    others.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(Bill { release: opened.release.clone(), applications, runtime, others })
}

fn describe(application: &mut BilledApplication, term: &Term) {
    let Some([Term::Atom(name), properties, ..]) = term.as_tagged("application") else { return };
    if *name != application.name {
        return;
    }
    application.description =
        properties.property("description").and_then(Term::as_text).filter(|text| !text.is_empty());
    for key in ["applications", "included_applications", "optional_applications"] {
        let names = properties.property(key).and_then(Term::as_list).unwrap_or_default();
        application.needs.extend(names.iter().filter_map(Term::as_atom).map(str::to_owned));
    }
    application.needs.sort();
    application.needs.dedup();
}
