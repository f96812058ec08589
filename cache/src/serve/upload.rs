//! What is on its way in: [`Upload`]. Bytes are hashed as they come and written to a temporary file, so that memory holds
//! little of them and nothing wrong ever gets a name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zstd::stream::write::Decoder;

use super::disk::{Disk, Opened};
use super::entry::{Blobs, Trailer, understand};
use super::error::PutError;
use super::index::{NewEntry, When, on_disk};
use super::names::{BlobName, EntryId, Function, Hashing};

/// Bytes that are gathered before they are written.
const GATHER: usize = 256 << 10;
/// How often room is made for bytes that the disk has no room for.
const TRIES: usize = 4;
/// The largest value that is looked into, in bytes: an entry of relgraph with the names of all of its blobs.
pub(super) const MAX_UNDERSTOOD: u64 = 32 << 20;
/// The largest window of a compressed upload, as a power of two: what a decoder of zstd has to support, 8 MiB.
const WINDOW: u32 = 23;

/// A file that is being written. It is removed unless it gets a name.
struct Temp {
    disk: Arc<Disk>,
    path: PathBuf,
    file: File,
    written: u64,
    reserved: u64,
}

impl Temp {
    fn new(disk: Arc<Disk>) -> Result<Temp, PutError> {
        let path = disk.temp_path();
        let mut tries = 0;
        loop {
            let mut options = OpenOptions::new();
            match options.write(true).read(true).create_new(true).mode(0o444).open(&path) {
                Ok(file) => return Ok(Temp { disk, path, file, written: 0, reserved: 0 }),
                Err(error) => disk.try_again(error, &mut tries)?,
            }
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), PutError> {
        let wanted = on_disk(self.written.saturating_add(bytes.len() as u64));
        let more = wanted.saturating_sub(self.reserved);
        if more > 0 {
            if !self.disk.reserve(more) {
                return Err(PutError::Full);
            }
            self.reserved += more;
        }
        let mut tries = 0;
        while !bytes.is_empty() {
            match self.file.write(bytes) {
                Ok(count) => {
                    bytes = &bytes[count..];
                    self.written += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.disk.try_again(error, &mut tries)?,
            }
        }
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        self.disk.index().release(self.reserved);
        // With a name it is not there any more; what stays is swept at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Disk {
    /// After an error: makes room if there was none, so that it can be tried again.
    fn try_again(&self, error: io::Error, tries: &mut usize) -> Result<(), PutError> {
        *tries += 1;
        match PutError::from(error) {
            PutError::Full if *tries <= TRIES && self.make_room(4 * GATHER as u64) => Ok(()),
            error => Err(error),
        }
    }
}

/// Where bytes end up.
struct Sink {
    temp: Temp,
    hashing: Hashing,
    limit: u64,
    failed: Option<PutError>,
}

impl Sink {
    fn take(&mut self, bytes: &[u8]) -> Result<(), PutError> {
        if self.temp.written + bytes.len() as u64 > self.limit {
            return Err(PutError::TooLarge(self.limit));
        }
        self.hashing.update(bytes);
        self.temp.write(bytes)
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.take(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.failed = Some(error);
                Err(io::Error::other("not taken"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Way {
    Plain(Sink),
    Zstd(Box<Decoder<'static, Sink>>),
}

impl Way {
    fn write(&mut self, bytes: &[u8]) -> Result<(), PutError> {
        match self {
            Way::Plain(sink) => sink.take(bytes),
            Way::Zstd(decoder) => match decoder.write_all(bytes) {
                Ok(()) => Ok(()),
                Err(_) => Err(not_zstd(decoder.get_mut())),
            },
        }
    }

    fn finish(self) -> Result<Sink, PutError> {
        match self {
            Way::Plain(sink) => Ok(sink),
            Way::Zstd(mut decoder) => match decoder.flush() {
                Ok(()) => Ok(decoder.into_inner()),
                Err(_) => Err(not_zstd(decoder.get_mut())),
            },
        }
    }
}

fn not_zstd(sink: &mut Sink) -> PutError {
    sink.failed
        .take()
        .unwrap_or(PutError::Invalid("the bytes are not zstd's, or need more than 8 MiB of memory"))
}

/// How the bytes come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Zstd,
}

/// What is on its way in.
pub(super) struct Upload {
    disk: Arc<Disk>,
    /// What is there before the first bytes are written.
    plan: Option<(Hashing, Coding)>,
    way: Option<Way>,
    limit: u64,
    gathered: BytesMut,
    /// Bytes that came so far.
    pub received: u64,
}

impl Upload {
    /// A blob: at most so many bytes, hashed by this function or by both.
    pub fn blob(disk: Arc<Disk>, function: Option<Function>, coding: Coding, limit: u64) -> Upload {
        let plan = Some((Hashing::new(function), coding));
        Upload { disk, plan, way: None, limit, gathered: BytesMut::new(), received: 0 }
    }

    /// An entry's value.
    pub fn entry(disk: Arc<Disk>, limit: u64) -> Upload {
        Upload::blob(disk, Some(Function::Blake3), Coding::Identity, limit)
    }

    /// The next bytes.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), PutError> {
        self.received += bytes.len() as u64;
        let plain =
            !matches!((&self.plan, &self.way), (Some((_, Coding::Zstd)), _) | (_, Some(Way::Zstd(_))));
        if plain && self.received > self.limit {
            return Err(PutError::TooLarge(self.limit));
        }
        self.gathered.extend_from_slice(&bytes);
        if self.gathered.len() < GATHER {
            return Ok(());
        }
        let gathered = self.gathered.split().freeze();
        let (disk, way, plan, limit) = (self.disk.clone(), self.way.take(), self.plan.take(), self.limit);
        let written = blocking(move || write(disk, way, plan, limit, &gathered)).await?;
        self.way = Some(written);
        Ok(())
    }

    /// All bytes are there: gives them the name of a blob when they have this hash, and this size if it is known.
    pub async fn finish_blob(self, hash: [u8; 32], size: Option<u64>) -> Result<(BlobName, u64), PutError> {
        blocking(move || {
            let sink = write(self.disk, self.way, self.plan, self.limit, &self.gathered)?.finish()?;
            let written = sink.temp.written;
            let function = sink.hashing.clone().which(&hash).ok_or(PutError::Wrong)?;
            if size.is_some_and(|size| size != written) {
                return Err(PutError::Wrong);
            }
            let name = BlobName { function, hash };
            if !name.is_empty() {
                sink.temp.disk.commit_blob(&sink.temp.path, name, written)?;
            }
            Ok((name, written))
        })
        .await
    }

    /// All bytes are there: makes them the value of an entry. Gives its hash, and whether there was none before.
    pub async fn finish_entry(
        self,
        id: EntryId,
        when: When,
        duration: Option<u64>,
    ) -> Result<([u8; 32], bool), PutError> {
        blocking(move || {
            let mut sink = write(self.disk, self.way, self.plan, self.limit, &self.gathered)?.finish()?;
            let length = sink.temp.written;
            let value = if length <= MAX_UNDERSTOOD {
                read_all(&sink.temp.file, length).map_err(PutError::Io)?
            } else {
                // What is understood is smaller.
                Vec::new()
            };
            let disk = sink.temp.disk.clone();
            let understood = understand(&value, None, &OnDisk(&disk))?;
            let hash = sink.hashing.blake3().ok_or(PutError::Wrong)?;
            let trailer = Trailer {
                partition: id.partition.clone(),
                length,
                hash,
                duration: duration.unwrap_or(understood.duration),
                needs: understood.needs,
            };
            Ok((hash, store_entry(&mut sink.temp, id, trailer, when)?))
        })
        .await
    }
}

/// Writes bytes, and makes what they are written to where it is not there yet.
fn write(
    disk: Arc<Disk>,
    way: Option<Way>,
    plan: Option<(Hashing, Coding)>,
    limit: u64,
    bytes: &[u8],
) -> Result<Way, PutError> {
    let mut way = match (way, plan) {
        (Some(way), _) => way,
        (None, Some((hashing, coding))) => {
            let sink = Sink { temp: Temp::new(disk)?, hashing, limit, failed: None };
            match coding {
                Coding::Identity => Way::Plain(sink),
                Coding::Zstd => {
                    let mut decoder = Decoder::new(sink).map_err(PutError::Io)?;
                    decoder.window_log_max(WINDOW).map_err(PutError::Io)?;
                    Way::Zstd(Box::new(decoder))
                }
            }
        }
        // A write failed before.
        (None, None) => return Err(PutError::Unfinished),
    };
    way.write(bytes)?;
    Ok(way)
}

/// Puts the trailer behind a value, and gives the file its name. False: another one was replaced.
fn store_entry(temp: &mut Temp, id: EntryId, trailer: Trailer, when: When) -> Result<bool, PutError> {
    temp.write(&trailer.encode())?;
    let new = NewEntry {
        id,
        length: trailer.length,
        size: temp.written,
        hash: trailer.hash,
        duration: trailer.duration,
        needs: trailer.needs,
    };
    temp.disk.commit_entry(&temp.path, new, when)
}

/// Stores an entry whose value and needs are known. This blocks.
pub(super) fn put_entry(
    disk: &Arc<Disk>,
    id: EntryId,
    value: &[u8],
    needs: Vec<(BlobName, u64)>,
    duration: u64,
) -> Result<(), PutError> {
    let mut temp = Temp::new(disk.clone())?;
    temp.write(value)?;
    let hash = *blake3::hash(value).as_bytes();
    let partition = id.partition.clone();
    let trailer = Trailer { partition, length: value.len() as u64, hash, duration, needs };
    store_entry(&mut temp, id, trailer, When::Always).map(drop)
}

/// Stores a blob that is in memory. This blocks.
pub(super) fn put_blob(
    disk: &Arc<Disk>,
    name: BlobName,
    size: u64,
    bytes: &[u8],
    coding: Coding,
) -> Result<(), PutError> {
    if size > disk.max_blob {
        return Err(PutError::TooLarge(disk.max_blob));
    }
    if disk.has(&name, size, true) {
        return Ok(());
    }
    let plan = Some((Hashing::new(Some(name.function)), coding));
    let sink = write(disk.clone(), None, plan, size, bytes)
        .and_then(Way::finish)
        // Not more than it says it is, so it is something else.
        .map_err(|error| if matches!(error, PutError::TooLarge(_)) { PutError::Wrong } else { error })?;
    if sink.temp.written != size || sink.hashing.clone().which(&name.hash).is_none() {
        return Err(PutError::Wrong);
    }
    if name.is_empty() { Ok(()) } else { disk.commit_blob(&sink.temp.path, name, size) }
}

/// The blobs on disk, for whoever looks for what an entry needs.
pub(super) struct OnDisk<'a>(pub &'a Disk);

impl Blobs for OnDisk<'_> {
    fn find(&self, hash: &str) -> Option<BlobName> {
        let index = self.0.index();
        let names = Function::ALL.into_iter().filter_map(|function| BlobName::parse(function, hash));
        names.into_iter().find(|name| name.is_empty() || index.blob(name).is_some())
    }

    fn read(&self, name: &BlobName, size: u64) -> Option<Vec<u8>> {
        if name.is_empty() {
            return Some(Vec::new());
        }
        let opened = self.0.open_blob(name, 0, None).ok()??;
        if opened.size != size {
            return None;
        }
        read_all(&opened.file, size).ok()
    }
}

/// The first bytes of a file.
pub(super) fn read_all(file: &File, size: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).map_err(io::Error::other)?);
    while (bytes.len() as u64) < size {
        let next = Opened::read(file, bytes.len() as u64, size)?;
        bytes.extend_from_slice(&next);
    }
    Ok(bytes)
}

/// Runs what blocks where that is allowed.
pub(super) async fn blocking<T, F>(work: F) -> Result<T, PutError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, PutError> + Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // The server is shutting down.
        Err(_) => Err(PutError::Unfinished),
    }
}
