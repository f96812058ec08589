//! The requests of `object_store`, through our client: our certificates, our times, and what was answered is remembered.

use std::cell::Cell;
use std::error::Error;
use std::pin::Pin;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::stream;
use futures_util::{StreamExt, TryStreamExt};
use http_body_util::BodyExt;
use object_store::ClientOptions;
use object_store::client::{HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse};
use object_store::client::{HttpResponseBody, HttpService};
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderValue, SERVER};
use url::{Host, Url};

use crate::remote::client::{is_loopback, trouble};
use crate::remote::moving::{Moved, moving};
use crate::remote::{Limits, RemoteErrorKind};

/// How much of a body is handed over at a time.
const PIECE: usize = 64 << 10;

/// How long the service that gives machines of a cloud their credentials may take: elsewhere nobody answers there.
const METADATA: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// What was answered last in a call, which `object_store` does not tell in all cases.
    pub(super) static ANSWER: Cell<Answered>;
}

/// Of an answer what errors and `doctor` are about.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Answered {
    pub(super) status: Option<u16>,
    pub(super) date: Option<SystemTime>,
}

#[derive(Debug, Clone)]
pub(super) struct Service {
    pub(super) client: reqwest::Client,
    pub(super) limits: Limits,
    /// Whether credentials may pass where others can read them.
    pub(super) allow_http: bool,
}

#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("credentials are not sent over http, where others can read them")]
    Plain,
    #[error("no credentials were found: set the variables of the cloud, or work on one of its machines")]
    NoCredentials,
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("that is no address")]
    Address,
    #[error("{0}")]
    Other(String),
}

fn no_credentials() -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, Refusal::NoCredentials)
}

fn late(limit: Duration) -> HttpError {
    HttpError::new(HttpErrorKind::Timeout, Refusal::Late(limit))
}

fn failed(error: reqwest::Error) -> HttpError {
    let error = trouble(error);
    let kind = match error.kind {
        RemoteErrorKind::Timeout => HttpErrorKind::Timeout,
        RemoteErrorKind::Unreachable => HttpErrorKind::Connect,
        RemoteErrorKind::Broken => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    };
    HttpError::new(kind, Refusal::Other(error.message))
}

impl HttpConnector for Service {
    fn connect(&self, _options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl HttpService for Service {
    fn call<'a, 'b>(
        &'a self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.perform(request))
    }
}

impl Service {
    async fn perform(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url: Url = parts
            .uri
            .to_string()
            .parse()
            .map_err(|_| HttpError::new(HttpErrorKind::Unknown, Refusal::Address))?;
        let mut limits = self.limits;
        let from_machine = gives_credentials(&url);
        if from_machine {
            limits.call = limits.call.min(METADATA);
        } else if url.scheme() == "http" && !self.allow_http && !is_loopback(&url) {
            return Err(HttpError::new(HttpErrorKind::Unknown, Refusal::Plain));
        }
        let (size, moved) = (body.content_length(), Moved::default());
        let mut sent = reqwest::Request::new(parts.method, url);
        *sent.headers_mut() = parts.headers;
        if size > 0 {
            sent.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(size as u64));
            let counter = moved.clone();
            let pieces = body
                .into_data_stream()
                .map_ok(|bytes| stream::iter(cut(bytes)).map(Ok::<Bytes, HttpError>))
                .try_flatten();
            let counted = pieces.inspect_ok(move |piece: &Bytes| counter.add(piece.len()));
            *sent.body_mut() = Some(reqwest::Body::wrap_stream(counted));
        } else {
            *sent.body_mut() = Some(Bytes::new().into());
        }
        let answered = moving(&limits, self.client.execute(sent), size as u64, &moved).await;
        let response = answered.map_err(late).and_then(|answered| answered.map_err(failed));
        let response = response.map_err(|error| if from_machine { no_credentials() } else { error })?;
        let status = Some(response.status().as_u16());
        let date = response.headers().get(DATE).and_then(|text| text.to_str().ok());
        let date = date.and_then(|text| httpdate::parse_http_date(text).ok());
        let _ = ANSWER.try_with(|answer| answer.set(Answered { status, date }));
        let (parts, body) = axum::http::Response::<reqwest::Body>::from(response).into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body.map_err(failed))))
    }

    /// What a server calls itself.
    pub(super) async fn name(&self, url: &Url) -> Option<String> {
        let asked = self.client.head(url.clone()).send();
        let response = tokio::time::timeout(self.limits.call, asked).await.ok()?.ok()?;
        let name = response.headers().get(SERVER)?.to_str().ok()?;
        Some(name.escape_default().to_string())
    }
}

/// Cuts bytes without copying them.
fn cut(bytes: Bytes) -> impl Iterator<Item = Bytes> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let piece = rest.split_to(rest.len().min(PIECE));
        (!piece.is_empty()).then_some(piece)
    })
}

/// Whether this is where a machine of a cloud asks for its credentials: a link-local address, or the name of one.
fn gives_credentials(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_link_local(),
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
        Some(Host::Domain(name)) => name == "metadata.google.internal" || name == "metadata",
        None => false,
    }
}

/// The kind of an error of HTTP that is somewhere below another, and its words.
pub(super) fn http_error(error: &(dyn Error + 'static)) -> Option<(HttpErrorKind, String)> {
    let mut next = Some(error);
    while let Some(found) = next {
        if let Some(http) = found.downcast_ref::<HttpError>() {
            let words = http.source().map_or_else(|| http.to_string(), |source| source.to_string());
            return Some((http.kind(), words));
        }
        next = found.source();
    }
    None
}
