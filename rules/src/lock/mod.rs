//! Lock files: which version of each dependency a project is built with, read without Elixir or rebar3.
//!
//! `mix.lock` is a map literal of Elixir and `rebar.lock` a few terms of Erlang; both give the same [`Lock`]. Every entry
//! keeps its place, so that whatever is said of it can show the line.

mod literal;
mod mix;
mod rebar;
mod span;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Diagnostic, Span};

/// The repository of packages that name no other.
pub const PUBLIC: &str = "hexpm";

/// A lock file that was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    /// The file, as it is shown to the user.
    pub file: PathBuf,
    /// What is locked, by the name of the application.
    pub entries: BTreeMap<String, Entry>,
}

/// One locked dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The application.
    pub app: String,
    /// Where it comes from.
    pub locked: Locked,
    /// Where the lock file says so.
    pub span: Option<Span>,
}

/// Where a locked dependency comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Locked {
    /// A package of a Hex repository.
    Hex(HexPackage),
    /// A commit of a git repository.
    Git(GitCommit),
    /// From something else, by the name that the lock gives it.
    Other(String),
}

/// A package of a Hex repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HexPackage {
    /// The package, whose name may not be that of the application.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of version, metadata and contents, in lower-case hexadecimal.
    pub inner: Option<String>,
    /// SHA-256 of the whole tarball, in lower-case hexadecimal. Older locks have none.
    pub outer: Option<String>,
    /// The build tools that the package can be built with, where the lock says so.
    pub managers: Option<Vec<String>>,
    /// What it depends on, where the lock says so.
    pub children: Option<Vec<Child>>,
    /// The repository: `hexpm`, `hexpm:ORGANISATION`, or one that the user named.
    pub repo: String,
}

/// A dependency of a locked package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Child {
    /// The application.
    pub app: String,
    /// Whether it is needed only when somebody else needs it.
    pub optional: bool,
}

/// A commit of a git repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitCommit {
    /// Where the repository is.
    pub url: String,
    /// The commit, in hexadecimal.
    pub commit: String,
    /// The branch it was found on, where one was asked for.
    pub branch: Option<String>,
    /// The tag it was found by, where one was asked for.
    pub tag: Option<String>,
    /// The only folder that is checked out, where one was asked for.
    pub sparse: Option<String>,
    /// The folder of the repository that holds the application, where it is not the top.
    pub subdir: Option<String>,
    /// Whether its submodules belong to it.
    pub submodules: bool,
}

impl Lock {
    /// Reads a `mix.lock`. `file` is the name to show.
    pub fn mix(file: &Path, bytes: &[u8]) -> Result<Lock, Box<Diagnostic>> {
        let entries = mix::entries(&text(file, bytes)?).map_err(|e| Box::new(e.in_file(file)))?;
        Ok(Self::of(file, entries))
    }

    /// Reads a `rebar.lock`. `file` is the name to show.
    pub fn rebar(file: &Path, bytes: &[u8]) -> Result<Lock, Box<Diagnostic>> {
        let entries = rebar::entries(&text(file, bytes)?).map_err(|e| Box::new(e.in_file(file)))?;
        Ok(Self::of(file, entries))
    }

    fn of(file: &Path, entries: Vec<Entry>) -> Lock {
        // Of two entries of one name the later counts, as in a map of Elixir.
        let entries = entries.into_iter().map(|entry| (entry.app.clone(), entry)).collect();
        Lock { file: file.to_owned(), entries }
    }

    /// The entry of an application.
    pub fn get(&self, app: &str) -> Option<&Entry> {
        self.entries.get(app)
    }

    /// The applications of this lock that `apps` need by what the lock says of their packages, themselves included and
    /// those left out that `known` names. What is needed only when somebody else needs it is not followed.
    pub fn needed<'a>(
        &self,
        apps: impl IntoIterator<Item = &'a str>,
        known: &dyn Fn(&str) -> bool,
    ) -> Vec<String> {
        let mut queue: Vec<String> = apps.into_iter().map(str::to_owned).collect();
        let mut found = std::collections::BTreeSet::new();
        while let Some(app) = queue.pop() {
            let Some(entry) = self.get(&app) else { continue };
            if !found.insert(app) {
                continue;
            }
            if let Locked::Hex(HexPackage { children: Some(children), .. }) = &entry.locked {
                let more = children.iter().filter(|child| !child.optional && !known(&child.app));
                queue.extend(more.map(|child| child.app.clone()));
            }
        }
        found.into_iter().collect()
    }
}

impl Entry {
    /// The version or commit that is locked, as a person would say it.
    pub fn version(&self) -> String {
        match &self.locked {
            Locked::Hex(package) => package.version.clone(),
            Locked::Git(git) => git.commit.chars().take(7).collect(),
            Locked::Other(kind) => kind.clone(),
        }
    }
}

fn text(file: &Path, bytes: &[u8]) -> Result<String, Box<Diagnostic>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.utf8_error().valid_up_to()]).into_owned();
        let place = span::span(&before, before.len(), before.len());
        Box::new(Diagnostic::error("the lock file is not UTF-8").in_file(file).at(place))
    })
}

/// A checksum as locks write it: 64 hexadecimal digits of either case.
fn checksum(text: &str) -> Option<String> {
    let good = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
    good.then(|| text.to_ascii_lowercase())
}

/// Names and versions become parts of paths and addresses: no more than letters, digits and `._+-`.
fn plain(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._+-".contains(&b);
    !text.is_empty() && text.len() <= 256 && !text.starts_with(['.', '-']) && text.bytes().all(good)
}

#[cfg(test)]
mod tests;
