//! What every request passes on its way in and out: who is it, may it come in, how did it end.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::shared::{Event, Shared};
use super::tokens::Stranger;

/// The longest target that is written down.
const LONGEST: usize = 300;

/// Lets requests in, and watches how they end.
pub(super) async fn pass(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let kind = kind(&request);
    let is_grpc = is_grpc(request.headers());
    let mut record = Record {
        shared: shared.clone(),
        token: Arc::from("?"),
        kind,
        target: String::new(),
        started,
        status: String::new(),
        received: Arc::new(AtomicU64::new(0)),
        sent: 0,
        expected: None,
        ended: false,
        is_grpc,
        permit: None,
    };
    if shared.log_requests {
        record.target = format!("{} {}", request.method(), request.uri().path());
        record.target.truncate(LONGEST);
    }
    if kind == "healthz" {
        return watched(next.run(request).await, record);
    }
    let shown = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    match shared.tokens().grant(shown) {
        Ok(grant) => {
            record.token = grant.name.clone();
            request.extensions_mut().insert(grant);
        }
        Err(stranger) => {
            if !is_grpc {
                // So that it hears why, and not that the connection broke.
                super::http::drain(request.into_body()).await;
            }
            return watched(turned_away(stranger, is_grpc), record);
        }
    }
    // Nobody has seen the token behind here.
    request.headers_mut().remove(AUTHORIZATION);
    if is_heavy(kind) {
        record.permit = shared.heavy.clone().acquire_owned().await.ok();
    }
    let received = record.received.clone();
    let request = request.map(|body| Body::new(Counted { inner: body, count: received }));
    let response = next.run(request).await;
    if !has_large_answer(kind) {
        // A client may take its time to read it.
        record.permit = None;
    }
    watched(response, record)
}

pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn turned_away(stranger: Stranger, is_grpc: bool) -> Response {
    let text = match stranger {
        Stranger::NoToken => "a token is needed",
        Stranger::Unknown => "the token is not known",
    };
    if is_grpc {
        return Status::unauthenticated(text).into_http::<Body>();
    }
    let challenge = (WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"relgraph cache\""));
    (StatusCode::UNAUTHORIZED, [challenge], format!("{text}\n")).into_response()
}

/// What is asked for, in few words: for metrics, so never more than these.
fn kind(request: &Request) -> &'static str {
    let path = request.uri().path();
    if is_grpc(request.headers()) {
        let method = path.rsplit('/').next().unwrap_or_default();
        let known = [
            "GetCapabilities",
            "FindMissingBlobs",
            "BatchReadBlobs",
            "BatchUpdateBlobs",
            "GetTree",
            "GetActionResult",
            "UpdateActionResult",
            "Read",
            "Write",
            "QueryWriteStatus",
        ];
        return known.into_iter().find(|name| *name == method).unwrap_or("other call");
    }
    match path {
        "/healthz" => return "healthz",
        "/metrics" => return "metrics",
        "/" => return "page",
        _ => {}
    }
    let part = path.rsplit('/').nth(1).unwrap_or_default();
    match (request.method(), part) {
        (&Method::GET, "ac") => "GET ac",
        (&Method::HEAD, "ac") => "HEAD ac",
        (&Method::PUT, "ac") => "PUT ac",
        (&Method::GET, "cas") => "GET cas",
        (&Method::HEAD, "cas") => "HEAD cas",
        (&Method::PUT, "cas") => "PUT cas",
        _ => "other request",
    }
}

/// Whether a whole message is in memory while it is worked on.
fn is_heavy(kind: &str) -> bool {
    matches!(
        kind,
        "BatchReadBlobs" | "BatchUpdateBlobs" | "GetTree" | "UpdateActionResult" | "GetActionResult"
    )
}

/// Whether its answer is in memory until it is sent.
fn has_large_answer(kind: &str) -> bool {
    matches!(kind, "BatchReadBlobs" | "GetTree")
}

/// Counts the bytes that come.
struct Counted {
    inner: Body,
    count: Arc<AtomicU64>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            self.count.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How a request went. Written down when nobody needs it any more.
struct Record {
    shared: Arc<Shared>,
    token: Arc<str>,
    kind: &'static str,
    target: String,
    started: Instant,
    status: String,
    received: Arc<AtomicU64>,
    sent: u64,
    /// How many bytes are to be sent, if that is known.
    expected: Option<u64>,
    ended: bool,
    is_grpc: bool,
    permit: Option<OwnedSemaphorePermit>,
}

impl Record {
    fn grpc_status(&mut self, headers: &HeaderMap) {
        if let Some(code) = headers.get("grpc-status") {
            self.status = format!("{:?}", Code::from_bytes(code.as_bytes()));
            self.ended = true;
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !self.ended && self.expected != Some(self.sent) {
            self.status = "broken off".to_owned();
        }
        let took = self.started.elapsed();
        let received = self.received.load(Ordering::Relaxed);
        self.shared.metrics.request(self.kind, &self.status, took);
        // What looks at the server is no use of the cache.
        if &*self.token != "?" && !matches!(self.kind, "metrics" | "page") {
            self.shared.metrics.person(&self.token, |person| {
                person.bytes_in += received;
                person.bytes_out += self.sent;
            });
        }
        if self.shared.log_requests {
            (self.shared.on_event)(Event::Request {
                token: self.token.to_string(),
                target: std::mem::take(&mut self.target),
                status: std::mem::take(&mut self.status),
                took,
                received,
                sent: self.sent,
            });
        }
    }
}

/// A body that writes down how it ended.
struct Watched {
    inner: Body,
    record: Record,
}

fn watched(response: Response, mut record: Record) -> Response {
    record.status = response.status().as_str().to_owned();
    record.grpc_status(response.headers());
    let (parts, inner) = response.into_parts();
    let length = parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    record.expected = length.or_else(|| inner.size_hint().exact());
    // No body is sent, whatever its length would be.
    record.ended |= !record.is_grpc && (inner.is_end_stream() || parts.status == StatusCode::NOT_MODIFIED);
    Response::from_parts(parts, Body::new(Watched { inner, record }))
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => {
                self.record.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                if let Some(trailers) = frame.trailers_ref() {
                    self.record.grpc_status(trailers);
                }
            }
            Some(Err(_)) => {}
            None => self.record.ended |= self.record.expected.is_none_or(|count| count == self.record.sent),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
