//! Releases from a file that somebody handed over.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use relgraph_cache::remote::{Distrust, MAX_FILE, MAX_TREE, Trust};
use relgraph_cache::{Digest, Directory, Hasher, Node, Store};
use tar::{Archive, EntryType};

use super::{BLOBS, ExportError, Exported, INDEX, Index, MAX_DIRECTORIES, MAX_INDEX, SCHEMA, VERSION, place};
use crate::record::{self, RECORD_SCHEMA, ReleaseRecord};

/// Deeper than any real tree.
const MAX_DEPTH: usize = 250;

/// What may follow the last member, in bytes: tar fills its last block.
const PADDING: u64 = 1 << 20;

/// Takes the releases of a file into a store. Nothing in the store changes when anything about the file is wrong, or when one of
/// its versions is here already and is another one, unless that is to be replaced.
pub fn import(
    store: &Store,
    input: &mut dyn Read,
    trust: &Trust,
    replace: bool,
) -> Result<Exported, ExportError> {
    let damaged = |what: &str| ExportError::Damaged(what.to_owned());
    let broken = |error: std::io::Error| ExportError::Damaged(error.to_string());
    let decoder = zstd::Decoder::new(input).map_err(|_| ExportError::Foreign)?;
    let mut archive = Archive::new(decoder);
    // As they are: no member is to say how another is read.
    let mut members = archive.entries().map_err(|_| ExportError::Foreign)?.raw(true);
    let first = members.next().ok_or(ExportError::Foreign)?;
    let mut first = first.map_err(|_| ExportError::Foreign)?;
    let name = first.path_bytes().into_owned();
    match name.strip_prefix(INDEX.as_bytes()) {
        Some(version) if version == VERSION.as_bytes() => {}
        Some(version) if version.iter().all(u8::is_ascii_digit) => {
            return Err(ExportError::Newer(String::from_utf8_lossy(version).into_owned()));
        }
        _ => return Err(ExportError::Foreign),
    }
    if first.size() > MAX_INDEX {
        return Err(damaged("what it says of its releases is too long"));
    }
    let mut sealed = Vec::new();
    first.read_to_end(&mut sealed).map_err(broken)?;
    drop(first);
    let opened = trust.open(&place(), &sealed).map_err(|why| match why {
        Distrust::Garbled => damaged("what it says of its releases is garbled"),
        why => ExportError::Distrusted(why),
    })?;
    let index: Index = serde_json::from_slice(&opened.payload)
        .map_err(|_| damaged("what it says of its releases cannot be read"))?;
    check(&index)?;
    let new = new_ones(store, &index.releases, replace)?;

    let scratch = store.scratch()?;
    let mut arriving = Arriving::new(scratch.path());
    for release in &index.releases {
        arriving.expect(&release.tree, true, 0)?;
    }
    for member in members {
        let mut member = member.map_err(broken)?;
        let digest = digest_of(&member.path_bytes(), member.header().entry_type(), member.size())
            .ok_or_else(|| damaged("it holds something that is no blob"))?;
        arriving.take(&digest, &mut member)?;
    }
    let mut rest = archive.into_inner().take(PADDING);
    let padding = std::io::copy(&mut rest, &mut std::io::sink()).map_err(broken)?;
    if padding == PADDING {
        return Err(damaged("something follows its end"));
    }
    arriving.complete()?;

    arriving.settle(store)?;
    for release in &new {
        record::record(store, release)?;
    }
    store.index().flush();
    Ok(Exported {
        releases: index.releases,
        blobs: arriving.blobs.len(),
        bytes: arriving.bytes,
        signed_by: opened.signed_by,
    })
}

/// Whether what it says can be said by us.
fn check(index: &Index) -> Result<(), ExportError> {
    let harmless = |text: &str| {
        !text.is_empty() && text.len() <= 200 && !text.contains(|c: char| c.is_control() || c == '/')
    };
    let good = |it: &ReleaseRecord| {
        it.schema == RECORD_SCHEMA
            && [&it.name, &it.version, &it.environment].into_iter().all(|text| harmless(text))
    };
    if index.schema != SCHEMA {
        return Err(ExportError::Newer(index.schema.clone()));
    }
    if index.releases.is_empty() || !index.releases.iter().all(good) {
        return Err(ExportError::Damaged("what it says of its releases cannot be".into()));
    }
    Ok(())
}

/// The releases that are not here yet.
fn new_ones(
    store: &Store,
    releases: &[ReleaseRecord],
    replace: bool,
) -> Result<Vec<ReleaseRecord>, ExportError> {
    let mut new = Vec::new();
    for release in releases {
        match record::known(store, &release.name, &release.version, &release.environment)? {
            Some(known) if known.tree == release.tree => {}
            Some(known) if !replace => {
                return Err(ExportError::Known {
                    name: release.name.clone(),
                    version: release.version.clone(),
                    environment: release.environment.clone(),
                    here: known.tree,
                });
            }
            _ => new.push(release.clone()),
        }
    }
    Ok(new)
}

