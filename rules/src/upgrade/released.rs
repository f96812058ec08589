//! A stored release as the release handler sees it: the applications of its `.rel` file, and what lies in their folders.

use std::collections::{BTreeMap, BTreeSet};

use relgraph_cache::{Digest, Node, Store};

use super::UpgradeError;
use crate::etf::{Term, consult_one};

/// A release that is in the store.
pub struct Released<'a> {
    store: &'a Store,
    /// Its tree.
    pub tree: Digest,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The version of the runtime system that it is for.
    pub erts: String,
    /// The applications of its `.rel` file, in that order.
    pub applications: Vec<Application>,
    /// The consolidated protocols by name: their modules.
    pub consolidated: BTreeMap<String, Digest>,
    /// Where those lie.
    pub protocols: Protocols,
    /// Whether it has the file that the release handler keeps its books in.
    pub has_records: bool,
    /// Whether it brings the runtime system.
    pub has_runtime: bool,
    entries: BTreeMap<String, Node>,
}

/// Where the consolidated protocols of a release lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocols {
    /// There are none.
    None,
    /// Beside the boot script, as Mix has it.
    Beside,
    /// In an application of their own, as a release has it that is laid out for hot upgrades.
    Application,
}

/// An application of a release.
#[derive(Debug, Clone)]
pub struct Application {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is started.
    pub mode: String,
    /// Its folder in the release, without a slash at the end.
    pub folder: String,
    /// Its modules.
    pub modules: BTreeMap<String, Digest>,
    /// What its `.app` file says: the properties.
    pub specification: Term,
    /// The appup that it brings.
    pub appup: Option<Term>,
}

impl Application {
    /// A property of its `.app` file.
    pub fn property(&self, key: &str) -> Option<&Term> {
        self.specification.property(key)
    }

    /// The modules that its `.app` file lists: those that the release handler knows.
    pub fn listed(&self) -> BTreeSet<String> {
        let modules = self.property("modules").and_then(Term::as_list).unwrap_or_default();
        modules.iter().filter_map(Term::as_atom).map(str::to_owned).collect()
    }
}

impl<'a> Released<'a> {
    /// Opens a stored release.
    pub fn open(store: &'a Store, tree: Digest) -> Result<Released<'a>, UpgradeError> {
        let entries: BTreeMap<String, Node> = store.walk(&tree)?.into_iter().collect();
        let mut released = Released {
            store,
            tree,
            name: String::new(),
            version: String::new(),
            erts: String::new(),
            applications: Vec::new(),
            consolidated: BTreeMap::new(),
            protocols: Protocols::None,
            has_records: entries.contains_key("releases/RELEASES"),
            has_runtime: false,
            entries,
        };
        released.read()?;
        Ok(released)
    }

    /// A file of it.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, UpgradeError> {
        match self.entries.get(path) {
            Some(Node::File { digest, .. }) => Ok(Some(self.store.read(digest)?)),
            _ => Ok(None),
        }
    }

    /// The content of one of its modules.
    pub fn read_module(&self, digest: &Digest) -> Result<Vec<u8>, UpgradeError> {
        Ok(self.store.read(digest)?)
    }

    /// The code of a module by its name, whichever application has it.
    pub fn module(&self, name: &str) -> Option<Vec<u8>> {
        let digest = self.applications.iter().find_map(|application| application.modules.get(name))?;
        self.store.read(digest).ok()
    }

    /// All of it, by path.
    pub fn entries(&self) -> &BTreeMap<String, Node> {
        &self.entries
    }

    /// An application by name.
    pub fn application(&self, name: &str) -> Option<&Application> {
        self.applications.iter().find(|application| application.name == name)
    }

    /// The name of the application in which a release for hot upgrades has its consolidated protocols.
    pub fn protocols_name(&self) -> String {
        format!("{}_protocols", self.name)
    }

    /// The path of its `.rel` file.
    pub fn rel_path(&self) -> String {
        format!("releases/{}/{}.rel", self.version, self.name)
    }

    fn unreadable(&self, reason: impl Into<String>) -> UpgradeError {
        let release = if self.name.is_empty() {
            self.tree.to_string()
        } else {
            format!("{} {}", self.name, self.version)
        };
        UpgradeError::Unreadable { release, reason: reason.into() }
    }

