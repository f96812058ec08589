//! What a release says about itself: `start_erl.data`, the `.rel` file, the `.app` files.

use std::collections::BTreeMap;

use crate::etf::{Term, consult_one};

use super::report::Release;
use super::side::{Kind, Listing, Side};
use super::{CONSOLIDATED, CompareError};

/// A release with its files under paths that do not depend on versions.
pub(super) struct Opened<'a> {
    pub(super) side: &'a Side<'a>,
    prefix: String,
    pub(super) release: Release,
    pub(super) applications: BTreeMap<String, Found>,
    /// Path without versions -> file.
    pub(super) files: BTreeMap<String, Placed>,
}

/// An application of a release.
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) version: String,
    pub(super) mode: Option<String>,
    pub(super) modules: usize,
    pub(super) size: u64,
}

/// A file of a release.
pub(super) struct Placed {
    /// Where it really is.
    pub(super) path: String,
    pub(super) kind: Kind,
    pub(super) application: Option<String>,
    /// Of a compiled module: its application (or [`CONSOLIDATED`]) and name.
    pub(super) module: Option<(String, String)>,
}

impl<'a> Opened<'a> {
    pub(super) fn open(side: &'a Side<'a>) -> Result<Opened<'a>, CompareError> {
        let Listing { entries, prefix } = side.list()?;
        let mut opened = Opened {
            side,
            prefix,
            release: Release::default(),
            applications: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        opened.read_release(&entries)?;
        let folders = opened.read_applications(&entries)?;
        opened.place(entries, &folders);
        opened.release.elixir = opened.applications.get("elixir").map(|found| found.version.clone());
        opened.release.tree = side.tree();
        Ok(opened)
    }

    pub(super) fn read(&self, file: &Placed) -> Result<Vec<u8>, CompareError> {
        self.side.read(&self.prefix, &file.path, &file.kind)
    }

    pub(super) fn digest(&self, file: &Placed) -> Result<Option<relgraph_cache::Digest>, CompareError> {
        self.side.digest(&self.prefix, &file.path, &file.kind)
    }

    fn text(&self, entries: &BTreeMap<String, Kind>, path: &str) -> Result<Option<Vec<u8>>, CompareError> {
        entries.get(path).map(|kind| self.side.read(&self.prefix, path, kind)).transpose()
    }

    fn not_a_release(&self, reason: &str) -> CompareError {
        let place = match self.side {
            Side::Folder(folder) => folder.display().to_string(),
            Side::Tree { tree, .. } | Side::Named { tree, .. } => tree.to_string(),
        };
        CompareError::NotARelease { place, reason: reason.to_owned() }
    }

    /// The version comes from `start_erl.data`, or is that of the only `.rel` file; the rest is in that file.
    fn read_release(&mut self, entries: &BTreeMap<String, Kind>) -> Result<(), CompareError> {
        let start = self.text(entries, "releases/start_erl.data")?;
        let start = start.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let words: Vec<&str> = start.split_whitespace().collect();
        let mut candidates = entries.keys().filter(|path| {
            let parts: Vec<&str> = path.split('/').collect();
            let [releases, version, name] = parts[..] else { return false };
            let wanted = words.get(1).is_none_or(|wanted| *wanted == version);
            releases == "releases" && wanted && name.ends_with(".rel")
        });
        // `start_clean.rel` and the like lie beside the one that is named like the release: the term tells.
        let found = candidates.by_ref().find_map(|path| {
            let bytes = self.text(entries, path).ok()??;
            let term = consult_one(&bytes).ok()?;
            let name = term.as_tagged("release")?.first()?.as_tuple()?.first()?.as_text()?;
            let named = path.rsplit('/').next() == Some(&format!("{name}.rel"));
            named.then_some((path.split('/').nth(1)?.to_owned(), term))
        });
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
            self.applications.insert(name.clone(), found);
        }
        Ok(())
    }

    /// The folders in `lib/`, each with its application. An old version that was left there has no application.
    fn read_applications(
        &mut self,
        entries: &BTreeMap<String, Kind>,
    ) -> Result<BTreeMap<String, String>, CompareError> {
        let mut folders = BTreeMap::new();
        for path in entries.keys() {
            let parts: Vec<&str> = path.split('/').collect();
            let ["lib", folder, "ebin", file] = parts[..] else { continue };
            let Some(name) = file.strip_suffix(".app") else { continue };
            match self.applications.get(name) {
                Some(found) if *folder == format!("{name}-{}", found.version) || folder == name => {}
                Some(found) if found.mode.is_some() => continue,
                _ => {
                    let bytes = self.text(entries, path)?.unwrap_or_default();
                    let version = consult_one(&bytes)
                        .ok()
                        .and_then(|term| term.as_tagged("application")?.get(1)?.property("vsn")?.as_text());
                    let version =
                        version.or_else(|| folder.strip_prefix(name)?.strip_prefix('-').map(str::to_owned));
                    self.applications.insert(
                        name.to_owned(),
                        Found { version: version.unwrap_or_default(), ..Found::default() },
                    );
                }
            }
            folders.insert(folder.to_owned(), name.to_owned());
        }
        Ok(folders)
    }

    fn place(&mut self, entries: BTreeMap<String, Kind>, folders: &BTreeMap<String, String>) {
        let releases = format!("releases/{}/", self.release.version);
        let erts = format!("erts-{}/", self.release.erts.as_deref().unwrap_or_default());
        for (path, kind) in entries {
            let mut placed = Placed { path: path.clone(), kind, application: None, module: None };
            let mut plain = path.clone();
            if let Some(rest) = path.strip_prefix(&releases) {
                plain = format!("releases/VSN/{rest}");
                if let Some(name) =
                    rest.strip_prefix("consolidated/").and_then(|name| name.strip_suffix(".beam"))
                {
                    placed.module = Some((CONSOLIDATED.to_owned(), name.to_owned()));
                }
            } else if let Some(rest) = path.strip_prefix(&erts) {
                self.release.includes_erts = true;
                plain = format!("erts-VSN/{rest}");
            } else if let Some((folder, rest)) =
                path.strip_prefix("lib/").and_then(|path| path.split_once('/'))
                && let Some(name) = folders.get(folder)
            {
                plain = format!("lib/{name}-VSN/{rest}");
                placed.application = Some(name.clone());
                let module = rest.strip_prefix("ebin/").and_then(|name| name.strip_suffix(".beam"));
                placed.module = module.map(|module| (name.clone(), module.to_owned()));
                if let Some(found) = self.applications.get_mut(name) {
                    found.size += placed.kind.size();
                    found.modules += usize::from(module.is_some());
                }
            }
            self.files.insert(plain, placed);
        }
    }
}

/// Since OTP 23 the runtime system counts along, twelve behind.
fn otp(erts: &str) -> Option<String> {
    let major: u32 = erts.split('.').next()?.parse().ok()?;
    (major >= 11).then(|| (major + 12).to_string())
}
