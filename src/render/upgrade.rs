//! What an upgrade would do, as text and for programs.

use std::fmt::Write;

use relgraph_rules::upgrade::rehearse::Rehearsed;
use relgraph_rules::upgrade::summary::{ApplicationSummary, Summary, WaySummary};
use serde_json::{Value, json as object};

use super::{bytes, count, harmless};
use crate::cli::upgrade::{Packed, shown};

/// The name and version of the schema (docs/formats/upgrade.md).
pub const SCHEMA: &str = "relgraph.upgrade/1";

/// What is shown.
pub struct Shown<'a> {
    /// What was found out.
    pub summary: &'a Summary,
    /// The package, where one was made.
    pub package: Option<&'a Packed>,
    /// The rehearsals that passed.
    pub rehearsed: &'a [Rehearsed],
}

/// For programs.
pub fn json(shown: &Shown<'_>) -> Value {
    let package = shown.package.map(
        |package| object!({"path": package.path, "bytes": package.digest.size, "digest": package.digest.to_string()}),
    );
    object!({
        "schema": SCHEMA,
        "name": shown.summary.name,
        "version": shown.summary.version,
        "ways": shown.summary.ways,
        "rehearsals": shown.rehearsed,
        "package": package,
    })
}

/// The text, with a line end behind every line.
pub fn text(shown: &Shown<'_>, colour: bool) -> String {
    let mut out = String::new();
    let summary = shown.summary;
    for way in &summary.ways {
        let title = format!("{} {} -> {}: {}", summary.name, way.from, summary.version, verdict(way));
        let title = harmless(&title);
        let _ = match colour {
            true => writeln!(out, "\u{1b}[1m{title}\u{1b}[0m"),
            false => writeln!(out, "{title}"),
        };
        for application in &way.applications {
            lines(application, &mut out);
        }
        if !way.protocols.is_empty() {
            let names: Vec<&str> = way.protocols.iter().map(|name| short(name)).collect();
            let _ = writeln!(out, "  protocols consolidated anew: {}", harmless(&names.join(", ")));
        }
        for note in &way.notes {
            let about =
                if note.application.is_empty() { String::new() } else { format!("{}: ", note.application) };
            let _ = writeln!(out, "  note: {}", harmless(&format!("{about}{}", note.text)));
        }
    }
    for rehearsed in shown.rehearsed {
        let Rehearsed { from, to, modules, processes, .. } = rehearsed;
        let time: u64 = rehearsed.stages.iter().filter(|s| s.name == "upgrade").map(|s| s.milliseconds).sum();
        let _ = writeln!(
            out,
            "rehearsed {} -> {} and back: {modules} modules, {processes} processes, configuration and supervision as \
             {} boots them; {time} ms with the script's own start",
            harmless(from),
            harmless(to),
            harmless(to)
        );
        for note in &rehearsed.notes {
            let _ = writeln!(out, "  note: {}", harmless(note));
        }
    }
    if let Some(package) = shown.package {
        let _ = writeln!(out, "\n{}  {}", harmless(&self::shown(package)), bytes(package.digest.size));
        let Summary { name, version, .. } = summary;
        let _ = match summary.is_relx {
            true => writeln!(
                out,
                "in the release that runs: copy it to releases/{version}/{name}.tar.gz, then bin/{name} upgrade {version}"
            ),
            false => writeln!(out, "in the release that runs: bin/{name} upgrade FILE"),
        };
    }
    out
}

fn verdict(way: &WaySummary) -> String {
    let loaded = way.applications.iter().flat_map(|application| &application.up).count();
    match way.way.as_str() {
        "restart_vm" => "the runtime system has to be restarted".to_owned(),
        "restart_application" => {
            let restarted = way.applications.iter().filter(|application| application.is_restarted()).count();
            format!("hot, with {} restarted", count(restarted, "application"))
        }
        _ => format!("hot, {}", count(loaded, "instruction")),
    }
}

fn lines(application: &ApplicationSummary, out: &mut String) {
    let versions = match (&application.old_version, &application.new_version) {
        (Some(old), Some(new)) => format!("{old} -> {new}"),
        (None, Some(new)) => format!("{new}  is started"),
        (Some(old), None) => format!("{old}  is stopped"),
        (None, None) => String::new(),
    };
    let from = match application.appup.as_deref() {
        None | Some("generated") => String::new(),
        Some("application") => "  by its own appup".to_owned(),
        Some(file) => format!("  by {file}"),
    };
    let _ = writeln!(out, "  {}", harmless(&format!("{} {versions}{from}", application.name)));
    for one in &application.steps {
        let _ = writeln!(out, "    {}", harmless(one));
    }
}

/// Names of Elixir without what the machine puts in front.
fn short(name: &str) -> &str {
    name.strip_prefix("Elixir.").unwrap_or(name)
}
