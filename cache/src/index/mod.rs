//! The SQLite index: when records were last used, which runs there were, which releases were built.
//!
//! It only mirrors. Runs and releases are small files below `rows/`, times of use begin as the times the records were
//! written; so any doubt about the database ends in a new one, made of the files, and no failure of it reaches a build.

mod database;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::{Connection, OptionalExtension, params};

use crate::codec::Writer;
use crate::error::{At, Result};
use crate::record::{self, RecordKind};
use crate::{Digest, fsutil};
use database::{connect, insert_release, insert_run, is_busy, set_aside};

const ROW: &str = "relgraph row 1";

/// One run in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// When it began, in milliseconds since 1970.
    pub started: i64,
    /// What was run.
    pub name: String,
    /// Everything else about it; the writer's business.
    pub json: String,
}

/// One release that was built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRow {
    /// The key of its release record.
    pub key: String,
    /// The name of the release.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The tree that was built.
    pub tree: Digest,
    /// When it was built, in milliseconds since 1970.
    pub created: i64,
}

/// The index of one store. It opens its database when that is first needed.
#[derive(Debug)]
pub struct Index {
    root: PathBuf,
    touched: Mutex<BTreeMap<(RecordKind, String), i64>>,
    database: Mutex<Option<Connection>>,
}

impl Index {
    pub(crate) fn open(root: &Path) -> Index {
        Index { root: root.to_path_buf(), touched: Mutex::default(), database: Mutex::default() }
    }

    /// Notes that a record was used now; written by [`Index::flush`].
    pub fn touch(&self, kind: RecordKind, key: &str) {
        lock(&self.touched).insert((kind, key.to_owned()), now());
    }

    /// Writes the times of use that were noted, all at once.
    pub fn flush(&self) {
        let touched = std::mem::take(&mut *lock(&self.touched));
        if touched.is_empty() {
            return;
        }
        self.with(|database| {
            let transaction = database.transaction()?;
            {
                let mut insert = transaction.prepare("INSERT OR REPLACE INTO used VALUES (?1, ?2, ?3)")?;
                for ((kind, key), at) in &touched {
                    insert.execute(params![kind.name(), key, at])?;
                }
            }
            transaction.commit()
        });
    }

    /// When each record of a kind was last used, in seconds since 1970, as far as that is known.
    pub fn uses(&self, kind: RecordKind) -> BTreeMap<String, i64> {
        let stored = self.with(|database| {
            let mut select = database.prepare("SELECT key, at FROM used WHERE kind = ?1")?;
            let rows = select.query_map([kind.name()], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<BTreeMap<String, i64>>>()
        });
        let mut uses = stored.unwrap_or_default();
        for ((touched, key), at) in &*lock(&self.touched) {
            if *touched == kind {
                uses.insert(key.clone(), *at);
            }
        }
        uses
    }

    /// Forgets the times of use of records that are gone.
    pub(crate) fn forget(&self, records: &[(RecordKind, String)]) {
        self.with(|database| {
            let transaction = database.transaction()?;
            {
                let mut delete = transaction.prepare("DELETE FROM used WHERE kind = ?1 AND key = ?2")?;
                let mut release = transaction.prepare("DELETE FROM releases WHERE key = ?1")?;
                for (kind, key) in records {
                    delete.execute(params![kind.name(), key])?;
                    if *kind == RecordKind::Release {
                        release.execute([key])?;
                    }
                }
            }
            transaction.commit()
        });
    }

    /// Adds a run to the history, or replaces the one with the same id.
    pub fn add_run(&self, run: &RunRow) -> Result<()> {
        let mut out = Writer::new(ROW);
        out.str(&run.id).i64(run.started).str(&run.name).str(&run.json);
        self.write_row("run", &row_key(&run.id), &out.finish())?;
        self.with(|database| insert_run(database, run));
        Ok(())
    }

    /// The runs, newest first.
    pub fn runs(&self, limit: usize) -> Vec<RunRow> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.with(|database| {
            let mut select = database
                .prepare("SELECT id, started, name, json FROM runs ORDER BY started DESC, id LIMIT ?1")?;
            let rows = select.query_map([limit], read_run)?;
            rows.collect()
        })
        .unwrap_or_default()
    }

