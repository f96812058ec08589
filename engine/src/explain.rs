//! Why a step is not fresh: what moved between the key it had and the key it has.

use relgraph_cache::{Answer, Digest, Directory, Node, Probe, Store};

use crate::checkout::StepRecord;
use crate::key::{KeyParts, PartChange, PartChangeKind, PartValue};
use crate::outcome::Reason;

/// How many paths of one tree are named at most.
const PATHS: usize = 100;

/// The first thing that moved, in the order in which it helps a reader; `None` when nothing did.
///
/// `answer` says what is there now for a probe, `None` when that is not known.
pub fn reason(
    previous: Option<&StepRecord>,
    now: &KeyParts,
    answer: &dyn Fn(&Probe) -> Option<Answer>,
    store: &Store,
) -> Option<Reason> {
    explain(previous, now, answer, store, 1).into_iter().next()
}

/// Everything that moved, most telling first.
pub fn reasons(
    previous: Option<&StepRecord>,
    now: &KeyParts,
    answer: &dyn Fn(&Probe) -> Option<Answer>,
    store: &Store,
) -> Vec<Reason> {
    explain(previous, now, answer, store, PATHS)
}

fn explain(
    previous: Option<&StepRecord>,
    now: &KeyParts,
    answer: &dyn Fn(&Probe) -> Option<Answer>,
    store: &Store,
    limit: usize,
) -> Vec<Reason> {
    let Some(previous) = previous else { return vec![Reason::NeverBuilt] };
    let mut changes = KeyParts::diff(&previous.parts, now);
    changes.sort_by_key(|change| rank(&change.name));
    let mut reasons = Vec::new();
    for change in &changes {
        if reasons.len() >= limit {
            return reasons;
        }
        part_reasons(change, &previous.parts, now, store, limit, &mut reasons);
    }
    for (probe, expected) in &previous.probes {
        if reasons.len() >= limit {
            break;
        }
        if let Some(found) = answer(probe).filter(|found| found != expected) {
            probe_reasons(probe, expected, &found, store, limit, &mut reasons);
        }
    }
    reasons
}

/// The place of a part in an explanation: what concerns many steps first, then what the user edited, then the wave.
fn rank(name: &str) -> u8 {
    match name.split(' ').next().unwrap_or(name) {
        "rule" => 0,
        "toolchain" => 1,
        "command" => 2,
        "env" | "secret" => 3,
        "input" => 5,
        _ => 4,
    }
}

fn part_reasons(
    change: &PartChange,
    old: &KeyParts,
    new: &KeyParts,
    store: &Store,
    limit: usize,
    reasons: &mut Vec<Reason>,
) {
    let (kind, subject) = change.name.split_once(' ').unwrap_or((&change.name, ""));
    let subject = || if subject.is_empty() { kind } else { subject }.to_owned();
    match kind {
        "rule" => reasons.push(Reason::RuleChanged),
        "toolchain" => reasons.push(Reason::ToolchainChanged),
        "command" => reasons.push(Reason::CommandChanged),
        "env" | "secret" => reasons.push(Reason::EnvChanged(subject())),
        "input" => reasons.push(Reason::DependencyChanged(subject())),
        _ => {
            let is_source = kind == "source";
            let subject = || if is_source { subject() } else { change.name.clone() };
            let base = if is_source && change.name == kind { String::new() } else { subject() };
            let trees = match (old.get(&change.name), new.get(&change.name)) {
                (Some(PartValue::Digest(a)), Some(PartValue::Digest(b))) => diff_trees(store, a, b, limit),
                _ => Vec::new(),
            };
            if trees.is_empty() {
                reasons.push(path_reason(change.kind, subject()));
            }
            reasons.extend(trees.into_iter().map(|(path, kind)| path_reason(kind, join(&base, &path))));
        }
    }
}

fn probe_reasons(
    probe: &Probe,
    expected: &Answer,
    found: &Answer,
    store: &Store,
    limit: usize,
    reasons: &mut Vec<Reason>,
) {
    if let (Probe::Tree(path), Answer::Tree(a), Answer::Tree(b)) = (probe, expected, found) {
        let inside = diff_trees(store, a, b, limit);
        if !inside.is_empty() {
            reasons.extend(inside.iter().map(|(inner, _)| Reason::DiscoveredChanged(join(path, inner))));
            return;
        }
    }
    reasons.push(match probe {
        Probe::Env(name) => Reason::EnvChanged(name.clone()),
        _ => Reason::DiscoveredChanged(probe_text(probe)),
    });
}

/// A probe in words: its path, and what of it was looked at when that is not its content.
pub fn probe_text(probe: &Probe) -> String {
    match probe {
        Probe::Content(path) | Probe::Tree(path) | Probe::Kind(path) => path.clone(),
        Probe::Listing(path) if path.is_empty() => "the list of files".to_owned(),
        Probe::Listing(path) => format!("the list of files in {path}"),
        Probe::Env(name) => format!("environment variable {name}"),
    }
}

fn path_reason(kind: PartChangeKind, path: String) -> Reason {
    match kind {
        PartChangeKind::Added => Reason::InputAdded(path),
        PartChangeKind::Removed => Reason::InputRemoved(path),
        PartChangeKind::Changed => Reason::InputChanged(path),
    }
}

fn join(base: &str, path: &str) -> String {
    if base.is_empty() || path.is_empty() { format!("{base}{path}") } else { format!("{base}/{path}") }
}

/// The paths at which two trees of the store differ, sorted, at most `limit`. Empty when one of them is not a tree
/// or not in the store any more.
pub fn diff_trees(store: &Store, old: &Digest, new: &Digest, limit: usize) -> Vec<(String, PartChangeKind)> {
    let mut found = Vec::new();
    if let (Ok(old), Ok(new)) = (store.directory(old), store.directory(new)) {
        diff_directories(store, &old, &new, "", limit, &mut found);
    }
    found
}

fn diff_directories(
    store: &Store,
    old: &Directory,
    new: &Directory,
    base: &str,
    limit: usize,
    found: &mut Vec<(String, PartChangeKind)>,
) {
    let names: std::collections::BTreeSet<&String> = old.entries.keys().chain(new.entries.keys()).collect();
    for name in names {
        if found.len() >= limit {
            return;
        }
        let path = join(base, name);
        match (old.entries.get(name), new.entries.get(name)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(Node::Directory { digest: a }), Some(Node::Directory { digest: b })) => {
                match (store.directory(a), store.directory(b)) {
                    (Ok(a), Ok(b)) => diff_directories(store, &a, &b, &path, limit, found),
                    _ => found.push((path, PartChangeKind::Changed)),
                }
            }
            (Some(_), Some(_)) => found.push((path, PartChangeKind::Changed)),
            (None, _) => found.push((path, PartChangeKind::Added)),
            (_, None) => found.push((path, PartChangeKind::Removed)),
        }
    }
}
