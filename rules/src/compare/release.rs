//! What a release says about itself: `start_erl.data`, the `.rel` file, the `.app` files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;
use relgraph_cache::Digest;

use crate::etf::{Term, consult_one};

use super::CompareError;
use super::report::Release;
use super::side::{Entries, Kind, Placed, Side};
use super::walk::{Summaries, Summary};

/// A release with its files under paths that do not depend on versions.
pub(super) struct Opened<'a> {
    pub(super) side: &'a Side<'a>,
    pub(super) release: Release,
    pub(super) applications: BTreeMap<String, Found>,
    /// The applications in the order of the `.rel` file.
    pub(super) order: Vec<String>,
    /// The release, with `VSN` in the place of versions and without what is made at run time.
    pub(super) root: Placed,
    /// How much is in no application.
    pub(super) rest: Summary,
}

/// An application of a release.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) version: String,
    pub(super) mode: Option<String>,
    /// Its folder in `lib/`, where the release brings it along.
    pub(super) folder: Option<Placed>,
    pub(super) sum: Summary,
}

impl<'a> Opened<'a> {
    pub(super) fn open(side: &'a Side<'a>, known: &Resources) -> Result<Opened<'a>, CompareError> {
        let root = side.root()?;
        let mut opened = Opened {
            side,
            release: Release::default(),
            applications: BTreeMap::new(),
            order: Vec::new(),
            root: root.clone(),
            rest: Summary::default(),
        };
        opened.read_release(&root)?;
        let folders = opened.read_applications(&root, known)?;
        opened.rename(&root, &folders)?;
        opened.release.elixir = opened.applications.get("elixir").map(|found| found.version.clone());
        opened.release.tree = side.tree();
        Ok(opened)
    }

    /// Counts files and bytes.
    pub(super) fn sum_up(&mut self, sums: &Summaries) -> Result<(), CompareError> {
        let side = self.side;
        let folders: Vec<(&String, &Placed)> = self
            .applications
            .iter()
            .filter_map(|(name, found)| Some((name, found.folder.as_ref()?)))
            .collect();
        let counted: Vec<(String, Summary)> = folders
            .into_par_iter()
            .map(|(name, folder)| Ok((name.clone(), sums.of(side, folder)?)))
            .collect::<Result<_, CompareError>>()?;
        let mut rest = self.root.clone();
        if let Kind::Renamed(entries) = &mut rest.kind
            && let Some(Placed { kind: Kind::Renamed(lib), .. }) = entries.get_mut("lib")
        {
            counted.iter().for_each(|(name, _)| drop(lib.remove(&format!("{name}-VSN"))));
        }
        self.rest = sums.of(side, &rest)?;
        for (name, sum) in counted {
            if let Some(found) = self.applications.get_mut(&name) {
                found.sum = sum;
            }
        }
        Ok(())
    }

    /// How much there is of everything.
    pub(super) fn total(&self) -> Summary {
        let mut total = self.rest;
        self.applications.values().for_each(|found| total.add(found.sum));
        total
    }

    /// What lies at a path without versions.
    pub(super) fn find(&self, path: &str) -> Result<Option<Placed>, CompareError> {
        self.side.find(&self.root, path)
    }

    /// The content of the file at a path without versions.
    pub(super) fn text(&self, path: &str) -> Result<Option<Vec<u8>>, CompareError> {
        self.find(path)?.filter(Placed::is_file).map(|file| self.side.read(&file)).transpose()
    }

    /// The properties of an application, as its `.app` file has them.
    pub(super) fn resource(&self, name: &str) -> Result<Option<Term>, CompareError> {
        let bytes = self.text(&format!("lib/{name}-VSN/ebin/{name}.app"))?;
        Ok(bytes.and_then(|bytes| resource(&bytes)))
    }

    /// The application that a module lies in; those of `first` are looked into first.
    pub(super) fn application_of(
        &self,
        module: &str,
        first: &BTreeSet<&str>,
    ) -> Result<Option<String>, CompareError> {
        let file = format!("ebin/{module}.beam");
        let (likely, others): (Vec<&String>, Vec<&String>) =
            self.applications.keys().partition(|name| first.contains(name.as_str()));
        for name in likely.into_iter().chain(others) {
            let Some(folder) = self.applications.get(name).and_then(|found| found.folder.as_ref()) else {
                continue;
            };
            let there = match (&folder.kind, self.side) {
                (Kind::Folder(Some(digest)), Side::Tree { store, .. } | Side::Named { store, .. }) => {
                    store.lookup(digest, &file)?.is_some()
                }
                (_, Side::Folder(root)) => root.join(&folder.path).join(&file).exists(),
                _ => false,
            };
            // The application of the hot layout holds nothing but copies.
            if there && name.strip_suffix("_protocols").is_none_or(|name| name != self.release.name) {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    fn not_a_release(&self, reason: &str) -> CompareError {
        let place = match self.side {
            Side::Folder(folder) => folder.display().to_string(),
            Side::Tree { tree, .. } | Side::Named { tree, .. } => tree.to_string(),
        };
        CompareError::NotARelease { place, reason: reason.to_owned() }
    }

    /// The version comes from `start_erl.data`, or is that of the only `.rel` file; the rest is in that file.
    fn read_release(&mut self, root: &Placed) -> Result<(), CompareError> {
        let start = self.side.find(root, "releases/start_erl.data")?;
        let start = start.map_or(Ok(Vec::new()), |file| self.side.read(&file))?;
        let start = String::from_utf8(start).unwrap_or_default();
        let wanted = start.split_whitespace().nth(1);
        let mut found = None;
        if let Some(releases) = self.side.find(root, "releases")? {
            for (version, folder) in self.side.list(&releases)? {
                if found.is_some() || wanted.is_some_and(|wanted| wanted != version) || !folder.is_folder() {
                    continue;
                }
                found = self.rel(&folder)?.map(|term| (version, term));
            }
        }
        if let (Side::Named { name, version, .. }, None) = (self.side, &found) {
            self.release.name.clone_from(name);
            self.release.version.clone_from(version);
            return Ok(());
        }
        let (folder, term) = found.ok_or_else(|| self.not_a_release("there is no releases/VSN/NAME.rel"))?;
        let [name, erts, applications, ..] = term.as_tagged("release").unwrap_or_default() else {
            return Err(self.not_a_release("its .rel file holds no release"));
        };
        let text = |term: &Term, at: usize| term.as_tuple().and_then(|parts| parts.get(at)?.as_text());
        self.release.name = text(name, 0).unwrap_or_default();
        self.release.version = folder;
        self.release.erts = text(erts, 1);
        self.release.otp = self.release.erts.as_deref().and_then(otp);
        for application in applications.as_list().unwrap_or_default() {
            let Some([Term::Atom(name), version, rest @ ..]) = application.as_tuple() else { continue };
            let mode = rest.iter().find_map(Term::as_atom).unwrap_or("permanent");
            let found = Found {
                version: version.as_text().unwrap_or_default(),
                mode: Some(mode.to_owned()),
                ..Found::default()
            };
            self.order.push(name.clone());
            self.applications.insert(name.clone(), found);
        }
        Ok(())
    }

    /// `start_clean.rel` and the like lie beside the file that is named like the release: the term tells.
    fn rel(&self, folder: &Placed) -> Result<Option<Term>, CompareError> {
        for (file, placed) in self.side.list(folder)? {
            let Some(stem) = file.strip_suffix(".rel") else { continue };
            let Ok(term) = consult_one(&self.side.read(&placed)?) else { continue };
            let name =
                term.as_tagged("release").and_then(|release| release.first()?.as_tuple()?.first()?.as_text());
            if name.as_deref() == Some(stem) {
                return Ok(Some(term));
            }
        }
        Ok(None)
    }

    /// The folders in `lib/`, each with its application. An old version that was left there has no application.
    fn read_applications(
        &mut self,
        root: &Placed,
        known: &Resources,
    ) -> Result<BTreeMap<String, String>, CompareError> {
        let mut folders: BTreeMap<String, String> = BTreeMap::new();
        let Some(lib) = self.side.find(root, "lib")? else { return Ok(folders) };
        let listed: HashMap<String, String> = self
            .applications
            .iter()
            .map(|(name, found)| (format!("{name}-{}", found.version), name.clone()))
            .collect();
        let mut unlisted = Vec::new();
        for (folder, placed) in self.side.list(&lib)? {
            match listed.get(&folder) {
                _ if !placed.is_folder() => {}
                Some(name) => drop(folders.insert(folder, name.clone())),
                None => unlisted.push((folder, placed)),
            }
        }
        let side = self.side;
        let look = |(folder, placed): (String, Placed)| -> Result<(String, Vec<Resource>), CompareError> {
            Ok((folder, known.of(side, &placed)?))
        };
        let unlisted: Vec<(String, Vec<Resource>)> =
            unlisted.into_par_iter().map(look).collect::<Result<_, _>>()?;
        for (folder, resources) in unlisted {
            for Resource { name, version } in resources {
                if self.applications.get(&name).is_some_and(|found| found.mode.is_some()) {
                    // Without a version in its name, where no folder has it.
                    if folder == name && !folders.values().any(|taken| *taken == name) {
                        folders.insert(folder.clone(), name);
                    }
                    continue;
                }
                let version = version
                    .or_else(|| folder.strip_prefix(&name)?.strip_prefix('-').map(str::to_owned))
                    .unwrap_or_default();
                self.applications.insert(name.clone(), Found { version, ..Found::default() });
                folders.retain(|_, taken| *taken != name);
                folders.insert(folder.clone(), name);
            }
        }
        Ok(folders)
    }

    fn rename(&mut self, root: &Placed, folders: &BTreeMap<String, String>) -> Result<(), CompareError> {
        let mut entries = Entries::new();
        let erts = format!("erts-{}", self.release.erts.as_deref().unwrap_or_default());
        let version = self.release.version.clone();
        let program = format!("{}-{version}", self.release.name);
        let mut consolidated = false;
        for (name, mut placed) in self.side.list(root)? {
            let folder = placed.is_folder();
            let name = match name.as_str() {
                // Made at run time, in the place where the release was started.
                "tmp" if folder => continue,
                "lib" if folder => {
                    let rename = |folder: String| match folders.get(&folder) {
                        Some(name) => format!("{name}-VSN"),
                        None => folder,
                    };
                    placed.kind = self.renamed(&placed, rename)?;
                    if let Kind::Renamed(lib) = &placed.kind {
                        for application in folders.values() {
                            if let Some(found) = self.applications.get_mut(application) {
                                found.folder = lib.get(&format!("{application}-VSN")).cloned();
                            }
                        }
                    }
                    name
                }
                "releases" if folder => {
                    let rename = |folder: String| if folder == version { "VSN".to_owned() } else { folder };
                    placed.kind = self.renamed(&placed, rename)?;
                    consolidated = self.side.find(&placed, "VSN/consolidated")?.is_some();
                    self.release.hot_layout = self.side.find(&placed, "RELEASES")?.is_some();
                    name
                }
                // Those of relx have the version in their names.
                "bin" if folder => {
                    let rename = |file: String| match file.strip_prefix(&program) {
                        Some(rest) if rest.is_empty() || rest.starts_with('.') => {
                            format!("{}-VSN{rest}", self.release.name)
                        }
                        _ => file,
                    };
                    placed.kind = self.renamed(&placed, rename)?;
                    name
                }
                other if folder && other == erts => {
                    self.release.includes_erts = true;
                    "erts-VSN".to_owned()
                }
                _ => name,
            };
            entries.insert(name, placed);
        }
        // Distillery has them in the application that gives the release its name.
        if let Some(folder) =
            self.applications.get(&self.release.name).and_then(|found| found.folder.as_ref())
        {
            consolidated |= self.side.find(folder, "consolidated")?.is_some();
        }
        self.release.hot_layout &= !consolidated;
        self.root = Placed { path: root.path.clone(), kind: Kind::Renamed(entries) };
        Ok(())
    }

    fn renamed(&self, folder: &Placed, rename: impl Fn(String) -> String) -> Result<Kind, CompareError> {
        let entries = self.side.list(folder)?;
        Ok(Kind::Renamed(entries.into_iter().map(|(name, placed)| (rename(name), placed)).collect()))
    }
}

/// What was found in folders of `lib/`: stored folders of one digest hold the same.
#[derive(Default)]
pub(super) struct Resources(Mutex<HashMap<Digest, Vec<Resource>>>);

impl Resources {
    fn of(&self, side: &Side<'_>, folder: &Placed) -> Result<Vec<Resource>, CompareError> {
        let known = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Kind::Folder(Some(digest)) = &folder.kind else { return resources(side, folder) };
        if let Some(found) = known().get(digest).cloned() {
            return Ok(found);
        }
        let found = resources(side, folder)?;
        known().insert(*digest, found.clone());
        Ok(found)
    }
}

/// What the `.app` files in a folder of `lib/` say.
#[derive(Debug, Clone)]
struct Resource {
    name: String,
    version: Option<String>,
}

fn resources(side: &Side<'_>, folder: &Placed) -> Result<Vec<Resource>, CompareError> {
    let Some(ebin) = side.find(folder, "ebin")? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for (file, placed) in side.ending(&ebin, ".app")? {
        let Some(name) = file.strip_suffix(".app") else { continue };
        // OTP names folders like that, and goes by their names as well; else the file has to be read.
        let version = match named(&folder.path, name) {
            Some(version) => Some(version),
            None => {
                resource(&side.read(&placed)?).and_then(|properties| properties.property("vsn")?.as_text())
            }
        };
        found.push(Resource { name: name.to_owned(), version });
    }
    Ok(found)
}

/// The version in `lib/NAME-VERSION`.
fn named(folder: &str, name: &str) -> Option<String> {
    let version = folder.rsplit('/').next()?.strip_prefix(name)?.strip_prefix('-')?;
    version.starts_with(|c: char| c.is_ascii_digit()).then(|| version.to_owned())
}

/// The properties in a `.app` file.
fn resource(bytes: &[u8]) -> Option<Term> {
    consult_one(bytes).ok()?.as_tagged("application")?.get(1).cloned()
}

/// Since OTP 23 the runtime system counts along, twelve behind.
fn otp(erts: &str) -> Option<String> {
    let major: u32 = erts.split('.').next()?.parse().ok()?;
    (major >= 11).then(|| (major + 12).to_string())
}
