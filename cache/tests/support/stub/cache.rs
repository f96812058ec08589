//! Capabilities, blobs in batches, and entries.

use std::future::pending;
use std::sync::Arc;

use api::action_cache_server::ActionCache;
use api::capabilities_server::Capabilities;
use api::content_addressable_storage_server::ContentAddressableStorage;
use api::{batch_read_blobs_response, batch_update_blobs_response};
use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::rpc;
use prost::Message;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Fault, Held};

#[derive(Clone)]
pub struct Cache(pub Arc<Held>);

fn name(digest: Option<&api::Digest>) -> String {
    digest.map(|digest| format!("{}/{}", digest.hash, digest.size_bytes)).unwrap_or_default()
}

impl Cache {
    /// What is wrong with all calls.
    async fn meet<M>(&self, what: &str, function: i32, request: &Request<M>) -> Result<(), Status> {
        let timeout = request.metadata().get("grpc-timeout").is_some();
        let known = request.metadata().get_bin("build.bazel.remote.execution.v2.requestmetadata-bin");
        let known = known
            .and_then(|value| value.to_bytes().ok())
            .is_some_and(|value| String::from_utf8_lossy(&value).contains("relgraph"));
        self.0.note(format!("{what} function={function} deadline={timeout} known={known}"));
        match self.0.fault() {
            Fault::Silent => pending().await,
            Fault::Full => Err(Status::resource_exhausted("the disk is full")),
            _ => Ok(()),
        }
    }
}

#[tonic::async_trait]
impl Capabilities for Cache {
    async fn get_capabilities(
        &self,
        _: Request<api::GetCapabilitiesRequest>,
    ) -> Result<Response<api::ServerCapabilities>, Status> {
        self.0.note("GetCapabilities".to_owned());
        let capabilities = self.0.manners.lock().expect("the lock").capabilities.clone();
        capabilities.map(Response::new).ok_or_else(|| Status::unimplemented("there is none"))
    }
}

#[tonic::async_trait]
impl ActionCache for Cache {
    async fn get_action_result(
        &self,
        request: Request<api::GetActionResultRequest>,
    ) -> Result<Response<api::ActionResult>, Status> {
        self.meet("GetActionResult", request.get_ref().digest_function, &request).await?;
        let request = request.into_inner();
        let entry =
            self.0.entries.lock().expect("the lock").get(&name(request.action_digest.as_ref())).cloned();
        let mut result = entry.ok_or_else(|| Status::not_found("no such entry"))?;
        if self.0.manners.lock().expect("the lock").bare {
            result.output_files.iter_mut().for_each(|file| file.contents.clear());
        }
        Ok(Response::new(result))
    }

