//! A patch that was made or applied, as text and as JSON.

use std::path::Path;

use relgraph_rules::patch::Made;
use relgraph_rules::patch::apply::Applied;
use serde_json::{Value, json};

use super::{Paint, bytes, count, harmless, short};

/// The schema of `diff --patch --format json`.
const MADE: &str = "relgraph.patch/1";
/// The schema of `apply --format json`.
const APPLIED: &str = "relgraph.apply/1";

/// For programs.
pub fn made_json(made: &Made, path: &Path, plain: bool) -> Value {
    let (patch, counts) = (&made.patch, made.patch.counts());
    json!({
        "schema": MADE,
        "path": path,
        "plain": plain,
        "digest": made.digest,
        "bytes": made.digest.size,
        "name": patch.new.name,
        "old": patch.old.version,
        "new": patch.new.version,
        "conflicts": patch.conflicts,
        "files": {
            "kept": counts.kept,
            "copied": counts.copied,
            "whole": counts.whole,
            "differences": counts.differences,
        },
        "release_bytes": counts.bytes,
    })
}

/// For people.
pub fn made_text(made: &Made, path: &Path, colour: bool) -> String {
    let (patch, counts) = (&made.patch, made.patch.counts());
    let title = format!("{} {} -> {}", patch.new.name, patch.old.version, patch.new.version);
    format!(
        "{}: {}, for a release of {}\n  {} as they were, {} copied, {} by their difference, {} whole\n",
        Paint(colour).bold(&harmless(&title)),
        bytes(made.digest.size),
        bytes(counts.bytes),
        count(counts.kept, "file"),
        counts.copied,
        counts.differences,
        counts.whole,
    ) + &format!("  {}\n", harmless(&short(path)))
}

/// For programs.
pub fn applied_json(applied: &Applied) -> Value {
    json!({
        "schema": APPLIED,
        "release": applied.release,
        "name": applied.patch.new.name,
        "old": applied.patch.old.version,
        "new": applied.patch.new.version,
        "files": applied.files,
        "bytes": applied.bytes,
        "activated": applied.activated,
    })
}

/// For people.
pub fn applied_text(applied: &Applied, own: bool, colour: bool) -> String {
    let (old, new) = (&applied.patch.old, &applied.patch.new);
    let paint = Paint(colour);
    let made = format!("{}, {}", count(applied.files, "file"), bytes(applied.bytes));
    let place = harmless(&short(&applied.release));
    let name = paint.bold(&harmless(&format!("{} {}", new.name, new.version)));
    if own {
        return format!("{name} is in {place} ({made})\n");
    }
    let first = match (applied.files, applied.activated) {
        (0, false) => return format!("{name} is there already; nothing was done\n"),
        (0, true) => format!("{name} was there already\n"),
        _ => format!("{name} lies beside {} ({made})\n", harmless(&old.version)),
    };
    let next = if applied.activated {
        format!("  it is started from now on: {place}/bin/{} start\n", harmless(&new.name))
    } else {
        "  what is started is as it was; `--activate` lets the new version be started\n".to_owned()
    };
    first + &next
}
