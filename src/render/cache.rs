//! The store, as text and as `relgraph.cache-status/1`, `relgraph.cache-gc/1` and `relgraph.cache-verify/1`.

use std::path::{Path, PathBuf};

use relgraph_cache::gc::{Budget, Plan};
use relgraph_cache::{KindStatus, Report, Status};
use serde_json::{Value, json};

use super::table::{Column, table};
use super::{bytes, count, short};

/// How many damaged files are named.
const SHOWN: usize = 20;

/// What a store holds, for programs.
pub fn status_json(root: &Path, status: &Status, budget: u64) -> Value {
    let kind = |kind: &KindStatus| json!({ "count": kind.count, "bytes": kind.bytes });
    json!({
        "schema": "relgraph.cache-status/1",
        "path": root,
        "bytes": status.bytes(),
        "budget_bytes": budget,
        "blobs": kind(&status.blobs),
        "executables": kind(&status.executables),
        "records": status.records.iter().map(|(name, k)| ((*name).to_owned(), kind(k))).collect::<serde_json::Map<_, _>>(),
        "checkouts": status.checkouts,
        "releases": status.releases,
        "index_bytes": status.index_bytes,
    })
}

/// What a store holds, for people.
pub fn status_text(root: &Path, status: &Status, budget: u64) -> String {
    let row =
        |name: &str, kind: &KindStatus| vec![format!("  {name}"), kind.count.to_string(), bytes(kind.bytes)];
    let mut rows = vec![row("blobs", &status.blobs), row("executable copies", &status.executables)];
    rows.extend(status.records.iter().map(|(name, kind)| row(&format!("records: {name}"), kind)));
    rows.push(vec!["  index".to_owned(), String::new(), bytes(status.index_bytes)]);
    rows.push(vec!["  checkouts".to_owned(), status.checkouts.to_string()]);
    rows.push(vec!["  releases".to_owned(), status.releases.to_string()]);
    format!(
        "{}: {} of {}\n{}",
        root.display(),
        bytes(status.bytes()),
        bytes(budget),
        table(&rows, &[Column::Left, Column::Right, Column::Right])
    )
}

/// What is collected, for programs.
pub fn gc_json(plan: &Plan, budget: &Budget, dry_run: bool) -> Value {
    json!({
        "schema": "relgraph.cache-gc/1",
        "dry_run": dry_run,
        "max_bytes": budget.bytes,
        "records": plan.records.len(),
        "blobs": plan.blobs.len(),
        "checkouts": plan.checkouts.len(),
        "freed_bytes": plan.freed_bytes,
        "kept_bytes": plan.kept_bytes,
    })
}

/// What is collected, for people.
pub fn gc_text(plan: &Plan, dry_run: bool) -> String {
    if plan.records.is_empty() && plan.blobs.is_empty() && plan.checkouts.is_empty() {
        return format!("nothing to remove: {} stay\n", bytes(plan.kept_bytes));
    }
    format!(
        "{} {} ({}, {}, {}); {} stay\n",
        if dry_run { "would remove" } else { "removed" },
        bytes(plan.freed_bytes),
        count(plan.blobs.len(), "blob"),
        count(plan.records.len(), "record"),
        count(plan.checkouts.len(), "checkout"),
        bytes(plan.kept_bytes)
    )
}

/// What was found, for programs.
pub fn verify_json(report: &Report, repair: bool) -> Value {
    json!({
        "schema": "relgraph.cache-verify/1",
        "sound": report.is_sound(),
        "repaired": repair && !report.is_sound(),
        "blobs": report.blobs,
        "bytes": report.bytes,
        "records": report.records,
        "corrupt": report.corrupt,
        "bad_records": report.bad_records,
        "foreign": report.foreign,
        "index_rebuilt": report.index_rebuilt,
    })
}

/// What was found, for people.
pub fn verify_text(report: &Report, repair: bool) -> String {
    let looked = format!(
        "{} ({}) and {}",
        count(report.blobs, "blob"),
        bytes(report.bytes),
        count(report.records, "record")
    );
    if report.is_sound() {
        return format!("sound: {looked}\n");
    }
    let mut out = format!("not sound: {looked}\n");
    let mut list = |what: &str, paths: &[PathBuf]| {
        for path in paths.iter().take(SHOWN) {
            out.push_str(&format!("  {what}: {}\n", short(path)));
        }
        if paths.len() > SHOWN {
            out.push_str(&format!("  and {} more\n", paths.len() - SHOWN));
        }
    };
    list("damaged blob", &report.corrupt);
    list("damaged record", &report.bad_records);
    list("not made by relgraph", &report.foreign);
    if report.index_rebuilt {
        out.push_str("  the index was damaged and has been made anew\n");
    }
    let files = !report.corrupt.is_empty() || !report.bad_records.is_empty() || !report.foreign.is_empty();
    if repair {
        out.push_str("repaired: what is missing now is made again when it is needed\n");
    } else if files {
        out.push_str("hint: `relgraph cache verify --repair` removes it, so that it is made again\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_named_with_what_to_do() {
        let report = Report { blobs: 2, bytes: 10, records: 1, ..Report::default() };
        assert_eq!(verify_text(&report, false), "sound: 2 blobs (10 B) and 1 record\n");
        let report = Report { corrupt: vec!["/s/cas/ab/abcd".into()], ..report };
        let text = verify_text(&report, false);
        assert!(
            text.starts_with(
                "not sound: 2 blobs (10 B) and 1 record\n  damaged blob: /s/cas/ab/abcd\nhint: "
            )
        );
        assert!(verify_text(&report, true).ends_with("made again when it is needed\n"));
        assert_eq!(verify_json(&report, true)["repaired"], true);
    }
}
