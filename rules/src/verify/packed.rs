//! Comparing the packages of two releases entry by entry: each holds what its release does, and how it is written down.
//!
//! What differs between the two releases themselves is told where they are compared. Here each package is held against its own
//! release, and then the two against each other in what only an archive has: which folders have entries, the order of the
//! entries, their times and owners.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use relgraph_cache::{Digest, Hasher};
use tar::{Archive, EntryType};

use super::listing::{Entry, Listing};
use super::names::Names;
use super::reason::Reason;
use super::report::{Finding, Part, Report};
use crate::compare::CompareError;

/// A package of more entries or bytes than this is not one of a release.
const MOST_ENTRIES: usize = 1_000_000;
const MOST_BYTES: u64 = 64 << 30;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Folder,
    Link(String),
    File(Digest),
}

/// One entry of a package.
#[derive(Debug, Clone)]
struct Packed {
    kind: Kind,
    mode: u32,
    time: u64,
    owner: (u64, u64),
}

/// What a package holds.
#[derive(Debug)]
pub struct Package {
    entries: BTreeMap<String, Packed>,
    /// The paths as they come.
    order: Vec<String>,
    /// Paths that come more than once, and whether all of their entries are alike.
    again: BTreeMap<String, bool>,
}

impl Package {
    /// Reads a `.tar.gz`.
    pub fn read(path: &Path) -> Result<Package, CompareError> {
        let failed = |source: io::Error| CompareError::Io { path: path.to_owned(), source };
        let refused = |reason: String| CompareError::Archive { path: path.to_owned(), reason };
        let file = BufReader::new(File::open(path).map_err(failed)?);
        let mut archive = Archive::new(MultiGzDecoder::new(file).take(MOST_BYTES));
        let mut package = Package { entries: BTreeMap::new(), order: Vec::new(), again: BTreeMap::new() };
        for entry in archive.entries().map_err(failed)? {
            let mut entry = entry.map_err(failed)?;
            if package.order.len() >= MOST_ENTRIES {
                return Err(refused(format!("it has more than {MOST_ENTRIES} entries")));
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let name = name.trim_start_matches("./").trim_end_matches('/').to_owned();
            let kind = match entry.header().entry_type() {
                EntryType::Directory => Kind::Folder,
                EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default().into_owned();
                    Kind::Link(String::from_utf8_lossy(&target).into_owned())
                }
                EntryType::Regular | EntryType::Continuous => {
                    let mut hasher = Hasher::new();
                    io::copy(&mut entry, &mut Hashing(&mut hasher)).map_err(failed)?;
                    Kind::File(hasher.finish())
                }
                EntryType::XGlobalHeader => continue,
                other => {
                    return Err(refused(format!("{name} is neither a file, a folder nor a link: {other:?}")));
                }
            };
            let header = entry.header();
            let packed = Packed {
                kind,
                mode: header.mode().map_err(failed)? & 0o7777,
                time: header.mtime().map_err(failed)?,
                owner: (header.uid().map_err(failed)?, header.gid().map_err(failed)?),
            };
            let alike = |other: &Packed| (&other.kind, other.mode) == (&packed.kind, packed.mode);
            if let Some(alike) = package.entries.get(&name).map(alike) {
                *package.again.entry(name.clone()).or_insert(true) &= alike;
            }
            package.entries.insert(name.clone(), packed);
            package.order.push(name);
        }
        Ok(package)
    }

    /// Whether there are entries below a path.
    fn below(&self, path: &str) -> bool {
        let folder = format!("{path}/");
        self.entries.range(folder.clone()..).next().is_some_and(|(name, _)| name.starts_with(&folder))
    }
}

/// Hashes what is written to it.
struct Hashing<'a>(&'a mut Hasher);

