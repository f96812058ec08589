//! `Capabilities`: what this server can do, for whoever asks.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::build::bazel::semver::SemVer;
use reapi::capabilities_server::Capabilities;
use reapi::{
    ActionCacheUpdateCapabilities, CacheCapabilities, ServerCapabilities, compressor, digest_function,
};
use tonic::{Request, Response, Status};

use super::{BATCH, Service, grant, partition};

fn version(major: i32, minor: i32) -> Option<SemVer> {
    Some(SemVer { major, minor, ..SemVer::default() })
}

#[tonic::async_trait]
impl Capabilities for Service {
    async fn get_capabilities(
        &self,
        request: Request<reapi::GetCapabilitiesRequest>,
    ) -> Result<Response<ServerCapabilities>, Status> {
        let grant = grant(&request)?;
        let partition = partition(&request.get_ref().instance_name)?;
        let zstd = vec![compressor::Value::Identity.into(), compressor::Value::Zstd.into()];
        let cache = CacheCapabilities {
            digest_functions: vec![
                digest_function::Value::Sha256.into(),
                digest_function::Value::Blake3.into(),
            ],
            action_cache_update_capabilities: Some(ActionCacheUpdateCapabilities {
                update_enabled: grant.writes_to(&partition),
            }),
            max_batch_total_size_bytes: BATCH as i64,
            symlink_absolute_path_strategy: reapi::symlink_absolute_path_strategy::Value::Allowed.into(),
            supported_compressors: zstd.clone(),
            supported_batch_update_compressors: zstd,
            max_cas_blob_size_bytes: i64::try_from(self.0.disk.max_blob).unwrap_or(i64::MAX),
            ..CacheCapabilities::default()
        };
        Ok(Response::new(ServerCapabilities {
            cache_capabilities: Some(cache),
            low_api_version: version(2, 0),
            high_api_version: version(2, 3),
            ..ServerCapabilities::default()
        }))
    }
}