    /// The runs whose id begins with `prefix`, newest first; two are enough to see that it is not unique.
    pub fn runs_by_prefix(&self, prefix: &str) -> Vec<RunRow> {
        self.with(|database| {
            let mut select = database.prepare(
                "SELECT id, started, name, json FROM runs WHERE substr(id, 1, length(?1)) = ?1
                 ORDER BY started DESC, id LIMIT 2",
            )?;
            let rows = select.query_map([prefix], read_run)?;
            rows.collect()
        })
        .unwrap_or_default()
    }

    /// Adds a release, or replaces the one with the same key.
    pub fn add_release(&self, release: &ReleaseRow) -> Result<()> {
        let mut out = Writer::new(ROW);
        out.str(&release.key).str(&release.name).str(&release.version);
        out.digest(&release.tree).i64(release.created);
        self.write_row("release", &row_key(&release.key), &out.finish())?;
        self.with(|database| insert_release(database, release));
        Ok(())
    }

    /// The releases, newest first: those of one name, or all.
    pub fn releases(&self, name: Option<&str>) -> Vec<ReleaseRow> {
        self.with(|database| {
            let mut select = database.prepare(
                "SELECT key, name, version, tree, created FROM releases WHERE ?1 IS NULL OR name = ?1
                 ORDER BY created DESC, key",
            )?;
            let rows = select.query_map([name], |row| {
                let tree: String = row.get(3)?;
                let tree = tree.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
                Ok(ReleaseRow {
                    key: row.get(0)?,
                    name: row.get(1)?,
                    version: row.get(2)?,
                    tree,
                    created: row.get(4)?,
                })
            })?;
            rows.collect()
        })
        .unwrap_or_default()
    }

    /// The newest release of this name and version.
    pub fn release(&self, name: &str, version: &str) -> Option<ReleaseRow> {
        self.releases(Some(name)).into_iter().find(|release| release.version == version)
    }

    /// Checks the whole database; false: it was damaged, and has been made anew.
    pub fn check(&self) -> bool {
        let sound = self.with(|database| {
            database.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0)).optional()
        });
        if sound.flatten().is_some_and(|answer| answer == "ok") {
            return true;
        }
        *lock(&self.database) = None;
        set_aside(&self.root);
        self.with(|_| Ok(()));
        false
    }

    /// Removes the row files of a release and, beyond the newest `keep`, of runs.
    pub(crate) fn prune(&self, releases: &[String], keep: usize) {
        for key in releases {
            let _ = std::fs::remove_file(self.row_path("release", &row_key(key)));
        }
        for old in self.runs(usize::MAX).into_iter().skip(keep) {
            let _ = std::fs::remove_file(self.row_path("run", &row_key(&old.id)));
            self.with(|database| database.execute("DELETE FROM runs WHERE id = ?1", [&old.id]));
        }
    }

    fn row_path(&self, kind: &str, key: &str) -> PathBuf {
        self.root.join("rows").join(kind).join(&key[..2]).join(key)
    }

    fn write_row(&self, kind: &str, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.row_path(kind, key);
        let folder = fsutil::parent(&path);
        std::fs::create_dir_all(&folder).at(&folder, "create")?;
        fsutil::write_atomically(&path, &record::encode(kind, key, bytes)).at(&path, "write")
    }

    /// Works on the database. When that says it is damaged, it is made anew and the work is done once more; when it still
    /// fails, there is no answer.
    fn with<R>(&self, mut work: impl FnMut(&mut Connection) -> rusqlite::Result<R>) -> Option<R> {
        let mut held = lock(&self.database);
        for _ in 0..2 {
            if held.is_none() {
                *held = Some(connect(&self.root)?);
            }
            match work(held.as_mut()?) {
                Ok(result) => return Some(result),
                Err(error) if is_busy(&error) => return None,
                Err(_) => {
                    *held = None;
                    set_aside(&self.root);
                }
            }
        }
        None
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Row files are named by a hash, so that an id may be any text.
fn row_key(id: &str) -> String {
    Digest::of(id.as_bytes()).hex()
}

fn read_run(row: &rusqlite::Row<'_>) -> rusqlite::Result<RunRow> {
    Ok(RunRow { id: row.get(0)?, started: row.get(1)?, name: row.get(2)?, json: row.get(3)? })
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
