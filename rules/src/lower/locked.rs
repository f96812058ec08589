//! Dependencies of a rebar3 project: what `rebar.lock` names, what of that is there, and what is fetched.
//!
//! What lies in `_build/default/lib/APP` is built when it is what the lock names, and so is what lies in `_checkouts`. What
//! is not there, or is something else, is fetched by a step and shown to every other step in its place; nothing is written
//! to the user's `_build`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use relgraph_cache::Digest;
use relgraph_engine::StepError;

use super::{Around, Lowering};
use crate::diagnostic::Diagnostic;
use crate::erlang::project::{ErlangProject, Missing};
use crate::etf::{Term, consult};
use crate::fetch::git;
use crate::lock::{HexPackage, Lock, Locked};
use crate::source::Snapshot;
use crate::tool::Tool;

const LOCK: &str = "rebar.lock";
/// Where rebar3 puts what it fetches, unless rebar.config says otherwise.
const DEPS: &str = "_build/default/lib";
/// Where the user puts applications that are taken instead of what would be fetched.
const CHECKOUTS: &str = "_checkouts";

impl Lowering {
    /// Reads the lock and looks at what rebar3 has fetched.
    pub fn around_rebar3(&self) -> Result<Around, Vec<Diagnostic>> {
        let mut around =
            Around { lockfile: LOCK.to_owned(), deps_path: DEPS.to_owned(), ..Around::default() };
        if self.common.as_ref().is_none_or(|common| common.tool != Tool::Rebar3) {
            return Ok(around);
        }
        let path = self.root.join(LOCK);
        around.looked_at.insert(path.clone());
        let Ok(bytes) = fs::read(&path) else { return Ok(around) };
        let lock = Lock::rebar(Path::new(LOCK), &bytes).map_err(|error| vec![*error])?;
        for (app, entry) in &lock.entries {
            around.looked_at.insert(self.root.join(CHECKOUTS).join(app));
            if !self.is_checked_out(app) {
                self.look_at(&mut around, app, &entry.locked);
            }
        }
        around.lock = Some(lock);
        Ok(around)
    }

    fn is_checked_out(&self, app: &str) -> bool {
        self.root.join(CHECKOUTS).join(app).is_dir()
    }

    fn look_at(&self, around: &mut Around, app: &str, locked: &Locked) {
        let dir = self.root.join(around.at(app));
        around.looked_at.insert(dir.clone());
        if !dir.is_dir() {
            return;
        }
        let found = match locked {
            Locked::Hex(package) => {
                let file = dir.join("hex_metadata.config");
                let found = fs::read(&file).ok().map(|bytes| metadata(&bytes));
                around.looked_at.insert(file);
                match found {
                    None => {
                        around.unnamed.insert(app.to_owned());
                        return;
                    }
                    Some(found) if is(&found, package) => return,
                    Some((name, version)) => format!("{name} {version}"),
                }
            }
            Locked::Git(commit) => {
                around.looked_at.insert(dir.join(".git/HEAD"));
                match dir.join(".git").exists().then(|| git::head(&self.remotes, &dir)).flatten() {
                    None => {
                        around.unnamed.insert(app.to_owned());
                        return;
                    }
                    Some(head) if head == commit.commit => return,
                    Some(head) => format!("the commit {}", head.chars().take(12).collect::<String>()),
                }
            }
            Locked::Other(_) => return,
        };
        around.hidden.insert(app.to_owned(), Some(found));
    }

    /// What the lock names and is not there. rebar3 depends on all that is locked, whatever rebar.config says by now.
    pub fn absent(&self, around: &Around) -> BTreeSet<String> {
        let Some(lock) = &around.lock else { return BTreeSet::new() };
        let fetchable = |locked: &Locked| !matches!(locked, Locked::Other(_));
        let there = |app: &str| {
            self.is_checked_out(app)
                || self.root.join(around.at(app)).is_dir() && !around.hidden.contains_key(app)
        };
        let entries = lock.entries.iter().filter(|(app, entry)| fetchable(&entry.locked) && !there(app));
        entries.map(|(app, _)| app.clone()).collect()
    }

    /// What rebar3 misses and is not fetched yet. An error names what nothing tells how to fetch.
    pub fn missed(
        &self,
        around: &mut Around,
        project: &ErlangProject,
    ) -> Result<BTreeSet<String>, Vec<Diagnostic>> {
        let mut wanted = BTreeSet::new();
        let mut errors = Vec::new();
        for missing in &project.missing {
            let entry = around.lock.as_ref().and_then(|lock| lock.get(&missing.app));
            let fetchable = entry.filter(|entry| !matches!(entry.locked, Locked::Other(_)));
            match fetchable {
                Some(entry) if around.fetched.contains_key(&missing.app) => {
                    let message = format!("what {LOCK} names for `{}` is no application", missing.app);
                    errors.push(Diagnostic::error(message).in_file(LOCK).at(entry.span.clone()));
                }
                Some(_) => {
                    around.places.insert(missing.app.clone(), missing.at.clone());
                    wanted.insert(missing.app.clone());
                }
                None => errors.push(not_there(around, missing)),
            }
        }
        if errors.is_empty() { Ok(wanted) } else { Err(errors) }
    }

