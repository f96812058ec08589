//! `ContentAddressableStorage`: which blobs are there, small ones in batches, and trees.

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::rpc;
use futures_util::{Stream, stream};
use prost::Message;
use reapi::content_addressable_storage_server::ContentAddressableStorage;
use reapi::{
    BatchReadBlobsResponse, BatchUpdateBlobsResponse, FindMissingBlobsResponse, GetTreeResponse,
    batch_read_blobs_response, batch_update_blobs_response, compressor,
};
use tonic::{Request, Response, Status, Streaming};

use super::super::entry::Blobs as _;
use super::super::error::PutError;
use super::super::names::{BlobName, Function};
use super::super::shared::Shared;
use super::super::upload::{Coding, OnDisk, blocking, put_blob, read_all};
use super::{BATCH, Service, blob, function, grant, partition, status};

/// Blobs that are smaller are not compressed in batches.
const WORTH_COMPRESSING: usize = 1 << 10;
/// The most directories of a tree that is sent, and the largest directory in bytes.
const MAX_DIRECTORIES: usize = 100_000;
const MAX_DIRECTORY: u64 = 4 << 20;
/// Bytes of directories in a message.
const PAGE: usize = 1 << 20;

type Trees = Pin<Box<dyn Stream<Item = Result<GetTreeResponse, Status>> + Send>>;
type Mappings = stream::Empty<Result<reapi::GetChunkMappingResponse, Status>>;

