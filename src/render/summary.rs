//! What a build says at its end, in words and as JSON.

use std::path::PathBuf;
use std::time::Duration;

use relgraph_cache::Digest;
use relgraph_engine::{Outcome, RunReport};
use relgraph_rules::deliver::start_command;
use relgraph_rules::diagnostic::Diagnostic;
use relgraph_rules::preflight::Finding;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::Context;

/// The schema of `build --format json`.
pub const SCHEMA: &str = "relgraph.build/1";

/// What a build made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// The release.
    pub release: BuiltRelease,
    /// How many steps had which outcome.
    pub steps: Counts,
    /// Its packages.
    pub packages: Vec<BuiltPackage>,
    /// What the preflight found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What was said about them, to be said again when there is nothing to do.
    #[serde(default)]
    pub warnings: Vec<Diagnostic>,
    /// How long it took.
    pub seconds: f64,
    #[serde(skip)]
    idle: bool,
}

/// A release that lies in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuiltRelease {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `MIX_ENV`.
    pub environment: String,
    /// Its tree.
    pub digest: Digest,
    /// Where it lies.
    pub path: PathBuf,
}

/// A package that lies in its place.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuiltPackage {
    /// `tar.gz`, ….
    pub format: String,
    /// Where it lies.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its content.
    pub digest: Digest,
}

/// How many steps had which outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Nothing to do.
    pub fresh: usize,
    /// Known to the local store.
    pub hit_local: usize,
    /// Known to a remote.
    pub hit_remote: usize,
    /// Ran.
    pub ran: usize,
    /// Ran, and made what was known.
    pub dup: usize,
    /// Failed.
    pub failed: usize,
    /// Not started.
    pub skipped: usize,
}

impl Counts {
    /// Counts the steps of a build.
    pub fn of(report: &RunReport) -> Counts {
        let count = |outcome| report.count(outcome);
        Counts {
            total: report.steps.len(),
            fresh: count(Outcome::Fresh),
            hit_local: count(Outcome::HitLocal),
            hit_remote: count(Outcome::HitRemote),
            ran: count(Outcome::Ran),
            dup: count(Outcome::Dup),
            failed: count(Outcome::Failed),
            skipped: count(Outcome::Skipped),
        }
    }

    /// In words, without the outcomes that no step had.
    fn words(&self) -> String {
        let named = [
            (self.fresh, "fresh"),
            (self.hit_local, "from the store"),
            (self.hit_remote, "from a remote"),
            (self.ran, "ran"),
            (self.dup, "ran for nothing new"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
        ];
        named
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Summary {
    /// Of a build that ended well.
    pub fn new(
        release: BuiltRelease,
        packages: Vec<BuiltPackage>,
        findings: Vec<Finding>,
        report: &RunReport,
    ) -> Summary {
        Summary {
            release,
            steps: Counts::of(report),
            packages,
            findings,
            warnings: Vec::new(),
            seconds: 0.0,
            idle: false,
        }
    }

    /// The report of a build that failed, or that the preflight ended.
    pub fn failed(report: &RunReport, findings: &[Finding], took: Duration) -> serde_json::Value {
        json!({
            "schema": SCHEMA,
            "release": null,
            "steps": Counts::of(report),
            "packages": [],
            "failures": report.failed().map(|step| json!({
                "step": step.name,
                "message": step.error.as_ref().map(|e| &e.message),
            })).collect::<Vec<_>>(),
            "findings": findings,
            "seconds": seconds(took),
        })
    }

    /// For the state file.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// From the state file.
    pub fn decode(bytes: &[u8]) -> Option<Summary> {
        serde_json::from_slice(bytes).ok()
    }

    /// With what was said about its findings.
    pub fn with_warnings(mut self, warnings: Vec<Diagnostic>) -> Summary {
        self.warnings = warnings;
        self
    }

    /// With its duration.
    pub fn took(mut self, took: Duration) -> Summary {
        self.seconds = seconds(took);
        self
    }

    /// The same release again, with nothing to do.
    pub fn up_to_date(mut self, took: Duration) -> Summary {
        self.steps = Counts { total: self.steps.total, fresh: self.steps.total, ..Counts::default() };
        self.idle = true;
        self.took(took)
    }

    /// Says it.
    pub fn print(&self, context: &Context) {
        if context.json() {
            let mut object = json!({ "schema": SCHEMA });
            if let (Some(object), Ok(serde_json::Value::Object(fields))) =
                (object.as_object_mut(), serde_json::to_value(self))
            {
                // Programs read the findings themselves.
                object.extend(fields.into_iter().filter(|(name, _)| name != "warnings"));
            }
            super::say(&object.to_string());
            return;
        }
        if context.global.quiet {
            return;
        }
        let release = &self.release;
        if self.idle {
            super::say(&format!(
                "up to date: {} {} ({} steps, {:.3} s)",
                release.name, release.version, self.steps.total, self.seconds
            ));
            return;
        }
        super::say(&format!(
            "built {} {} ({}): {} steps: {} in {:.2} s",
            release.name,
            release.version,
            release.environment,
            self.steps.total,
            self.steps.words(),
            self.seconds
        ));
        for package in &self.packages {
            super::say(&format!("  {} ({})", super::short(&package.path), super::bytes(package.bytes)));
        }
        let start = release.path.join("bin").join(&release.name);
        if start.exists() {
            let command = start_command(&release.path);
            super::say(&format!("  start it: {} {command}", super::short(&start)));
        } else {
            super::say(&format!("  {}", super::short(&release.path)));
        }
    }
}

fn seconds(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e6
}
