//! The content-addressable storage: which blobs are missing, and small blobs in batches.

use std::collections::{HashMap, HashSet};

use api::content_addressable_storage_client::ContentAddressableStorageClient;
use api::{batch_read_blobs_response, batch_update_blobs_request, compressor};
use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tonic::{Code, Request};

use super::super::{Body, RemoteError};
use super::capabilities::{AROUND_BLOB, Capabilities};
use super::client::Client;
use super::names::Name;
use super::wire::Wire;
use super::zstandard;
use crate::Digest;

/// How many blobs one question is about.
const QUESTION: usize = 4_000;

/// What the server may answer beside the bytes that were asked for.
const ROOM: u64 = 64 << 10;

impl Client {
    fn batches(&self) -> ContentAddressableStorageClient<Wire> {
        ContentAddressableStorageClient::new(self.wire.for_transfers())
    }

    /// Which of these blobs are not there. One of which nobody has told how it is named is not there.
    pub async fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        let capabilities = self.capabilities().await?;
        let named = |blob: &Digest| self.names.get(capabilities.function, blob);
        let names: Vec<Name> = blobs.iter().filter_map(named).collect();
        let missing = self.find_missing(&capabilities, &names).await?;
        let gone = |blob: &&Digest| blob.size > 0 && named(blob).is_none_or(|name| missing.contains(&name));
        Ok(blobs.iter().filter(gone).copied().collect())
    }

    /// Which of these are not there. Empty blobs are everywhere.
    pub async fn find_missing(
        &self,
        capabilities: &Capabilities,
        names: &[Name],
    ) -> Result<HashSet<Name>, RemoteError> {
        let asked: HashSet<Name> = names.iter().filter(|name| name.size > 0).copied().collect();
        let asked: Vec<Name> = asked.into_iter().collect();
        let parts: Vec<HashSet<Name>> = stream::iter(asked.chunks(QUESTION))
            .map(|names| self.find_some(capabilities, names))
            .buffer_unordered(self.limits.parallel)
            .try_collect()
            .await?;
        Ok(parts.into_iter().flatten().collect())
    }

    async fn find_some(
        &self,
        capabilities: &Capabilities,
        names: &[Name],
    ) -> Result<HashSet<Name>, RemoteError> {
        let request = self.small(api::FindMissingBlobsRequest {
            instance_name: self.instance().to_owned(),
            blob_digests: names.iter().map(Name::message).collect(),
            digest_function: capabilities.function.number(),
        });
        let mut client = ContentAddressableStorageClient::new(self.wire.clone());
        let answer = self.within(client.find_missing_blobs(request)).await;
        let answer = answer.map_err(|status| self.error("FindMissingBlobs", &status))?;
        Ok(answer.missing_blob_digests.iter().filter_map(Name::read).collect())
    }

    /// Stores blobs that fit into a message; `true`: not compressed by itself.
    pub async fn write_batch(
        &self,
        capabilities: &Capabilities,
        blobs: Vec<(Name, Bytes, bool)>,
    ) -> Result<(), RemoteError> {
        const WHAT: &str = "BatchUpdateBlobs";
        // Empty blobs are everywhere, and some servers do not like to be told.
        let full = blobs.iter().map(|(name, ..)| *name).filter(|name| name.size > 0);
        let mut waiting: HashSet<Name> = full.collect();
        let requests = blobs.into_iter().map(|(name, bytes, plain)| {
            let frame = (plain && capabilities.zstd_batches).then(|| zstandard::compress(&bytes)).flatten();
            let (data, compressor) = match frame {
                Some(frame) => (frame, compressor::Value::Zstd),
                None => (bytes.into(), compressor::Value::Identity),
            };
            batch_update_blobs_request::Request {
                digest: Some(name.message()),
                data,
                compressor: compressor as i32,
            }
        });
        let request = Request::new(api::BatchUpdateBlobsRequest {
            instance_name: self.instance().to_owned(),
            requests: requests.collect(),
            digest_function: capabilities.function.number(),
        });
        let answer = self.batches().batch_update_blobs(request).await;
        let answer = answer.map_err(|status| self.error(WHAT, &status))?.into_inner();
        for response in answer.responses {
            let name = response.digest.as_ref().and_then(Name::read);
            if !name.is_some_and(|name| waiting.remove(&name)) {
                continue;
            }
            let status = response.status.unwrap_or_default();
            if !matches!(Code::from_i32(status.code), Code::Ok | Code::AlreadyExists) {
                return Err(self.error_of_blob(WHAT, status.code, &status.message));
            }
        }
        match waiting.len() {
            0 => Ok(()),
            count => Err(self.broken(WHAT, format!("nothing is said of {count} of the blobs"))),
        }
    }

    /// Fetches blobs that fit into a message; all or none of them are not compressed by themselves.
    pub async fn read_batch(
        &self,
        capabilities: &Capabilities,
        blobs: Vec<(Digest, Name)>,
        plain: bool,
    ) -> Result<Vec<(Digest, Option<Body>)>, RemoteError> {
        const WHAT: &str = "BatchReadBlobs";
        let asked: u64 = blobs.iter().map(|(blob, _)| blob.size + AROUND_BLOB + 1024).sum();
        let acceptable_compressors = match plain && capabilities.zstd {
            true => vec![compressor::Value::Zstd as i32],
            false => Vec::new(),
        };
        let request = Request::new(api::BatchReadBlobsRequest {
            instance_name: self.instance().to_owned(),
            digests: blobs.iter().map(|(_, name)| name.message()).collect(),
            acceptable_compressors,
            digest_function: capabilities.function.number(),
        });
        let mut cas = self.batches().max_decoding_message_size((asked + ROOM) as usize);
        let answer = cas.batch_read_blobs(request).await;
        let answer = answer.map_err(|status| self.error(WHAT, &status))?.into_inner();

        let mut waiting: HashMap<Name, Digest> = blobs.into_iter().map(|(blob, name)| (name, blob)).collect();
        let mut bodies = Vec::with_capacity(waiting.len());
        for response in answer.responses {
            let name = response.digest.as_ref().and_then(Name::read);
            let Some(blob) = name.and_then(|name| waiting.remove(&name)) else {
                return Err(self.broken(WHAT, "a blob that was not asked for"));
            };
            let status = response.status.clone().unwrap_or_default();
            match Code::from_i32(status.code) {
                Code::Ok => bodies.push((blob, Some(Body::Bytes(self.open(WHAT, response, &blob)?)))),
                Code::NotFound => bodies.push((blob, None)),
                _ => return Err(self.error_of_blob(WHAT, status.code, &status.message)),
            }
        }
        match waiting.len() {
            0 => Ok(bodies),
            count => Err(self.broken(WHAT, format!("nothing is said of {count} of the blobs"))),
        }
    }

    /// The bytes of an answer, as many as they must be.
    fn open(
        &self,
        what: &str,
        response: batch_read_blobs_response::Response,
        blob: &Digest,
    ) -> Result<Bytes, RemoteError> {
        let data = match compressor::Value::try_from(response.compressor) {
            Ok(compressor::Value::Identity) => response.data,
            Ok(compressor::Value::Zstd) => zstandard::decompress(&response.data, blob.size as usize)
                .map_err(|error| self.broken(what, error))?,
            _ => return Err(self.broken(what, "a compression that was not asked for")),
        };
        if data.len() as u64 != blob.size {
            return Err(self.broken(what, format!("{} bytes for a blob of {}", data.len(), blob.size)));
        }
        Ok(data.into())
    }
}
