//! Requests: credentials, redirects, times, and what an answer means.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Body, Method, Response, StatusCode};
use url::Url;

use crate::remote::client::{Identity, Versions, client, is_loopback, trouble, was_not_taken};
use crate::remote::moving::{Moved, moving};
use crate::remote::{Limits, RemoteError, RemoteErrorKind, RemoteSpec, Variables};

/// How many addresses are followed before the one that has what was asked for.
const REDIRECTS: usize = 5;

/// The two clients: what a server redirects to sees neither credentials nor our certificate.
#[derive(Debug)]
pub(super) struct Web {
    ours: reqwest::Client,
    bare: reqwest::Client,
    authorization: Option<HeaderValue>,
    pub(super) limits: Limits,
    shown: String,
}

impl Web {
    pub(super) fn new(
        spec: &RemoteSpec,
        base: &Url,
        variables: &Variables,
        shown: &str,
    ) -> Result<Web, RemoteError> {
        let credentials = &spec.credentials;
        let text = match (&credentials.token, &credentials.basic) {
            (Some(token), _) => Some(format!("Bearer {}", token.expose())),
            (None, Some((user, password))) => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose()))))
            }
            (None, None) => None,
        };
        let plain = base.scheme() == "http" && !is_loopback(base);
        if plain && (text.is_some() || credentials.certificate.is_some()) {
            let why =
                format!("{shown}: credentials are not sent over http, where others can read them: use https");
            return Err(RemoteError::new(RemoteErrorKind::Config, why));
        }
        let authorization = match text {
            Some(text) => {
                let mut value = HeaderValue::from_str(&text).map_err(|_| {
                    RemoteError::new(
                        RemoteErrorKind::Config,
                        format!("the token for {shown} has characters that no header may have"),
                    )
                })?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let ours = client(spec, variables, Identity::Ours, Versions::All)?;
        let bare = match credentials.certificate {
            Some(_) => client(spec, variables, Identity::Nobody, Versions::All)?,
            None => ours.clone(),
        };
        Ok(Web { ours, bare, authorization, limits: spec.limits, shown: shown.to_owned() })
    }

    /// An error of this remote.
    pub(super) fn error(&self, kind: RemoteErrorKind, what: &str) -> RemoteError {
        RemoteError::new(kind, format!("{}: {what}", self.shown))
    }

    pub(super) fn trouble(&self, error: reqwest::Error) -> RemoteError {
        let error = trouble(error);
        self.error(error.kind, &error.message)
    }

    fn late(&self, after: Duration) -> RemoteError {
        self.error(RemoteErrorKind::Timeout, &format!("no answer within {after:?}"))
    }

    fn headers(&self, mut headers: HeaderMap) -> HeaderMap {
        if let Some(value) = &self.authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        headers
    }

    /// Asks for something, and returns when the head of the answer is there. Redirects are followed on the same host and to
    /// https, and never from https to http.
    pub(super) async fn ask(&self, method: Method, url: &Url) -> Result<Response, RemoteError> {
        let asked = self.follow(method, url.clone());
        let limit = self.limits.call;
        tokio::time::timeout(limit, asked).await.map_err(|_| self.late(limit))?
    }

    async fn follow(&self, method: Method, first: Url) -> Result<Response, RemoteError> {
        let mut url = first.clone();
        for _ in 0..=REDIRECTS {
            let request = if url.origin() == first.origin() {
                self.ours.request(method.clone(), url.clone()).headers(self.headers(HeaderMap::new()))
            } else {
                self.bare.request(method.clone(), url.clone())
            };
            let response = request.send().await.map_err(|error| self.trouble(error))?;
            let status = response.status();
            if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
                return Ok(response);
            }
            let target = response.headers().get(LOCATION).and_then(|text| text.to_str().ok());
            let next = target.and_then(|text| url.join(text).ok());
            url = match next {
                Some(next)
                    if next.scheme() == "https"
                        || next.scheme() == "http" && url.scheme() == "http" && next.host() == url.host() =>
                {
                    next
                }
                // Where it leads is not told: such addresses hold signatures.
                _ => {
                    return Err(
                        self.error(RemoteErrorKind::Refused, "it leads to an address that is not followed")
                    );
                }
            };
        }
        Err(self.error(RemoteErrorKind::Refused, "it leads from one address to the next"))
    }

    /// Sends a body of so many bytes. `None`: the server did not take it, and wants it once more.
    pub(super) async fn send(
        &self,
        url: &Url,
        headers: HeaderMap,
        body: Body,
        size: u64,
        moved: &Moved,
    ) -> Result<Option<StatusCode>, RemoteError> {
        let request = self.ours.put(url.clone()).headers(self.headers(headers)).body(body);
        let sent = async {
            let mut response = match request.send().await {
                Ok(response) => response,
                Err(error) if was_not_taken(&error) => return Ok(None),
                Err(error) => return Err(self.trouble(error)),
            };
            let status = response.status();
            drain(&mut response).await;
            Ok(Some(status))
        };
        self.moving(sent, size, moved).await?
    }

    /// Lets go of an answer that says nothing but its status.
    pub(super) async fn drop(&self, mut response: Response) {
        let _ = tokio::time::timeout(self.limits.call, drain(&mut response)).await;
    }

    /// Waits for something that moves bytes, as long as it does.
    pub(super) async fn moving<T>(
        &self,
        work: impl Future<Output = T>,
        size: u64,
        moved: &Moved,
    ) -> Result<T, RemoteError> {
        moving(&self.limits, work, size, moved).await.map_err(|after| self.late(after))
    }

    /// The next bytes of an answer.
    pub(super) async fn chunk(
        &self,
        response: &mut Response,
        moved: &Moved,
    ) -> Result<Option<Bytes>, RemoteError> {
        let piece = response.chunk().await.map_err(|error| {
            let error = trouble(error);
            // It broke off, or is not what the protocol says.
            let kind = match error.kind {
                RemoteErrorKind::Timeout => RemoteErrorKind::Timeout,
                _ => RemoteErrorKind::Broken,
            };
            self.error(kind, &error.message)
        })?;
        moved.add(piece.as_ref().map_or(0, Bytes::len));
        Ok(piece)
    }

    /// What an answer means that is none of those that were expected.
    pub(super) fn refused(&self, status: StatusCode, what: &str) -> RemoteError {
        let kind = match status.as_u16() {
            // 405: a server that does not know how to write.
            401 | 403 | 405 | 407 => RemoteErrorKind::Denied,
            408 | 504 => RemoteErrorKind::Timeout,
            413 | 507 => RemoteErrorKind::Full,
            429 | 500..=599 => RemoteErrorKind::Failed,
            400..=499 => RemoteErrorKind::Refused,
            300..=399 => RemoteErrorKind::Refused,
            _ => RemoteErrorKind::Broken,
        };
        self.error(kind, &format!("{status} when {what}"))
    }
}

/// Reads an answer to its end, if that is near: the connection can be used again then.
async fn drain(response: &mut Response) {
    let mut left = 64 << 10;
    while let Ok(Some(piece)) = response.chunk().await {
        left -= piece.len().min(left);
        if left == 0 {
            break;
        }
    }
}
