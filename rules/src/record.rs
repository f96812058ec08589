//! What is kept of a release that was built: the release record (docs/formats/release.md).

use relgraph_cache::{Digest, RecordKind, ReleaseRow, Store, StoreError};
use serde::{Deserialize, Serialize};

use crate::compare::Comparison;
use crate::preflight::Finding;
use crate::project::ReleasedApplication;
use crate::provenance::{Builder, Commit};

/// The schema of a release record.
pub const RECORD_SCHEMA: &str = "relgraph.release/1";

/// What is kept of a release that was built. Nothing in it is a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRecord {
    /// [`RECORD_SCHEMA`].
    pub schema: String,
    /// The name of the release.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `MIX_ENV`.
    pub environment: String,
    /// The release itself.
    pub tree: Digest,
    /// Its applications.
    #[serde(default)]
    pub applications: Vec<RecordedApplication>,
    /// The version of the runtime system; none without a Mix project.
    pub erts: Option<String>,
    /// The version of Elixir.
    pub elixir: Option<String>,
    /// The version of OTP.
    pub otp: Option<String>,
    /// How its steps were confined: the weakest.
    pub sandbox: Option<String>,
    /// What the preflight found; none where it was told not to look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<Finding>>,
    /// The version of relgraph.
    pub built_by: String,
    /// When, in milliseconds since 1970.
    pub built_at: i64,
    /// Who built it; none where nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub builder: Option<Builder>,
    /// What it was built from; none where the project is in no repository of git.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<Commit>,
    /// What differs from the newest build of another version, in short; none where there was none or it is not in the store
    /// any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
    /// What differs from the build before of the same version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebuilt: Option<Since>,
    /// Upgrades and downgrades from and to releases of this name, version and environment that were tried, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rehearsals: Vec<Rehearsal>,
}

/// An application of a release.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedApplication {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// How it is started.
    pub mode: String,
    /// Where it came from, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Its licenses, as its package names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<String>,
}

impl From<&ReleasedApplication> for RecordedApplication {
    fn from(a: &ReleasedApplication) -> Self {
        let (name, version, mode) = (a.name.clone(), a.version.clone(), a.mode.clone());
        RecordedApplication { name, version, mode, ..RecordedApplication::default() }
    }
}

/// Where an application came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// The project itself.
    Project,
    /// A folder in or beside the project.
    Path {
        /// The folder, seen from the project's.
        at: String,
    },
    /// A package of a Hex repository.
    Hex {
        /// The package, whose name may not be that of the application.
        package: String,
        /// Its version.
        version: String,
        /// The repository: `hexpm`, `hexpm:ORGANISATION`, or one that the user named.
        repository: String,
        /// SHA-256 of the tarball, in hexadecimal.
        checksum: Option<String>,
        /// Whether it was built as it lay there, and nothing says that it is what the lock names.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        as_found: bool,
    },
    /// A commit of a git repository.
    Git {
        /// Where the repository is, without credentials.
        url: String,
        /// The commit, in hexadecimal.
        commit: String,
        /// The folder of the repository that holds the application, where it is not the top.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        /// Whether it was built as it lay there: edited, or nothing says that it is what the lock names.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        as_found: bool,
    },
    /// Fetched by the project's tool from somewhere else, and built as it lay there.
    Other {
        /// What the tool calls it.
        source: String,
    },
    /// It comes with Erlang.
    Otp,
    /// It comes with Elixir.
    Elixir,
}

/// What differs between a release and one that was built before it under the same name and environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Since {
    /// The version of that one.
    pub version: String,
    /// Its tree.
    pub tree: Digest,
    /// Whether nothing at all differs.
    pub same: bool,
    /// What it takes to go from that one to this one: `hot`, `restart_application`, `restart_vm`, `cold`.
    pub class: String,
    /// How many applications came, went, or have another version or mode.
    pub applications: usize,
    /// How many modules came, went, or run something else.
    pub modules: usize,
    /// How many keys of the configuration differ; the text of runtime.exs counts as one.
    pub config: usize,
    /// How many other files differ, those aside that differ with every version.
    pub files: usize,
}

impl Since {
    /// Both builds made the same.
    pub fn nothing(version: String, tree: Digest) -> Since {
        Since {
            version,
            tree,
            same: true,
            class: "hot".to_owned(),
            applications: 0,
            modules: 0,
            config: 0,
            files: 0,
        }
    }

    /// What a comparison with an earlier build says, in short.
    pub fn of(comparison: &Comparison, tree: Digest) -> Since {
        use crate::compare::{FileRole, How};
        let applications = &comparison.applications;
        let moved = applications
            .changed
            .iter()
            .filter(|change| change.old_version != change.new_version || change.old_mode != change.new_mode);
        let code = |modules: &crate::compare::ApplicationModules| {
            let changed = modules.changed.iter().filter(|module| module.how == How::Code).count();
            modules.added.len() + modules.removed.len() + changed
        };
        let told = |role| !matches!(role, FileRole::Boot | FileRole::Resource | FileRole::Cookie);
        let config = &comparison.config;
        Since {
            version: comparison.old.version.clone(),
            tree,
            same: false,
            class: serde_json::to_value(comparison.verdict.class)
                .ok()
                .and_then(|class| class.as_str().map(str::to_owned))
                .unwrap_or_default(),
            applications: applications.added.len() + applications.removed.len() + moved.count(),
            modules: comparison.modules.iter().map(code).sum(),
            config: config.keys.len() + usize::from(config.runtime.is_some()),
            files: comparison.files.iter().filter(|file| told(file.role)).count(),
        }
    }
}

