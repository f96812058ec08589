//! Storing many blobs.

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use rayon::prelude::*;
use tokio::task::{JoinError, JoinSet, block_in_place};

use super::super::{Body, RemoteError, RemoteErrorKind, runtime};
use super::capabilities::Capabilities;
use super::client::Client;
use super::loads::{Load, loads};
use super::names::Name;
use crate::Digest;
use crate::parallel::parallel;

impl Client {
    /// Stores what is not there yet.
    pub fn store(self: &Arc<Self>, blobs: Vec<(Digest, Body)>) -> Result<(), RemoteError> {
        let mut seen = HashSet::new();
        let blobs: Vec<_> =
            blobs.into_iter().filter(|(blob, _)| blob.size > 0 && seen.insert(*blob)).collect();
        if blobs.is_empty() {
            return Ok(());
        }
        let capabilities = runtime::wait(self.capabilities())?;
        if let Some(largest) = capabilities.largest
            && let Some((blob, _)) = blobs.iter().find(|(blob, _)| blob.size > largest)
        {
            let text = format!("a blob of {} bytes, and the server stores at most {largest}", blob.size);
            return Err(RemoteError::new(RemoteErrorKind::Refused, text));
        }
        let names: Vec<Name> = parallel(|| {
            let name = |(blob, body): &(Digest, Body)| {
                self.names.compute(capabilities.function, blob, body).map_err(|error| local(body, &error))
            };
            blobs.par_iter().map(name).collect::<Result<_, RemoteError>>()
        })?;
        let blobs = names.into_iter().zip(blobs).collect();
        runtime::wait(self.store_missing(&capabilities, blobs))
    }

    async fn store_missing(
        self: &Arc<Self>,
        capabilities: &Arc<Capabilities>,
        mut blobs: Vec<(Name, (Digest, Body))>,
    ) -> Result<(), RemoteError> {
        let names: Vec<Name> = blobs.iter().map(|(name, _)| *name).collect();
        let missing = self.find_missing(capabilities, &names).await?;
        blobs.retain(|(name, _)| missing.contains(name));
        let calls = loads(blobs, |(name, _)| name.size, capabilities).into_iter().map(|load| {
            let (client, capabilities) = (Arc::clone(self), Arc::clone(capabilities));
            async move { client.store_load(&capabilities, load).await }
        });
        self.run(calls).await
    }

    async fn store_load(
        &self,
        capabilities: &Capabilities,
        load: Load<(Name, (Digest, Body))>,
    ) -> Result<(), RemoteError> {
        match load {
            Load::Stream((name, (blob, body))) => {
                let plain = self.names.is_plain(&blob);
                self.write(capabilities, &name, body, plain).await
            }
            Load::Batch(blobs) => {
                let read = |(name, (blob, body)): (Name, (Digest, Body))| {
                    Ok::<_, RemoteError>((name, bytes(&body, name.size)?, self.names.is_plain(&blob)))
                };
                let blobs = block_in_place(|| blobs.into_iter().map(read).collect::<Result<_, _>>())?;
                self.write_batch(capabilities, blobs).await
            }
        }
    }

    /// Runs calls beside each other; the first error ends all of them.
    async fn run<F>(&self, calls: impl Iterator<Item = F>) -> Result<(), RemoteError>
    where
        F: Future<Output = Result<(), RemoteError>> + Send + 'static,
    {
        let mut running = JoinSet::new();
        for call in calls {
            if running.len() >= self.limits.parallel
                && let Some(ended) = running.join_next().await
            {
                ended.unwrap_or_else(|error| Err(lost(&error)))?;
            }
            running.spawn_on(call, runtime::runtime().handle());
        }
        while let Some(ended) = running.join_next().await {
            ended.unwrap_or_else(|error| Err(lost(&error)))?;
        }
        Ok(())
    }
}

/// The bytes of a body that is small enough for a batch.
fn bytes(body: &Body, size: u64) -> Result<Bytes, RemoteError> {
    let bytes = match body {
        Body::Bytes(bytes) => bytes.clone(),
        Body::File(path) => fs::read(path).map_err(|error| local(body, &error))?.into(),
    };
    if bytes.len() as u64 == size {
        return Ok(bytes);
    }
    Err(RemoteError::new(RemoteErrorKind::Local, "a file has changed while it was sent"))
}

fn local(body: &Body, error: &io::Error) -> RemoteError {
    let message = match body {
        Body::Bytes(_) => error.to_string(),
        Body::File(path) => format!("{}: {error}", path.display()),
    };
    RemoteError::new(RemoteErrorKind::Local, message)
}

fn lost(error: &JoinError) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, format!("a transfer ended on its own: {error}"))
}
