//! Servers of the Remote Execution API, version 2, over gRPC: `grpc://HOST:PORT/INSTANCE` and `grpcs://…`.
//!
//! Blobs lie in the content-addressable storage, entries in the action cache (`action_cache.rs` says how an entry becomes the
//! result of an action). What a server can do is asked once (`capabilities.rs`). A server that knows BLAKE3 names blobs as we do;
//! for all others they are named by SHA-256, and entries tell how the names translate (`names.rs`).

mod action_cache;
mod address;
mod bytestream;
mod capabilities;
mod cas;
mod client;
mod fetch;
mod line;
mod loads;
mod names;
mod status;
mod store;
mod watch;
mod wire;
mod zstandard;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Arrived, Body, Condition, Entry, EntryName, Remote, RemoteError, RemoteSpec, runtime};
use crate::Digest;
use client::Client;

pub(super) fn connect(spec: &RemoteSpec) -> Result<Arc<dyn Remote>, RemoteError> {
    Ok(Arc::new(Grpc(Arc::new(Client::new(spec)?))))
}

/// A server of the Remote Execution API.
#[derive(Debug)]
struct Grpc(Arc<Client>);

impl Remote for Grpc {
    fn url(&self) -> &str {
        self.0.url()
    }

    fn get(&self, name: &EntryName) -> Result<Option<Entry>, RemoteError> {
        let found = runtime::wait(self.0.entry(name))?;
        Ok(found.map(|bytes| Entry { bytes, version: None }))
    }

    fn put(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
    ) -> Result<bool, RemoteError> {
        self.0.may_write()?;
        runtime::wait(self.0.write_entry(name, bytes, blobs, condition, None))
    }

    fn put_made(
        &self,
        name: &EntryName,
        bytes: &[u8],
        blobs: &[Digest],
        condition: &Condition,
        took: Duration,
    ) -> Result<bool, RemoteError> {
        self.0.may_write()?;
        runtime::wait(self.0.write_entry(name, bytes, blobs, condition, Some(took)))
    }

    fn missing(&self, blobs: &[Digest]) -> Result<Vec<Digest>, RemoteError> {
        runtime::wait(self.0.missing(blobs))
    }

    fn fetch(&self, blobs: &[Digest], scratch: &Path, arrived: Arrived<'_>) -> Result<(), RemoteError> {
        self.0.fetch(blobs, scratch, arrived)
    }

    fn store(&self, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        self.0.may_write()?;
        self.0.store(blobs)
    }

    fn describe(&self) -> Result<Vec<String>, RemoteError> {
        let capabilities = runtime::wait(self.0.capabilities())?;
        Ok(capabilities.facts(self.0.instance()))
    }
}