/// What a member claims to be.
fn digest_of(name: &[u8], kind: EntryType, size: u64) -> Option<Digest> {
    let hex = std::str::from_utf8(name.strip_prefix(BLOBS.as_bytes())?).ok()?;
    (kind == EntryType::Regular).then(|| format!("{hex}/{size}").parse().ok())?
}

/// Blobs on their way into a store.
struct Arriving<'a> {
    folder: &'a Path,
    /// What is asked for, whether as a directory, and how deep it lies.
    expected: HashMap<Digest, (bool, usize)>,
    /// What has come, in its order.
    blobs: Vec<(Digest, Option<Directory>)>,
    came: HashMap<Digest, bool>,
    bytes: u64,
    directories: u64,
}

impl<'a> Arriving<'a> {
    fn new(folder: &'a Path) -> Self {
        let (expected, came) = (HashMap::new(), HashMap::new());
        Arriving { folder, expected, blobs: Vec::new(), came, bytes: 0, directories: 0 }
    }

    fn expect(&mut self, digest: &Digest, directory: bool, depth: usize) -> Result<(), ExportError> {
        match self.came.get(digest) {
            // A file may have the bytes of a directory; it was read as one then.
            Some(was) if *was || !directory => return Ok(()),
            Some(_) => return Err(ExportError::Damaged("a directory came as a file".into())),
            None => {}
        }
        if depth > MAX_DEPTH {
            return Err(ExportError::Damaged("its directories are nested too deeply".into()));
        }
        let (as_directory, _) = self.expected.entry(*digest).or_insert((directory, depth));
        *as_directory |= directory;
        let known = self.bytes.saturating_add(digest.size);
        if digest.size > MAX_FILE || known > MAX_TREE {
            return Err(ExportError::Damaged("it is larger than any release".into()));
        }
        Ok(())
    }

    fn take(&mut self, digest: &Digest, bytes: &mut dyn Read) -> Result<(), ExportError> {
        let Some((directory, depth)) = self.expected.remove(digest) else {
            return Err(ExportError::Damaged(format!("nobody asks for the blob {}", digest.hex())));
        };
        self.bytes = self.bytes.saturating_add(digest.size);
        if self.bytes > MAX_TREE {
            return Err(ExportError::Damaged("it is larger than any release".into()));
        }
        self.came.insert(*digest, directory);
        let wrong = || ExportError::Damaged(format!("the blob {} has other bytes", digest.hex()));
        let broken = |error: std::io::Error| ExportError::Damaged(error.to_string());
        if !directory {
            let path = self.folder.join(digest.hex());
            if write(&path, digest, bytes)? != *digest {
                return Err(wrong());
            }
            self.blobs.push((*digest, None));
            return Ok(());
        }
        self.directories = self.directories.saturating_add(digest.size);
        if self.directories > MAX_DIRECTORIES {
            return Err(ExportError::Damaged("its directories are larger than those of any release".into()));
        }
        let mut encoded = Vec::new();
        bytes.read_to_end(&mut encoded).map_err(broken)?;
        if Digest::of(&encoded) != *digest {
            return Err(wrong());
        }
        let read = Directory::decode(&encoded)
            .map_err(|error| ExportError::Damaged(format!("a directory cannot be: {error}")))?;
        for node in read.entries.values() {
            match node {
                Node::Directory { digest } => self.expect(digest, true, depth + 1)?,
                Node::File { digest, .. } => self.expect(digest, false, depth)?,
                Node::Symlink { .. } => {}
            }
        }
        self.blobs.push((*digest, Some(read)));
        Ok(())
    }

    fn complete(&self) -> Result<(), ExportError> {
        match self.expected.len() {
            0 => Ok(()),
            lacking => Err(ExportError::Damaged(format!("{lacking} of its blobs are not there"))),
        }
    }

    /// Puts everything where it belongs: files first, then directories from the innermost.
    fn settle(&self, store: &Store) -> Result<(), ExportError> {
        let moved = |digest: &Digest| ExportError::Damaged(format!("the blob {} was changed", digest.hex()));
        for (digest, directory) in self.blobs.iter().rev() {
            let put = match directory {
                Some(directory) => store.put_directory(directory)?,
                None => store.put_file(&self.folder.join(digest.hex()))?,
            };
            if put != *digest {
                return Err(moved(digest));
            }
        }
        Ok(())
    }
}

/// Writes what comes to a file, and says what it was. No more is read than the digest says, for so says its header.
fn write(path: &Path, digest: &Digest, bytes: &mut dyn Read) -> Result<Digest, ExportError> {
    let here = |source: std::io::Error| {
        ExportError::Store(relgraph_cache::StoreError::Io { path: path.to_owned(), action: "write", source })
    };
    let mut file = std::fs::File::create(path).map_err(here)?;
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; 128 << 10];
    let mut left = digest.size;
    loop {
        let count = bytes.read(&mut chunk).map_err(|error| ExportError::Damaged(error.to_string()))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        left = left
            .checked_sub(count as u64)
            .ok_or_else(|| ExportError::Damaged("a blob is too long".into()))?;
        hasher.update(&chunk[..count]);
        std::io::Write::write_all(&mut file, &chunk[..count]).map_err(here)?;
    }
}
