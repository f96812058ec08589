//! Comparing two releases file by file: who has it, what it is, its mode, and what is in it.

use std::collections::{BTreeMap, BTreeSet};

use rayon::prelude::*;

use super::listing::{Entry, Listing, Source};
use super::names::Names;
use super::reason::Reason;
use super::report::{Finding, Part, Value};
use super::{module, terms, text};
use crate::compare::CompareError;
use crate::etf::{self, Term};

/// Larger files are not looked into.
const LARGEST: u64 = 256 << 20;

/// All differences between two releases, by path, and how many paths there are.
pub fn compare(
    ours: &Listing<'_>,
    theirs: &Listing<'_>,
    names: &Names,
) -> Result<(Vec<Finding>, usize), CompareError> {
    let mut others: BTreeMap<String, &str> = BTreeMap::new();
    for path in theirs.entries.keys() {
        others.insert(names.ours(path), path);
    }
    let all: BTreeSet<&str> =
        ours.entries.keys().map(String::as_str).chain(others.keys().map(String::as_str)).collect();
    let paths: Vec<&str> = all.into_iter().collect();
    let compared = |path: &&str| -> Result<Vec<Finding>, CompareError> {
        let theirs_path = others.get(*path).copied();
        let pair = (ours.entries.get(*path), theirs_path.and_then(|path| theirs.entries.get(path)));
        let mut findings = match pair {
            (Some(one), Some(other)) => entries(path, (ours, one), (theirs, other))?,
            (one, other) => {
                vec![Finding::new(path, Part::Presence).texts(one.map(describe), other.map(describe))]
            }
        };
        if let Some(there) = theirs_path.filter(|there| there != path && pair.0.is_some()) {
            let finding = Finding::new(path, Part::Place);
            findings.push(finding.texts(Some((*path).to_owned()), Some(there.to_owned())));
        }
        for finding in &mut findings {
            let shown = if pair.0.is_none() { theirs_path.unwrap_or(path) } else { path };
            finding.path = shown.to_owned();
            finding.application = application(shown).map(str::to_owned);
            finding.module = module_name(shown).map(str::to_owned);
        }
        Ok(findings)
    };
    let findings: Vec<Vec<Finding>> = paths.par_iter().map(compared).collect::<Result<_, _>>()?;
    Ok((findings.into_iter().flatten().collect(), paths.len()))
}

/// The application in whose folder of `lib/` a path lies; `erts` for the runtime system.
pub fn application(path: &str) -> Option<&str> {
    if path.starts_with("erts-") {
        return Some("erts");
    }
    let folder = path.strip_prefix("lib/")?.split('/').next()?;
    let versioned = |(name, version): (&'_ str, &str)| {
        version.starts_with(|c: char| c.is_ascii_digit()) && !name.is_empty()
    };
    // An application has no dash in its name; a version may.
    match folder.split_once('-') {
        Some((name, version)) if versioned((name, version)) => Some(name),
        _ => Some(folder),
    }
}

/// The module that a file holds.
fn module_name(path: &str) -> Option<&str> {
    path.rsplit('/').next()?.strip_suffix(".beam")
}

fn describe(entry: &Entry) -> String {
    match entry {
        Entry::Folder(_) => "a folder".to_owned(),
        Entry::Link(target) => format!("a symlink to {target}"),
        Entry::File { size, .. } => format!("a file of {size} bytes"),
    }
}

