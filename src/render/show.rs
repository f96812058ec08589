//! One release, as text and as `relgraph.show/1`.

use std::path::PathBuf;

use relgraph_rules::compare::{Application, Contents};
use relgraph_rules::deliver::ReleaseRecord;
use relgraph_rules::preflight::{Finding, Weight};
use relgraph_rules::record::Rehearsal;
use relgraph_rules::schema::Preflight;
use serde_json::{Value, json};

use super::table::{Column, table};
use super::{Paint, bytes, count, harmless, made, time};

/// The schema of `show --format json`.
const SCHEMA: &str = "relgraph.show/1";

/// One release.
pub struct Shown {
    /// What is in it.
    pub contents: Contents,
    /// What was kept of it when it was built.
    pub record: Option<ReleaseRecord>,
    /// Where it lies, when that was given.
    pub path: Option<PathBuf>,
}

impl Shown {
    fn name(&self) -> &str {
        self.record.as_ref().map_or(&self.contents.release.name, |record| &record.name)
    }

    fn version(&self) -> &str {
        self.record.as_ref().map_or(&self.contents.release.version, |record| &record.version)
    }

    /// What the record says, or else the release.
    fn fact<'a>(
        &'a self,
        record: impl Fn(&'a ReleaseRecord) -> &'a Option<String>,
        release: &'a Option<String>,
    ) -> Option<&'a str> {
        self.record.as_ref().and_then(|kept| record(kept).as_deref()).or(release.as_deref())
    }

    /// The rehearsals of upgrades to it.
    fn rehearsals(&self) -> Vec<&Rehearsal> {
        let record = self.record.as_ref();
        record.map(|record| made::rehearsed(&record.rehearsals, &record.tree)).unwrap_or_default()
    }

    /// What belongs to no application and not to the runtime system.
    fn rest(&self) -> u64 {
        let applications: u64 = self.contents.applications.iter().map(|application| application.size).sum();
        self.contents.size.saturating_sub(applications).saturating_sub(self.contents.erts_size)
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let release = &self.contents.release;
        let record = self.record.as_ref();
        json!({
            "schema": SCHEMA,
            "name": self.name(),
            "version": self.version(),
            "environment": record.map(|record| &record.environment),
            "digest": release.tree,
            "path": self.path,
            "otp": self.fact(|r| &r.otp, &release.otp),
            "erts": self.fact(|r| &r.erts, &release.erts),
            "elixir": self.fact(|r| &r.elixir, &release.elixir),
            "includes_erts": release.includes_erts,
            "applications": self.contents.applications,
            "findings": record.and_then(|record| record.findings.as_ref()),
            "files": self.contents.files,
            "sizes": {
                "total": self.contents.size,
                "erts": self.contents.erts_size,
                "applications": self.contents.applications.iter().map(|a| a.size).sum::<u64>(),
                "other": self.rest(),
            },
            "built": record.map(|record| json!({
                "at": time::utc(record.built_at),
                "by": record.built_by,
                "sandbox": record.sandbox,
                "builder": record.builder,
                "commit": record.commit,
                "since": record.since.as_ref().map(made::since_json),
                "rebuilt": record.rebuilt.as_ref().map(made::since_json),
            })),
            "origins": record.map(origins),
            "rehearsals": self.rehearsals().into_iter().map(made::rehearsal_json).collect::<Vec<_>>(),
        })
    }

    /// For people.
    pub fn text(&self, colour: bool) -> String {
        let paint = Paint(colour);
        let environment = self.record.as_ref().map(|record| format!(" ({})", record.environment));
        let title = format!("{} {}{}", self.name(), self.version(), environment.unwrap_or_default());
        let mut facts: Vec<(&str, String)> = Vec::new();
        if let Some(tree) = &self.contents.release.tree {
            facts.push(("digest", tree.to_string()));
        }
        if let Some(path) = &self.path {
            facts.push(("at", path.display().to_string()));
        }
        if let Some(record) = &self.record {
            let confined = match record.sandbox.as_deref() {
                None => String::new(),
                Some("plain") => ", not confined".to_owned(),
                Some(mode) => format!(", confined by {mode}"),
            };
            let when = time::ago(record.built_at, time::now_ms());
            let at = time::utc(record.built_at);
            facts.push(("built", format!("{at} ({when}) by relgraph {}{confined}", record.built_by)));
            facts.extend(record.builder.iter().map(|builder| ("by", made::builder(builder))));
            facts.extend(record.commit.iter().map(|commit| ("from", made::commit(commit))));
            facts.extend(made::since(record).into_iter().map(|told| ("differs", told)));
        }
        facts.extend(self.rehearsals().into_iter().map(|tried| ("rehearsed", made::rehearsal(tried))));
        let release = &self.contents.release;
        let versions = [
            ("OTP", self.fact(|r| &r.otp, &release.otp)),
            ("ERTS", self.fact(|r| &r.erts, &release.erts)),
            ("Elixir", self.fact(|r| &r.elixir, &release.elixir)),
        ];
        let versions: Vec<String> =
            versions.iter().filter_map(|(what, version)| Some(format!("{what} {}", (*version)?))).collect();
        if !versions.is_empty() {
            let included = if release.includes_erts { "" } else { ", not included" };
            facts.push(("runtime", format!("{}{included}", versions.join(", "))));
        }
        facts.push((
            "size",
            format!("{} in {}", bytes(self.contents.size), count(self.contents.files, "file")),
        ));
        let rows: Vec<Vec<String>> =
            facts.into_iter().map(|(what, fact)| vec![format!("  {what}"), harmless(&fact)]).collect();
        let mut out = format!("{}\n", paint.bold(&harmless(&title)));
        out.push_str(&table(&rows, &[Column::Left, Column::Left]));
        if !self.contents.applications.is_empty() {
            out.push_str(&self.applications(paint));
        }
        out.push_str(&self.findings(paint));
        out
    }

    /// What the preflight found and said.
    fn findings(&self, paint: Paint) -> String {
        let found: Vec<Finding> = self
            .record
            .iter()
            .flat_map(|record| record.findings.iter().flatten())
            .filter(|finding| finding.weight != Weight::Aside)
            .cloned()
            .collect();
        if found.is_empty() {
            return String::new();
        }
        let lines = super::preflight::lines(&found, &Preflight::default(), paint);
        format!("\n{}\n{lines}", paint.bold(&count(found.len(), "finding")))
    }

    fn applications(&self, paint: Paint) -> String {
        let mut applications: Vec<&Application> = self.contents.applications.iter().collect();
        applications.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.name.cmp(&b.name)));
        let row = |a: &&Application| {
            let mode = a.mode.clone().unwrap_or_else(|| "not started".to_owned());
            let name = format!("  {}", harmless(&a.name));
            vec![name, harmless(&a.version), harmless(&mode), count(a.modules, "module"), bytes(a.size)]
        };
        let mut rows: Vec<Vec<String>> = applications.iter().map(row).collect();
        let plain = |what: &str, size| {
            vec![what.to_owned(), String::new(), String::new(), String::new(), bytes(size)]
        };
        if self.contents.erts_size > 0 {
            rows.push(plain("  (runtime system)", self.contents.erts_size));
        }
        rows.push(plain("  (everything else)", self.rest()));
        let columns = [Column::Left, Column::Left, Column::Left, Column::Right, Column::Right];
        let title = paint.bold(&count(applications.len(), "application"));
        format!("\n{title}\n{}", table(&rows, &columns))
    }
}

