//! Reading entries and blobs.

use std::path::Path;

use bytes::BytesMut;
use reqwest::header::{CONTENT_LENGTH, ETAG};
use reqwest::{Method, Response, StatusCode};
use tokio::io::AsyncWriteExt;

use super::envelope::{MAX_VALUE, unwrap};
use super::{Http, Part};
use crate::remote::moving::Moved;
use crate::remote::{Body, Entry, EntryName, IN_MEMORY, RemoteError, RemoteErrorKind};
use crate::{Digest, Hasher};

/// The length that the head of an answer announces.
pub(super) fn length(response: &Response) -> Option<u64> {
    response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

fn is_absent(status: StatusCode) -> bool {
    matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE)
}

impl Http {
    /// Reads an entry, and learns what the blobs that it speaks of are called.
    pub(super) async fn read_entry(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        let mut response = self.web.ask(Method::GET, &self.address(Part::Entry, &name.0)).await?;
        match response.status() {
            status if is_absent(status) => {
                self.web.drop(response).await;
                return Ok(None);
            }
            StatusCode::OK => {}
            status => return Err(self.web.refused(status, "an entry was read")),
        }
        let strong = |tag: &&str| tag.starts_with('"');
        let version = response.headers().get(ETAG).and_then(|tag| tag.to_str().ok()).filter(strong);
        let version = version.map(str::to_owned);
        let (announced, moved) = (length(&response).unwrap_or(0), Moved::default());
        let read = async {
            let mut value = BytesMut::new();
            while let Some(piece) = self.web.chunk(&mut response, &moved).await? {
                if value.len() + piece.len() > MAX_VALUE {
                    return Err(self.web.error(RemoteErrorKind::Broken, "an entry is too large"));
                }
                value.extend_from_slice(&piece);
            }
            Ok(value)
        };
        let value = self.web.moving(read, announced, &moved).await??;
        let Some((names, entry)) = unwrap(&value) else {
            let why = "what lies under the name of an entry is none: is this the address of a cache?";
            return Err(self.web.error(RemoteErrorKind::Broken, why));
        };
        for (digest, sha256) in &names {
            self.names.learn(digest, *sha256);
        }
        Ok(Some(Entry { bytes: entry.to_vec(), version }))
    }

    /// Whether the server has a blob, of the right length.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, RemoteError> {
        let Some(known) = self.names.get(digest).filter(|_| !self.doubts.has(digest)) else {
            return Ok(false);
        };
        let response = self.web.ask(Method::HEAD, &self.address(Part::Blob, &known.sha256)).await?;
        let has = match response.status() {
            status if is_absent(status) => false,
            StatusCode::OK | StatusCode::NO_CONTENT => {
                length(&response).is_none_or(|size| size == digest.size)
            }
            status => return Err(self.web.refused(status, "it was asked for a blob")),
        };
        self.names.set_present(digest, has);
        Ok(has)
    }

    /// Reads a blob, into memory or into a file in `scratch`; never more than its size. One with other bytes than its name
    /// says is none, and will be sent again.
    pub(super) async fn read_blob(
        &self,
        digest: &Digest,
        scratch: &Path,
    ) -> Result<Option<Body>, RemoteError> {
        let Some(known) = self.names.get(digest) else { return Ok(None) };
        let mut response = self.web.ask(Method::GET, &self.address(Part::Blob, &known.sha256)).await?;
        match response.status() {
            status if is_absent(status) => {
                self.web.drop(response).await;
                self.names.set_present(digest, false);
                return Ok(None);
            }
            StatusCode::OK => {}
            status => return Err(self.web.refused(status, "a blob was read")),
        }
        if length(&response).is_some_and(|size| size != digest.size) {
            self.names.set_present(digest, false);
            return Err(self.wrong_size(digest));
        }
        let moved = Moved::default();
        let read = async {
            if digest.size <= IN_MEMORY {
                self.read_into_memory(digest, &mut response, &moved).await
            } else {
                self.read_into_file(digest, &mut response, &moved, scratch).await
            }
        };
        let body = self.web.moving(read, digest.size, &moved).await??;
        if body.is_none() {
            self.names.set_present(digest, false);
            self.doubts.add(digest);
        }
        Ok(body)
    }

    fn wrong_size(&self, digest: &Digest) -> RemoteError {
        self.web.error(RemoteErrorKind::Broken, &format!("the blob {digest} has another size there"))
    }

    async fn read_into_memory(
        &self,
        digest: &Digest,
        response: &mut Response,
        moved: &Moved,
    ) -> Result<Option<Body>, RemoteError> {
        let size = digest.size as usize;
        let mut bytes = BytesMut::with_capacity(size);
        while let Some(piece) = self.web.chunk(response, moved).await? {
            if bytes.len() + piece.len() > size {
                return Err(self.wrong_size(digest));
            }
            bytes.extend_from_slice(&piece);
        }
        if bytes.len() != size {
            return Err(self.wrong_size(digest));
        }
        Ok((Digest::of(&bytes) == *digest).then(|| Body::Bytes(bytes.freeze())))
    }

    async fn read_into_file(
        &self,
        digest: &Digest,
        response: &mut Response,
        moved: &Moved,
        scratch: &Path,
    ) -> Result<Option<Body>, RemoteError> {
        let local = |error: std::io::Error| {
            RemoteError::new(RemoteErrorKind::Local, format!("{}: {error}", scratch.display()))
        };
        let (file, path) =
            tempfile::Builder::new().prefix("blob-").tempfile_in(scratch).map_err(local)?.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let (mut size, mut hasher) = (0, Hasher::new());
        while let Some(piece) = self.web.chunk(response, moved).await? {
            size += piece.len() as u64;
            if size > digest.size {
                return Err(self.wrong_size(digest));
            }
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(local)?;
        }
        file.flush().await.map_err(local)?;
        if size != digest.size {
            return Err(self.wrong_size(digest));
        }
        if hasher.finish() != *digest {
            return Ok(None);
        }
        path.keep().map(|path| Some(Body::File(path))).map_err(|error| local(error.error))
    }
}
