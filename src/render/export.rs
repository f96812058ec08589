//! Releases that change their place, as text and as `relgraph.cache-export/1`, `relgraph.cache-import/1`,
//! `relgraph.cache-push/1` and `relgraph.cache-pull/1`.

use std::path::Path;

use relgraph_rules::export::Exported;
use relgraph_rules::record::ReleaseRecord;
use serde_json::{Value, json};

use super::{bytes, count, harmless};

fn releases(releases: &[ReleaseRecord]) -> Value {
    let release = |it: &ReleaseRecord| json!({ "name": it.name, "version": it.version, "environment": it.environment, "tree": it.tree });
    releases.iter().map(release).collect()
}

fn listed(releases: &[ReleaseRecord]) -> String {
    let line = |it: &ReleaseRecord| {
        let of = if it.environment == "prod" { String::new() } else { format!(" ({})", it.environment) };
        format!("  {}\n", harmless(&format!("{} {}{of}", it.name, it.version)))
    };
    releases.iter().map(line).collect()
}

fn file_json(schema: &str, file: &Path, exported: &Exported) -> Value {
    json!({
        "schema": schema,
        "file": file,
        "releases": releases(&exported.releases),
        "blobs": exported.blobs,
        "bytes": exported.bytes,
        "signed_by": exported.signed_by,
    })
}

/// What was written, for programs.
pub fn exported_json(file: &Path, size: u64, exported: &Exported) -> Value {
    let mut report = file_json("relgraph.cache-export/1", file, exported);
    report["file_bytes"] = size.into();
    report
}

/// What was written, for people.
pub fn exported_text(file: &Path, size: u64, exported: &Exported) -> String {
    let signed = match &exported.signed_by {
        Some(name) => format!("signed by {}", harmless(name)),
        None => "not signed".to_owned(),
    };
    format!(
        "wrote {}: {} of {}, {signed}\n{}",
        harmless(&file.display().to_string()),
        bytes(size),
        count(exported.releases.len(), "release"),
        listed(&exported.releases)
    )
}

/// What was taken, for programs.
pub fn imported_json(file: &Path, exported: &Exported) -> Value {
    file_json("relgraph.cache-import/1", file, exported)
}

/// What was taken, for people. `checked`: signatures decide.
pub fn imported_text(exported: &Exported, checked: bool) -> String {
    let signed = match (&exported.signed_by, checked) {
        (Some(name), _) => format!("signed by {}", harmless(name)),
        (None, _) => "nobody's signature is asked for".to_owned(),
    };
    let many = count(exported.releases.len(), "release");
    format!("took {many}, {}; {signed}\n{}", bytes(exported.bytes), listed(&exported.releases))
}

/// What was given to remotes, for programs.
pub fn pushed_json(pushed: &[ReleaseRecord], results: usize, left: usize) -> Value {
    json!({ "schema": "relgraph.cache-push/1", "releases": releases(pushed), "results": results, "left": left })
}

/// What was given to remotes, for people. What is left is told as a warning.
pub fn pushed_text(pushed: &[ReleaseRecord], results: usize, left: usize) -> String {
    let word = if left == 0 { "pushed" } else { "began to push" };
    let steps = match results {
        0 => String::new(),
        _ => format!(" and {} of steps", count(results, "result")),
    };
    format!("{word} {}{steps}\n{}", count(pushed.len(), "release"), listed(pushed))
}

/// What was taken from remotes, for programs.
pub fn pulled_json(pulled: &[ReleaseRecord]) -> Value {
    json!({ "schema": "relgraph.cache-pull/1", "releases": releases(pulled) })
}

/// What was taken from remotes, for people.
pub fn pulled_text(pulled: &[ReleaseRecord]) -> String {
    format!("{} here\n{}", count(pulled.len(), "release"), listed(pulled))
}
