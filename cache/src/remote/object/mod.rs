//! An object store as a remote: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
//!
//! ```text
//! prefix/cas/xx/HEX     blobs, by their BLAKE3 hash
//! prefix/ac/xx/HEX      entries, by their name
//! prefix/probe/HEX      what `doctor` writes
//! ```
//!
//! Credentials come from the variables that the tools of each cloud use: `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
//! `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT_URL` (with the bucket in the path); `GOOGLE_APPLICATION_CREDENTIALS`;
//! `AZURE_STORAGE_ACCOUNT_NAME`, `AZURE_STORAGE_ACCOUNT_KEY`; and on a machine of a cloud from the machine itself.
//! To whom may not list a bucket, S3 says `403` of what is not there: reading needs `s3:ListBucket` as well.
//!
//! Entries are written with the conditions of the store. One that does not know them is asked just before, and the last
//! writer wins: that costs a miss.

mod errors;
mod service;
mod stores;
mod transfer;

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};

use self::service::Answered;
use self::stores::{Opened, S3, open};
use super::deliver::{Parcel, deliver};
use super::doubts::Doubts;
use super::{Access, Arrived, Body, Condition, Entry, EntryName, Limits, MAX_ENTRY, Remote};
use super::{RemoteError, RemoteErrorKind, RemoteSpec, Variables, runtime};
use crate::Digest;

struct Object {
    url: String,
    access: Access,
    limits: Limits,
    opened: Opened,
    /// The store is not known to ignore or refuse conditions.
    conditional: AtomicBool,
    doubts: Doubts,
    /// What must not be shown.
    spec: RemoteSpec,
    variables: Variables,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object").field("url", &self.url).field("access", &self.access).finish_non_exhaustive()
    }
}

pub(super) fn connect(spec: &RemoteSpec, variables: &Variables) -> Result<Arc<dyn Remote>, RemoteError> {
    let shown = spec.shown();
    let url = shown.split(['?', '#']).next().unwrap_or_default().to_owned();
    let opened = open(spec, variables, &url)?;
    Ok(Arc::new(Object {
        url,
        access: spec.access,
        limits: spec.limits,
        opened,
        conditional: AtomicBool::new(true),
        doubts: Doubts::default(),
        spec: spec.clone(),
        variables: variables.clone(),
    }))
}

/// `e_tag` and `version` of an object in one text; `None` where there is neither.
fn version(e_tag: Option<&str>, version: Option<&str>) -> Option<String> {
    if e_tag.is_none() && version.is_none() {
        return None;
    }
    Some(format!("{}\n{}", e_tag.unwrap_or_default(), version.unwrap_or_default()))
}

fn update(text: &str) -> UpdateVersion {
    let (e_tag, version) = text.split_once('\n').unwrap_or((text, ""));
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    UpdateVersion { e_tag: some(e_tag), version: some(version) }
}

impl Object {
    fn store(&self) -> &dyn ObjectStore {
        &*self.opened.store
    }

    fn key(&self, part: &str, hex: &str) -> Path {
        self.opened.prefix.clone().join(part).join(&hex[..2]).join(hex)
    }

    fn blob(&self, digest: &Digest) -> Path {
        self.key("cas", &digest.hex())
    }

    fn entry(&self, name: &EntryName) -> Path {
        self.key("ac", &name.hex())
    }

