//! Entries, as results of actions.
//!
//! The name of an entry becomes an action that nobody could run. Its digest is computed, not asked for. The result lists every blob
//! that the entry speaks of, so that a server keeps them together or drops them together, under a path that says what we call it:
//! that is also how it becomes known what blobs are called on a server that names them by SHA-256.
//! `docs/formats/remote-execution.md` has all of it.

use bazel_remote_apis::google::protobuf::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;

use api::action_cache_client::ActionCacheClient;
use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bytes::Bytes;
use prost::Message;
use tonic::Code;

use super::super::{Body, Condition, EntryName, MAX_ENTRY, RemoteError, RemoteErrorKind};
use super::capabilities::{Capabilities, MESSAGE};
use super::client::Client;
use super::names::{Function, Name};
use super::wire::Wire;
use crate::Digest;

/// Where the entry itself is, in a result.
const ENTRY: &str = "entry";

/// Entries up to this size, in bytes, are in the result itself.
const INLINE: usize = 1 << 20;

/// An action that stands for an entry, and what it is made of.
struct Stand {
    action: Bytes,
    command: Bytes,
    /// Its digest.
    name: Name,
}

impl Stand {
    fn new(function: Function, entry: &EntryName, namespace: Option<&str>) -> Stand {
        let mut arguments = vec!["relgraph".to_owned(), "entry".to_owned(), entry.hex()];
        arguments.extend(namespace.map(str::to_owned));
        let command = api::Command { arguments, ..Default::default() }.encode_to_vec();
        let root = api::Directory::default().encode_to_vec();
        let action = api::Action {
            command_digest: Some(function.name(&command).message()),
            input_root_digest: Some(function.name(&root).message()),
            ..Default::default()
        };
        let action = action.encode_to_vec();
        let name = function.name(&action);
        Stand { action: action.into(), command: command.into(), name }
    }
}

impl Client {
    fn action_cache(&self) -> ActionCacheClient<Wire> {
        ActionCacheClient::new(self.wire.clone()).max_decoding_message_size(2 * MAX_ENTRY)
    }

    /// Reads an entry, and learns what the blobs are called that it speaks of.
    pub async fn entry(&self, entry: &EntryName) -> Result<Option<Vec<u8>>, RemoteError> {
        const WHAT: &str = "GetActionResult";
        let capabilities = self.capabilities().await?;
        let Some(result) = self.result(&capabilities, entry).await? else { return Ok(None) };
        let Some(file) = result.output_files.iter().find(|file| file.path == ENTRY) else {
            return Err(self.broken(WHAT, "a result that is not one of ours"));
        };
        let name = file.digest.as_ref().and_then(Name::read);
        let name = name.ok_or_else(|| self.broken(WHAT, "an entry without a digest"))?;
        if name.size > MAX_ENTRY as u64 {
            return Err(self.broken(WHAT, format!("an entry of {} bytes", name.size)));
        }
        let bytes = if file.contents.is_empty() && name.size > 0 {
            match self.contents(&capabilities, &name).await? {
                Some(bytes) => bytes,
                None => return Ok(None),
            }
        } else {
            file.contents.clone()
        };
        if capabilities.function.name(&bytes) != name {
            return Err(self.broken(WHAT, "an entry with another digest than it should have"));
        }
        self.names.learn(result.output_files.iter().filter_map(told));
        Ok(Some(bytes))
    }

    async fn result(
        &self,
        capabilities: &Capabilities,
        entry: &EntryName,
    ) -> Result<Option<api::ActionResult>, RemoteError> {
        let stand = Stand::new(capabilities.function, entry, self.namespace.as_deref());
        let request = self.small(api::GetActionResultRequest {
            instance_name: self.instance().to_owned(),
            action_digest: Some(stand.name.message()),
            inline_output_files: vec![ENTRY.to_owned()],
            digest_function: capabilities.function.number(),
            ..Default::default()
        });
        match self.within(self.action_cache().get_action_result(request)).await {
            Ok(result) => Ok(Some(result)),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(self.error("GetActionResult", &status)),
        }
    }

    /// The bytes of an entry that were not in the result.
    async fn contents(
        &self,
        capabilities: &Capabilities,
        name: &Name,
    ) -> Result<Option<Vec<u8>>, RemoteError> {
        // Whatever this digest is called elsewhere, here it only names what is asked for.
        let blob = Digest { hash: name.hash, size: name.size };
        let body = if name.size <= capabilities.batch_bytes() {
            let mut bodies = self.read_batch(capabilities, vec![(blob, *name)], false).await?;
            bodies.pop().and_then(|(_, body)| body)
        } else {
            self.read(capabilities, name, false, None).await?
        };
        match body {
            Some(Body::Bytes(bytes)) => Ok(Some(bytes.into())),
            _ => Ok(None),
        }
    }

    /// Writes an entry after the blobs that it speaks of. Servers of this kind know no conditions: two who write at once may both
    /// succeed, and the second entry stays.
    pub async fn write_entry(
        &self,
        entry: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        took: Option<Duration>,
    ) -> Result<bool, RemoteError> {
        const WHAT: &str = "UpdateActionResult";
        let capabilities = self.capabilities().await?;
        if !capabilities.entries {
            let text =
                format!("{WHAT}: the server says that it takes no entries from us (update_enabled is false)");
            return Err(RemoteError::new(RemoteErrorKind::Denied, text));
        }
        if bytes.len() > MAX_ENTRY {
            let text = format!("an entry of {} bytes, where {MAX_ENTRY} are allowed", bytes.len());
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        }
        if *condition == Condition::Absent && self.result(&capabilities, entry).await?.is_some() {
            return Ok(false);
        }
        let stand = Stand::new(capabilities.function, entry, self.namespace.as_deref());
        let (action_digest, name) = (stand.name.message(), capabilities.function.name(bytes));
        let mut action_result = self.listing(&capabilities, name, bytes, blobs)?;
        action_result.execution_metadata = took.map(ran_for);
        self.write_around(&capabilities, stand, name, bytes).await?;
        let request = api::UpdateActionResultRequest {
            instance_name: self.instance().to_owned(),
            action_digest: Some(action_digest),
            action_result: Some(action_result),
            digest_function: capabilities.function.number(),
            ..Default::default()
        };
        if request.encoded_len() as u64 > MESSAGE {
            let text =
                format!("{WHAT}: an entry that speaks of {} blobs is too large for a message", blobs.len());
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        }
        let answer = self.within(self.action_cache().update_action_result(self.small(request))).await;
        answer.map(|_| true).map_err(|status| self.error(WHAT, &status))
    }

