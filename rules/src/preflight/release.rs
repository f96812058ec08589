//! Reads a release: its applications, boot scripts, modules and native files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;

use rayon::prelude::*;
use relgraph_cache::{Digest, Node, Store};
use relgraph_engine::StepError;

use crate::beam_file::{self, Links};
use crate::etf::{self, Term};
use crate::native::{NativeFile, Target, looks_native};

/// An application of the project, and not of Erlang or Elixir.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its name.
    pub app: String,
    /// Whether its code is the user's own, and not fetched from elsewhere.
    pub own: bool,
    /// Where its sources are, seen from the project's folder.
    pub dest: String,
    /// What it calls knowing that it may not be there: see [`beam_file::excluded`]. Under `*` for all of its modules.
    pub excluded: BTreeMap<String, BTreeSet<String>>,
    /// Its modules, where it is no part of the release.
    pub left_out: BTreeSet<String>,
}

/// What is known about a release besides the release itself.
#[derive(Debug, Clone, Default)]
pub struct Around {
    /// The applications of the project.
    pub parts: Vec<Part>,
    /// Modules of Erlang and Elixir, with the application that each belongs to.
    pub installed: BTreeMap<String, String>,
    /// Applications whose modes the user does not want to be looked at.
    pub modes_of_no_concern: BTreeSet<String>,
    /// The machines that it is for, as far as that is said.
    pub target: Target,
    /// A program of the machine that builds it, for a release without a runtime.
    pub machine: Option<NativeFile>,
    /// Whether its runtime comes from another installation than the one that builds it.
    pub foreign: bool,
}

/// An application of a release.
#[derive(Debug, Default)]
pub(crate) struct Application {
    /// How it is started; `None`: it is in no `.rel` file.
    pub mode: Option<String>,
    /// Its folder in the release, when it is there.
    pub folder: Option<String>,
    /// What its specification says.
    pub spec: Option<Spec>,
}

/// What an application says about itself.
#[derive(Debug, Default)]
pub(crate) struct Spec {
    pub modules: Vec<String>,
    pub applications: Vec<String>,
    pub included: Vec<String>,
    pub optional: Vec<String>,
}

/// A module that lies in a release.
#[derive(Debug)]
pub(crate) struct Module {
    pub application: Option<String>,
    pub path: String,
    pub digest: Digest,
    pub links: Links,
}

/// A release.
pub(crate) struct Release<'a> {
    pub store: &'a Store,
    pub around: &'a Around,
    /// Files and folders by path.
    pub nodes: BTreeMap<String, Node>,
    pub version: Option<String>,
    /// The name in its `.rel` file.
    pub name: Option<String>,
    pub applications: BTreeMap<String, Application>,
    /// Boot scripts by path: their instructions.
    pub boots: BTreeMap<String, Vec<Term>>,
    /// Modules; a consolidated protocol comes before the protocol.
    pub modules: Vec<Module>,
    /// Native files by path, with the application that brought each.
    pub natives: BTreeMap<String, (Option<String>, NativeFile)>,
}