impl io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One side: a package, and the release that it is of.
pub type Side<'a, 'b> = (&'a Package, &'a Listing<'b>);

/// Adds to a report what differs between two packages, which are called `name`.
pub fn compare(
    report: &mut Report,
    name: &str,
    ours: Side<'_, '_>,
    theirs: Side<'_, '_>,
    names: &Names,
) -> Result<(), CompareError> {
    let total = report.counts.same + report.counts.explained + report.counts.unexplained;
    let mut paths = BTreeSet::new();
    for (side, whose) in [(ours, "ours"), (theirs, "theirs")] {
        let all: BTreeSet<&String> = side.0.entries.keys().chain(side.1.entries.keys()).collect();
        for path in all {
            let finding = held(path, side)?;
            let path = if whose == "ours" { path.clone() } else { names.ours(path) };
            if let Some((what, why)) = finding {
                let finding =
                    Finding::new(&format!("{name}/{path}"), Part::Package).at(format!("{whose} {what}"));
                report.findings.push(if why.is_empty() {
                    finding
                } else {
                    finding.because(Reason::Packing, why)
                });
            }
            paths.insert(path);
        }
    }
    report.findings.extend(written(name, ours.0, theirs.0, names));
    report.findings.sort_by(|one, other| one.path.cmp(&other.path));
    report.count(total + paths.len() + 1);
    Ok(())
}

/// In what a package differs from its release at a path, and why that is none to worry about; empty: it is one.
type Held = Option<(String, &'static str)>;

fn held(path: &str, (package, release): Side<'_, '_>) -> Result<Held, CompareError> {
    let wrong = |what: &str| Ok(Some((what.to_owned(), "")));
    let Some(packed) = package.entries.get(path) else {
        let implied = release.entries.get(path).is_some_and(|entry| matches!(entry, Entry::Folder(_)));
        let why = if implied && package.below(path) { "what lies in the folder makes it" } else { "" };
        return Ok(Some(("has no entry for it".to_owned(), why)));
    };
    let again = package.again.get(path);
    if again == Some(&false) {
        return wrong("has several entries for it, which are not alike");
    }
    let released = release.entries.get(path);
    // Mix puts in what a link leads to, and what lies in a folder that one leads to.
    let followed = match released {
        Some(Entry::Link(_)) => !matches!(packed.kind, Kind::Link(_)),
        Some(_) => false,
        None => true,
    };
    let Some(entry) = (if followed { through(path, release) } else { released }) else {
        return wrong("has an entry for it, which the release does not have");
    };
    let differs = match (entry, &packed.kind) {
        (Entry::Link(target), Kind::Link(link)) if target == link => None,
        (Entry::Link(target), Kind::Link(link)) => {
            Some(format!("links to {link}, and the release to {target}"))
        }
        (Entry::Folder(mode), Kind::Folder) => modes(*mode, packed.mode),
        (Entry::File { mode, source, .. }, Kind::File(digest)) => {
            if release.digest(source)? == *digest {
                modes(*mode, packed.mode)
            } else {
                Some("has other bytes than the release".to_owned())
            }
        }
        _ => Some("has something of another kind than the release".to_owned()),
    };
    Ok(match differs {
        Some(what) => Some((what, "")),
        None if followed => {
            Some(("has what a link leads to".to_owned(), "it is what lies there in the release"))
        }
        None if again.is_some() => Some(("has several entries for it".to_owned(), "they are alike")),
        None => None,
    })
}

fn modes(released: u32, packed: u32) -> Option<String> {
    (released != packed).then(|| format!("has the mode {packed:04o}, and the release {released:04o}"))
}

/// What lies at a path when links are followed, inside of the release.
fn through<'a>(path: &str, release: &'a Listing<'_>) -> Option<&'a Entry> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let mut parts: Vec<&str> = path.split('/').collect();
        let mut folders = (1..=parts.len()).map(|count| parts[..count].join("/"));
        let Some((link, target)) = folders.find_map(|folder| match release.entries.get(&folder) {
            Some(Entry::Link(target)) => Some((folder, target.clone())),
            _ => None,
        }) else {
            return release.entries.get(&path);
        };
        let rest = parts.split_off(link.matches('/').count() + 1);
        parts.pop();
        for part in target.split('/').chain(rest) {
            match part {
                "" | "." => {}
                ".." => drop(parts.pop()?),
                part => parts.push(part),
            }
        }
        path = parts.join("/");
    }
    None
}

/// Order, times and owners.
fn written(name: &str, ours: &Package, theirs: &Package, names: &Names) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |place: &str, ours: String, theirs: String, why: &str| {
        if ours != theirs {
            let finding = Finding::new(name, Part::Package).at(place).texts(Some(ours), Some(theirs));
            findings.push(if why.is_empty() { finding } else { finding.because(Reason::Packing, why) });
        }
    };
    let mapped: Vec<String> = theirs.order.iter().map(|path| names.ours(path)).collect();
    let known: BTreeSet<&String> = mapped.iter().collect();
    let our_order: Vec<&String> = ours.order.iter().filter(|path| known.contains(path)).collect();
    let their_order: Vec<&String> = mapped.iter().filter(|path| ours.entries.contains_key(*path)).collect();
    if let Some(at) = our_order.iter().zip(&their_order).position(|(one, other)| one != other) {
        // As in a store: folder by folder.
        let sorted = our_order.is_sorted_by_key(|path| path.split('/').collect::<Vec<_>>());
        let why = if sorted { "the same entries; ours are sorted" } else { "" };
        found("order", our_order[at].clone(), their_order[at].clone(), why);
    }
    let times = |package: &Package| -> BTreeSet<u64> { package.entries.values().map(|e| e.time).collect() };
    let owners =
        |package: &Package| -> BTreeSet<(u64, u64)> { package.entries.values().map(|e| e.owner).collect() };
    let span = |times: &BTreeSet<u64>| match (times.first(), times.last()) {
        (Some(first), Some(last)) if first != last => format!("{first} to {last} s since 1970"),
        (Some(only), _) => format!("{only} s since 1970"),
        _ => "none".to_owned(),
    };
    let (one, other) = (times(ours), times(theirs));
    let why =
        if one.len() == 1 { "ours says the same second of every entry, whenever it is made" } else { "" };
    found("times", span(&one), span(&other), why);
    let all = |owners: &BTreeSet<(u64, u64)>| {
        owners.iter().map(|(user, group)| format!("{user}:{group}")).collect::<Vec<_>>().join(", ")
    };
    let (one, other) = (owners(ours), owners(theirs));
    let why = if one.iter().eq([&(0, 0)]) { "ours belongs to nobody, whoever makes it" } else { "" };
    found("owners", all(&one), all(&other), why);
    findings
}