    fn term(&self, path: &str) -> Result<Option<Term>, UpgradeError> {
        let Some(bytes) = self.file(path)? else { return Ok(None) };
        let term = consult_one(&bytes);
        term.map(Some).map_err(|error| self.unreadable(format!("{path} cannot be read: {error}")))
    }

    fn read(&mut self) -> Result<(), UpgradeError> {
        let started = self.file("releases/start_erl.data")?.unwrap_or_default();
        let started = String::from_utf8_lossy(&started).into_owned();
        let wanted = started.split_whitespace().nth(1);
        let candidates: Vec<String> = self
            .entries
            .keys()
            .filter(|path| {
                let parts: Vec<&str> = path.split('/').collect();
                matches!(parts[..], ["releases", version, file]
                    if file.ends_with(".rel") && wanted.is_none_or(|wanted| wanted == version))
            })
            .cloned()
            .collect();
        let mut found = None;
        for path in candidates {
            let Some(term) = self.term(&path)? else { continue };
            let name =
                term.as_tagged("release").and_then(|parts| parts.first()?.as_tuple()?.first()?.as_text());
            // `start_clean.rel` and the like lie beside the one that is named like the release.
            if let Some(name) = name.filter(|name| path.ends_with(&format!("/{name}.rel"))) {
                found = Some((path, name, term));
                break;
            }
        }
        let Some((path, name, term)) = found else {
            return Err(
                self.unreadable("there is no releases/VSN/NAME.rel that the release handler could go by")
            );
        };
        self.name = name;
        self.version = path.split('/').nth(1).unwrap_or_default().to_owned();
        let parts = term.as_tagged("release").unwrap_or_default();
        let text = |term: Option<&Term>| term?.as_tuple()?.get(1)?.as_text();
        self.erts = text(parts.get(1)).unwrap_or_default();
        self.has_runtime = self.entries.keys().any(|path| path.starts_with(&format!("erts-{}/", self.erts)));
        for listed in parts.get(2).and_then(Term::as_list).unwrap_or_default() {
            let Some([Term::Atom(name), version, rest @ ..]) = listed.as_tuple() else { continue };
            let mode = rest.iter().find_map(Term::as_atom).unwrap_or("permanent").to_owned();
            let application = self.read_application(name, &version.as_text().unwrap_or_default(), mode)?;
            self.applications.push(application);
        }
        self.read_protocols();
        Ok(())
    }

    fn read_application(&self, name: &str, version: &str, mode: String) -> Result<Application, UpgradeError> {
        let folder = format!("lib/{name}-{version}");
        let resource = format!("{folder}/ebin/{name}.app");
        // A release without OTP's libraries: those are the same wherever it runs.
        let specification = match self.term(&resource)? {
            Some(term) => term.as_tagged("application").and_then(|parts| parts.get(1)).cloned(),
            None => None,
        };
        let prefix = format!("{folder}/ebin/");
        let modules = self.entries.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
        let modules = modules
            .filter_map(|(path, node)| match node {
                Node::File { digest, .. } => {
                    Some((path[prefix.len()..].strip_suffix(".beam")?.to_owned(), *digest))
                }
                _ => None,
            })
            .collect();
        Ok(Application {
            name: name.to_owned(),
            version: version.to_owned(),
            mode,
            modules,
            specification: specification.unwrap_or(Term::List(Vec::new())),
            appup: self.term(&format!("{folder}/ebin/{name}.appup"))?,
            folder,
        })
    }

    fn read_protocols(&mut self) {
        if let Some(application) = self.application(&self.protocols_name()) {
            self.consolidated = application.modules.clone();
            self.protocols = Protocols::Application;
            return;
        }
        let prefix = format!("releases/{}/consolidated/", self.version);
        for (path, node) in &self.entries {
            let name = path.strip_prefix(&prefix).and_then(|name| name.strip_suffix(".beam"));
            if let (Some(name), Node::File { digest, .. }) = (name, node) {
                self.consolidated.insert(name.to_owned(), *digest);
                self.protocols = Protocols::Beside;
            }
        }
    }
}
