//! What a release is made of, to the last file: for a bill of materials.

use std::collections::BTreeMap;

use rayon::prelude::*;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::release::Resources;
use super::report::Release;
use super::side::Placed;
use super::{CompareError, Opened, Side};
use crate::etf::Term;
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
    let opened = Opened::open(side, &Resources::default())?;
    let mut placed = Vec::new();
    gather(side, "", &opened.root, &mut placed)?;
    let read: Vec<BilledFile> = placed
        .par_iter()
        .map(|(_, file)| look(side, &opened.root, file))
        .collect::<Result<_, CompareError>>()?;
    let mut applications: BTreeMap<&str, BilledApplication> = BTreeMap::new();
    for (name, found) in &opened.applications {
        let (version, mode) = (found.version.clone(), found.mode.clone());
        let mut billed =
            BilledApplication { name: name.clone(), version, mode, ..BilledApplication::default() };
        if let Some(properties) = opened.resource(name)? {
            describe(&mut billed, &properties);
        }
        billed.needs.retain(|need| opened.applications.contains_key(need));
        applications.insert(name, billed);
    }
    let (mut runtime, mut others) = (Vec::new(), Vec::new());
    for ((plain, _), file) in placed.iter().zip(read) {
        let folder = plain.strip_prefix("lib/").and_then(|rest| rest.split('/').next());
        let application = folder.and_then(|folder| folder.strip_suffix("-VSN"));
        match application.and_then(|name| applications.get_mut(name)) {
            Some(application) => application.files.push(file),
            None if plain.starts_with("erts-VSN/") => runtime.push(file),
            None => others.push(file),
        }
    }
    let mut applications: Vec<BilledApplication> = applications.into_values().collect();
    applications.iter_mut().for_each(|application| sort(&mut application.files));
    sort(&mut runtime);
    sort(&mut others);
    Ok(Bill { release: opened.release, applications, runtime, others })
}

fn sort(files: &mut [BilledFile]) {
    files.sort_by(|a, b| a.path.cmp(&b.path));
}

/// Every file below a folder, by its path without versions.
fn gather(
    side: &Side<'_>,
    at: &str,
    folder: &Placed,
    files: &mut Vec<(String, Placed)>,
) -> Result<(), CompareError> {
    for (name, placed) in side.list(folder)? {
        let path = if at.is_empty() { name } else { format!("{at}/{name}") };
        if placed.is_folder() {
            gather(side, &path, &placed, files)?;
        } else if placed.is_file() && path != COOKIE {
            files.push((path, placed));
        }
    }
    Ok(())
}

fn look(side: &Side<'_>, root: &Placed, file: &Placed) -> Result<BilledFile, CompareError> {
    let bytes = side.read(file)?;
    // A folder around the release, as some archives have, is no part of it.
    let inside = file.path.strip_prefix(&root.path).unwrap_or(&file.path).trim_start_matches('/');
    Ok(BilledFile {
        path: inside.to_owned(),
        size: bytes.len() as u64,
        sha1: Sha1::digest(&bytes).into(),
        sha256: Sha256::digest(&bytes).into(),
        native: looks_native(&bytes).then(|| NativeFile::read(&bytes)).flatten(),
    })
}

fn describe(application: &mut BilledApplication, properties: &Term) {
    application.description =
        properties.property("description").and_then(Term::as_text).filter(|text| !text.is_empty());
    for key in ["applications", "included_applications", "optional_applications"] {
        let names = properties.property(key).and_then(Term::as_list).unwrap_or_default();
        application.needs.extend(names.iter().filter_map(Term::as_atom).map(str::to_owned));
    }
    application.needs.sort();
    application.needs.dedup();
}
