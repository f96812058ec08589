//! How what a step made travels: small files in packs, large ones alone, all directories in a spine (docs/formats/parcel.md).
//!
//! A remote answers one question for some sixty files instead of sixty. Where a pack ends depends on the hashes of the files
//! in it, so a change of one file changes one pack, and two releases share the others. Nothing says which file is where: who
//! has the directories finds the same order again.

use std::collections::HashSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Body, IN_MEMORY, RemoteError, RemoteErrorKind};
use crate::codec::{CodecError, Reader, Writer};
use crate::{Digest, Directory, Node, Store, StoreError};

/// Files of this size and more travel alone.
pub(super) const LARGE: u64 = 1 << 20;
/// A pack holds no more than this, in bytes of files.
const PACK_BYTES: u64 = 4 << 20;
/// A pack holds no more files than this.
const PACK_FILES: usize = 512;
/// One file in so many ends a pack.
const PACK_MEAN: u16 = 64;
/// Units up to this size stand in the entry itself.
const INLINE: usize = 8 << 10;
/// An entry holds no more than this of them.
const INLINE_ALL: usize = 64 << 10;
/// The largest file that is taken from a remote, in bytes.
pub const MAX_FILE: u64 = 4 << 30;
/// The most that the files of one result may have in all.
pub const MAX_TREE: u64 = 64 << 30;
/// The most that its directories may have in all.
const MAX_SPINE: u64 = 256 << 20;
/// Deeper than any real tree.
const MAX_DEPTH: usize = 256;
const LEVEL: i32 = 3;

/// A zstd frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unit {
    /// In the entry.
    Inline(Vec<u8>),
    /// A blob of its own.
    Blob(Digest),
}

/// Where the bytes of some trees and blobs are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packing {
    /// Every directory, each once, in the order in which a walk meets them, and how many bytes they have.
    pub spine: (Unit, u64),
    /// Small files, and how many are in each.
    pub packs: Vec<(Unit, u32)>,
    /// Large files.
    pub large: Vec<Unit>,
}

/// What a walk through trees meets: each directory and each file once.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub directories: Vec<(Digest, Arc<Directory>)>,
    pub files: Vec<Digest>,
    seen: HashSet<[u8; 32]>,
    listed: HashSet<[u8; 32]>,
}

impl Survey {
    /// Walks trees in their order, then adds blobs. `load` is asked for each directory once.
    pub fn of<E: From<StoreError>>(
        trees: &[Digest],
        blobs: &[Digest],
        load: &mut dyn FnMut(&Digest) -> Result<Arc<Directory>, E>,
    ) -> Result<Survey, E> {
        let mut survey = Survey::default();
        for tree in trees {
            survey.walk(tree, load, 0)?;
        }
        for blob in blobs {
            survey.add(blob);
        }
        Ok(survey)
    }

    fn walk<E: From<StoreError>>(
        &mut self,
        tree: &Digest,
        load: &mut dyn FnMut(&Digest) -> Result<Arc<Directory>, E>,
        depth: usize,
    ) -> Result<(), E> {
        if !self.seen.insert(tree.hash) {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            return Err(StoreError::TooDeep { path: tree.hex().into() }.into());
        }
        let directory = load(tree)?;
        self.directories.push((*tree, directory.clone()));
        for node in directory.entries.values() {
            match node {
                Node::File { digest, .. } => self.add(digest),
                Node::Directory { digest } => self.walk(digest, load, depth + 1)?,
                Node::Symlink { .. } => {}
            }
        }
        Ok(())
    }

    fn add(&mut self, file: &Digest) {
        // Nothing need travel for an empty file.
        if file.size > 0 && self.listed.insert(file.hash) {
            self.files.push(*file);
        }
    }

    /// The small files, as they are packed.
    pub fn packs(&self) -> Vec<Vec<Digest>> {
        let mut packs = Vec::new();
        let (mut pack, mut bytes) = (Vec::new(), 0);
        for file in self.files.iter().filter(|file| file.size < LARGE) {
            pack.push(*file);
            bytes += file.size;
            let ends = u16::from_le_bytes([file.hash[0], file.hash[1]]).is_multiple_of(PACK_MEAN);
            if ends || bytes >= PACK_BYTES || pack.len() >= PACK_FILES {
                packs.push(std::mem::take(&mut pack));
                bytes = 0;
            }
        }
        if !pack.is_empty() {
            packs.push(pack);
        }
        packs
    }

    /// The files that travel alone.
    pub fn large(&self) -> Vec<Digest> {
        self.files.iter().filter(|file| file.size >= LARGE).copied().collect()
    }
}

/// The name of a pack by what is in it: equal lists, equal packs.
pub(super) fn pack_name(files: &[Digest]) -> [u8; 32] {
    let mut out = Writer::default();
    for file in files {
        out.digest(file);
    }
    blake3::derive_key("relgraph pack v1", &out.finish())
}

/// What is to be stored beside an entry.
pub(super) type Parts = Vec<(Digest, Body)>;

