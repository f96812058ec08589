//! The database file of the index: opened when it is sound, otherwise set aside and made anew from the files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OptionalExtension, params};
use rustix::fs::{FlockOperation, flock};

use super::{ROW, ReleaseRow, RunRow};
use crate::codec::{CodecError, Reader};
use crate::record::{self, RecordKind};

const APPLICATION_ID: i32 = 0x7267_6978;
const SCHEMA_VERSION: i32 = 1;
const SCHEMA: &str = "
    CREATE TABLE used (kind TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (kind, key))
        STRICT, WITHOUT ROWID;
    CREATE TABLE runs (id TEXT PRIMARY KEY, started INTEGER NOT NULL, name TEXT NOT NULL, json TEXT NOT NULL) STRICT;
    CREATE INDEX runs_started ON runs (started);
    CREATE TABLE releases (key TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, tree TEXT NOT NULL,
        created INTEGER NOT NULL) STRICT;
";

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

pub(super) fn insert_run(database: &Connection, run: &RunRow) -> rusqlite::Result<usize> {
    let row = params![run.id, run.started, run.name, run.json];
    database.execute("INSERT OR REPLACE INTO runs VALUES (?1, ?2, ?3, ?4)", row)
}

pub(super) fn insert_release(database: &Connection, release: &ReleaseRow) -> rusqlite::Result<usize> {
    let tree = release.tree.to_string();
    let row = params![release.key, release.name, release.version, tree, release.created];
    database.execute("INSERT OR REPLACE INTO releases VALUES (?1, ?2, ?3, ?4, ?5)", row)
}

/// Opens the database; makes it anew when it is missing, and when anything about it is not as it should be.
pub(super) fn connect(root: &Path) -> Option<Connection> {
    if let Ok(Some(database)) = open_existing(root) {
        return Some(database);
    }
    // One process makes the new one; the others wait, and then find it.
    let gate =
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(root.join("index.lock"));
    let gate = gate.ok()?;
    let _ = flock(&gate, FlockOperation::LockExclusive);
    match open_existing(root) {
        Ok(Some(database)) => return Some(database),
        Err(error) if is_busy(&error) => return None,
        Err(_) => move_aside(root),
        Ok(None) => {}
    }
    build(root)
        .or_else(|_| {
            Connection::open_in_memory().and_then(|mut memory| {
                fill(&mut memory, root)?;
                Ok(memory)
            })
        })
        .ok()
}

fn database_path(root: &Path) -> PathBuf {
    root.join("index.sqlite")
}

/// `None`: there is no database.
fn open_existing(root: &Path) -> rusqlite::Result<Option<Connection>> {
    let path = database_path(root);
    if !path.exists() {
        return Ok(None);
    }
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(&path, flags)?;
    configure(&database)?;
    let pragma = |name: &str| database.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    if pragma("application_id")? != APPLICATION_ID || pragma("user_version")? != SCHEMA_VERSION {
        return Err(rusqlite::Error::InvalidQuery);
    }
    for table in ["used", "runs", "releases"] {
        database.query_row(&format!("SELECT * FROM {table} LIMIT 1"), [], |_| Ok(())).optional()?;
    }
    Ok(Some(database))
}

fn configure(database: &Connection) -> rusqlite::Result<()> {
    database.busy_timeout(Duration::from_secs(2))?;
    database.pragma_update(None, "journal_mode", "WAL")?;
    database.pragma_update(None, "synchronous", "NORMAL")
}

/// Makes the database under another name, fills it, and gives it its name: nobody sees a part of it.
fn build(root: &Path) -> rusqlite::Result<Connection> {
    let fresh = root.join("index.new");
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let _ = std::fs::remove_file(with_suffix(&fresh, suffix));
    }
    {
        let mut database = Connection::open(&fresh)?;
        fill(&mut database, root)?;
    }
    let renamed = std::fs::rename(&fresh, database_path(root));
    renamed.map_err(|_| rusqlite::Error::InvalidPath(fresh))?;
    open_existing(root)?.ok_or(rusqlite::Error::InvalidQuery)
}

fn fill(database: &mut Connection, root: &Path) -> rusqlite::Result<()> {
    let transaction = database.transaction()?;
    transaction.execute_batch(SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    for kind in RecordKind::ALL {
        let mut insert = transaction.prepare("INSERT OR REPLACE INTO used VALUES (?1, ?2, ?3)")?;
        for entry in record::list(&root.join("ac").join(kind.name())).unwrap_or_default() {
            insert.execute(params![kind.name(), entry.key, entry.written])?;
        }
    }
    for bytes in rows(root, "run") {
        if let Ok(run) = decode_run(&bytes) {
            insert_run(&transaction, &run)?;
        }
    }
    for bytes in rows(root, "release") {
        if let Ok(release) = decode_release(&bytes) {
            insert_release(&transaction, &release)?;
        }
    }
    transaction.commit()
}

fn rows(root: &Path, kind: &str) -> Vec<Vec<u8>> {
    let folder = root.join("rows").join(kind);
    let listed = record::list(&folder).unwrap_or_default();
    let path = |key: &str| Some(folder.join(key.get(..2)?).join(key));
    let read = |key: &str| record::read_record(&path(key)?, kind, key).ok().flatten();
    listed.iter().filter_map(|entry| read(&entry.key)).collect()
}

fn decode_run(bytes: &[u8]) -> Result<RunRow, CodecError> {
    let mut reader = Reader::new(bytes, ROW)?;
    let (id, started) = (reader.str()?.to_owned(), reader.i64()?);
    let run = RunRow { id, started, name: reader.str()?.to_owned(), json: reader.str()?.to_owned() };
    reader.finish()?;
    Ok(run)
}

fn decode_release(bytes: &[u8]) -> Result<ReleaseRow, CodecError> {
    let mut reader = Reader::new(bytes, ROW)?;
    let (key, name) = (reader.str()?.to_owned(), reader.str()?.to_owned());
    let version = reader.str()?.to_owned();
    let release = ReleaseRow { key, name, version, tree: reader.digest()?, created: reader.i64()? };
    reader.finish()?;
    Ok(release)
}

/// [`move_aside`], unless another process makes a new database right now.
pub(super) fn set_aside(root: &Path) {
    let gate =
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(root.join("index.lock"));
    let Ok(gate) = gate else { return };
    let _ = flock(&gate, FlockOperation::LockExclusive);
    move_aside(root);
}

/// Renames the database to the first free `index.bad-N`, for whoever wants to look at it, and keeps no more than three.
fn move_aside(root: &Path) {
    let path = database_path(root);
    let place = (1..=3).map(|n| root.join(format!("index.bad-{n}"))).find(|place| !place.exists());
    let place = place.unwrap_or_else(|| root.join("index.bad-3"));
    for suffix in ["", "-wal", "-shm"] {
        let _ = std::fs::rename(with_suffix(&path, suffix), with_suffix(&place, suffix));
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