/// A rehearsal: one release was started, upgraded to another, and looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// The version that was started.
    pub from: String,
    /// The version that it was upgraded to.
    pub to: String,
    /// The tree of the one that was started.
    pub from_tree: Digest,
    /// The tree of the one that it was upgraded to.
    pub to_tree: Digest,
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Whether all went as it should, back again included.
    pub passed: bool,
    /// Whether it went back to the version that was started.
    #[serde(default)]
    pub downgraded: bool,
    /// What went wrong, in words, where something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How many rehearsals a record keeps.
const REHEARSALS: usize = 100;

impl ReleaseRecord {
    /// Without what is long: as the history of builds keeps it.
    pub fn brief(&self) -> ReleaseRecord {
        let (applications, rehearsals) = (Vec::new(), Vec::new());
        ReleaseRecord { applications, rehearsals, findings: None, ..self.clone() }
    }

    fn key(name: &str, version: &str, environment: &str) -> String {
        let id = format!("{name}\0{version}\0{environment}");
        let hash = blake3::derive_key("relgraph release v1", id.as_bytes());
        blake3::Hash::from_bytes(hash).to_hex().to_string()
    }

    fn find(store: &Store, key: &str) -> Result<Option<ReleaseRecord>, StoreError> {
        let bytes = store.peek_record(RecordKind::Release, key)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
    }

    fn write(&self, store: &Store, key: String) -> Result<(), StoreError> {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        store.put_record(RecordKind::Release, &key, &bytes)?;
        store.index().add_release(&ReleaseRow {
            key,
            name: self.name.clone(),
            version: self.version.clone(),
            tree: self.tree,
            created: self.built_at,
        })
    }
}

/// The records of a name and environment, newest first: one per version.
pub fn of_name<'a>(
    store: &'a Store,
    name: &str,
    environment: &'a str,
) -> impl Iterator<Item = ReleaseRecord> + 'a {
    let rows = store.index().releases(Some(name)).into_iter();
    rows.filter_map(|row| ReleaseRecord::find(store, &row.key).ok()?)
        .filter(move |record| record.environment == environment)
}

/// All rehearsals that the records of a store tell of.
pub fn rehearsals(store: &Store) -> Vec<Rehearsal> {
    let rows = store.index().releases(None).into_iter();
    let records = rows.filter_map(|row| ReleaseRecord::find(store, &row.key).ok()?);
    records.flat_map(|record| record.rehearsals).collect()
}

/// Keeps the record of a release: the newest of a name, version and environment replaces the one before. What was
/// rehearsed with that one is still told.
pub fn record(store: &Store, record: &ReleaseRecord) -> Result<(), StoreError> {
    let key = ReleaseRecord::key(&record.name, &record.version, &record.environment);
    let mut kept = record.clone();
    if let Ok(Some(before)) = ReleaseRecord::find(store, &key) {
        kept.rehearsals.splice(0..0, before.rehearsals);
    }
    kept.rehearsals.drain(..kept.rehearsals.len().saturating_sub(REHEARSALS));
    kept.write(store, key)
}

/// The record of a release of that name, version and environment, where there is one.
pub fn known(
    store: &Store,
    name: &str,
    version: &str,
    environment: &str,
) -> Result<Option<ReleaseRecord>, StoreError> {
    ReleaseRecord::find(store, &ReleaseRecord::key(name, version, environment))
}

/// Adds a rehearsal to the record of the release that was upgraded to; false: there is no such record.
pub fn rehearsed(
    store: &Store,
    name: &str,
    environment: &str,
    rehearsal: &Rehearsal,
) -> Result<bool, StoreError> {
    let key = ReleaseRecord::key(name, &rehearsal.to, environment);
    let Some(mut record) = ReleaseRecord::find(store, &key)? else { return Ok(false) };
    record.rehearsals.push(rehearsal.clone());
    record.rehearsals.drain(..record.rehearsals.len().saturating_sub(REHEARSALS));
    record.write(store, key)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ReleaseRecord {
        serde_json::from_str(
            r#"{"schema":"relgraph.release/1","name":"a","version":"1","environment":"prod","tree":
            "0000000000000000000000000000000000000000000000000000000000000000/0","applications":[{"name":"a","version":"1",
            "mode":"permanent"}],"erts":null,"elixir":null,"otp":null,"sandbox":null,"built_by":"0.1.0","built_at":7}"#,
        )
        .unwrap()
    }

    #[test]
    fn records_of_before_are_read_and_written_as_they_were() {
        let record = sample();
        assert_eq!((record.commit.clone(), record.applications[0].origin.clone()), (None, None));
        let text = serde_json::to_string(&record).unwrap();
        for field in ["builder", "commit", "since", "rehearsals", "origin", "licenses"] {
            assert!(!text.contains(field), "{field}: {text}");
        }
    }

    #[test]
    fn rehearsals_outlive_another_build_of_the_version() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let first = sample();
        let other = Digest { hash: [1; 32], size: 1 };
        let rehearsal = Rehearsal {
            from: "0".into(),
            to: "1".into(),
            from_tree: other,
            to_tree: first.tree,
            at: 1,
            passed: true,
            downgraded: true,
            problem: None,
        };
        assert!(!rehearsed(&store, "a", "prod", &rehearsal).unwrap());
        record(&store, &first).unwrap();
        assert!(rehearsed(&store, "a", "prod", &rehearsal).unwrap());
        record(&store, &ReleaseRecord { tree: other, built_at: 8, ..first }).unwrap();
        let found = of_name(&store, "a", "prod").next().unwrap();
        assert_eq!((found.tree, found.rehearsals), (other, vec![rehearsal]));
        assert_eq!(of_name(&store, "a", "dev").count() + of_name(&store, "b", "prod").count(), 0);
    }
}
