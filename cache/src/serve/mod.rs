//! A cache server for a small team: HTTP and gRPC on one port, a folder, a budget, tokens.
//!
//! ```text
//! listen   connections, TLS
//! door     who is it, may it come in, how did it end
//! http     /ac, /cas, the page, metrics         grpc   the Remote Execution API
//! upload   bytes on their way in                shared   and out
//! disk     the folder                           index  what is in it, and what goes first
//! ```
//!
//! Two things hold whatever happens. Nothing wrong has a name: bytes are hashed before they get one, and again before they are
//! first read after a start. And an entry that can be read is whole: blobs go after the entries that need them, and an entry
//! without its blobs is none. What is on disk says `docs/formats/serve.md`.

mod disk;
mod door;
mod entry;
mod error;
mod grpc;
mod http;
mod index;
mod listen;
mod metrics;
mod names;
mod page;
mod reload;
mod scan;
mod shared;
mod tls;
mod tokens;
mod upload;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

pub use error::ServeError;
pub use http::DURATION_HEADER;
pub use names::Partition;
pub use shared::{Event, OnEvent};
pub use tls::TlsFiles;
pub use tokens::WriteTokens;

use index::Rules;
use shared::Shared;
use tokens::Tokens;

/// How a server is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeConfig {
    /// Its folder. It is made when it is not there, and belongs to the server alone.
    pub dir: PathBuf,
    /// Where it listens. Port 0: one that is free.
    pub listen: SocketAddr,
    /// How much its files may take, in bytes; `None`: 20 GiB, or a tenth of the disk when that is less.
    pub max_size: Option<u64>,
    /// The largest entry, in bytes.
    pub max_entry: u64,
    /// Tokens for reading. Without any, everybody reads.
    pub readers: Vec<PathBuf>,
    /// Tokens for writing.
    pub writers: Vec<WriteTokens>,
    /// Whether everybody who reads may write, when there are no tokens for writing. On an address of this machine alone that
    /// is so anyway.
    pub anonymous_writes: bool,
    /// Certificates; `None`: no TLS.
    pub tls: Option<TlsFiles>,
    /// How long a blob is kept whose entry has not come yet.
    pub grace: Duration,
    /// How long what was just used is kept.
    pub lease: Duration,
    /// Whether there is an event for each request.
    pub log_requests: bool,
}

impl ServeConfig {
    /// The usual settings.
    pub fn new(dir: PathBuf, listen: SocketAddr) -> ServeConfig {
        ServeConfig {
            dir,
            listen,
            max_size: None,
            max_entry: 256 << 20,
            readers: Vec::new(),
            writers: Vec::new(),
            anonymous_writes: false,
            tls: None,
            grace: Duration::from_secs(600),
            lease: Duration::from_secs(60),
            log_requests: false,
        }
    }

    /// Who may write.
    pub fn write_rights(&self) -> Rights {
        match self.writers.is_empty() {
            false => Rights::Tokens,
            true if self.anonymous_writes || self.listen.ip().is_loopback() => Rights::Everybody,
            true => Rights::Nobody,
        }
    }

    /// Who may read.
    pub fn read_rights(&self) -> Rights {
        if self.readers.is_empty() { Rights::Everybody } else { Rights::Tokens }
    }

    fn tokens(&self) -> Result<Tokens, ServeError> {
        Tokens::read(&self.readers, &self.writers, self.write_rights() == Rights::Everybody)
    }
}

/// Who may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Whoever reaches the server; for writing: and may read.
    Everybody,
    /// Who has a token for it.
    Tokens,
    /// Nobody.
    Nobody,
}

/// A server that runs. It stops at once when this is dropped; [`Server::stop`] is the polite way.
#[derive(Debug)]
pub struct Server {
    runtime: Runtime,
    running: JoinHandle<()>,
    stop: watch::Sender<bool>,
    reload: Arc<Notify>,
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// Starts a server. What it has to say beside its answers goes to `on_event`, from any thread.
pub fn start(config: ServeConfig, on_event: OnEvent) -> Result<Server, ServeError> {
    let known = reload::stamps(&config);
    let tokens = config.tokens()?;
    let tls = config.tls.as_ref().map(TlsFiles::read).transpose()?;
    let listen = |source| ServeError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).map_err(listen)?;
    listener.set_nonblocking(true).map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;

    disk::private_folder(&config.dir).map_err(|error| ServeError::io(&config.dir, "make", error))?;
    let max = config.max_size.unwrap_or_else(|| budget(&config.dir));
    let rules = Rules { max, low: max - max / 20, grace: millis(config.grace), lease: millis(config.lease) };
    // Two of the largest fit.
    let (disk, found) = scan::open(&config.dir, rules, max / 2)?;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("relgraph-serve")
        .max_blocking_threads(64)
        .enable_all()
        .build()
        .map_err(ServeError::Threads)?;
    let limits = (max, config.max_entry);
    let shared = Arc::new(Shared::new(disk, tokens, limits, config.log_requests, on_event));
    if found.dropped > 0 {
        shared.warn(format!("{} files were not whole, and were removed", found.dropped));
    }
    reload::warn_of_exposed(&shared);
    let (stop, stopped) = watch::channel(false);
    let reload = Arc::new(Notify::new());
    let tls = Arc::new(RwLock::new(tls));
    let router = router(&shared);
    let running = {
        let _inside = runtime.enter();
        let listener = tokio::net::TcpListener::from_std(listener).map_err(listen)?;
        runtime.spawn(reload::watch(config, known, shared.clone(), tls.clone(), reload.clone()));
        runtime.spawn(listen::run(listener, router, shared.clone(), tls, stopped))
    };
    Ok(Server { runtime, running, stop, reload, shared, address })
}

fn router(shared: &Arc<Shared>) -> Router {
    let people = Router::new()
        .route("/", get(http::page))
        .route("/metrics", get(http::metrics))
        .route("/healthz", get(http::health))
        .fallback(http::serve)
        .with_state(shared.clone());
    grpc::add_to(people, shared).layer(from_fn_with_state(shared.clone(), door::pass))
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its budget, in bytes.
    pub fn max_size(&self) -> u64 {
        self.shared.max_size
    }

    /// Blobs and entries that it has, and the bytes that they take.
    pub fn totals(&self) -> (usize, usize, u64) {
        self.shared.disk.index().totals()
    }

    /// Reads tokens and certificates again. What cannot be read leaves the old ones, with a warning.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Takes no more connections and requests, and waits so long for those that are there. False: some were cut off.
    pub fn stop(self, within: Duration) -> bool {
        let _ = self.stop.send(true);
        let until = Instant::now() + within;
        let running = self.running;
        let ended = self.runtime.block_on(async { tokio::time::timeout(within, running).await.is_ok() });
        // What still writes to disk.
        self.runtime
            .shutdown_timeout(until.saturating_duration_since(Instant::now()).max(Duration::from_secs(1)));
        ended
    }
}

/// As many files may be open as the system allows. Connections, blobs and uploads are files.
pub fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// 20 GiB, or a tenth of the disk when that is less: as for a store.
fn budget(dir: &std::path::Path) -> u64 {
    let most = 20 << 30;
    rustix::fs::statvfs(dir).map_or(most, |disk| most.min(disk.f_blocks.saturating_mul(disk.f_frsize) / 10))
}
