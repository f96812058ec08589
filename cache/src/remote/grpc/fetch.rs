//! Fetching many blobs.

use std::collections::HashSet;
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::super::{Arrived, Body, RemoteError, runtime};
use super::capabilities::Capabilities;
use super::client::Client;
use super::loads::{Load, loads};
use super::names::Name;
use crate::Digest;

/// What one call brought.
type Fetched = Result<Vec<(Digest, Option<Body>)>, RemoteError>;

impl Client {
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