type Sided<'a, 'b> = (&'a Listing<'b>, &'a Entry);

fn entries(
    path: &str,
    (ours, one): Sided<'_, '_>,
    (theirs, other): Sided<'_, '_>,
) -> Result<Vec<Finding>, CompareError> {
    let modes = |one: u32, other: u32| {
        let text = |mode: u32| Some(format!("{mode:04o}"));
        (one != other).then(|| Finding::new(path, Part::Mode).texts(text(one), text(other)))
    };
    match (one, other) {
        (Entry::Folder(one), Entry::Folder(other)) => Ok(modes(*one, *other).into_iter().collect()),
        (Entry::Link(one), Entry::Link(other)) if one == other => Ok(Vec::new()),
        (Entry::Link(one), Entry::Link(other)) => {
            Ok(vec![Finding::new(path, Part::Link).texts(Some(one.clone()), Some(other.clone()))])
        }
        (
            Entry::File { mode, size, source },
            Entry::File { mode: other_mode, size: other_size, source: other_source },
        ) => {
            let mut findings: Vec<Finding> = modes(*mode, *other_mode).into_iter().collect();
            let same = size == other_size && ours.digest(source)? == theirs.digest(other_source)?;
            if !same {
                let files = ((ours, source, *size), (theirs, other_source, *other_size));
                findings.extend(contents(path, files.0, files.1)?);
            }
            Ok(findings)
        }
        (one, other) => {
            Ok(vec![Finding::new(path, Part::Kind).texts(Some(describe(one)), Some(describe(other)))])
        }
    }
}

type Placed<'a, 'b> = (&'a Listing<'b>, &'a Source, u64);

fn contents(
    path: &str,
    (ours, source, size): Placed<'_, '_>,
    (theirs, other_source, other_size): Placed<'_, '_>,
) -> Result<Vec<Finding>, CompareError> {
    if size.max(other_size) > LARGEST {
        let text = |size: u64| Some(format!("{size} bytes, too many to look into"));
        return Ok(vec![Finding::new(path, Part::Content).texts(text(size), text(other_size))]);
    }
    let (one, other) = (ours.read(source)?, theirs.read(other_source)?);
    Ok(bytes(path, &one, &other))
}

/// In what the contents of two files differ, which are not the same.
pub fn bytes(path: &str, ours: &[u8], theirs: &[u8]) -> Vec<Finding> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    if ending == "beam" {
        return module::compare(path, ours, theirs);
    }
    if ending == "boot"
        && let (Ok(one), Ok(other)) = (etf::decode(ours), etf::decode(theirs))
        && one != other
    {
        return leaves(path, &named(ending, &one), &named(ending, &other));
    }
    let consulted = matches!(ending, "app" | "rel" | "script" | "config" | "appup") || name == "RELEASES";
    if consulted && let (Ok(one), Ok(other)) = (etf::consult(ours), etf::consult(theirs)) {
        if one == other {
            if one.iter().any(terms::has_map) && reordered(ours, theirs) {
                let finding = Finding::new(path, Part::Term);
                return vec![finding.because(Reason::MapOrder, "the terms are equal")];
            }
        } else {
            let whole = |mut terms: Vec<Term>| match terms.len() {
                1 => terms.remove(0),
                _ => Term::List(terms),
            };
            return leaves(path, &named(ending, &whole(one)), &named(ending, &whole(other)));
        }
    }
    // Terms that are equal and text that is not: a comment, which the launcher may read.
    if text::is_text(ours) && text::is_text(theirs) {
        return text::compare(path, ours, theirs);
    }
    super::native::compare(path, ours, theirs).unwrap_or_else(|| vec![plain(path, ours, theirs)])
}

/// Whether two texts have the same comments, and the same characters in another order.
fn reordered(ours: &[u8], theirs: &[u8]) -> bool {
    let comments = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"%"));
        lines.map(<[u8]>::to_vec).collect()
    };
    let sorted = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        bytes.sort_unstable();
        bytes
    };
    comments(ours) == comments(theirs) && sorted(ours) == sorted(theirs)
}

fn plain(path: &str, ours: &[u8], theirs: &[u8]) -> Finding {
    let at = ours.iter().zip(theirs).take_while(|(one, other)| one == other).count();
    let size = |bytes: &[u8]| Some(format!("{} bytes", bytes.len()));
    Finding::new(path, Part::Content).at(format!("from byte {at}")).texts(size(ours), size(theirs))
}

fn leaves(path: &str, one: &Term, other: &Term) -> Vec<Finding> {
    let (leaves, all) = terms::differences(one, other);
    let mut findings: Vec<Finding> = leaves
        .into_iter()
        .map(|leaf| {
            let mut finding = Finding::new(path, Part::Term).at(leaf.place).terms(leaf.ours, leaf.theirs);
            finding.order = leaf.order;
            finding
        })
        .collect();
    if !all {
        findings.push(Finding::new(path, Part::Term).at("and more places"));
    }
    findings
}

/// The elements of the tuples that these files hold under the names that their documentation gives them, so that places
/// read like `modules[3]`.
fn named(ending: &str, term: &Term) -> Term {
    let pairs = |names: &[&str], values: &[Term]| {
        Term::List(
            names
                .iter()
                .zip(values)
                .map(|(name, value)| Term::Tuple(vec![Term::atom(*name), value.clone()]))
                .collect(),
        )
    };
    match (ending, term.as_tuple()) {
        ("app", Some([Term::Atom(tag), name, Term::List(properties)])) if tag == "application" => {
            let mut all = vec![Term::Tuple(vec![Term::atom("application"), name.clone()])];
            all.extend(properties.iter().cloned());
            Term::List(all)
        }
        ("rel", Some([Term::Atom(tag), values @ ..])) if tag == "release" && values.len() == 3 => {
            pairs(&["release", "erts", "applications"], values)
        }
        ("script" | "boot", Some([Term::Atom(tag), values @ ..])) if tag == "script" && values.len() == 2 => {
            pairs(&["release", "instructions"], values)
        }
        _ => term.clone(),
    }
}

/// The text of what stands on one side.
pub fn value_text(value: &Value) -> String {
    match value {
        Value::Term(term) => term.to_string(),
        Value::Text(text) => text.clone(),
    }
}