/// Where the applications came from: by name, those of which that is known.
fn origins(record: &ReleaseRecord) -> Value {
    let known = record.applications.iter().filter_map(|application| {
        let mut origin = serde_json::to_value(application.origin.as_ref()?).ok()?;
        if !application.licenses.is_empty() {
            origin["licenses"] = application.licenses.clone().into();
        }
        Some((application.name.clone(), origin))
    });
    Value::Object(known.collect())
}

#[cfg(test)]
mod tests {
    use relgraph_rules::compare::Release;

    use super::*;

    #[test]
    fn a_folder_is_shown_by_what_it_says_itself() {
        let application = |name: &str, size| Application {
            name: name.into(),
            version: "1.0".into(),
            mode: Some("permanent".into()),
            modules: 2,
            size,
            ..Application::default()
        };
        let shown = Shown {
            contents: Contents {
                release: Release {
                    name: "demo".into(),
                    version: "0.1.0".into(),
                    erts: Some("13.1.5".into()),
                    includes_erts: true,
                    ..Release::default()
                },
                applications: vec![application("a", 10), application("b", 2000)],
                files: 7,
                size: 3000,
                erts_size: 900,
            },
            record: None,
            path: Some("demo".into()),
        };
        assert_eq!(
            shown.text(false),
            "demo 0.1.0\n\
             \x20 at       demo\n\
             \x20 runtime  ERTS 13.1.5\n\
             \x20 size     3.0 kB in 7 files\n\
             \n\
             2 applications\n\
             \x20 b                  1.0  permanent  2 modules  2.0 kB\n\
             \x20 a                  1.0  permanent  2 modules    10 B\n\
             \x20 (runtime system)                               900 B\n\
             \x20 (everything else)                               90 B\n"
        );
        assert_eq!(shown.json()["sizes"]["other"], 90);
        assert_eq!(shown.json()["built"], Value::Null);
    }
}
