//! The connections to a server: [`Wire`], which shows credentials with every call and ends those on which nothing moves.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::http::{self, HeaderValue, header::AUTHORIZATION};
use tonic::codegen::{BoxFuture, Service, StdError};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::super::Limits;
use super::line::{Connect, Moved};
use super::status::HTTP;
use super::watch::{Answer, Asking, Watch};

/// How many transfers share a connection.
const PER_CONNECTION: usize = 8;

/// Connections to one server. Clones share them.
#[derive(Clone)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    lane: Lane,
}

/// What a connection is for. Small questions have one of their own, so that they do not wait behind transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    Questions,
    Transfers,
}

struct Shared {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    metadata: HeaderValue,
    limits: Limits,
    /// The first is for questions; there are none until they are needed.
    channels: RwLock<Vec<(Channel, Moved)>>,
    next: AtomicUsize,
}

impl Wire {
    /// Nothing is connected yet. `metadata` tells the server who we are.
    pub fn new(
        endpoint: Endpoint,
        authorization: Option<HeaderValue>,
        metadata: HeaderValue,
        limits: Limits,
    ) -> Wire {
        let (channels, next) = (RwLock::default(), AtomicUsize::new(0));
        let shared = Shared { endpoint, authorization, metadata, limits, channels, next };
        Wire { shared: Arc::new(shared), lane: Lane::Questions }
    }

    /// The same, for calls that move blobs.
    pub fn for_transfers(&self) -> Wire {
        Wire { shared: Arc::clone(&self.shared), lane: Lane::Transfers }
    }

    /// One of the connections, in turn; made when there are none. On threads of the runtime only.
    fn channel(&self) -> (Channel, Moved) {
        let shared = &*self.shared;
        let transfers = shared.limits.parallel.div_ceil(PER_CONNECTION).max(1);
        let at = match self.lane {
            Lane::Questions => 0,
            Lane::Transfers => 1 + shared.next.fetch_add(1, Ordering::Relaxed) % transfers,
        };
        if let Some(channel) = shared.channels.read().unwrap_or_else(PoisonError::into_inner).get(at) {
            return channel.clone();
        }
        let mut channels = shared.channels.write().unwrap_or_else(PoisonError::into_inner);
        while channels.len() <= transfers {
            let moved = Moved::now();
            let connect = Connect::new(shared.limits.connect, moved.clone());
            channels.push((shared.endpoint.connect_with_connector_lazy(connect), moved));
        }
        channels[at].clone()
    }

    /// Makes new connections for the calls that follow: one that was silent may be dead, and nobody has told us.
    pub fn renew(&self) {
        self.shared.channels.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Service<http::Request<Body>> for Wire {
    type Response = http::Response<Answer>;
    type Error = StdError;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), StdError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let headers = request.headers_mut();
        if let Some(value) = &self.shared.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers.insert("build.bazel.remote.execution.v2.requestmetadata-bin", self.shared.metadata.clone());
        let (mut channel, moved) = self.channel();
        let watch = Watch::new(moved, self.shared.limits.idle);
        let request = request.map(|body| Body::new(Asking::new(body, watch.clone())));
        Box::pin(async move {
            let answer = async {
                std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
                channel.call(request).await
            };
            let answer = tokio::select! {
                answer = answer => answer?,
                () = watch.silence() => return Err(watch.stalled().into()),
            };
            match not_grpc(answer.status()) {
                Some(status) => Err(status.into()),
                None => Ok(answer.map(|body| Answer::new(body, watch))),
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
    Some(Status::new(code, format!("{HTTP}{status}")))
}
