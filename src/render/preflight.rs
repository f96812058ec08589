//! What was found in a release, as text and as `relgraph.preflight/1`.

use std::path::Path;

use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::preflight::{Finding, Problem, Start, Weight, at};
use relgraph_rules::schema::{Level, Preflight};
use serde_json::{Value, json};

use super::{Paint, count, harmless};

/// The schema of `preflight --format json`.
const SCHEMA: &str = "relgraph.preflight/1";

/// What was found.
pub struct Report<'a> {
    /// The release.
    pub name: &'a str,
    /// The levels of release.yaml.
    pub levels: &'a Preflight,
    /// What was found in it.
    pub findings: &'a [Finding],
    /// The environment file.
    pub env_file: Option<&'a Path>,
    /// What came of reading the configuration with it.
    pub start: Option<&'a Start>,
}

/// How a finding counts: `error`, `warning`, `note` (said where it is asked for), `off`.
fn word(finding: &Finding, levels: &Preflight) -> &'static str {
    let level = match levels {
        Preflight::Off => Level::Off,
        Preflight::On(levels) => levels.get(finding.kind.word()).copied().unwrap_or(finding.kind.usual()),
    };
    match (level, finding.weight) {
        (Level::Off, _) => "off",
        (_, Weight::Aside) => "note",
        (Level::Error, Weight::Certain) => "error",
        _ => "warning",
    }
}

impl Report<'_> {
    /// For programs.
    pub fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                let mut value = json!(finding);
                value["level"] = word(finding, self.levels).into();
                value
            })
            .collect();
        json!({
            "schema": SCHEMA,
            "release": self.name,
            "findings": findings,
            "environment": self.start.map(|start| json!({
                "file": self.env_file,
                "problems": start.problems,
                "absent": start.absent,
                "unused": start.unused,
            })),
        })
    }

    /// For people.
    pub fn text(&self, colour: bool) -> String {
        let paint = Paint(colour);
        let mut out = format!(
            "{}\n",
            paint.bold(&harmless(&format!("{}: {}", self.name, count(self.findings.len(), "finding"))))
        );
        out.push_str(&lines(self.findings, self.levels, paint));
        let Some(start) = self.start else { return out };
        let file = self.env_file.map(|path| path.display().to_string()).unwrap_or_default();
        for (name, default) in &start.absent {
            let instead = match default {
                Some(default) => format!("{default:?} is taken"),
                None => "nothing is taken".to_owned(),
            };
            out.push_str(&harmless(&format!("  {name} is asked for and not in {file}: {instead}")));
            out.push('\n');
        }
        for name in &start.unused {
            out.push_str(&harmless(&format!(
                "  {name} is in {file}, and the configuration does not ask for it"
            )));
            out.push('\n');
        }
        if start.problems.is_empty() {
            out.push_str(&harmless(&format!("  the configuration can be read with {file}")));
            out.push('\n');
        }
        out
    }

    /// What keeps a node from starting, as complaints.
    pub fn problems(&self, start: &Start, root: &Path) -> Vec<Diagnostic> {
        let complaint = |problem: &Problem| {
            let error = Diagnostic::error(harmless(&problem.message));
            let error = match &problem.hint {
                Some(hint) => error.hint(hint.clone()),
                None => error,
            };
            at(error, problem.file.as_deref(), problem.line, root)
        };
        start.problems.iter().map(complaint).collect()
    }
}

/// A line per finding.
pub fn lines(findings: &[Finding], levels: &Preflight, paint: Paint) -> String {
    let mut out = String::new();
    for finding in findings {
        let word = word(finding, levels);
        let style = match word {
            "error" => "31",
            "warning" => "33",
            _ => "2",
        };
        let place = match (&finding.file, finding.line) {
            (Some(file), Some(line)) => format!(" ({file}:{line})"),
            _ => String::new(),
        };
        let text = harmless(&format!("{}: {}{place}", finding.kind.word(), finding.message));
        out.push_str(&format!("  {} {text}\n", paint.with(&format!("{word:<7}"), style)));
    }
    out
}