    async fn update_action_result(
        &self,
        request: Request<api::UpdateActionResultRequest>,
    ) -> Result<Response<api::ActionResult>, Status> {
        self.meet("UpdateActionResult", request.get_ref().digest_function, &request).await?;
        let request = request.into_inner();
        let result = request.action_result.ok_or_else(|| Status::invalid_argument("no result"))?;
        // A server that checks completeness: all that is spoken of is here, and so are the action and its parts.
        let action = name(request.action_digest.as_ref());
        let spoken =
            result.output_files.iter().map(|file| name(file.digest.as_ref())).chain([action.clone()]);
        for blob in spoken.filter(|blob| !blob.ends_with("/0")) {
            if self.0.blob(&blob).is_none() {
                return Err(Status::failed_precondition(format!("{blob} is not there")));
            }
        }
        // And whoever looks at it sees what it is about.
        let bytes = self.0.blob(&action).unwrap_or_default();
        let known = api::Action::decode(&bytes[..]).ok().and_then(|action| action.command_digest);
        let command = self.0.blob(&name(known.as_ref())).unwrap_or_default();
        let command = api::Command::decode(&command[..]).unwrap_or_default();
        if command.arguments.first().is_none_or(|program| program != "relgraph") {
            return Err(Status::failed_precondition("the command is not there"));
        }
        self.0.entries.lock().expect("the lock").insert(action, result.clone());
        Ok(Response::new(result))
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for Cache {
    async fn find_missing_blobs(
        &self,
        request: Request<api::FindMissingBlobsRequest>,
    ) -> Result<Response<api::FindMissingBlobsResponse>, Status> {
        self.meet("FindMissingBlobs", request.get_ref().digest_function, &request).await?;
        let mut missing_blob_digests = request.into_inner().blob_digests;
        if self.0.fault() != Fault::Late {
            missing_blob_digests.retain(|digest| self.0.blob(&name(Some(digest))).is_none());
        }
        Ok(Response::new(api::FindMissingBlobsResponse { missing_blob_digests }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<api::BatchUpdateBlobsRequest>,
    ) -> Result<Response<api::BatchUpdateBlobsResponse>, Status> {
        let (mut bytes, mut zstd) = (0, 0);
        for blob in &request.get_ref().requests {
            bytes += blob.digest.as_ref().map_or(0, |digest| digest.size_bytes);
            zstd += usize::from(blob.compressor == 1);
        }
        let what = format!("BatchUpdateBlobs bytes={bytes} zstd={zstd}");
        self.meet(&what, request.get_ref().digest_function, &request).await?;
        let mut responses = Vec::new();
        for blob in request.into_inner().requests {
            let digest = name(blob.digest.as_ref());
            let data = match blob.compressor {
                1 => zstd::decode_all(&blob.data[..])?,
                _ => blob.data,
            };
            let status = match digest.ends_with("/0") {
                true => Some(Status::invalid_argument("an empty blob")),
                false => self.0.keep(&digest, data).err(),
            };
            let status = status.map_or_else(rpc::Status::default, |status| rpc::Status {
                code: status.code() as i32,
                message: status.message().to_owned(),
                details: Vec::new(),
            });
            responses
                .push(batch_update_blobs_response::Response { digest: blob.digest, status: Some(status) });
        }
        if self.0.fault() == Fault::Forgetful {
            responses.pop();
        }
        Ok(Response::new(api::BatchUpdateBlobsResponse { responses }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<api::BatchReadBlobsRequest>,
    ) -> Result<Response<api::BatchReadBlobsResponse>, Status> {
        let bytes: i64 = request.get_ref().digests.iter().map(|digest| digest.size_bytes).sum();
        let zstd = request.get_ref().acceptable_compressors.contains(&1);
        let what = format!("BatchReadBlobs bytes={bytes} zstd={zstd}");
        self.meet(&what, request.get_ref().digest_function, &request).await?;
        let mut responses = Vec::new();
        for digest in request.into_inner().digests {
            let (code, mut data) = match self.0.blob(&name(Some(&digest))) {
                Some(data) => (0, self.0.spoilt(data)),
                None => (tonic::Code::NotFound as i32, Vec::new()),
            };
            if zstd {
                data = zstd::encode_all(&data[..], 1)?;
            }
            responses.push(batch_read_blobs_response::Response {
                digest: Some(digest),
                data,
                compressor: i32::from(zstd),
                status: Some(rpc::Status { code, ..Default::default() }),
            });
        }
        if self.0.fault() == Fault::Forgetful {
            responses.pop();
        }
        Ok(Response::new(api::BatchReadBlobsResponse { responses }))
    }

    type GetTreeStream = BoxStream<api::GetTreeResponse>;

    async fn get_tree(
        &self,
        _: Request<api::GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        Err(Status::unimplemented("never asked"))
    }

    async fn split_blob(
        &self,
        _: Request<api::SplitBlobRequest>,
    ) -> Result<Response<api::SplitBlobResponse>, Status> {
        Err(Status::unimplemented("never asked"))
    }

    type GetChunkMappingStream = BoxStream<api::GetChunkMappingResponse>;

    async fn get_chunk_mapping(
        &self,
        _: Request<api::GetChunkMappingRequest>,
    ) -> Result<Response<Self::GetChunkMappingStream>, Status> {
        Err(Status::unimplemented("never asked"))
    }

    async fn splice_blob(
        &self,
        _: Request<api::SpliceBlobRequest>,
    ) -> Result<Response<api::SpliceBlobResponse>, Status> {
        Err(Status::unimplemented("never asked"))
    }

    async fn register_chunk_mapping(
        &self,
        _: Request<tonic::Streaming<api::RegisterChunkMappingRequest>>,
    ) -> Result<Response<api::RegisterChunkMappingResponse>, Status> {
        Err(Status::unimplemented("never asked"))
    }
}