    /// The result that an entry becomes.
    fn listing(
        &self,
        capabilities: &Capabilities,
        name: Name,
        bytes: &[u8],
        blobs: &[Digest],
    ) -> Result<api::ActionResult, RemoteError> {
        let mut output_files = Vec::with_capacity(blobs.len() + 1);
        for blob in blobs.iter().collect::<BTreeSet<_>>() {
            let named = match blob.size {
                0 => Some(capabilities.function.name(b"")),
                _ => self.names.get(capabilities.function, blob),
            };
            let named = named.ok_or_else(|| {
                let text = format!("an entry speaks of the blob {blob}, which was not stored before");
                RemoteError::new(RemoteErrorKind::Refused, text)
            })?;
            let folder = if self.names.is_plain(blob) { "plain" } else { "blobs" };
            output_files.push(api::OutputFile {
                path: format!("{folder}/{}", blob.hex()),
                digest: Some(named.message()),
                ..Default::default()
            });
        }
        output_files.push(api::OutputFile {
            path: ENTRY.to_owned(),
            digest: Some(name.message()),
            contents: if bytes.len() <= INLINE { bytes.to_vec() } else { Vec::new() },
            ..Default::default()
        });
        Ok(api::ActionResult { output_files, ..Default::default() })
    }

    /// Stores the entry, and the messages that its action is made of: servers show them, and check that they are there.
    async fn write_around(
        &self,
        capabilities: &Capabilities,
        stand: Stand,
        name: Name,
        bytes: &[u8],
    ) -> Result<(), RemoteError> {
        let command = capabilities.function.name(&stand.command);
        let mut small = vec![(stand.name, stand.action, false), (command, stand.command, false)];
        // The empty folder is the empty blob, which is everywhere; not all servers know.
        small.push((capabilities.function.name(b""), Bytes::new(), false));
        let room = capabilities.batch_bytes().saturating_sub(small.iter().map(|(name, ..)| name.size).sum());
        let entry = Bytes::copy_from_slice(bytes);
        if name.size == 0 || name.size > room {
            self.write_batch(capabilities, small).await?;
            let body = Body::Bytes(entry);
            return if name.size == 0 { Ok(()) } else { self.write(capabilities, &name, body, false).await };
        }
        small.push((name, entry, false));
        self.write_batch(capabilities, small).await
    }
}

/// How long an action ran, as servers show it: from the beginning of time, for when it ran is nobody's business.
fn ran_for(took: Duration) -> api::ExecutedActionMetadata {
    let at = |time: Duration| Timestamp {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or(0),
    };
    api::ExecutedActionMetadata {
        execution_start_timestamp: Some(at(Duration::ZERO)),
        execution_completed_timestamp: Some(at(took)),
        ..Default::default()
    }
}

/// What a line of a result tells of a blob: our digest, the server's name, whether it is not compressed by itself.
fn told(file: &api::OutputFile) -> Option<(Digest, Name, bool)> {
    let (folder, hex) = file.path.split_once('/')?;
    let plain = match folder {
        "blobs" => false,
        "plain" => true,
        _ => return None,
    };
    let name = file.digest.as_ref().and_then(Name::read)?;
    Some((Digest { hash: crate::digest::parse_hash(hex)?, size: name.size }, name, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_are_those_of_the_vectors() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats/remote-execution.md");
        let text = std::fs::read_to_string(path).unwrap();
        let entry = EntryName(std::array::from_fn(|at| at as u8));
        for (vector, namespace) in [("main", None), ("namespace", Some("pr-7"))] {
            let stand = Stand::new(Function::Sha256, &entry, namespace);
            let block = text.split(&format!("```golden {vector}\n")).nth(1).unwrap();
            let block = block.split("```").next().unwrap();
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            for line in [
                format!("command = {}\n", hex(&stand.command)),
                format!("action = {}\n", hex(&stand.action)),
                format!("digest = {}/{}\n", stand.name.hex(), stand.name.size),
            ] {
                assert!(block.contains(&line), "{line}");
            }
        }
    }

    #[test]
    fn only_lines_that_name_a_blob_tell_of_one() {
        let (blob, digest) = (Digest::of(b"abc"), Function::Sha256.name(b"abc"));
        let line = |path: String| {
            told(&api::OutputFile { path, digest: Some(digest.message()), ..Default::default() })
        };
        assert_eq!(line(format!("blobs/{}", blob.hex())), Some((blob, digest, false)));
        assert_eq!(line(format!("plain/{}", blob.hex())), Some((blob, digest, true)));
        for path in ["entry".to_owned(), format!("other/{}", blob.hex()), "blobs/..".to_owned()] {
            assert_eq!(line(path), None);
        }
        assert_eq!(
            told(&api::OutputFile { path: format!("blobs/{}", blob.hex()), ..Default::default() }),
            None
        );
    }
}
