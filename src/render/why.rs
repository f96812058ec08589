//! Why a step runs, as text and as `relgraph.why/1`.

use std::collections::BTreeSet;

use relgraph_cache::{Answer, Digest, FileKind};
use relgraph_engine::{PartChangeKind, PartMoved, ProbeMoved, Reason};
use serde_json::{Value, json};

use super::plan::word;
use super::reason::{self, asked, told};
use super::{Paint, cut, harmless, time};
use crate::cli::{Expected, Prospect};

/// The schema of `why --format json`.
const SCHEMA: &str = "relgraph.why/1";
/// How many lines of one list are shown.
const SHOWN: usize = 12;
/// No value is shown with more characters.
const VALUE: usize = 60;

/// Why a step runs.
pub struct Why {
    /// The step.
    pub step: String,
    /// What a build would do with it.
    pub prospect: Prospect,
    /// How long it took when it last ran.
    pub expected_ms: Option<u64>,
    /// Steps below it that would run for reasons of their own, where it depends on them.
    pub causes: Vec<Expected>,
    /// Everything that moved.
    pub reasons: Vec<Reason>,
    /// The parts of its key that moved.
    pub parts: Vec<PartMoved>,
    /// What it was seen to read and that moved.
    pub probes: Vec<ProbeMoved>,
    /// When it ran last.
    pub last: Option<LastRun>,
    /// Variables whose values are not shown.
    pub secret: BTreeSet<String>,
}

/// A run of the history in which the step ran.
pub struct LastRun {
    /// The id of the run.
    pub run: String,
    /// When it began.
    pub started_ms: i64,
    /// What happened to the step.
    pub outcome: String,
    /// Why, as a word.
    pub reason: Option<String>,
    /// What that is about.
    pub subject: Option<String>,
}

impl LastRun {
    fn reason(&self) -> Option<Reason> {
        Reason::from_word(self.reason.as_deref()?, self.subject.as_deref())
    }

    fn json(&self) -> Value {
        json!({
            "run": self.run,
            "started": time::utc(self.started_ms),
            "outcome": self.outcome,
            "reason": self.reason().as_ref().map(reason::json),
        })
    }
}

