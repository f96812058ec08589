//! A server of the Remote Execution API as small as it can be, that does what those which can be installed do not: it names blobs by
//! BLAKE3, has narrow limits, speaks zstd, and fails in every way.
#![allow(dead_code)]

mod cache;
mod stream;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use bazel_remote_apis::build::bazel::remote::execution::v2 as api;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStreamServer;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// What goes wrong with blobs and entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fault {
    #[default]
    None,
    /// More bytes are sent than a blob has; streams never end.
    TooMany,
    /// Other bytes, as many.
    Wrong,
    /// Fewer bytes.
    Truncated,
    /// Nothing is answered; streams stop after a piece.
    Silent,
    /// Each piece takes a while.
    Slow,
    /// There is no room.
    Full,
    /// Blobs of a batch are forgotten in the answer.
    Forgetful,
    /// Everything is said to be missing, as it is when somebody else stores the same.
    Late,
}

/// How a stub behaves.
#[derive(Debug, Clone)]
pub struct Manners {
    /// What it announces; `None`: it has no such service.
    pub capabilities: Option<api::ServerCapabilities>,
    /// Names blobs by BLAKE3, and by SHA-256 otherwise.
    pub blake3: bool,
    /// Entries are not inlined.
    pub bare: bool,
    pub fault: Fault,
}

impl Manners {
    /// A server that announces what is changed of the usual.
    pub fn new(change: impl FnOnce(&mut api::CacheCapabilities)) -> Manners {
        let mut cache = api::CacheCapabilities {
            digest_functions: vec![1],
            action_cache_update_capabilities: Some(api::ActionCacheUpdateCapabilities {
                update_enabled: true,
            }),
            ..Default::default()
        };
        change(&mut cache);
        let blake3 = cache.digest_functions.contains(&9);
        let capabilities = api::ServerCapabilities { cache_capabilities: Some(cache), ..Default::default() };
        Manners { capabilities: Some(capabilities), blake3, bare: false, fault: Fault::None }
    }

    /// A server with nothing special about it.
    pub fn plain() -> Manners {
        Manners::new(|_| ())
    }

    /// The same with a fault.
    pub fn with(self, fault: Fault) -> Manners {
        Manners { fault, ..self }
    }
}

/// What the services share.
pub(crate) struct Held {
    manners: Mutex<Manners>,
    /// By digest (`HEX/SIZE`).
    blobs: Mutex<HashMap<String, Vec<u8>>>,
    entries: Mutex<HashMap<String, api::ActionResult>>,
    seen: Mutex<Vec<String>>,
}

impl Held {
    fn fault(&self) -> Fault {
        self.manners.lock().expect("the lock").fault
    }

    fn note(&self, what: String) {
        self.seen.lock().expect("the lock").push(what);
    }

    /// The digest that these bytes have here.
    fn name(&self, bytes: &[u8]) -> String {
        use sha2::Digest;
        if self.manners.lock().expect("the lock").blake3 {
            return relgraph_cache::Digest::of(bytes).to_string();
        }
        let mut hex = String::new();
        for byte in sha2::Sha256::digest(bytes) {
            write!(hex, "{byte:02x}").expect("a string takes everything");
        }
        format!("{hex}/{}", bytes.len())
    }

    fn blob(&self, name: &str) -> Option<Vec<u8>> {
        self.blobs.lock().expect("the lock").get(name).cloned()
    }

    /// Keeps a blob under the name that it is said to have, if that is its name.
    fn keep(&self, name: &str, bytes: Vec<u8>) -> Result<(), tonic::Status> {
        if self.name(&bytes) != name {
            return Err(tonic::Status::invalid_argument("the digest does not match"));
        }
        self.blobs.lock().expect("the lock").insert(name.to_owned(), bytes);
        Ok(())
    }

    /// What is sent for a blob.
    fn spoilt(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        match self.fault() {
            Fault::TooMany => bytes.push(0),
            Fault::Wrong => bytes[0] ^= 1,
            Fault::Truncated => drop(bytes.pop()),
            _ => {}
        }
        bytes
    }
}

/// A stub that runs until this is dropped.
pub struct Stub {
    /// `127.0.0.1:PORT`.
    pub address: String,
    held: Arc<Held>,
    runtime: Option<Runtime>,
}

impl Stub {
    pub fn start(manners: Manners) -> Stub {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.expect("threads");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let announces = manners.capabilities.is_some();
        let held = Arc::new(Held {
            manners: Mutex::new(manners),
            blobs: Mutex::default(),
            entries: Mutex::default(),
            seen: Mutex::default(),
        });
        let service = cache::Cache(Arc::clone(&held));
        let cas =
            api::content_addressable_storage_server::ContentAddressableStorageServer::new(service.clone());
        let entries = api::action_cache_server::ActionCacheServer::new(service.clone());
        let streams = ByteStreamServer::new(stream::Streams(Arc::clone(&held)));
        let router = Server::builder().add_service(cas).add_service(entries).add_service(streams);
        let router = router.add_optional_service(
            announces.then(|| api::capabilities_server::CapabilitiesServer::new(service)),
        );
        runtime.spawn(router.serve_with_incoming(TcpIncoming::from(listener)));
        Stub { address, held, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    /// Changes what goes wrong.
    pub fn fail(&self, fault: Fault) {
        self.held.manners.lock().expect("the lock").fault = fault;
    }

    /// Forgets all blobs, and keeps the entries.
    pub fn lose_blobs(&self) {
        self.held.blobs.lock().expect("the lock").clear();
    }

    /// How many blobs it holds.
    pub fn count(&self) -> usize {
        self.held.blobs.lock().expect("the lock").len()
    }

    /// What was asked since the last time, one line for each call.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.held.seen.lock().expect("the lock"))
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