fn rpc_status(status: &Status) -> Option<rpc::Status> {
    Some(rpc::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

fn within_batch(sizes: impl Iterator<Item = u64>) -> Result<(), Status> {
    if sizes.fold(0_u64, u64::saturating_add) > BATCH as u64 {
        return Err(Status::invalid_argument(format!("at most {BATCH} bytes of blobs go into a batch")));
    }
    Ok(())
}

#[tonic::async_trait]
impl ContentAddressableStorage for Service {
    async fn find_missing_blobs(
        &self,
        request: Request<reapi::FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let grant = grant(&request)?;
        let request = request.into_inner();
        partition(&request.instance_name)?;
        let function = function(request.digest_function)?;
        let mut missing = Vec::new();
        for digest in request.blob_digests {
            let (name, size) = blob(Some(&digest), function)?;
            // Whoever may write counts on what it does not send.
            if !self.0.disk.has(&name, size, grant.writes()) {
                missing.push(digest);
            }
        }
        Ok(Response::new(FindMissingBlobsResponse { missing_blob_digests: missing }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<reapi::BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        let grant = grant(&request)?;
        if !grant.writes() {
            return Err(Status::permission_denied("this token does not write"));
        }
        let request = request.into_inner();
        partition(&request.instance_name)?;
        let function = function(request.digest_function)?;
        within_batch(request.requests.iter().map(|one| one.data.len() as u64))?;
        let shared = self.0.clone();
        let stored = blocking(move || {
            let store = |one: reapi::batch_update_blobs_request::Request| {
                let stored = store_one(&shared, &one, function);
                let result = stored.as_ref().err().map_or_else(|| Status::ok(""), Clone::clone);
                batch_update_blobs_response::Response { digest: one.digest, status: rpc_status(&result) }
            };
            Ok(request.requests.into_iter().map(store).collect::<Vec<_>>())
        });
        let responses = stored.await.map_err(|error| status(&self.0, &error))?;
        let good = responses.iter().filter(|one| one.status.as_ref().is_some_and(|s| s.code == 0)).count();
        self.0.metrics.person(&grant.name, |person| person.blobs += good as u64);
        Ok(Response::new(BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<reapi::BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        let grant = grant(&request)?;
        let request = request.into_inner();
        partition(&request.instance_name)?;
        let function = function(request.digest_function)?;
        let named = request.digests.iter().map(|digest| blob(Some(digest), function));
        let named = named.collect::<Result<Vec<_>, _>>()?;
        within_batch(named.iter().map(|(_, size)| *size))?;
        let zstd = request.acceptable_compressors.contains(&compressor::Value::Zstd.into());
        let shared = self.0.clone();
        let read = blocking(move || {
            let answers = request.digests.into_iter().zip(named).map(|(digest, (name, size))| {
                let read = OnDisk(&shared.disk).read(&name, size);
                shared.metrics.person(&grant.name, |person| match read {
                    Some(_) => person.blob_hits += 1,
                    None => person.blob_misses += 1,
                });
                read_answer(digest, read, zstd)
            });
            Ok(answers.collect::<Vec<_>>())
        });
        let responses = read.await.map_err(|error| status(&self.0, &error))?;
        Ok(Response::new(BatchReadBlobsResponse { responses }))
    }

    type GetTreeStream = Trees;

    async fn get_tree(&self, request: Request<reapi::GetTreeRequest>) -> Result<Response<Trees>, Status> {
        let grant = grant(&request)?;
        let request = request.into_inner();
        partition(&request.instance_name)?;
        let function = function(request.digest_function)?;
        let root = blob(request.root_digest.as_ref(), function)?;
        if !request.page_token.is_empty() {
            return Err(Status::invalid_argument("this server gives no page tokens"));
        }
        let absent = || Status::not_found("there is no such tree");
        if !root.0.is_empty() {
            // Before the first answer, so that one that is not there is an error and not an empty tree.
            self.0
                .blob(&grant, root.0, 0, Some(0))
                .await
                .map_err(|e| status(&self.0, &e))?
                .ok_or_else(absent)?;
        }
        let walk = Walk {
            shared: self.0.clone(),
            function,
            seen: HashSet::from([root.0]),
            todo: VecDeque::from([root]),
        };
        let answers = stream::unfold(Some(walk), |walk| async move {
            let walk = walk?;
            match tokio::task::spawn_blocking(move || walk.page()).await {
                Ok(Ok((directories, rest))) if !directories.is_empty() || rest.is_some() => {
                    Some((Ok(GetTreeResponse { directories, next_page_token: String::new() }), rest))
                }
                Ok(Ok(_)) => None,
                Ok(Err(status)) => Some((Err(status), None)),
                Err(_) => Some((Err(Status::unavailable("the server is shutting down")), None)),
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn split_blob(
        &self,
        _: Request<reapi::SplitBlobRequest>,
    ) -> Result<Response<reapi::SplitBlobResponse>, Status> {
        Err(unimplemented())
    }

    type GetChunkMappingStream = Mappings;

    async fn get_chunk_mapping(
        &self,
        _: Request<reapi::GetChunkMappingRequest>,
    ) -> Result<Response<Mappings>, Status> {
        Err(unimplemented())
    }

    async fn splice_blob(
        &self,
        _: Request<reapi::SpliceBlobRequest>,
    ) -> Result<Response<reapi::SpliceBlobResponse>, Status> {
        Err(unimplemented())
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<Streaming<reapi::RegisterChunkMappingRequest>>,
    ) -> Result<Response<reapi::RegisterChunkMappingResponse>, Status> {
        Err(unimplemented())
    }
}

fn unimplemented() -> Status {
    Status::unimplemented("blobs are kept whole")
}

fn store_one(
    shared: &Shared,
    one: &reapi::batch_update_blobs_request::Request,
    function: Option<Function>,
) -> Result<(), Status> {
    let (name, size) = blob(one.digest.as_ref(), function)?;
    let coding = match compressor::Value::try_from(one.compressor) {
        Ok(compressor::Value::Identity) => Coding::Identity,
        Ok(compressor::Value::Zstd) => Coding::Zstd,
        _ => return Err(Status::invalid_argument("the only compressor is zstd")),
    };
    put_blob(&shared.disk, name, size, &one.data, coding).map_err(|error| status(shared, &error))
}

fn read_answer(
    digest: reapi::Digest,
    read: Option<Vec<u8>>,
    zstd: bool,
) -> batch_read_blobs_response::Response {
    let answer = |data, compressor: compressor::Value, status| batch_read_blobs_response::Response {
        digest: Some(digest),
        data,
        compressor: compressor.into(),
        status: rpc_status(&status),
    };
    let Some(data) = read else {
        let absent = Status::not_found("there is no such blob");
        return answer(Vec::new(), compressor::Value::Identity, absent);
    };
    if zstd
        && data.len() >= WORTH_COMPRESSING
        && let Ok(smaller) = ::zstd::bulk::compress(&data, 1)
        && smaller.len() < data.len()
    {
        return answer(smaller, compressor::Value::Zstd, Status::ok(""));
    }
    answer(data, compressor::Value::Identity, Status::ok(""))
}

/// A walk through a tree, level by level.
struct Walk {
    shared: Arc<Shared>,
    function: Option<Function>,
    seen: HashSet<BlobName>,
    todo: VecDeque<(BlobName, u64)>,
}

impl Walk {
    /// The next directories, and what is left. What is not there is left out, as the protocol says.
    fn page(mut self) -> Result<(Vec<reapi::Directory>, Option<Walk>), Status> {
        let mut directories = Vec::new();
        let mut bytes = 0;
        while bytes < PAGE {
            let Some((name, size)) = self.todo.pop_front() else { return Ok((directories, None)) };
            let Some(read) = self.read(&name, size).map_err(|error| status(&self.shared, &error))? else {
                continue;
            };
            let directory = reapi::Directory::decode(read.as_slice())
                .map_err(|_| Status::failed_precondition("a directory of the tree is not one"))?;
            for below in &directory.directories {
                let below = blob(below.digest.as_ref(), self.function)?;
                if self.seen.insert(below.0) {
                    self.todo.push_back(below);
                }
            }
            if self.seen.len() > MAX_DIRECTORIES {
                return Err(Status::resource_exhausted("the tree has too many directories"));
            }
            bytes += read.len();
            directories.push(directory);
        }
        Ok((directories, Some(self)))
    }

    fn read(&self, name: &BlobName, size: u64) -> Result<Option<Vec<u8>>, PutError> {
        if name.is_empty() {
            return Ok(Some(Vec::new()));
        }
        if size > MAX_DIRECTORY {
            return Err(PutError::Invalid("a directory of the tree is too large"));
        }
        match self.shared.disk.open_blob(name, 0, None).map_err(PutError::Io)? {
            Some(opened) if opened.size == size => {
                read_all(&opened.file, size).map(Some).map_err(PutError::Io)
            }
            _ => Ok(None),
        }
    }
}
