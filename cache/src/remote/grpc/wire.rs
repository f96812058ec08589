//! The connections to a server: [`Wire`], which shows credentials with every call and ends those on which nothing moves.
//!
//! What moves is seen below gRPC: each frame of a request that the connection takes, and each frame of an answer. So a
//! message of some MiB on a slow line is not taken for a dead one, and a dead one is noticed in the middle of a message.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::body::Body;
use tonic::codegen::http::{self, HeaderValue, header::AUTHORIZATION};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// How many bytes of a request are handed to the connection at once: it must be seen that they move.
const PIECE: usize = 64 << 10;

/// Connections to one server. Clones share them.
#[derive(Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
}

struct Shared {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    metadata: HeaderValue,
    idle: Duration,
    connections: usize,
    channels: RwLock<Vec<Channel>>,
    next: AtomicUsize,
}

impl Wire {
    /// Nothing is connected yet. `metadata` tells the server who we are; `idle` is how long nothing may move.
    pub fn new(
        endpoint: Endpoint,
        authorization: Option<HeaderValue>,
        metadata: HeaderValue,
        idle: Duration,
        connections: usize,
    ) -> Wire {
        let (channels, next) = (RwLock::default(), AtomicUsize::new(0));
        Wire {
            shared: Arc::new(Shared {
                endpoint,
                authorization,
                metadata,
                idle,
                connections: connections.max(1),
                channels,
                next,
            }),
        }
    }

    /// One of the connections, in turn; made when there are none. On threads of the runtime only.
    fn channel(&self) -> Channel {
        let shared = &*self.shared;
        let next = shared.next.fetch_add(1, Ordering::Relaxed);
        {
            let channels = shared.channels.read().unwrap_or_else(PoisonError::into_inner);
            if !channels.is_empty() {
                return channels[next % channels.len()].clone();
            }
        }
        let mut channels = shared.channels.write().unwrap_or_else(PoisonError::into_inner);
        if channels.is_empty() {
            channels.extend((0..shared.connections).map(|_| shared.endpoint.connect_lazy()));
        }
        channels[next % channels.len()].clone()
    }

    /// Makes new connections for the calls that follow: one that was silent may be dead, and nobody has told us.
    pub fn renew(&self) {
        self.shared.channels.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Watched>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let (mut channel, idle) = (self.channel(), self.shared.idle);
        let headers = request.headers_mut();
        if let Some(value) = &self.shared.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers.insert("build.bazel.remote.execution.v2.requestmetadata-bin", self.shared.metadata.clone());
        let moved = Arc::new(Mutex::new(Instant::now()));
        let request =
            request.map(|inner| Body::new(Pieces { inner, rest: Bytes::new(), moved: Arc::clone(&moved) }));
        Box::pin(async move {
            let answer = async {
                std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
                channel.call(request).await
            };
            tokio::select! {
                answer = answer => {
                    let answer = answer?;
                    match not_grpc(answer.status()) {
                        Some(status) => Err(status.into()),
                        None => Ok(answer.map(|inner| Watched { inner, idle, moved, silence: None })),
                    }
                }
                () = silence(&moved, idle) => Err(stalled(idle).into()),
            }
        })
    }
}

/// What it means that something in between answers in the language of HTTP.
fn not_grpc(status: http::StatusCode) -> Option<Status> {
    let code = match status.as_u16() {
        200 => return None,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::Unimplemented,
        429 | 502..=504 => Code::Unavailable,
        507 => Code::ResourceExhausted,
        400..=499 => Code::FailedPrecondition,
        _ => Code::Unknown,
    };
    Some(Status::new(code, format!("HTTP {status}")))
}

fn stalled(idle: Duration) -> Status {
    Status::new(Code::DeadlineExceeded, format!("nothing moved for {} s", idle.as_secs_f32()))
}

/// Ends when nothing has moved for so long.
async fn silence(moved: &Mutex<Instant>, idle: Duration) {
    loop {
        let until = *moved.lock().unwrap_or_else(PoisonError::into_inner) + idle;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// The body of a request, in small pieces, that notes when one is taken.
struct Pieces {
    inner: Body,
    rest: Bytes,
    moved: Arc<Mutex<Instant>>,
}

impl Pieces {
    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        *this.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                this.rest = data;
                this.piece()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }
}

/// The body of an answer, that ends with an error when nothing arrives for too long while it is waited for.
pub(super) struct Watched {
    inner: Body,
    idle: Duration,
    /// When the request last moved: an answer may begin before all was asked.
    moved: Arc<Mutex<Instant>>,
    silence: Option<Pin<Box<Sleep>>>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.silence = None;
            return Poll::Ready(frame);
        }
        // It counts from when somebody waits: whoever takes his time with what arrived is not the server.
        let silence = this.silence.get_or_insert_with(|| Box::pin(sleep(this.idle)));
        loop {
            ready!(silence.as_mut().poll(cx));
            let until = *this.moved.lock().unwrap_or_else(PoisonError::into_inner) + this.idle;
            if until <= Instant::now() {
                break;
            }
            silence.as_mut().reset(until);
        }
        Poll::Ready(Some(Err(stalled(this.idle))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
