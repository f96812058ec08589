//! `ActionCache`: entries.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use prost::Message;
use reapi::ActionResult;
use reapi::action_cache_server::ActionCache;
use tonic::{Request, Response, Status};

use super::super::entry::{action_result, needs_of};
use super::super::error::PutError;
use super::super::http::DURATION_HEADER;
use super::super::names::{BlobName, EntryId, Function};
use super::super::tokens::Grant;
use super::super::upload::{self, OnDisk, blocking, read_all};
use super::{MESSAGE, Service, blob, function, grant, partition, status};
use crate::remote::MAX_ENTRY;

/// The most bytes that are put into an answer because somebody asked for them there.
const INLINE: u64 = 1 << 20;

#[tonic::async_trait]
impl ActionCache for Service {
    async fn get_action_result(
        &self,
        request: Request<reapi::GetActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let grant = grant(&request)?;
        let request = request.into_inner();
        let partition = partition(&request.instance_name)?;
        if !grant.reads_from(&partition) {
            return Err(Status::permission_denied("this token does not read from this partition"));
        }
        let function = function(request.digest_function)?;
        let (name, _) = blob(request.action_digest.as_ref(), function)?;
        let id = EntryId { partition, hash: name.hash };
        let failed = |error: PutError| status(&self.0, &error);
        let absent = || Status::not_found("there is no such entry");
        let found = self.0.entry(&grant, id).await.map_err(failed)?.ok_or_else(absent)?;
        if found.opened.size > (MAX_ENTRY + MESSAGE) as u64 {
            return Err(absent());
        }
        let value = blocking(move || read_all(&found.opened.file, found.opened.size).map_err(PutError::Io));
        // One that was stored over HTTP may be something else.
        let mut result = action_result(&value.await.map_err(failed)?).ok_or_else(absent)?;
        self.inline(&grant, &request, function, &mut result).await;
        Ok(Response::new(result))
    }

    async fn update_action_result(
        &self,
        request: Request<reapi::UpdateActionResultRequest>,
    ) -> Result<Response<ActionResult>, Status> {
        let grant = grant(&request)?;
        let duration = request.metadata().get(DURATION_HEADER);
        let duration = duration.and_then(|text| text.to_str().ok()?.parse().ok());
        let request = request.into_inner();
        let partition = partition(&request.instance_name)?;
        if !grant.writes_to(&partition) {
            return Err(Status::permission_denied("this token does not write to this partition"));
        }
        let function = function(request.digest_function)?;
        let (name, _) = blob(request.action_digest.as_ref(), function)?;
        let id = EntryId { partition, hash: name.hash };
        let result = request.action_result.ok_or_else(|| Status::invalid_argument("there is no result"))?;
        let disk = self.0.disk.clone();
        let result = blocking(move || {
            let understood = needs_of(&result, function, &OnDisk(&disk))?;
            let duration = duration.unwrap_or(understood.duration);
            upload::put_entry(&disk, id, &result.encode_to_vec(), understood.needs, duration)?;
            Ok(result)
        });
        let result = result.await.map_err(|error| status(&self.0, &error))?;
        self.0.metrics.person(&grant.name, |person| person.entries += 1);
        Ok(Response::new(result))
    }
}

impl Service {
    /// Puts what was asked for into the answer itself, as far as it is small. That is a favour: what cannot be read is left.
    async fn inline(
        &self,
        grant: &Grant,
        request: &reapi::GetActionResultRequest,
        function: Option<Function>,
        result: &mut ActionResult,
    ) {
        let mut left = INLINE;
        if request.inline_stdout && result.stdout_raw.is_empty() {
            let digest = result.stdout_digest.clone();
            result.stdout_raw = self.small(grant, digest, function, &mut left).await.unwrap_or_default();
        }
        if request.inline_stderr && result.stderr_raw.is_empty() {
            let digest = result.stderr_digest.clone();
            result.stderr_raw = self.small(grant, digest, function, &mut left).await.unwrap_or_default();
        }
        for file in &mut result.output_files {
            if file.contents.is_empty() && request.inline_output_files.contains(&file.path) {
                let digest = file.digest.clone();
                file.contents = self.small(grant, digest, function, &mut left).await.unwrap_or_default();
            }
        }
    }

    async fn small(
        &self,
        grant: &Grant,
        digest: Option<reapi::Digest>,
        function: Option<Function>,
        left: &mut u64,
    ) -> Option<Vec<u8>> {
        let digest = digest?;
        let size = u64::try_from(digest.size_bytes).ok()?;
        if size == 0 || size > *left {
            return None;
        }
        let known = |name: &BlobName| self.0.disk.index().blob(name).is_some();
        let name = match function {
            Some(function) => BlobName::parse(function, &digest.hash)?,
            None => {
                let names = Function::ALL.into_iter().filter_map(|f| BlobName::parse(f, &digest.hash));
                names.into_iter().find(known)?
            }
        };
        let opened = self.0.blob(grant, name, 0, None).await.ok()??;
        if opened.size != size {
            return None;
        }
        let bytes = blocking(move || read_all(&opened.file, size).map_err(PutError::Io)).await.ok()?;
        *left -= size;
        Some(bytes)
    }
}