    fn writes(&self) -> Result<(), RemoteError> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::Read => {
                Err(RemoteError::new(RemoteErrorKind::Denied, format!("{} is only read here", self.url)))
            }
        }
    }

    fn parallel(&self) -> usize {
        self.limits.parallel.max(1)
    }

    async fn read_entry(&self, path: &Path) -> Result<Option<Entry>, RemoteError> {
        let what = "an entry was read";
        let result = match self.call(self.store().get_opts(path, GetOptions::default())).await {
            (Ok(result), _) => result,
            (Err(Error::NotFound { .. }), _) => return Ok(None),
            (Err(error), status) => return Err(self.error(&error, status, what)),
        };
        if result.meta.size > MAX_ENTRY as u64 {
            return Err(self.broken("an entry is too large"));
        }
        let version = version(result.meta.e_tag.as_deref(), result.meta.version.as_deref());
        Ok(Some(Entry { bytes: self.collect(result, what).await?.to_vec(), version }))
    }

    async fn write_entry(
        &self,
        path: &Path,
        bytes: &[u8],
        condition: &Condition,
    ) -> Result<bool, RemoteError> {
        let mode = match condition {
            Condition::Always => PutMode::Overwrite,
            Condition::Absent => PutMode::Create,
            Condition::Unchanged(version) => PutMode::Update(update(version)),
        };
        if mode == PutMode::Overwrite || self.conditional.load(Ordering::Relaxed) {
            let conditional = mode != PutMode::Overwrite;
            let options = PutOptions { mode, ..PutOptions::default() };
            let put = self.store().put_opts(path, bytes.to_vec().into(), options);
            match self.call(put).await {
                (Ok(_), _) => return Ok(true),
                (Err(Error::AlreadyExists { .. } | Error::Precondition { .. }), _) if conditional => {
                    return match condition {
                        Condition::Unchanged(version) if self.opened.kind == S3 => {
                            self.write_bare(path, bytes, version).await
                        }
                        _ => Ok(false),
                    };
                }
                // It does not know how. Some say 400 of a header they do not know.
                (Err(Error::NotImplemented { .. }), _) | (Err(_), Some(400 | 405 | 501)) if conditional => {}
                (Err(error), status) => return Err(self.error(&error, status, "an entry was written")),
            }
        }
        let now = self.read_entry(path).await?;
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => now.is_none(),
            Condition::Unchanged(version) => now.is_some_and(|entry| entry.version.as_ref() == Some(version)),
        };
        if !holds {
            return Ok(false);
        }
        match self.call(self.store().put(path, bytes.to_vec().into())).await {
            (Ok(_), _) => {
                self.conditional.store(false, Ordering::Relaxed);
                Ok(true)
            }
            (Err(error), status) => Err(self.error(&error, status, "an entry was written")),
        }
    }

    /// Ceph compares what it gets with an entity tag without its quotes, and never finds it. So a write that was refused
    /// although nothing has changed is tried once more, as Ceph wants it.
    async fn write_bare(&self, path: &Path, bytes: &[u8], version: &str) -> Result<bool, RemoteError> {
        let mut bare = update(version);
        let tag = bare.e_tag.as_deref().and_then(|tag| tag.strip_prefix('"')?.strip_suffix('"'));
        let Some(tag) = tag.map(str::to_owned) else { return Ok(false) };
        let now = self.read_entry(path).await?;
        if now.is_none_or(|entry| entry.version.as_deref() != Some(version)) {
            return Ok(false);
        }
        bare.e_tag = Some(tag);
        let options = PutOptions { mode: PutMode::Update(bare), ..PutOptions::default() };
        match self.call(self.store().put_opts(path, bytes.to_vec().into(), options)).await {
            (Ok(_), _) => Ok(true),
            (Err(Error::AlreadyExists { .. } | Error::Precondition { .. }), _) | (Err(_), Some(400)) => {
                Ok(false)
            }
            (Err(error), status) => Err(self.error(&error, status, "an entry was written")),
        }
    }

    async fn ask_about(&self) -> Result<Vec<String>, RemoteError> {
        let mut facts = vec![self.opened.kind.to_owned()];
        if let Some(endpoint) = &self.opened.endpoint {
            let host = endpoint.host_str().unwrap_or_default();
            let name = self.opened.service.name(endpoint).await;
            facts.push(match name {
                Some(name) => format!("at {host}, which calls itself {name}"),
                None => format!("at {host}"),
            });
        }
        facts.push("BLAKE3".to_owned());
        let mut listed = self.store().list(Some(&self.opened.prefix));
        match self.call(listed.next()).await {
            (Some(Err(error)), status) => return Err(self.error(&error, status, "it was listed")),
            _ => facts.push("can be listed".to_owned()),
        }
        if self.access == Access::ReadWrite {
            let probe = self.opened.prefix.clone().join("probe").join(Digest::of(self.url.as_bytes()).hex());
            self.write_entry(&probe, b"probe", &Condition::Always).await?;
            let kept = !self.write_entry(&probe, b"again", &Condition::Absent).await?;
            facts.push("can be written to".to_owned());
            let kept = kept && self.conditional.load(Ordering::Relaxed);
            facts.push(
                if kept { "conditions are kept" } else { "conditions are ignored: the last writer wins" }
                    .to_owned(),
            );
            let _ = self.call(self.store().delete(&probe)).await;
        }
        Ok(facts)
    }
}

impl Remote for Object {
    fn url(&self) -> &str {
        &self.url
    }

    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        runtime::wait(self.read_entry(&self.entry(name)))
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
            let why = format!("{}: the entry is too large", self.url);
            return Err(RemoteError::new(RemoteErrorKind::Refused, why));
        }
        runtime::wait(self.write_entry(&self.entry(name), bytes, condition))
    }

    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        let asked = stream::iter(blobs.to_vec())
            .map(|digest| async move { Ok::<_, RemoteError>((digest, self.has(&digest).await?)) });
        let found: Vec<_> = runtime::wait(asked.buffered(self.parallel()).try_collect())?;
        Ok(found.into_iter().filter(|(_, has)| !has).map(|(digest, _)| digest).collect())
    }

    fn fetch(&self, blobs: &[Digest], scratch: &FilePath, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        deliver(arrived, self.parallel().min(blobs.len()), |sender| {
            let fetched = stream::iter(blobs).map(Ok).try_for_each_concurrent(self.parallel(), |digest| {
                let sender = &sender;
                async move {
                    let parcel: Parcel = (*digest, self.read_blob(digest, scratch).await?);
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
        let stored = stream::iter(blobs)
            .map(Ok)
            .try_for_each_concurrent(self.parallel(), |(digest, body)| async move {
                self.write_blob(&digest, body).await
            });
        runtime::wait(stored)
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        runtime::wait(self.ask_about())
    }
    fn clock(&self) -> Result<Option<SystemTime>, RemoteError> {
        let probe = self.blob(&Digest::of(b"relgraph: is there a cache?"));
        match runtime::wait(errors::remembering(self.store().head(&probe))) {
            // A clock that is wrong is why some refuse.
            (_, Answered { date: Some(date), .. }) => Ok(Some(date)),
            (Err(error), Answered { status: None, .. }) => {
                Err(self.error(&error, None, "it was asked for the time"))
            }
            _ => Ok(None),
        }
    }
}
