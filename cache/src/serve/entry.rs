//! What an entry needs: [`Understanding`], from its value; and [`Trailer`], how that is kept behind the value.

use std::collections::HashSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;

use super::error::PutError;
use super::names::{BlobName, Function, Partition};
use crate::Digest;
use crate::codec::{Reader, Writer};

const MAGIC: &str = "relgraph serve entry 1";
/// The largest tree that is looked into, in bytes.
const MAX_TREE: u64 = 16 << 20;
/// The most blobs that an entry may need.
const MAX_NEEDS: usize = 1_000_000;
/// A need is a byte, a hash and a size.
const NEED: usize = 41;

/// What stands behind a value in the file of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trailer {
    pub partition: Partition,
    /// Bytes of the value.
    pub length: u64,
    /// BLAKE3 of the value.
    pub hash: [u8; 32],
    /// How long it took to make what it speaks of, in milliseconds.
    pub duration: u64,
    pub needs: Vec<(BlobName, u64)>,
}

impl Trailer {
    /// Its bytes, and how many they are as the last eight.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(MAGIC);
        out.str(self.partition.name());
        out.digest(&Digest { hash: self.hash, size: self.length });
        out.u64(self.duration).u64(self.needs.len() as u64);
        for (name, size) in &self.needs {
            out.u8(name.function.code()).digest(&Digest { hash: name.hash, size: *size });
        }
        let mut bytes = out.finish_checked();
        bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        bytes
    }

    /// Reads it from the end of a file of this size. `None`: that is not the file of an entry, or it was torn.
    pub fn read(file: &File, size: u64) -> Option<Trailer> {
        let mut last = [0; 8];
        let end = size.checked_sub(8)?;
        file.read_exact_at(&mut last, end).ok()?;
        let count = u64::from_le_bytes(last);
        let from = end.checked_sub(count)?;
        if count > (MAX_NEEDS * NEED + 4096) as u64 {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(count).ok()?];
        file.read_exact_at(&mut bytes, from).ok()?;
        let trailer = Trailer::decode(&bytes)?;
        (trailer.length == from).then_some(trailer)
    }

    fn decode(bytes: &[u8]) -> Option<Trailer> {
        let mut reader = Reader::new_checked(bytes, MAGIC).ok()?;
        let partition = Partition::parse(reader.str().ok()?)?;
        let value = reader.digest().ok()?;
        let duration = reader.u64().ok()?;
        let mut needs = Vec::new();
        for _ in 0..reader.count(NEED).ok()? {
            let function = Function::from_code(reader.u8().ok()?)?;
            let digest = reader.digest().ok()?;
            needs.push((BlobName { function, hash: digest.hash }, digest.size));
        }
        reader.finish().ok()?;
        Some(Trailer { partition, length: value.size, hash: value.hash, duration, needs })
    }
}

/// What is known of the blobs by whoever asks: how an entry's digests are to be read.
pub(super) trait Blobs {
    /// The blob that has this hash, when nobody said by which function.
    fn find(&self, hash: &str) -> Option<BlobName>;
    /// The bytes of a blob.
    fn read(&self, name: &BlobName, size: u64) -> Option<Vec<u8>>;
}

/// What a value says, as far as it can be understood.
#[derive(Debug, Default)]
pub(super) struct Understanding {
    pub needs: Vec<(BlobName, u64)>,
    /// In milliseconds.
    pub duration: u64,
}

/// Finds what a value needs. A value that nobody understands needs nothing.
pub(super) fn understand(
    value: &[u8],
    function: Option<Function>,
    blobs: &dyn Blobs,
) -> Result<Understanding, PutError> {
    if let Some(needs) = listed(value) {
        return Ok(Understanding { needs, duration: 0 });
    }
    match action_result(value) {
        Some(result) => needs_of(&result, function, blobs),
        None => Ok(Understanding::default()),
    }
}

/// The blobs that stand at the head of a value that relgraph stored over HTTP: how many, the length of what follows them,
/// then for each its BLAKE3 hash, its size, and its SHA-256 hash, by which it is stored.
fn listed(value: &[u8]) -> Option<Vec<(BlobName, u64)>> {
    const ROW: usize = 32 + 8 + 32;
    let rest = value.strip_prefix(b"relgraph http entry 1\n")?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<8>()?;
    let rows = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(ROW)?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    if rest.len().checked_sub(rows)? != length {
        return None;
    }
    let rows = rest[..rows].chunks_exact(ROW).map(|row| {
        let (size, hash) = row[32..].split_first_chunk::<8>()?;
        let name = BlobName { function: Function::Sha256, hash: hash.try_into().ok()? };
        Some((name, u64::from_le_bytes(*size)))
    });
    rows.collect()
}

/// The result of an action that this is, if it is one.
pub(super) fn action_result(value: &[u8]) -> Option<reapi::ActionResult> {
    let result = reapi::ActionResult::decode(value).ok()?;
    // What decodes by chance names no digests.
    let good = digests(&result).all(|digest| well_formed(digest).is_some());
    good.then_some(result)
}