impl<'a> Release<'a> {
    /// Reads the release that is the stored tree `tree`.
    pub fn read(store: &'a Store, tree: &Digest, around: &'a Around) -> Result<Release<'a>, StepError> {
        let nodes: BTreeMap<String, Node> = store.walk(tree)?.into_iter().collect();
        let mut release = Release {
            store,
            around,
            nodes,
            version: None,
            name: None,
            applications: BTreeMap::new(),
            boots: BTreeMap::new(),
            modules: Vec::new(),
            natives: BTreeMap::new(),
        };
        release.version = release.find_version()?;
        release.read_rel()?;
        release.read_applications()?;
        release.read_boots()?;
        release.read_modules()?;
        release.read_natives()?;
        Ok(release)
    }

    /// The bytes of a file.
    pub fn file(&self, path: &str) -> Result<Option<Vec<u8>>, StepError> {
        match self.nodes.get(path) {
            Some(Node::File { digest, .. }) => Ok(Some(self.store.read(digest)?)),
            _ => Ok(None),
        }
    }

    /// Whether it holds a runtime.
    pub fn has_runtime(&self) -> bool {
        self.nodes.keys().any(|path| path.starts_with("erts-"))
    }

    /// The application of the project of that name.
    pub fn part(&self, app: &str) -> Option<&Part> {
        self.around.parts.iter().find(|part| part.app == app)
    }

    /// Paths below `releases/VERSION/`, without that.
    pub fn of_version(&self) -> impl Iterator<Item = (&str, &str)> {
        let prefix = format!("releases/{}/", self.version.as_deref().unwrap_or_default());
        self.nodes.keys().filter_map(move |path| Some((path.as_str(), path.strip_prefix(&prefix)?)))
    }

    fn find_version(&self) -> Result<Option<String>, StepError> {
        if let Some(bytes) = self.file("releases/start_erl.data")?
            && let Some(version) = String::from_utf8_lossy(&bytes).split_whitespace().nth(1)
        {
            return Ok(Some(version.to_owned()));
        }
        let boots = self.nodes.keys().filter(|path| path.ends_with(".boot"));
        let versions: BTreeSet<&str> = boots
            .filter_map(|path| path.strip_prefix("releases/")?.split_once('/').map(|(v, _)| v))
            .collect();
        Ok(versions.last().map(|version| (*version).to_owned()))
    }

    fn read_rel(&mut self) -> Result<(), StepError> {
        let path = self.of_version().find(|(_, name)| !name.contains('/') && name.ends_with(".rel"));
        let Some(path) = path.map(|(path, _)| path.to_owned()) else { return Ok(()) };
        let bytes = self.file(&path)?.unwrap_or_default();
        let Ok(term) = etf::consult_one(&bytes) else { return Ok(()) };
        let Some([name, _erts, applications]) = term.as_tagged("release") else { return Ok(()) };
        self.name = name.as_tuple().and_then(|pair| pair.first()?.as_text());
        for application in applications.as_list().unwrap_or_default() {
            let Some([Term::Atom(name), version, rest @ ..]) = application.as_tuple() else { continue };
            let mode = rest.iter().find_map(Term::as_atom).unwrap_or("permanent");
            let version = version.as_text().unwrap_or_default();
            let folders = [format!("lib/{name}-{version}"), format!("lib/{name}")];
            // Where the folder is a link, the release leads to the place where it was built.
            let is_there = |folder: &String| matches!(self.nodes.get(folder), Some(Node::Directory { .. }));
            let folder = folders.into_iter().find(is_there);
            let application = Application { mode: Some(mode.to_owned()), folder, spec: None };
            self.applications.insert(name.clone(), application);
        }
        Ok(())
    }

    /// Specifications of the applications of the `.rel` file; where there is none, of all that lie in `lib/`.
    fn read_applications(&mut self) -> Result<(), StepError> {
        if self.applications.is_empty() {
            for path in self.nodes.keys() {
                if let ["lib", folder, "ebin", file] = path.split('/').collect::<Vec<_>>()[..]
                    && let Some(name) = file.strip_suffix(".app")
                {
                    let folder = Some(format!("lib/{folder}"));
                    self.applications
                        .insert(name.to_owned(), Application { folder, ..Application::default() });
                }
            }
        }
        let mut specs = Vec::new();
        for (name, application) in &self.applications {
            let Some(folder) = &application.folder else { continue };
            let Some(bytes) = self.file(&format!("{folder}/ebin/{name}.app"))? else { continue };
            specs.extend(specification(&bytes).map(|spec| (name.clone(), spec)));
        }
        for (name, spec) in specs {
            self.applications.entry(name).or_default().spec = Some(spec);
        }
        Ok(())
    }

    fn read_boots(&mut self) -> Result<(), StepError> {
        let paths: Vec<String> = self
            .of_version()
            .filter(|(_, name)| !name.contains('/') && name.ends_with(".boot"))
            .map(|(path, _)| path.to_owned())
            .collect();
        for path in paths {
            let bytes = self.file(&path)?.unwrap_or_default();
            if let Ok(script) = etf::decode(&bytes)
                && let Some([_, Term::List(instructions)]) = script.as_tagged("script")
            {
                self.boots.insert(path, instructions.clone());
            }
        }
        Ok(())
    }

    /// The application in whose folder a path lies. A version that was left there belongs to none.
    pub fn owner(&self, path: &str) -> Option<String> {
        let folder = path.strip_prefix("lib/")?.split('/').next()?;
        let is = |a: &Application| a.folder.as_deref().and_then(|f| f.strip_prefix("lib/")) == Some(folder);
        self.applications.iter().find(|(_, application)| is(application)).map(|(name, _)| name.clone())
    }

    /// The folder of consolidated protocols of a release that is laid out for hot upgrades.
    pub fn is_of_protocols(&self, application: &str) -> bool {
        self.name.as_deref().is_some_and(|name| application == format!("{name}_protocols"))
    }

    fn read_modules(&mut self) -> Result<(), StepError> {
        let places: BTreeMap<&str, &str> = self
            .applications
            .iter()
            .filter_map(|(name, a)| Some((a.folder.as_deref()?.strip_prefix("lib/")?, name.as_str())))
            .collect();
        let consolidated = format!("releases/{}/consolidated/", self.version.as_deref().unwrap_or_default());
        let mut files: Vec<(&String, Digest, Option<&str>)> = Vec::new();
        for (path, node) in &self.nodes {
            let Node::File { digest, .. } = node else { continue };
            if !path.ends_with(".beam") {
                continue;
            }
            if path.starts_with(&consolidated) {
                files.push((path, *digest, None));
            } else if let Some((folder, rest)) = path.strip_prefix("lib/").and_then(|p| p.split_once('/'))
                && rest.starts_with("ebin/")
                && let Some(application) = places.get(folder)
            {
                files.push((path, *digest, Some(application)));
            }
        }
        // Protocols that are consolidated come first, for they are what runs.
        files.sort_by_key(|(_, _, application)| {
            application.is_some_and(|application| !self.is_of_protocols(application))
        });
        let read: Result<Vec<Option<Module>>, StepError> = files
            .par_iter()
            .map(|(path, digest, application)| {
                // What is no module is no business of the preflight.
                // What Erlang's and Elixir's own modules call is no business of the preflight either.
                let imports = application.is_some_and(|application| self.part(application).is_some());
                let Ok(links) = beam_file::links(&self.store.read(digest)?, imports) else { return Ok(None) };
                let application = application.map(str::to_owned);
                Ok(Some(Module { application, path: (*path).clone(), digest: *digest, links }))
            })
            .collect();
        self.modules = read?.into_iter().flatten().collect();
        Ok(())
    }

    fn read_natives(&mut self) -> Result<(), StepError> {
        let ends = [".beam", ".app", ".hrl", ".erl", ".ex", ".exs", ".boot", ".script", ".rel"];
        let files: Vec<(&String, Digest)> = self
            .nodes
            .iter()
            .filter(|(path, _)| !ends.iter().any(|end| path.ends_with(end)))
            .filter_map(|(path, node)| match node {
                Node::File { digest, .. } => Some((path, *digest)),
                _ => None,
            })
            .collect();
        let found: Result<Vec<Option<(String, NativeFile)>>, StepError> = files
            .par_iter()
            .map(|(path, digest)| {
                if !head_is_native(self.store, digest)? {
                    return Ok(None);
                }
                Ok(NativeFile::read(&self.store.read(digest)?).map(|file| ((*path).clone(), file)))
            })
            .collect();
        self.natives = found?
            .into_iter()
            .flatten()
            .map(|(path, file)| (path.clone(), (self.owner(&path), file)))
            .collect();
        Ok(())
    }
}

/// Whether the first bytes of a blob are those of a native file. Where it cannot be read this way, all of it is.
fn head_is_native(store: &Store, digest: &Digest) -> Result<bool, StepError> {
    let mut head = [0; 4];
    if digest.size < 4 {
        return Ok(false);
    }
    match File::open(store.blob_path(digest, false)).and_then(|mut file| file.read_exact(&mut head)) {
        Ok(()) => Ok(looks_native(&head)),
        Err(_) => Ok(looks_native(&store.read(digest)?)),
    }
}

fn specification(bytes: &[u8]) -> Option<Spec> {
    let term = etf::consult_one(bytes).ok()?;
    let properties = term.as_tagged("application")?.get(1)?;
    let names = |key: &str| -> Vec<String> {
        let list = properties.property(key).and_then(Term::as_list).unwrap_or_default();
        list.iter().filter_map(|name| name.as_atom().map(str::to_owned)).collect()
    };
    Some(Spec {
        modules: names("modules"),
        applications: names("applications"),
        included: names("included_applications"),
        optional: names("optional_applications"),
    })
}