impl Why {
    /// The reason to name first: that of the plan, or else the first thing that moved.
    fn reason(&self) -> Option<&Reason> {
        match &self.prospect {
            Prospect::Run(reason) | Prospect::Hit(Some(reason)) | Prospect::Asked(Some(reason)) => {
                Some(reason)
            }
            Prospect::Fresh | Prospect::MayRun(_) | Prospect::Fails(_) => None,
            Prospect::Hit(None) | Prospect::Asked(None) => self.reasons.first(),
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let paths = |paths: &[(String, PartChangeKind)]| -> Vec<Value> {
            paths.iter().map(|(path, change)| json!({ "path": path, "change": kind_word(*change) })).collect()
        };
        json!({
            "schema": SCHEMA,
            "step": self.step,
            "planned": word(&self.prospect),
            "reason": self.reason().map(reason::json),
            "reasons": self.reasons.iter().map(reason::json).collect::<Vec<_>>(),
            "parts": self.parts.iter().map(|part| {
                let hidden = self.is_secret(&part.change.name);
                json!({
                    "name": part.change.name,
                    "change": kind_word(part.change.kind),
                    "old": part.change.old.as_ref().filter(|_| !hidden),
                    "new": part.change.new.as_ref().filter(|_| !hidden),
                    "masked": hidden,
                    "paths": paths(&part.paths),
                })
            }).collect::<Vec<_>>(),
            "discovered": self.probes.iter().map(|moved| json!({
                "probe": moved.probe,
                "expected": moved.expected,
                "found": moved.found,
                "paths": paths(&moved.paths),
            })).collect::<Vec<_>>(),
            "causes": self.causes.iter().map(|cause| json!({
                "step": cause.step,
                "planned": word(&cause.prospect),
                "reason": match &cause.prospect {
                    Prospect::Run(reason) => reason::json(reason),
                    _ => Value::Null,
                },
            })).collect::<Vec<_>>(),
            "error": match &self.prospect {
                Prospect::Fails(message) => Some(message),
                _ => None,
            },
            "expected_ms": self.expected_ms,
            "last_run": self.last.as_ref().map(LastRun::json),
        })
    }

    /// For people.
    pub fn text(&self, colour: bool) -> String {
        let mut lines = vec![Paint(colour).bold(&harmless(&self.headline()))];
        for cause in self.causes.iter().take(SHOWN) {
            let why = match &cause.prospect {
                Prospect::Run(reason) => format!("would run: {}", told(reason)),
                Prospect::Fails(message) => format!("cannot run: {message}"),
                _ => continue,
            };
            lines.push(format!("  `{}` {why}", cause.step));
        }
        lines.extend(more(self.causes.len(), "step"));
        for part in self.parts.iter().take(SHOWN) {
            lines.extend(self.part_lines(part));
        }
        lines.extend(more(self.parts.len(), "part"));
        for moved in self.probes.iter().take(SHOWN) {
            let (old, new) = (answer(&moved.expected), answer(&moved.found));
            lines.push(format!("  it read {}: {old} -> {new}", asked(&moved.probe)));
            lines.extend(path_lines(&moved.paths));
        }
        lines.extend(more(self.probes.len(), "place that it read"));
        if matches!(self.prospect, Prospect::Fresh) {
            lines.push(self.history());
        }
        let lines: Vec<String> = lines
            .iter()
            .enumerate()
            .map(|(at, line)| if at == 0 { line.clone() } else { harmless(line) })
            .collect();
        lines.join("\n") + "\n"
    }

    fn headline(&self) -> String {
        let step = &self.step;
        let with = |what: &str| match self.reason() {
            Some(reason) => format!("`{step}` {what}: {}", told(reason)),
            None => format!("`{step}` {what}"),
        };
        match &self.prospect {
            Prospect::Fresh => {
                format!("`{step}` is fresh: nothing that it depends on moved since the last build")
            }
            Prospect::Run(_) => with("would run"),
            Prospect::Hit(_) => with("would be taken from the store"),
            Prospect::Asked(_) => with("ran just now, to know the steps"),
            Prospect::Fails(message) => format!("`{step}` cannot run: {message}"),
            Prospect::MayRun(after) => {
                let names: Vec<String> = after.iter().map(|name| format!("`{name}`")).collect();
                format!("`{step}` may run: it needs {}", names.join(", "))
            }
        }
    }

    fn history(&self) -> String {
        let Some(last) = &self.last else {
            return "  no run in the history ran it: its result came from the store".to_owned();
        };
        let when = time::ago(last.started_ms, time::now_ms());
        let id = last.run.get(..8).unwrap_or(&last.run);
        match last.reason() {
            Some(reason) => format!("  it ran last {when}, in run {id}: {}", told(&reason)),
            None => format!("  it ran last {when}, in run {id}"),
        }
    }

    fn part_lines(&self, part: &PartMoved) -> Vec<String> {
        let change = &part.change;
        let name = &change.name;
        let value = |value: &Option<String>| match value.as_deref().map(str::parse::<Digest>) {
            None => "nothing".to_owned(),
            Some(Ok(digest)) => digest.hex()[..8].to_owned(),
            Some(Err(_)) => cut(value.as_deref().unwrap_or_default(), VALUE),
        };
        let mut lines = vec![if self.is_secret(name) {
            format!("  {name}: another value")
        } else {
            format!("  {name}: {} -> {}", value(&change.old), value(&change.new))
        }];
        lines.extend(path_lines(&part.paths));
        lines
    }

    fn is_secret(&self, part: &str) -> bool {
        part.strip_prefix("env ").is_some_and(|name| self.secret.contains(name))
    }
}

fn path_lines(paths: &[(String, PartChangeKind)]) -> Vec<String> {
    let line = |(path, kind): &(String, PartChangeKind)| match kind {
        PartChangeKind::Added => format!("    + {path}"),
        PartChangeKind::Removed => format!("    - {path}"),
        PartChangeKind::Changed => format!("    ~ {path}"),
    };
    let mut lines: Vec<String> = paths.iter().take(SHOWN).map(line).collect();
    lines.extend(more(paths.len(), "path").map(|text| format!("  {text}")));
    lines
}

fn more(count: usize, what: &str) -> Option<String> {
    let hidden = count.checked_sub(SHOWN).filter(|hidden| *hidden > 0)?;
    Some(format!("  and {hidden} more {what}{}", if hidden == 1 { "" } else { "s" }))
}

fn kind_word(kind: PartChangeKind) -> &'static str {
    match kind {
        PartChangeKind::Added => "added",
        PartChangeKind::Removed => "removed",
        PartChangeKind::Changed => "changed",
    }
}

/// What was found, in words.
fn answer(answer: &Answer) -> String {
    let short = |digest: &Digest| digest.hex()[..8].to_owned();
    match answer {
        Answer::Absent => "nothing".to_owned(),
        Answer::File { digest, executable } => {
            format!("{} {}", if *executable { "a program" } else { "a file" }, short(digest))
        }
        Answer::Directory | Answer::Exists(FileKind::Directory) => "a folder".to_owned(),
        Answer::Symlink(target) => format!("a symlink to {target}"),
        Answer::Listing(digest) => format!("names {}", short(digest)),
        Answer::Tree(digest) => format!("a tree {}", short(digest)),
        Answer::Value(digest) => format!("a value {}", short(digest)),
        Answer::Exists(FileKind::File) => "a file".to_owned(),
        Answer::Exists(FileKind::Symlink) => "a symlink".to_owned(),
        Answer::Exists(FileKind::Other) => "something else".to_owned(),
    }
}

#[cfg(test)]
mod tests;