/// Makes units of what a survey met. `known` gives the unit of a pack or a large file that the remote has already.
pub(super) fn pack(
    store: &Store,
    survey: &Survey,
    scratch: &Path,
    known: &dyn Fn(&[u8; 32]) -> Option<Digest>,
) -> Result<(Packing, Parts), StoreError> {
    let mut out = Packed::default();
    let mut spine = Vec::new();
    for (_, directory) in &survey.directories {
        spine.extend_from_slice(&directory.encode());
    }
    let bytes = spine.len() as u64;
    let spine = (out.unit(compress(&spine, scratch)?), bytes);
    let mut packs = Vec::new();
    for files in survey.packs() {
        let count = u32::try_from(files.len()).unwrap_or(u32::MAX);
        if let Some(digest) = known(&pack_name(&files)) {
            packs.push((Unit::Blob(digest), count));
            continue;
        }
        let mut whole = Vec::new();
        for file in &files {
            whole.extend_from_slice(&store.read(file)?);
        }
        packs.push((out.unit(compress(&whole, scratch)?), count));
    }
    let mut large = Vec::new();
    for file in survey.large() {
        if let Some(digest) = known(&pack_name(&[file])) {
            large.push(Unit::Blob(digest));
            continue;
        }
        if file.size <= IN_MEMORY {
            large.push(out.unit(compress(&store.read(&file)?, scratch)?));
            continue;
        }
        let path = scratch.join(file.hex());
        let digest = compress_file(store, &file, &path)?;
        large.push(Unit::Blob(digest));
        out.parts.push((digest, Body::File(path)));
    }
    Ok((Packing { spine, packs, large }, out.parts))
}

/// Units as they are made.
#[derive(Default)]
struct Packed {
    parts: Parts,
    inlined: usize,
}

impl Packed {
    fn unit(&mut self, frame: Vec<u8>) -> Unit {
        if frame.len() <= INLINE && self.inlined + frame.len() <= INLINE_ALL {
            self.inlined += frame.len();
            return Unit::Inline(frame);
        }
        let digest = Digest::of(&frame);
        self.parts.push((digest, Body::Bytes(Bytes::from(frame))));
        Unit::Blob(digest)
    }
}

fn compress(bytes: &[u8], scratch: &Path) -> Result<Vec<u8>, StoreError> {
    zstd::bulk::compress(bytes, LEVEL).map_err(|error| StoreError::io(scratch, "compress for", error))
}

fn compress_file(store: &Store, file: &Digest, to: &Path) -> Result<Digest, StoreError> {
    let failed = |error| StoreError::io(to, "write", error);
    let scratch = to.with_extension("raw");
    store.copy_to(file, &scratch)?;
    let done = (|| {
        let source = std::fs::File::open(&scratch)?;
        let mut target = std::fs::File::create(to)?;
        zstd::stream::copy_encode(source, &mut target, LEVEL)?;
        Digest::of_file(to)
    })();
    let _ = std::fs::remove_file(&scratch);
    done.map_err(failed)
}

/// Takes pieces that have their hash.
pub(super) type Kept<'a> = &'a mut dyn FnMut(&Digest, Vec<u8>) -> Result<(), StoreError>;

/// What a spine holds: the walk, and the bytes of each directory.
pub(super) type Opened = (Survey, Vec<(Digest, Vec<u8>)>);

/// Takes a frame apart into pieces of known digests: each piece is handed on when it has its hash, and nothing beyond them is
/// read.
pub(super) fn unpack(frame: &[u8], pieces: &[Digest], each: Kept<'_>) -> Result<(), Unfit> {
    let mut decoder = zstd::stream::read::Decoder::new(frame).map_err(|_| Unfit::Damaged)?;
    for piece in pieces {
        let size = usize::try_from(piece.size).map_err(|_| Unfit::Damaged)?;
        // Memory is taken as bytes come, not as they are announced.
        let mut bytes = Vec::with_capacity(size.min(1 << 20));
        (&mut decoder).take(piece.size).read_to_end(&mut bytes).map_err(|_| Unfit::Damaged)?;
        if Digest::of(&bytes) != *piece {
            return Err(Unfit::Damaged);
        }
        each(piece, bytes)?;
    }
    let mut more = [0];
    match decoder.read(&mut more) {
        Ok(0) => Ok(()),
        _ => Err(Unfit::Damaged),
    }
}

/// As [`unpack`] for one large piece in a file: the bytes are written to `to` while they are hashed.
pub(super) fn unpack_file(frame: &Path, piece: &Digest, to: &Path) -> Result<(), Unfit> {
    let failed = |error| Unfit::Store(StoreError::io(to, "write", error));
    let source = std::fs::File::open(frame).map_err(failed)?;
    let decoder = zstd::stream::read::Decoder::new(source).map_err(|_| Unfit::Damaged)?;
    let mut target = std::fs::File::create(to).map_err(failed)?;
    let mut limited = decoder.take(piece.size.saturating_add(1));
    let mut hasher = crate::Hasher::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let count = limited.read(&mut chunk).map_err(|_| Unfit::Damaged)?;
        if count == 0 {
            break;
        }
        hasher.update(&chunk[..count]);
        std::io::Write::write_all(&mut target, &chunk[..count]).map_err(failed)?;
    }
    if hasher.finish() == *piece { Ok(()) } else { Err(Unfit::Damaged) }
}

