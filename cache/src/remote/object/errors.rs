//! What the errors of `object_store` mean. Their texts are not passed on: they hold signed addresses, and what a server says
//! of a signature that it did not like.

use std::cell::Cell;

use object_store::Error;
use object_store::client::HttpErrorKind;

use super::Object;
use super::service::{ANSWER, Answered, http_error};
use super::stores::redacted;
use crate::remote::{RemoteError, RemoteErrorKind};

impl Object {
    /// Does one thing, and says what status was answered last on the way.
    pub(super) async fn call<T>(&self, work: impl Future<Output = T>) -> (T, Option<u16>) {
        let (done, answered) = remembering(work).await;
        (done, answered.status)
    }

    pub(super) fn broken(&self, why: &str) -> RemoteError {
        RemoteError::new(RemoteErrorKind::Broken, format!("{}: {why}", self.url))
    }

    pub(super) fn error(&self, error: &Error, status: Option<u16>, what: &str) -> RemoteError {
        let (kind, why) = match (error, http_error(error)) {
            (_, Some((kind, words))) => {
                let kind = match kind {
                    HttpErrorKind::Timeout => RemoteErrorKind::Timeout,
                    HttpErrorKind::Connect | HttpErrorKind::Request => RemoteErrorKind::Unreachable,
                    HttpErrorKind::Interrupted | HttpErrorKind::Decode => RemoteErrorKind::Broken,
                    _ => RemoteErrorKind::Config,
                };
                (kind, words)
            }
            (Error::NotFound { .. }, _) | (Error::Generic { .. }, None) if status == Some(404) => {
                (RemoteErrorKind::Refused, "there is no such bucket".to_owned())
            }
            (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) => {
                (RemoteErrorKind::Denied, format!("{} when {what}", status.unwrap_or(403)))
            }
            _ => match status {
                Some(status) if !(200..300).contains(&status) => {
                    (of_status(status), format!("{status} when {what}"))
                }
                Some(_) => {
                    (RemoteErrorKind::Broken, format!("an answer is not what it should be when {what}"))
                }
                // Nothing was sent: what was needed for it could not be read.
                None => {
                    let text = redacted(&error.to_string(), &self.spec, &self.variables);
                    (RemoteErrorKind::Config, text)
                }
            },
        };
        RemoteError::new(kind, format!("{}: {why}", self.url))
    }
}

/// Does one thing, and says what was answered last on the way.
pub(super) async fn remembering<T>(work: impl Future<Output = T>) -> (T, Answered) {
    let both = async {
        let done = work.await;
        (done, ANSWER.with(Cell::get))
    };
    ANSWER.scope(Cell::default(), both).await
}

fn of_status(status: u16) -> RemoteErrorKind {
    match status {
        401 | 403 | 407 => RemoteErrorKind::Denied,
        408 | 504 => RemoteErrorKind::Timeout,
        413 | 507 => RemoteErrorKind::Full,
        409 | 429 | 500..=599 => RemoteErrorKind::Failed,
        _ => RemoteErrorKind::Refused,
    }
}
