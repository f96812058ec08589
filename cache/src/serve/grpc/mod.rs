//! The gRPC side: the Remote Execution API as far as a cache goes.
//! <https://github.com/bazelbuild/remote-apis/blob/main/build/bazel/remote/execution/v2/remote_execution.proto>

mod action_cache;
mod byte_stream;
mod capabilities;
mod cas;
mod resource;

use std::sync::Arc;

use axum::Router;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStreamServer;
use reapi::action_cache_server::ActionCacheServer;
use reapi::capabilities_server::CapabilitiesServer;
use reapi::content_addressable_storage_server::ContentAddressableStorageServer;
use reapi::digest_function::Value as DigestFunction;
use tonic::service::Routes;
use tonic::{Request, Status};

use super::error::PutError;
use super::names::{BlobName, Function, Partition};
use super::shared::Shared;
use super::tokens::Grant;
use crate::remote::MAX_ENTRY;

/// The most bytes of blobs in a batch.
const BATCH: usize = 4 << 20;
/// The largest message that is taken, but for entries: a batch with what is said about its blobs, or many digests.
const MESSAGE: usize = 2 * BATCH;

/// All services, and the routes that are there already.
pub(super) fn add_to(router: Router, shared: &Arc<Shared>) -> Router {
    let service = Service(shared.clone());
    let cas = ContentAddressableStorageServer::new(service.clone()).max_decoding_message_size(MESSAGE);
    let entries = ActionCacheServer::new(service.clone()).max_decoding_message_size(MAX_ENTRY + MESSAGE);
    let bytes = ByteStreamServer::new(service.clone()).max_decoding_message_size(MESSAGE);
    Routes::from(router)
        .add_service(CapabilitiesServer::new(service))
        .add_service(cas)
        .add_service(entries)
        .add_service(bytes)
        .into_axum_router()
}

/// Implements all of them.
#[derive(Debug, Clone)]
struct Service(Arc<Shared>);

/// What whoever asks may do.
fn grant<T>(request: &Request<T>) -> Result<Grant, Status> {
    // The door lets nobody in without.
    request.extensions().get::<Grant>().cloned().ok_or_else(|| Status::unauthenticated("a token is needed"))
}

fn partition(instance: &str) -> Result<Partition, Status> {
    Partition::parse(instance).ok_or_else(|| Status::invalid_argument("the instance name is not one"))
}

/// What a request says about its digests. `None`: nothing.
fn function(number: i32) -> Result<Option<Function>, Status> {
    match DigestFunction::try_from(number) {
        Ok(DigestFunction::Unknown) => Ok(None),
        Ok(DigestFunction::Sha256) => Ok(Some(Function::Sha256)),
        Ok(DigestFunction::Blake3) => Ok(Some(Function::Blake3)),
        _ => Err(Status::invalid_argument("the digest function is neither SHA256 nor BLAKE3")),
    }
}

/// The blob that a digest names, and its size. A function that is not named is SHA-256, as the protocol says.
fn blob(digest: Option<&reapi::Digest>, function: Option<Function>) -> Result<(BlobName, u64), Status> {
    let function = function.unwrap_or(Function::Sha256);
    let named = digest.and_then(|digest| {
        let name = BlobName::parse(function, &digest.hash)?;
        Some((name, u64::try_from(digest.size_bytes).ok()?))
    });
    named
        .ok_or_else(|| Status::invalid_argument("a digest is 64 hexadecimal digits in lower case and a size"))
}

fn status(shared: &Shared, error: &PutError) -> Status {
    let text = error.to_string();
    match error {
        PutError::Wrong | PutError::Invalid(_) | PutError::TooLarge(_) => Status::invalid_argument(text),
        PutError::Full => Status::resource_exhausted(text),
        PutError::Incomplete(_) | PutError::Condition => Status::failed_precondition(text),
        PutError::Unfinished => Status::aborted(text),
        PutError::Io(cause) => {
            shared.warn(format!("the disk failed: {cause}"));
            Status::internal("the server's disk failed")
        }
    }
}
