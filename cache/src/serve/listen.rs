//! Connections: accepted, made secure, served until they or the server end.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::shared::Shared;

/// How many connections are served at a time. Others wait.
const CONNECTIONS: usize = 1000;
/// How long a connection may be open before something is said on it, and may be silent between two requests.
const SILENCE: Duration = Duration::from_secs(120);
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many requests a connection may have at a time, and the bytes of them that wait to be taken in.
const STREAMS: u32 = 100;
const STREAM_WINDOW: u32 = 512 << 10;
const CONNECTION_WINDOW: u32 = 2 << 20;
/// Bytes of a stream that wait to be sent.
const SEND_BUFFER: usize = 256 << 10;

/// Present TLS settings; `None`: there is no TLS.
pub(super) type Tls = Arc<RwLock<Option<Arc<ServerConfig>>>>;

/// Serves until `stop` says so, and then until what is running has ended.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    shared: Arc<Shared>,
    tls: Tls,
    mut stop: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut running = JoinSet::new();
    loop {
        // The semaphore is never closed.
        let Ok(place) = places.clone().acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        while running.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                refused(&shared, &error).await;
                continue;
            }
        };
        let connection = Connection {
            router: router.clone(),
            shared: shared.clone(),
            tls: tls.read().unwrap_or_else(PoisonError::into_inner).clone(),
            stop: stop.clone(),
        };
        running.spawn(async move {
            let _place = place;
            connection.shared.metrics.connections.fetch_add(1, Ordering::Relaxed);
            let metrics = connection.shared.clone();
            connection.serve(stream).await;
            metrics.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
    drop(listener);
    while running.join_next().await.is_some() {}
}

/// A connection that could not be accepted.
async fn refused(shared: &Shared, error: &io::Error) {
    let theirs = [io::ErrorKind::ConnectionAborted, io::ErrorKind::ConnectionReset];
    if !theirs.contains(&error.kind()) {
        // Too many open files, usually: some will be closed.
        shared.warn(format!("cannot accept a connection: {error}"));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

struct Connection {
    router: Router,
    shared: Arc<Shared>,
    tls: Option<Arc<ServerConfig>>,
    stop: watch::Receiver<bool>,
}

impl Connection {
    async fn serve(mut self, stream: TcpStream) {
        // Small answers are not to wait for others; where it cannot be set, they do.
        let _ = stream.set_nodelay(true);
        let spoken = tokio::select! {
            spoken = tokio::time::timeout(SILENCE, stream.readable()) => matches!(spoken, Ok(Ok(()))),
            _ = self.stop.wait_for(|stop| *stop) => false,
        };
        if !spoken {
            return;
        }
        let Some(config) = self.tls.take() else { return self.talk(stream).await };
        match tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream)).await {
            Ok(Ok(stream)) => self.talk(stream).await,
            Ok(Err(_)) | Err(_) => {
                self.shared.metrics.failed_handshakes.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn talk<S>(mut self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(SILENCE).max_buf_size(SEND_BUFFER);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(30));
        let service = TowerToHyperService::new(self.router);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        // How it ended is written down with each request.
        tokio::select! {
            _ = connection.as_mut() => return,
            _ = self.stop.wait_for(|stop| *stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}
