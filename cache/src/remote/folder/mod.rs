//! A shared folder as a remote: `file:///path`, on NFS, SMB or a local disk that several users share.
//!
//! ```text
//! VERSION        what this folder is
//! cas/xx/HEX     blobs, by the BLAKE3 hash of what they hold
//! ac/xx/HEX      entries: a header with length and hash, then the value
//! tmp/           files that are being written
//! ```
//!
//! A file is written under a temporary name and renamed, which is atomic on every file system that matters, over NFS as
//! well. There are no locks, no hard links and no fsync: what a crash tears is noticed by its length, or by the hash in the
//! header, and is as good as absent. Conditions on entries are looked at just before the rename. Two writers at the same
//! moment may both succeed: the second wins, and what the first knew beyond it costs a miss.
//!
//! A folder that is not there is made, in a parent that is. So a folder *on* a file server is named, not the place where it
//! is mounted: without the server that is an empty folder of this machine.
//!
//! Folders get the permissions of the shared folder itself, so that whoever made it says who else may write, whatever the
//! umask of those who do. A file server that does not answer is given up after the times in [`Limits`]: file work is done on
//! threads that nobody has to wait for.

mod entry;
mod files;
mod place;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use url::Url;

use self::place::Place;
use self::watch::{Progress, within};
use super::deliver::{Parcel, deliver};
use super::{Access, Arrived, Body, Condition, Entry, EntryName, Limits, MAX_ENTRY};
use super::{Remote, RemoteError, RemoteErrorKind, RemoteSpec, runtime};
use crate::Digest;

/// How many small questions one thread answers in a row.
const CHUNK: usize = 64;

#[derive(Debug)]
struct Folder {
    url: String,
    place: Arc<Place>,
    access: Access,
    limits: Limits,
}

pub(super) fn connect(spec: &RemoteSpec) -> Result<Arc<dyn Remote>, RemoteError> {
    let url = spec.shown();
    let place = Arc::new(Place::new(path_of(&spec.url, &url)?, spec.access));
    Ok(Arc::new(Folder { url, place, access: spec.access, limits: spec.limits }))
}

/// The folder that an address names.
fn path_of(url: &str, shown: &str) -> Result<PathBuf, RemoteError> {
    let wrong = |why: &str| RemoteError::new(RemoteErrorKind::Config, format!("`{shown}`: {why}"));
    let url = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    if url.host_str().is_some_and(|host| !host.is_empty() && host != "localhost") {
        return Err(wrong("a folder on another machine is not reached; mount it, and write file:///path"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("`?` and `#` in the name of a folder are written %3F and %23"));
    }
    let path = url.to_file_path().map_err(|()| wrong("file:///path is expected"))?;
    if path.parent().is_none() { Err(wrong("the root folder is not shared")) } else { Ok(path) }
}

impl Folder {
    fn writes(&self) -> Result<(), RemoteError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => {
                Err(RemoteError::new(RemoteErrorKind::Denied, format!("{} is only read here", self.url)))
            }
        }
    }

    /// One small question, within the time for a call.
    fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Place) -> Result<T, RemoteError> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let place = self.place.clone();
        runtime::wait(within(self.limits.call, &Progress::default(), move |_| work(&place)))
    }

    fn parallel(&self) -> usize {
        self.limits.parallel.max(1)
    }
}

impl Remote for Folder {
    fn url(&self) -> &str {
        &self.url
    }

    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        let name = *name;
        self.ask(move |place| place.read_entry(&name))
    }

    fn put(
        &self,
        name: &EntryName,
        bytes: &[u8],
        _blobs: &[Digest],
        condition: &Condition,
    ) -> Result<bool, RemoteError> {
        self.writes()?;
        if bytes.len() > MAX_ENTRY {
            return Err(RemoteError::new(RemoteErrorKind::Refused, "the entry is too large"));
        }
        let (name, bytes, condition) = (*name, bytes.to_vec(), condition.clone());
        self.ask(move |place| place.write_entry(&name, &bytes, &condition))
    }

    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        let chunks: Vec<Vec<Digest>> = blobs.chunks(CHUNK).map(<[Digest]>::to_vec).collect();
        let asked = stream::iter(chunks).map(|chunk| {
            let place = self.place.clone();
            async move {
                let none = Progress::default();
                within(self.limits.call, &none, move |_| place.missing(&chunk)).await
            }
        });
        let found: Vec<Vec<Digest>> = runtime::wait(asked.buffered(self.parallel()).try_collect())?;
        Ok(found.concat())
    }

    fn fetch(&self, blobs: &[Digest], scratch: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        deliver(arrived, self.parallel().min(blobs.len()), |sender| {
            let fetched = stream::iter(blobs).map(Ok).try_for_each_concurrent(self.parallel(), |digest| {
                let (place, sender, digest) = (self.place.clone(), &sender, *digest);
                let scratch = scratch.to_path_buf();
                async move {
                    let read = move |progress: &Progress| place.read_blob(&digest, &scratch, progress);
                    let body = within(self.limits.idle, &Progress::default(), read).await?;
                    let parcel: Parcel = (digest, body);
                    // Closed only when handing over panicked, which is about to show.
                    let _ = sender.send(parcel).await;
                    Ok(())
                }
            });
            runtime::wait(fetched)
        })
    }

    fn store(&self, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        self.writes()?;
        let stored =
            stream::iter(blobs).map(Ok).try_for_each_concurrent(self.parallel(), |(digest, body)| {
                let place = self.place.clone();
                async move {
                    let write = move |progress: &Progress| place.write_blob(&digest, &body, progress);
                    within(self.limits.idle, &Progress::default(), write).await
                }
            });
        runtime::wait(stored)
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        self.ask(Place::describe)
    }

    fn clock(&self) -> Result<Option<SystemTime>, RemoteError> {
        if self.access == Access::Read { Ok(None) } else { self.ask(Place::clock).map(Some) }
    }
}
