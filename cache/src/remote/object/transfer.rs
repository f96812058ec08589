//! Blobs to and from an object store.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path as FilePath;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::{Error, GetOptions, GetResult, MultipartUpload, ObjectStoreExt};
use tokio::io::AsyncWriteExt;

use super::Object;
use crate::remote::moving::{Moved, moving};
use crate::remote::{Body, IN_MEMORY, RemoteError, RemoteErrorKind};
use crate::{Digest, Hasher};

/// Blobs up to this size are sent without asking first: that costs no more than the question.
const SMALL: u64 = 64 << 10;

/// The size of the parts of a large blob, unless that made too many of them.
const PART: u64 = 8 << 20;

/// How many parts S3 allows.
const PARTS: u64 = 10_000;

fn local(path: &FilePath, error: &io::Error) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, format!("{}: {error}", path.display()))
}

impl Object {
    /// Whether the store has a blob, of the right length.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, RemoteError> {
        if self.doubts.has(digest) {
            return Ok(false);
        }
        match self.call(self.store().head(&self.blob(digest))).await {
            (Ok(meta), _) => Ok(meta.size == digest.size),
            (Err(Error::NotFound { .. }), _) => Ok(false),
            (Err(error), status) => Err(self.error(&error, status, "it was asked for a blob")),
        }
    }

    /// Reads a blob, into memory or into a file in `scratch`; never more than its size. One with other bytes than its name
    /// says is none, and will be sent again.
    pub(super) async fn read_blob(
        &self,
        digest: &Digest,
        scratch: &FilePath,
    ) -> Result<Option<Body>, RemoteError> {
        let what = "a blob was read";
        let path = self.blob(digest);
        let result = match self.call(self.store().get_opts(&path, GetOptions::default())).await {
            (Ok(result), _) => result,
            (Err(Error::NotFound { .. }), _) => return Ok(None),
            (Err(error), status) => return Err(self.error(&error, status, what)),
        };
        if result.meta.size != digest.size {
            return Err(self.broken(&format!("the blob {digest} has another size there")));
        }
        if digest.size <= IN_MEMORY {
            let bytes = self.collect(result, what).await?;
            return Ok(if Digest::of(&bytes) == *digest {
                Some(Body::Bytes(bytes))
            } else {
                self.doubt(digest)
            });
        }
        let here = |error: io::Error| local(scratch, &error);
        let made = tempfile::Builder::new().prefix("blob-").tempfile_in(scratch).map_err(here)?;
        let (file, kept) = made.into_parts();
        let mut file = tokio::fs::File::from_std(file);
        let size = digest.size;
        let mut hasher = Hasher::new();
        let take = async |piece: Bytes| {
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(here)
        };
        self.pieces(result, size, what, take).await?;
        file.flush().await.map_err(here)?;
        if hasher.finish() != *digest {
            return Ok(self.doubt(digest));
        }
        kept.keep().map(|path| Some(Body::File(path))).map_err(|error| here(error.error))
    }

    fn doubt(&self, digest: &Digest) -> Option<Body> {
        self.doubts.add(digest);
        None
    }

    /// The bytes of an answer, as many as it announced.
    pub(super) async fn collect(&self, result: GetResult, what: &str) -> Result<Bytes, RemoteError> {
        let size = result.meta.size;
        let mut bytes = BytesMut::with_capacity(size as usize);
        let take = async |piece: Bytes| {
            bytes.extend_from_slice(&piece);
            Ok(())
        };
        self.pieces(result, size, what, take).await?;
        Ok(bytes.freeze())
    }

    async fn pieces(
        &self,
        result: GetResult,
        size: u64,
        what: &str,
        mut take: impl AsyncFnMut(Bytes) -> Result<(), RemoteError>,
    ) -> Result<(), RemoteError> {
        let moved = Moved::default();
        let mut pieces = result.into_stream();
        let read = async {
            let mut found = 0;
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(|error| self.error(&error, Some(200), what))?;
                moved.add(piece.len());
                found += piece.len() as u64;
                if found > size {
                    break;
                }
                take(piece).await?;
            }
            if found == size {
                Ok(())
            } else {
                Err(self.broken("an answer has another length than it announced"))
            }
        };
        moving(&self.limits, read, size, &moved).await.map_err(|after| {
            RemoteError::new(RemoteErrorKind::Timeout, format!("{}: nothing came for {after:?}", self.url))
        })?
    }

    /// Stores a blob, unless it is there.
    pub(super) async fn write_blob(&self, digest: &Digest, body: Body) -> Result<(), RemoteError> {
        self.write_new(digest, body).await.inspect(|()| self.doubts.remove(digest))
    }

    async fn write_new(&self, digest: &Digest, body: Body) -> Result<(), RemoteError> {
        if digest.size > SMALL && self.has(digest).await? {
            return Ok(());
        }
        let bytes = match body {
            Body::Bytes(bytes) => bytes,
            Body::File(path) if digest.size <= IN_MEMORY => {
                tokio::fs::read(&path).await.map_err(|error| local(&path, &error))?.into()
            }
            Body::File(path) => return self.write_parts(digest, &path).await,
        };
        if bytes.len() as u64 != digest.size {
            return Err(wrong(digest));
        }
        match self.call(self.store().put(&self.blob(digest), bytes.into())).await {
            (Ok(_), _) => Ok(()),
            (Err(error), status) => Err(self.error(&error, status, "a blob was written")),
        }
    }

    async fn write_parts(&self, digest: &Digest, path: &FilePath) -> Result<(), RemoteError> {
        let what = "a blob was written";
        let mut upload = match self.call(self.store().put_multipart(&self.blob(digest))).await {
            (Ok(upload), _) => upload,
            (Err(error), status) => return Err(self.error(&error, status, what)),
        };
        let sent = self.send_parts(&mut *upload, digest, path).await;
        if sent.is_err() {
            // What lies there half costs money.
            let _ = self.call(upload.abort()).await;
            return sent;
        }
        match self.call(upload.complete()).await {
            (Ok(_), _) => Ok(()),
            (Err(error), status) => Err(self.error(&error, status, what)),
        }
    }

    async fn send_parts(
        &self,
        upload: &mut dyn MultipartUpload,
        digest: &Digest,
        path: &FilePath,
    ) -> Result<(), RemoteError> {
        let here = |error: io::Error| local(path, &error);
        let part = PART.max(digest.size.div_ceil(PARTS));
        let mut file = File::open(path).map_err(here)?;
        if file.metadata().map_err(here)?.len() != digest.size {
            return Err(wrong(digest));
        }
        let mut left = digest.size;
        while left > 0 {
            let size = left.min(part) as usize;
            let read = tokio::task::spawn_blocking(move || {
                let mut bytes = vec![0; size];
                file.read_exact(&mut bytes).map(|()| (file, bytes))
            });
            let read = read.await.map_err(|error| here(io::Error::other(error)))?;
            let (again, bytes) = read.map_err(here)?;
            file = again;
            left -= size as u64;
            if let (Err(error), status) = self.call(upload.put_part(bytes.into())).await {
                return Err(self.error(&error, status, "a part of a blob was written"));
            }
        }
        Ok(())
    }
}

fn wrong(digest: &Digest) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, format!("{digest} is not what was to be stored under it"))
}