/// Reads a spine: finds the directories of these trees in it, each with its hash, and nothing else.
pub(super) fn open_spine(
    frame: &[u8],
    size: u64,
    trees: &[Digest],
    blobs: &[Digest],
) -> Result<Opened, Unfit> {
    if size > MAX_SPINE {
        return Err(Unfit::TooLarge { bytes: size });
    }
    let decoder = zstd::stream::read::Decoder::new(frame).map_err(|_| Unfit::Damaged)?;
    let mut bytes = Vec::with_capacity(usize::try_from(size.min(1 << 20)).unwrap_or(0));
    decoder.take(size + 1).read_to_end(&mut bytes).map_err(|_| Unfit::Damaged)?;
    if bytes.len() as u64 != size {
        return Err(Unfit::Damaged);
    }
    let (mut at, mut encoded) = (0, Vec::new());
    let mut load = |digest: &Digest| -> Result<Arc<Directory>, Unfit> {
        let size = usize::try_from(digest.size).map_err(|_| Unfit::Damaged)?;
        let end = size.checked_add(at).ok_or(Unfit::Damaged)?;
        let piece = bytes.get(at..end).ok_or(Unfit::Damaged)?;
        at = end;
        if Digest::of(piece) != *digest {
            return Err(Unfit::Damaged);
        }
        let directory = Directory::decode(piece).map_err(|_| Unfit::Damaged)?;
        encoded.push((*digest, piece.to_vec()));
        Ok(Arc::new(directory))
    };
    let survey = Survey::of(trees, blobs, &mut load)?;
    if at != bytes.len() {
        return Err(Unfit::Damaged);
    }
    let mut total: u64 = 0;
    for file in &survey.files {
        total = total.saturating_add(file.size);
        if file.size > MAX_FILE || total > MAX_TREE {
            return Err(Unfit::TooLarge { bytes: total });
        }
    }
    Ok((survey, encoded))
}

/// Why what a remote sent is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// The bytes are not those that the hashes speak of.
    #[error("bytes that are not what was asked for")]
    Damaged,
    /// More than anybody would want.
    #[error("{bytes} bytes announced, which is more than is taken from a remote")]
    TooLarge { bytes: u64 },
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Unfit> for RemoteError {
    fn from(unfit: Unfit) -> RemoteError {
        let kind = match unfit {
            Unfit::Store(_) => RemoteErrorKind::Local,
            Unfit::Damaged | Unfit::TooLarge { .. } => RemoteErrorKind::Broken,
        };
        RemoteError::new(kind, unfit.to_string())
    }
}

impl Packing {
    /// Nothing to bring.
    pub fn nothing() -> Packing {
        Packing { spine: (Unit::Inline(Vec::new()), 0), packs: Vec::new(), large: Vec::new() }
    }

    /// The blobs it speaks of.
    pub fn blobs(&self) -> Vec<Digest> {
        let units =
            std::iter::once(&self.spine.0).chain(self.packs.iter().map(|(unit, _)| unit)).chain(&self.large);
        let mut blobs: Vec<Digest> = units
            .filter_map(|unit| match unit {
                Unit::Blob(digest) => Some(*digest),
                Unit::Inline(_) => None,
            })
            .collect();
        blobs.sort_unstable();
        blobs.dedup();
        blobs
    }

    pub fn write(&self, out: &mut Writer) {
        write_unit(out, &self.spine.0);
        out.u64(self.spine.1).u64(self.packs.len() as u64);
        for (unit, count) in &self.packs {
            write_unit(out, unit);
            out.u32(*count);
        }
        out.u64(self.large.len() as u64);
        for unit in &self.large {
            write_unit(out, unit);
        }
    }

    pub fn read(reader: &mut Reader<'_>) -> Result<Packing, CodecError> {
        let spine = (read_unit(reader)?, reader.u64()?);
        let packs = reader.count(13)?;
        let packs = (0..packs).map(|_| Ok((read_unit(reader)?, reader.u32()?))).collect::<Result<_, _>>()?;
        let large = reader.count(9)?;
        let large = (0..large).map(|_| read_unit(reader)).collect::<Result<_, _>>()?;
        Ok(Packing { spine, packs, large })
    }
}

fn write_unit(out: &mut Writer, unit: &Unit) {
    match unit {
        Unit::Inline(frame) => out.u8(1).bytes(frame),
        Unit::Blob(digest) => out.u8(2).digest(digest),
    };
}

fn read_unit(reader: &mut Reader<'_>) -> Result<Unit, CodecError> {
    match reader.u8()? {
        1 => Ok(Unit::Inline(reader.bytes()?.to_vec())),
        2 => Ok(Unit::Blob(reader.digest()?)),
        _ => Err(reader.invalid("the kind of a unit")),
    }
}
