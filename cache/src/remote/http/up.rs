//! Writing entries and blobs.

use crate::remote::DURATION_HEADER;
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, IF_NONE_MATCH};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt;

use super::envelope::{MAX_BLOBS, wrap};
use super::{Http, Part};
use crate::Digest;
use crate::remote::moving::Moved;
use crate::remote::{Body, Condition, EntryName, RemoteError, RemoteErrorKind};

/// How much of a body is handed over at a time.
const PIECE: usize = 64 << 10;

/// How often a body is sent that the server did not take for reasons of its own.
const TIMES: usize = 5;

/// Blobs up to this size are sent without asking first: that costs no more than the question.
const SMALL: u64 = 64 << 10;

fn local(path: &Path, error: &io::Error) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, format!("{}: {error}", path.display()))
}

/// SHA-256 of a body, and its size.
fn hash(body: &Body) -> Result<([u8; 32], u64), RemoteError> {
    match body {
        Body::Bytes(bytes) => Ok((Sha256::digest(bytes).into(), bytes.len() as u64)),
        Body::File(path) => {
            let mut hasher = Sha256::new();
            let copied = std::fs::File::open(path).and_then(|mut file| io::copy(&mut file, &mut hasher));
            let size = copied.map_err(|error| local(path, &error))?;
            Ok((hasher.finalize().into(), size))
        }
    }
}

/// A body that is counted on its way.
async fn counted(body: &Body, moved: &Moved) -> Result<reqwest::Body, RemoteError> {
    let moved = moved.clone();
    Ok(match body {
        Body::Bytes(bytes) => {
            let pieces = stream::unfold((bytes.clone(), moved), |(mut rest, moved)| async {
                let piece = rest.split_to(rest.len().min(PIECE));
                moved.add(piece.len());
                (!piece.is_empty()).then_some((Ok::<Bytes, io::Error>(piece), (rest, moved)))
            });
            reqwest::Body::wrap_stream(pieces)
        }
        Body::File(path) => {
            let file = tokio::fs::File::open(path).await.map_err(|error| local(path, &error))?;
            let pieces = stream::unfold((file, moved), |(mut file, moved)| async {
                let mut piece = Vec::with_capacity(PIECE * 4);
                match file.read_buf(&mut piece).await {
                    Ok(0) => None,
                    Ok(count) => {
                        moved.add(count);
                        Some((Ok(Bytes::from(piece)), (file, moved)))
                    }
                    Err(error) => Some((Err(error), (file, moved))),
                }
            });
            reqwest::Body::wrap_stream(pieces)
        }
    })
}

impl Http {
    async fn send(
        &self,
        part: Part,
        name: &[u8; 32],
        body: &Body,
        size: u64,
        mut headers: HeaderMap,
    ) -> Result<StatusCode, RemoteError> {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        // Servers of this kind do not all take a body whose length they do not know.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        let url = self.address(part, name);
        for _ in 0..TIMES {
            let moved = Moved::default();
            let sent = counted(body, &moved).await?;
            if let Some(status) = self.web.send(&url, headers.clone(), sent, size, &moved).await? {
                return Ok(status);
            }
        }
        Err(self.web.error(RemoteErrorKind::Failed, "it closes every connection before it has taken a blob"))
    }

    /// Writes an entry with the names of its blobs. False: the condition did not hold.
    pub(super) async fn write_entry(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        took: Option<Duration>,
    ) -> Result<bool, RemoteError> {
        let refused = |why: &str| Err(self.web.error(RemoteErrorKind::Refused, why));
        if blobs.len() > MAX_BLOBS {
            return refused("the entry speaks of too many blobs");
        }
        let mut names = Vec::with_capacity(blobs.len());
        for digest in blobs {
            match self.names.get(digest) {
                Some(known) => names.push((*digest, known.sha256)),
                None => return refused(&format!("the blob {digest} of an entry was not stored before it")),
            }
        }
        let condition = match condition {
            Condition::Always => None,
            Condition::Absent => Some((IF_NONE_MATCH, HeaderValue::from_static("*"))),
            Condition::Unchanged(version) => match HeaderValue::from_str(version) {
                Ok(value) => Some((IF_MATCH, value)),
                Err(_) => return refused("that is not a version of an entry"),
            },
        };
        let conditional = condition.is_some();
        let mut headers: HeaderMap = condition.into_iter().collect();
        if let Some(took) = took {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            headers.insert(DURATION_HEADER, HeaderValue::from(millis));
        }
        let value = Bytes::from(wrap(&names, bytes));
        let size = value.len() as u64;
        let status = self.send(Part::Entry, &name.0, &Body::Bytes(value), size, headers).await?;
        match status {
            status if status.is_success() => Ok(true),
            StatusCode::PRECONDITION_FAILED if conditional => Ok(false),
            // It is there already; or, from a server of the WebDAV kind, there is no folder to put it in.
            StatusCode::CONFLICT if self.read_entry(name).await?.is_some() => Ok(false),
            status => Err(self.web.refused(status, "an entry was written")),
        }
    }

    /// Stores a blob, unless it is there.
    pub(super) async fn write_blob(&self, digest: &Digest, body: Body) -> Result<(), RemoteError> {
        let is_there = || self.names.get(digest).is_some_and(|known| known.own && known.present);
        if is_there() {
            return Ok(());
        }
        let hashed = tokio::task::spawn_blocking(move || hash(&body).map(|found| (found, body))).await;
        let ((sha256, size), body) = hashed
            .map_err(|_| RemoteError::new(RemoteErrorKind::Local, "a thread that hashes a blob failed"))??;
        if size != digest.size {
            let why = format!("{digest} is not what was to be stored under it");
            return Err(RemoteError::new(RemoteErrorKind::Local, why));
        }
        self.names.own(digest, sha256);
        if is_there() || size > SMALL && self.has(digest).await? {
            return Ok(());
        }
        let status = self.send(Part::Blob, &sha256, &body, size, HeaderMap::new()).await?;
        let there = status.is_success()
            || matches!(status, StatusCode::CONFLICT | StatusCode::PRECONDITION_FAILED)
                && self.has(digest).await?;
        if !there {
            return Err(self.web.refused(status, "a blob was written"));
        }
        self.names.set_present(digest, true);
        self.doubts.remove(digest);
        Ok(())
    }
}
