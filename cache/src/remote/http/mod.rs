//! A web server as a remote: `http://` and `https://`, with the addresses that Bazel, sccache and ccache use.
//!
//! ```text
//! GET, PUT        BASE/ac/HEX    entries
//! GET, HEAD, PUT  BASE/cas/HEX   blobs
//! ```
//!
//! HEX is 64 hexadecimal digits: for a blob its SHA-256, which some servers verify, and for an entry its name. What blobs are
//! called travels with the entry that speaks of them ([`envelope`]). It is taken as a hint: a blob whose bytes do not have the
//! BLAKE3 hash that was asked for is not used.
//!
//! Conditions are sent as `If-None-Match: *` and `If-Match` with the entity tag; a server that knows nothing of them, as
//! nginx, overwrites. Credentials are not sent over plain http, but to this machine, for whoever is on the way can read
//! them: the address is refused. Redirects are followed for reading, without credentials where they lead to another server.

mod down;
mod envelope;
mod names;
mod up;
mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use reqwest::header::{DATE, SERVER};
use reqwest::{Method, Version};
use url::Url;

use self::names::Names;
use self::web::Web;
use super::deliver::{Parcel, deliver};
use super::doubts::Doubts;
use super::{Access, Arrived, Body, Condition, Entry, EntryName, MAX_ENTRY, Remote};
use super::{RemoteError, RemoteErrorKind, RemoteSpec, Variables, runtime};
use crate::Digest;

/// The two halves of what is kept.
#[derive(Debug, Clone, Copy)]
enum Part {
    Entry,
    Blob,
}

#[derive(Debug)]
struct Http {
    url: String,
    base: Url,
    access: Access,
    web: Web,
    names: Names,
    doubts: Doubts,
}

pub(super) fn connect(spec: &RemoteSpec, variables: &Variables) -> Result<Arc<dyn Remote>, RemoteError> {
    let shown = spec.shown();
    // What follows a `?` may be a secret.
    let url = shown.split(['?', '#']).next().unwrap_or_default().to_owned();
    let wrong = |why: &str| RemoteError::new(RemoteErrorKind::Config, format!("`{url}`: {why}"));
    let base = Url::parse(&spec.url).map_err(|error| wrong(&error.to_string()))?;
    if base.query().is_some() || base.fragment().is_some() {
        return Err(wrong("the address of a cache ends before `?` and `#`"));
    }
    if !base.username().is_empty() || base.password().is_some() {
        return Err(wrong("a password does not belong in an address"));
    }
    let web = Web::new(spec, &base, variables, &url)?;
    Ok(Arc::new(Http {
        url,
        base,
        access: spec.access,
        web,
        names: Names::default(),
        doubts: Doubts::default(),
    }))
}

impl Http {
    fn address(&self, part: Part, name: &[u8; 32]) -> Url {
        let mut url = self.base.clone();
        // Addresses with a host have segments.
        if let Ok(mut segments) = url.path_segments_mut() {
            let part = match part {
                Part::Entry => "ac",
                Part::Blob => "cas",
            };
            segments.pop_if_empty().push(part).push(&EntryName(*name).hex());
        }
        url
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
        self.web.limits.parallel.max(1)
    }

    /// Writes an entry that says nothing, to find out whether conditions are kept.
    async fn try_writing(&self, facts: &mut Vec<String>) -> Result<(), RemoteError> {
        let probe = EntryName(Digest::of(b"relgraph: may entries be written here?").hash);
        self.write_entry(&probe, b"", &[], &Condition::Always, None).await?;
        let kept = !self.write_entry(&probe, b"", &[], &Condition::Absent, None).await?;
        facts.push("can be written to".to_owned());
        facts.push(
            if kept { "conditions are kept" } else { "conditions are ignored: the last writer wins" }
                .to_owned(),
        );
        Ok(())
    }

    async fn ask_about(&self) -> Result<Vec<String>, RemoteError> {
        let probe = Digest::of(b"relgraph: is there a cache?");
        let response = self.web.ask(Method::GET, &self.address(Part::Entry, &probe.hash)).await?;
        let status = response.status();
        if !status.is_success() && status.as_u16() != 404 {
            return Err(self.web.refused(status, "an entry was read"));
        }
        let mut facts = vec![format!(
            "{} over {}",
            if response.version() == Version::HTTP_2 { "HTTP/2" } else { "HTTP/1.1" },
            if self.base.scheme() == "https" { "TLS" } else { "plain TCP" }
        )];
        if let Some(server) = response.headers().get(SERVER).and_then(|text| text.to_str().ok()) {
            facts.push(format!("the server calls itself {}", server.escape_default()));
        }
        facts.push("SHA-256".to_owned());
        if self.access == Access::ReadWrite {
            self.try_writing(&mut facts).await?;
        }
        Ok(facts)
    }
}

impl Http {
    fn place_entry(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        took: Option<Duration>,
    ) -> Result<bool, RemoteError> {
        self.writes()?;
        if bytes.len() > MAX_ENTRY {
            return Err(self.web.error(RemoteErrorKind::Refused, "the entry is too large"));
        }
        runtime::wait(self.write_entry(name, bytes, blobs, condition, took))
    }
}

impl Remote for Http {
    fn url(&self) -> &str {
        &self.url
    }

    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        runtime::wait(self.read_entry(name))
    }

    fn put(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
    ) -> Result<bool, RemoteError> {
        self.place_entry(name, bytes, blobs, condition, None)
    }

    fn put_made(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        took: Duration,
    ) -> Result<bool, RemoteError> {
        self.place_entry(name, bytes, blobs, condition, Some(took))
    }

    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        let asked = stream::iter(blobs.to_vec())
            .map(|digest| async move { Ok::<_, RemoteError>((digest, self.has(&digest).await?)) });
        let found: Vec<_> = runtime::wait(asked.buffered(self.parallel()).try_collect())?;
        Ok(found.into_iter().filter(|(_, has)| !has).map(|(digest, _)| digest).collect())
    }

    fn fetch(&self, blobs: &[Digest], scratch: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
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
        let probe = Digest::of(b"relgraph: is there a cache?");
        let response = runtime::wait(self.web.ask(Method::GET, &self.address(Part::Entry, &probe.hash)))?;
        let date = response.headers().get(DATE).and_then(|text| text.to_str().ok());
        Ok(date.and_then(|text| httpdate::parse_http_date(text).ok()))
    }
}
