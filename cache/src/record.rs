//! Small records by key, each a file that carries its own checksum.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::codec::{CodecError, Reader, Writer};
use crate::error::{At, Result, StoreError};
use crate::{Store, fsutil};

const MAGIC: &str = "relgraph record 1";

/// What a record is about; each kind is a folder of `ac/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// What an action made.
    Result,
    /// The alternatives of discovered inputs of an action.
    Manifest,
    /// The named parts of a key.
    Parts,
    /// A release that was built.
    Release,
    /// Where else a record and its bytes are.
    Where,
    /// A record that is to be written to remotes.
    Pending,
}

impl RecordKind {
    /// Every kind.
    pub const ALL: [RecordKind; 6] = [
        RecordKind::Result,
        RecordKind::Manifest,
        RecordKind::Parts,
        RecordKind::Release,
        RecordKind::Where,
        RecordKind::Pending,
    ];

    /// The name of its folder.
    pub fn name(self) -> &'static str {
        match self {
            RecordKind::Result => "result",
            RecordKind::Manifest => "manifest",
            RecordKind::Parts => "parts",
            RecordKind::Release => "release",
            RecordKind::Where => "where",
            RecordKind::Pending => "pending",
        }
    }
}

/// One record in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    /// Its key.
    pub key: String,
    /// The length of its file.
    pub size: u64,
    /// When it was written, in seconds since 1970.
    pub written: i64,
}

impl Store {
    /// Writes a record, in the place of an older one with the same key.
    pub fn put_record(&self, kind: RecordKind, key: &str, bytes: &[u8]) -> Result<()> {
        let path = self.record_path(kind, key)?;
        self.put_at(&path, &encode(kind.name(), key, bytes))?;
        self.index().touch(kind, key);
        Ok(())
    }

    /// Reads a record. One that is torn or garbled is removed, and is not there.
    pub fn get_record(&self, kind: RecordKind, key: &str) -> Result<Option<Vec<u8>>> {
        let bytes = self.peek_record(kind, key)?;
        if bytes.is_some() {
            self.index().touch(kind, key);
        }
        Ok(bytes)
    }

    /// As [`Store::get_record`], without noting it as used.
    pub fn peek_record(&self, kind: RecordKind, key: &str) -> Result<Option<Vec<u8>>> {
        let path = self.record_path(kind, key)?;
        read_record(&path, kind.name(), key)
    }

    /// Removes a record, if it is there.
    pub fn remove_record(&self, kind: RecordKind, key: &str) -> Result<()> {
        let path = self.record_path(kind, key)?;
        fsutil::ignore_absent(fs::remove_file(&path)).at(&path, "remove")
    }

    /// All records of a kind, by key.
    pub fn list_records(&self, kind: RecordKind) -> Result<Vec<RecordEntry>> {
        list(&self.root().join("ac").join(kind.name()))
    }

    /// Where a record lies.
    pub(crate) fn record_path(&self, kind: RecordKind, key: &str) -> Result<PathBuf> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if key.len() < 4 || key.len() > 128 || !key.bytes().all(digits) {
            return Err(StoreError::Key { key: key.to_owned() });
        }
        Ok(self.root().join("ac").join(kind.name()).join(&key[..2]).join(key))
    }
}

/// The content of a record file.
pub(crate) fn encode(kind: &str, key: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Writer::new(MAGIC);
    out.str(kind).str(key).bytes(bytes);
    out.finish_checked()
}

/// Reads one record file; anything that is not that record is removed.
pub(crate) fn read_record(path: &std::path::Path, kind: &str, key: &str) -> Result<Option<Vec<u8>>> {
    let file = match fs::read(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error).at(path, "read"),
    };
    match decode(&file, kind, key) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => {
            fsutil::ignore_absent(fs::remove_file(path)).at(path, "remove the damaged record")?;
            Ok(None)
        }
    }
}

/// Whether a record file is sound; nothing is removed.
pub(crate) fn check(path: &std::path::Path, kind: &str, key: &str) -> bool {
    fs::read(path).is_ok_and(|file| decode(&file, kind, key).is_ok())
}

fn decode(file: &[u8], kind: &str, key: &str) -> Result<Vec<u8>, CodecError> {
    let mut reader = Reader::new_checked(file, MAGIC)?;
    if reader.str()? != kind {
        return Err(reader.invalid("the kind of a record"));
    }
    if reader.str()? != key {
        return Err(reader.invalid("the key of a record"));
    }
    let bytes = reader.bytes()?.to_vec();
    reader.finish()?;
    Ok(bytes)
}

/// The records in `folder/xx/`, by key.
pub(crate) fn list(folder: &std::path::Path) -> Result<Vec<RecordEntry>> {
    let mut found = Vec::new();
    let Some(shards) = entries(folder)? else { return Ok(found) };
    for shard in shards {
        let path = shard.path();
        let Some(records) = entries(&path)? else { continue };
        for record in records {
            let Ok(key) = record.file_name().into_string() else { continue };
            if key.starts_with('.') {
                continue;
            }
            // Gone between listing and looking: somebody removed it.
            let Ok(meta) = record.metadata() else { continue };
            if meta.is_file() {
                found.push(RecordEntry { key, size: meta.len(), written: meta.mtime() });
            }
        }
    }
    found.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(found)
}

fn entries(folder: &std::path::Path) -> Result<Option<Vec<fs::DirEntry>>> {
    match fs::read_dir(folder) {
        Ok(entries) => Ok(Some(entries.collect::<io::Result<_>>().at(folder, "list")?)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error).at(folder, "list"),
    }
}
