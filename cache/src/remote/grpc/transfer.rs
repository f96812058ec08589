//! Many blobs at once: what goes into which call, and how many calls run beside each other.

use std::collections::HashSet;
use std::fs;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use rayon::prelude::*;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{JoinSet, block_in_place};

use super::super::{Arrived, Body, RemoteError, RemoteErrorKind, runtime};
use super::capabilities::{AROUND_BLOB, Capabilities};
use super::client::Client;
use super::names::Name;
use crate::Digest;
use crate::parallel::parallel;

/// A batch is not made larger than this, in bytes, when there are others to run beside it; larger blobs travel alone.
const BATCH: u64 = 1 << 20;

/// What one call is about.
#[derive(Debug, PartialEq, Eq)]
enum Load<T> {
    Batch(Vec<T>),
    Stream(T),
}

/// Divides blobs among calls: large ones alone, and first, for they take longest.
fn loads<T>(blobs: Vec<T>, size: impl Fn(&T) -> u64, capabilities: &Capabilities) -> Vec<Load<T>> {
    let limit = capabilities.batch_bytes().min(BATCH);
    let (mut streams, mut batches) = (Vec::new(), Vec::new());
    let (mut batch, mut bytes, mut whole) = (Vec::new(), 0, 0);
    for blob in blobs {
        let size = size(&blob);
        if size > limit {
            streams.push(Load::Stream(blob));
            continue;
        }
        // The server counts blobs, and the message holds what is around them as well.
        if !batch.is_empty() && (bytes + size > limit || whole + size + AROUND_BLOB > BATCH) {
            batches.push(Load::Batch(std::mem::take(&mut batch)));
            (bytes, whole) = (0, 0);
        }
        batch.push(blob);
        bytes += size;
        whole += size + AROUND_BLOB;
    }
    if !batch.is_empty() {
        batches.push(Load::Batch(batch));
    }
    streams.extend(batches);
    streams
}

type Fetched = Result<Vec<(Digest, Option<Body>)>, RemoteError>;

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

    /// Fetches blobs and hands each over, on this thread and a few more.
    pub fn fetch(
        self: &Arc<Self>,
        blobs: &[Digest],
        scratch: &Path,
        arrived: Arrived<'_>,
    ) -> Result<(), RemoteError> {
        if blobs.is_empty() {
            return Ok(());
        }
        let capabilities = runtime::wait(self.capabilities())?;
        let (mut seen, mut packed, mut plain) = (HashSet::new(), Vec::new(), Vec::new());
        for blob in blobs.iter().filter(|blob| seen.insert(**blob)) {
            match self.names.get(capabilities.function, blob) {
                _ if blob.size == 0 => arrived(blob, Some(Body::Bytes(Bytes::new()))),
                // No entry speaks of it: nobody knows what it is called there.
                None => arrived(blob, None),
                Some(name) if self.names.is_plain(blob) => plain.push((*blob, name)),
                Some(name) => packed.push((*blob, name)),
            }
        }
        let loads = [(packed, false), (plain, true)].into_iter().flat_map(|(blobs, plain)| {
            let loads = loads(blobs, |(blob, _)| blob.size, &capabilities);
            loads.into_iter().map(move |load| (load, plain))
        });
        let calls: Vec<_> = loads
            .map(|(load, plain)| {
                let (client, capabilities) = (Arc::clone(self), Arc::clone(&capabilities));
                let scratch = scratch.to_owned();
                async move { client.fetch_load(&capabilities, load, plain, &scratch).await }
            })
            .collect();
        self.hand_over(calls, arrived)
    }

    async fn fetch_load(
        &self,
        capabilities: &Capabilities,
        load: Load<(Digest, Name)>,
        plain: bool,
        scratch: &Path,
    ) -> Fetched {
        match load {
            Load::Batch(blobs) => self.read_batch(capabilities, blobs, plain).await,
            Load::Stream((blob, name)) => {
                Ok(vec![(blob, self.read(capabilities, &name, plain, Some(scratch)).await?)])
            }
        }
    }

    /// Runs calls on the runtime, and hands over here what they bring. A call counts until all that it brought was taken: so that
    /// memory is bounded, and nothing that is on its way waits for whoever takes his time.
    fn hand_over<F>(&self, calls: Vec<F>, arrived: Arrived<'_>) -> Result<(), RemoteError>
    where
        F: Future<Output = Fetched> + Send + 'static,
    {
        let threads = thread::available_parallelism().map_or(1, usize::from).min(4).min(calls.len());
        let (sender, receiver) = mpsc::unbounded_channel();
        let permits = Arc::new(Semaphore::new(self.limits.parallel));
        let all = runtime::runtime().spawn(async move {
            let mut running = JoinSet::new();
            for call in calls {
                let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
                let sender = sender.clone();
                running.spawn(async move {
                    // Nobody listens any more when it fails.
                    let _ = sender.send((call.await, permit));
                });
                while running.try_join_next().is_some() {}
            }
            drop(sender);
            while running.join_next().await.is_some() {}
        });
        let (receiver, failed) = (Mutex::new(receiver), Mutex::new(None));
        let take = || {
            loop {
                let next = receiver.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
                match next {
                    Some((Ok(blobs), permit)) => {
                        blobs.into_iter().for_each(|(blob, body)| arrived(&blob, body));
                        drop(permit);
                    }
                    Some((Err(error), _)) => {
                        all.abort();
                        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    }
                    None => return,
                }
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(take);
            }
            take();
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
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

fn local(body: &Body, error: &std::io::Error) -> RemoteError {
    let message = match body {
        Body::Bytes(_) => error.to_string(),
        Body::File(path) => format!("{}: {error}", path.display()),
    };
    RemoteError::new(RemoteErrorKind::Local, message)
}

fn lost(error: &tokio::task::JoinError) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, format!("a transfer ended on its own: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn divide(sizes: &[u64], limit: u64) -> Vec<Load<u64>> {
        let mut capabilities = Capabilities::unknown();
        capabilities.batch = Some(limit);
        loads(sizes.to_vec(), |size| *size, &capabilities)
    }

    #[test]
    fn batches_hold_to_the_limit_and_what_is_larger_travels_alone() {
        let loads = divide(&[40, 70, 100, 30, 101, 60], 100);
        let expected = [
            Load::Stream(101),
            Load::Batch(vec![40]),
            Load::Batch(vec![70]),
            Load::Batch(vec![100]),
            Load::Batch(vec![30, 60]),
        ];
        assert_eq!(loads, expected);
        assert_eq!(divide(&[], 100), []);
    }

    #[test]
    fn what_is_around_small_blobs_counts() {
        let loads = divide(&[1; 100_000], 1 << 40);
        let most = loads.iter().map(|load| match load {
            Load::Batch(batch) => batch.len() as u64 * (1 + AROUND_BLOB),
            Load::Stream(_) => panic!("a tiny blob travels alone"),
        });
        assert!(most.max().unwrap() <= BATCH);
    }
}