fn digests(result: &reapi::ActionResult) -> impl Iterator<Item = &reapi::Digest> {
    let files = result.output_files.iter().filter_map(|file| file.digest.as_ref());
    let folders = result.output_directories.iter();
    let folders = folders.flat_map(|folder| [&folder.tree_digest, &folder.root_directory_digest]).flatten();
    files.chain(folders).chain(&result.stdout_digest).chain(&result.stderr_digest)
}

fn well_formed(digest: &reapi::Digest) -> Option<u64> {
    BlobName::parse(Function::Sha256, &digest.hash)?;
    u64::try_from(digest.size_bytes).ok()
}

/// What a result needs, with what is in its trees.
pub(super) fn needs_of(
    result: &reapi::ActionResult,
    function: Option<Function>,
    blobs: &dyn Blobs,
) -> Result<Understanding, PutError> {
    let mut search = Search { function, blobs, seen: HashSet::new(), needs: Vec::new() };
    for digest in digests(result) {
        search.add(digest)?;
    }
    for folder in &result.output_directories {
        if let Some(digest) = &folder.tree_digest {
            search.tree(digest)?;
        }
        if let Some(digest) = &folder.root_directory_digest {
            search.directories(digest)?;
        }
    }
    Ok(Understanding { needs: search.needs, duration: duration(result) })
}

/// How long an action ran, by what its result says.
fn duration(result: &reapi::ActionResult) -> u64 {
    let millis = |time: &bazel_remote_apis::google::protobuf::Timestamp| {
        time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000)
    };
    let ran = result.execution_metadata.as_ref().and_then(|metadata| {
        let from = metadata.execution_start_timestamp.as_ref()?;
        Some(millis(metadata.execution_completed_timestamp.as_ref()?).saturating_sub(millis(from)))
    });
    u64::try_from(ran.unwrap_or(0)).unwrap_or(0)
}

struct Search<'a> {
    function: Option<Function>,
    blobs: &'a dyn Blobs,
    seen: HashSet<BlobName>,
    needs: Vec<(BlobName, u64)>,
}

impl Search<'_> {
    /// Notes a digest; `None`: it was seen before.
    fn add(&mut self, digest: &reapi::Digest) -> Result<Option<(BlobName, u64)>, PutError> {
        let Some(size) = well_formed(digest) else {
            return Err(PutError::Invalid("a digest in it is not one"));
        };
        let name = self.name(digest)?;
        if !self.seen.insert(name) {
            return Ok(None);
        }
        if self.needs.len() >= MAX_NEEDS {
            return Err(PutError::Invalid("it names too many blobs"));
        }
        self.needs.push((name, size));
        Ok(Some((name, size)))
    }

    fn name(&self, digest: &reapi::Digest) -> Result<BlobName, PutError> {
        let name = match self.function {
            Some(function) => BlobName::parse(function, &digest.hash),
            // What is nowhere is missing by either name.
            None => self.blobs.find(&digest.hash).or_else(|| BlobName::parse(Function::Sha256, &digest.hash)),
        };
        name.ok_or(PutError::Invalid("a digest in it is not one"))
    }

    fn read(&self, digest: &reapi::Digest) -> Result<Vec<u8>, PutError> {
        let size = well_formed(digest).ok_or(PutError::Invalid("a digest in it is not one"))?;
        if size > MAX_TREE {
            return Err(PutError::Invalid("a tree in it is too large"));
        }
        let name = self.name(digest)?;
        self.blobs.read(&name, size).ok_or_else(|| PutError::Incomplete(vec![name]))
    }

    fn tree(&mut self, digest: &reapi::Digest) -> Result<(), PutError> {
        let bytes = self.read(digest)?;
        let tree = reapi::Tree::decode(bytes.as_slice())
            .map_err(|_| PutError::Invalid("a tree in it is not one"))?;
        for directory in tree.root.iter().chain(&tree.children) {
            for digest in directory.files.iter().filter_map(|file| file.digest.as_ref()) {
                self.add(digest)?;
            }
        }
        Ok(())
    }

    fn directories(&mut self, root: &reapi::Digest) -> Result<(), PutError> {
        let mut todo = vec![root.clone()];
        while let Some(digest) = todo.pop() {
            let bytes = self.read(&digest)?;
            let directory = reapi::Directory::decode(bytes.as_slice())
                .map_err(|_| PutError::Invalid("a directory in it is not one"))?;
            for digest in directory.files.iter().filter_map(|file| file.digest.as_ref()) {
                self.add(digest)?;
            }
            for digest in directory.directories.into_iter().filter_map(|below| below.digest) {
                if self.add(&digest)?.is_some() {
                    todo.push(digest);
                }
            }
        }
        Ok(())
    }
}