    /// What the user should know of dependencies that are not what rebar3 has fetched.
    pub(super) fn rebar_lock_warnings(&self, around: &Around, project: &ErlangProject) -> Vec<Diagnostic> {
        let Some(lock) = &around.lock else { return Vec::new() };
        let used = |app: &str| project.application(app).is_some();
        let mut warnings = Vec::new();
        for (app, what) in around.hidden.iter().filter(|(app, _)| used(app)) {
            let (Some(what), Some(entry)) = (what, lock.get(app)) else { continue };
            let message = format!(
                "{} is {what}, and {LOCK} names {}: that is what is built",
                around.at(app),
                entry.version()
            );
            warnings.push(
                Diagnostic::warning(message)
                    .in_file(LOCK)
                    .at(entry.span.clone())
                    .hint("run `rebar3 get-deps` to bring _build up to date"),
            );
        }
        let unnamed: Vec<String> =
            around.unnamed.iter().filter(|app| used(app)).map(|app| around.at(app)).collect();
        if !unnamed.is_empty() {
            let message = format!(
                "nothing says that {} is what {LOCK} names: built as it lies there",
                unnamed.join(", ")
            );
            warnings.push(Diagnostic::warning(message).hint("remove it to have it fetched"));
        }
        warnings
    }

    /// The files of a dependency that was fetched, where `dest` lies in it.
    pub(super) fn fetched_source(
        &self,
        around: &Around,
        dest: &str,
    ) -> Result<Option<Arc<Snapshot>>, StepError> {
        let Some((tree, inner)) = fetched_at(around, dest) else { return Ok(None) };
        let whole = self.sources.stored(&self.store.checkout(&tree)?)?;
        Ok(Some(if inner.is_empty() { whole } else { Arc::new(whole.part(&inner, &|_| false)) }))
    }

    /// The folder in which the sources of an application lie on this machine.
    pub(super) fn folder_of(&self, around: &Around, dest: &str) -> PathBuf {
        let stored = fetched_at(around, dest)
            .and_then(|(tree, inner)| Some(self.store.checkout(&tree).ok()?.join(inner)));
        stored.unwrap_or_else(|| self.root.join(dest))
    }
}

/// The tree that a folder lies in, and where.
fn fetched_at(around: &Around, dest: &str) -> Option<(Digest, String)> {
    around.fetched.values().find_map(|fetched| {
        let rest = Path::new(dest).strip_prefix(&fetched.at).ok()?;
        Some((fetched.tree, rest.to_str()?.to_owned()))
    })
}

/// Name and version of a package, as it says them itself.
fn metadata(bytes: &[u8]) -> (String, String) {
    let terms = Term::list(consult(bytes).unwrap_or_default());
    let text = |key: &str| {
        let pairs = terms.elements().unwrap_or_default();
        let pair = pairs.iter().find_map(|pair| match pair.as_tuple()? {
            [name, value] => (name.as_text().as_deref() == Some(key)).then(|| value.as_text())?,
            _ => None,
        });
        pair.unwrap_or_else(|| "something unknown".to_owned())
    };
    (text("name"), text("version"))
}

fn is((name, version): &(String, String), package: &HexPackage) -> bool {
    (name, version) == (&package.name, &package.version)
}

/// A dependency that is neither there nor locked.
fn not_there(around: &Around, missing: &Missing) -> Diagnostic {
    let Missing { app, at, parent, source } = missing;
    let needs = match parent {
        Some(parent) => format!(": `{parent}` needs it"),
        None => String::new(),
    };
    let from = source.as_ref().map_or(String::new(), |source| format!(", from {source}"));
    let complaint = Diagnostic::error(format!("dependency `{app}` is not there{needs}{from}"))
        .note(format!("looked for in {CHECKOUTS}/{app} and {at}"));
    let entry = around.lock.as_ref().and_then(|lock| lock.get(app));
    let complaint = match (entry, &around.lock) {
        (Some(entry), _) => complaint
            .in_file(LOCK)
            .at(entry.span.clone())
            .note(format!("it is locked as `{}`, which relgraph cannot fetch", entry.version())),
        (None, Some(_)) => complaint
            .note(format!("{LOCK} does not name it, so there is nothing to fetch"))
            .note("rebar3 locks the dependencies of the default profile only"),
        (None, None) => complaint.note(format!("there is no {LOCK}, so there is nothing to fetch")),
    };
    complaint.hint("run `rebar3 get-deps` in the project's folder, which fetches it and writes the lock")
}
