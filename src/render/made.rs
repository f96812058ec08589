//! Who made a release, from what, how it differs from the one before, and what was rehearsed: words and JSON.

use relgraph_cache::Digest;
use relgraph_rules::provenance::{Builder, Commit};
use relgraph_rules::record::{Rehearsal, ReleaseRecord, Since};
use serde_json::{Value, json};

use super::{count, harmless, time};

/// How many digits of a commit are shown.
const DIGITS: usize = 12;

/// Who builds: `Ada <ada@example.com>`, `ada on github`.
pub fn builder(builder: &Builder) -> String {
    let email = builder.email.as_ref().map(|email| format!(" <{email}>")).unwrap_or_default();
    let service = match &builder.service {
        Some(service) if *service != builder.name => format!(" on {service}"),
        _ => String::new(),
    };
    harmless(&format!("{}{email}{service}", builder.name))
}

/// A commit: `1a2b3c4d5e6f (main, v1.0), edited`.
pub fn commit(commit: &Commit) -> String {
    let id: String = commit.id.chars().take(DIGITS).collect();
    let names: Vec<&str> = commit.branch.iter().chain(&commit.tag).map(String::as_str).collect();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    let edited = if commit.dirty { ", edited" } else { "" };
    harmless(&format!("{id}{names}{edited}"))
}

/// What differs from earlier builds: `since 0.1.0: 2 modules, 1 config key`.
pub fn since(record: &ReleaseRecord) -> Vec<String> {
    let other = record.since.iter().map(|since| format!("since {}: {}", since.version, differing(since)));
    let same = record
        .rebuilt
        .iter()
        .map(|since| format!("since the build of {} before: {}", since.version, differing(since)));
    other.chain(same).map(|told| harmless(&told)).collect()
}

fn differing(since: &Since) -> String {
    let parts = [
        (since.applications, "application"),
        (since.modules, "module"),
        (since.config, "config key"),
        (since.files, "other file"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(*number, what)).collect();
    match parts.is_empty() {
        true if since.same => "nothing".to_owned(),
        true => "no code, configuration or file".to_owned(),
        false => format!("{} ({})", parts.join(", "), since.class.replace('_', " ")),
    }
}

/// With what it was built: `OTP 25.2.3, Elixir 1.14.0, relgraph 0.1.0`.
pub fn toolchain(record: &ReleaseRecord) -> String {
    let versions = [("OTP", &record.otp), ("Elixir", &record.elixir)];
    let mut parts: Vec<String> =
        versions.iter().filter_map(|(name, version)| Some(format!("{name} {}", version.as_ref()?))).collect();
    parts.push(format!("relgraph {}", record.built_by));
    harmless(&parts.join(", "))
}

/// The rehearsals of upgrades to a tree, the newest of each version that was started.
pub fn rehearsed<'a>(
    rehearsals: impl IntoIterator<Item = &'a Rehearsal>,
    tree: &Digest,
) -> Vec<&'a Rehearsal> {
    let mut newest: std::collections::BTreeMap<(&str, Digest), &Rehearsal> = Default::default();
    for rehearsal in rehearsals.into_iter().filter(|rehearsal| rehearsal.to_tree == *tree) {
        let entry = newest.entry((&rehearsal.from, rehearsal.from_tree)).or_insert(rehearsal);
        if rehearsal.at >= entry.at {
            *entry = rehearsal;
        }
    }
    newest.into_values().collect()
}

/// What became of a rehearsal: `upgrade from 0.1.0 rehearsed, and back`.
pub fn rehearsal(rehearsal: &Rehearsal) -> String {
    let told = match (rehearsal.passed, &rehearsal.problem) {
        (true, _) if rehearsal.downgraded => "rehearsed, and back".to_owned(),
        (true, _) => "rehearsed".to_owned(),
        (false, Some(problem)) => {
            format!("failed its rehearsal: {}", problem.lines().next().unwrap_or_default())
        }
        (false, None) => "failed its rehearsal".to_owned(),
    };
    harmless(&format!("upgrade from {} {told}", rehearsal.from))
}

/// The same for programs.
pub fn rehearsal_json(rehearsal: &Rehearsal) -> Value {
    json!({
        "from": rehearsal.from,
        "to": rehearsal.to,
        "from_digest": rehearsal.from_tree,
        "to_digest": rehearsal.to_tree,
        "at": time::utc(rehearsal.at),
        "passed": rehearsal.passed,
        "downgraded": rehearsal.downgraded,
        "problem": rehearsal.problem,
    })
}

/// What differs from an earlier build, for programs.
pub fn since_json(since: &Since) -> Value {
    json!({
        "version": since.version,
        "digest": since.tree,
        "same": since.same,
        "class": since.class,
        "applications": since.applications,
        "modules": since.modules,
        "config": since.config,
        "files": since.files,
    })
}

/// What a build made, for programs; `rehearsals` are those of what it made.
pub fn json(record: &ReleaseRecord, rehearsals: &[&Rehearsal]) -> Value {
    json!({
        "version": record.version,
        "environment": record.environment,
        "digest": record.tree,
        "otp": record.otp,
        "erts": record.erts,
        "elixir": record.elixir,
        "relgraph": record.built_by,
        "sandbox": record.sandbox,
        "by": record.builder,
        "commit": record.commit,
        "since": record.since.as_ref().map(since_json),
        "rebuilt": record.rebuilt.as_ref().map(since_json),
        "rehearsals": rehearsals.iter().map(|rehearsal| rehearsal_json(rehearsal)).collect::<Vec<_>>(),
    })
}
