//! Looking the whole store over: [`verify`] hashes everything, [`status`] counts it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::error::{At, Result};
use crate::parallel::parallel;
use crate::record::{self, RecordKind};
use crate::{Digest, Store, digest, remove_tree};

/// What [`verify`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Blobs that were hashed, executable variants included.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs whose content is not what their name says.
    pub corrupt: Vec<PathBuf>,
    /// Records that were read.
    pub records: usize,
    /// Records that are torn or garbled.
    pub bad_records: Vec<PathBuf>,
    /// Files in the store that nothing here made.
    pub foreign: Vec<PathBuf>,
    /// Whether the index was damaged; it has been made anew.
    pub index_rebuilt: bool,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.corrupt.is_empty()
            && self.bad_records.is_empty()
            && self.foreign.is_empty()
            && !self.index_rebuilt
    }
}

/// One file in `cas/`, as its name has it.
#[derive(Debug, Clone)]
pub(crate) struct CasFile {
    pub(crate) path: PathBuf,
    /// `xx/HEX` or `xx/HEXx`; `None`: not the name of a blob.
    pub(crate) name: Option<String>,
    pub(crate) hash: [u8; 32],
    pub(crate) size: u64,
    pub(crate) executable: bool,
    /// When it was put there, in seconds since 1970: its change time, which nothing can set.
    pub(crate) changed: i64,
}

/// Every file in `cas/`, in order of its name.
pub(crate) fn cas_files(store: &Store) -> Result<Vec<CasFile>> {
    let cas = store.root().join("cas");
    let mut shards: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(&cas).at(&cas, "list")? {
        shards.push(entry.at(&cas, "list")?.path());
    }
    shards.sort();
    let listed = parallel(|| shards.par_iter().map(|shard| cas_shard(shard)).collect::<Result<Vec<_>>>())?;
    Ok(listed.into_iter().flatten().collect())
}

fn cas_shard(shard: &Path) -> Result<Vec<CasFile>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(shard) {
        Ok(entries) => entries.collect::<std::io::Result<Vec<_>>>().at(shard, "list")?,
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            found.push(foreign(shard.to_path_buf()));
            return Ok(found);
        }
        Err(error) => return Err(error).at(shard, "list"),
    };
    for entry in entries {
        let path = entry.path();
        let Ok(meta) = entry.metadata() else { continue };
        let file = entry.file_name();
        let file = file.to_string_lossy();
        let (hex, executable) = file.strip_suffix('x').map_or((&*file, false), |hex| (hex, true));
        let folder = shard.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match digest::parse_hash(hex) {
            Some(hash) if meta.is_file() && hex.starts_with(&folder) => found.push(CasFile {
                path,
                name: Some(format!("{folder}/{file}")),
                hash,
                size: meta.len(),
                executable,
                changed: meta.ctime(),
            }),
            _ => found.push(foreign(path)),
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn foreign(path: PathBuf) -> CasFile {
    CasFile { path, name: None, hash: [0; 32], size: 0, executable: false, changed: 0 }
}

/// Hashes every blob and reads every record. With `repair`, what is wrong is removed, so that it will be made again.
pub fn verify(store: &Store, repair: bool) -> Result<Report> {
    let files = cas_files(store)?;
    let mut report = Report::default();
    let right = |file: &CasFile| Digest::of_file(&file.path).is_ok_and(|digest| digest.hash == file.hash);
    let verdicts: Vec<bool> = parallel(|| files.par_iter().map(|f| f.name.is_some() && right(f)).collect());
    for (file, right) in files.iter().zip(verdicts) {
        let Some(name) = &file.name else {
            report.foreign.push(file.path.clone());
            if repair {
                remove_tree(&file.path)?;
            }
            continue;
        };
        report.blobs += 1;
        report.bytes += file.size;
        if !right {
            report.corrupt.push(file.path.clone());
            if repair {
                store.discard(name);
            }
        }
    }
    for kind in RecordKind::ALL {
        for entry in store.list_records(kind)? {
            report.records += 1;
            let sound = match store.record_path(kind, &entry.key) {
                Ok(path) => (record::check(&path, kind.name(), &entry.key), path),
                Err(_) => (false, store.root().join("ac").join(kind.name()).join(&entry.key)),
            };
            if let (false, path) = sound {
                if repair {
                    remove_tree(&path)?;
                }
                report.bad_records.push(path);
            }
        }
    }
    report.index_rebuilt = !store.index().check();
    Ok(report)
}

/// How many of something, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KindStatus {
    /// How many.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl KindStatus {
    fn add(&mut self, bytes: u64) {
        self.count += 1;
        self.bytes += bytes;
    }
}

/// What a store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Blobs, directories of trees among them.
    pub blobs: KindStatus,
    /// Executable variants of blobs.
    pub executables: KindStatus,
    /// Records by the name of their kind.
    pub records: BTreeMap<&'static str, KindStatus>,
    /// Read-only checkouts of trees. They are hard links, so they take no space worth counting.
    pub checkouts: usize,
    /// The database of the index.
    pub index_bytes: u64,
    /// Releases that the index knows.
    pub releases: usize,
}

impl Status {
    /// The bytes of everything counted.
    pub fn bytes(&self) -> u64 {
        let records: u64 = self.records.values().map(|kind| kind.bytes).sum();
        self.blobs.bytes + self.executables.bytes + records + self.index_bytes
    }
}

/// Counts what is in a store.
pub fn status(store: &Store) -> Result<Status> {
    let mut status = Status::default();
    for file in cas_files(store)? {
        if file.name.is_none() {
            continue;
        }
        let kind = if file.executable { &mut status.executables } else { &mut status.blobs };
        kind.add(file.size);
    }
    for kind in RecordKind::ALL {
        let mut counted = KindStatus::default();
        for entry in store.list_records(kind)? {
            counted.add(entry.size);
        }
        status.records.insert(kind.name(), counted);
    }
    let trees = store.root().join("trees");
    status.checkouts = fs::read_dir(&trees).at(&trees, "list")?.count();
    status.releases = store.index().releases(None).len();
    for name in ["index.sqlite", "index.sqlite-wal"] {
        status.index_bytes += fs::metadata(store.root().join(name)).map_or(0, |meta| meta.len());
    }
    Ok(status)
}
