//! Sockets of which it is known when a byte last came or went: [`Connect`].

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tonic::codegen::http::Uri;
use tonic::codegen::{BoxFuture, Service, StdError};

/// When something last moved. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Moved(Arc<AtomicU64>);

/// What [`Moved`] counts from.
fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

impl Moved {
    /// It moved just now.
    pub fn now() -> Moved {
        let moved = Moved(Arc::default());
        moved.touch();
        moved
    }

    pub fn touch(&self) {
        let micros = beginning().elapsed().as_micros();
        self.0.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn last(&self) -> Instant {
        beginning() + Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Has the system take in no more than this, in bytes, of what the network has not taken yet. Otherwise it takes MiB, and on a
/// slow line nobody could tell for many seconds whether anything moves.
const NOT_SENT: u32 = 256 << 10;

fn little_at_once(socket: &TcpStream) {
    // Where the system knows it; without it, only slow lines suffer.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(socket).set_tcp_notsent_lowat(NOT_SENT);
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (socket, NOT_SENT);
}

/// Connects to a server, and notes what moves on the connection.
#[derive(Clone)]
pub(super) struct Connect {
    inner: HttpConnector,
    moved: Moved,
}

impl Connect {
    /// `timeout` is for each of the addresses that a name stands for.
    pub fn new(timeout: Duration, moved: Moved) -> Connect {
        let mut inner = HttpConnector::new();
        inner.enforce_http(false);
        inner.set_nodelay(true);
        inner.set_keepalive(Some(Duration::from_secs(60)));
        inner.set_connect_timeout(Some(timeout));
        Connect { inner, moved }
    }
}

impl Service<Uri> for Connect {
    type Response = TokioIo<Line>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, StdError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        self.inner.poll_ready(cx).map_err(StdError::from)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connecting, moved) = (self.inner.call(uri), self.moved.clone());
        Box::pin(async move {
            let socket = connecting.await?.into_inner();
            moved.touch();
            little_at_once(&socket);
            Ok(TokioIo::new(Line { socket, moved }))
        })
    }
}

/// A socket that notes what moves.
pub(super) struct Line {
    socket: TcpStream,
    moved: Moved,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.socket).poll_read(cx, buffer);
        if read.is_ready() {
            self.moved.touch();
        }
        read
    }
}

impl AsyncWrite for Line {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        if written.is_ready() {
            self.moved.touch();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, parts);
        if written.is_ready() {
            self.moved.touch();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
