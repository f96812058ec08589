//! What a failed call of gRPC means: a [`Status`] as a [`RemoteError`].

use std::error::Error;
use std::io;

use rustls::{AlertDescription, Error as TlsError};
use tonic::{Code, ConnectError, Status, TimeoutExpired};

use super::super::{RemoteError, RemoteErrorKind};

/// No more of a server's text than this is shown, in characters.
const TEXT: usize = 400;

/// What is said of a call that got no answer in time, of one on which nothing moves, and of an answer that is not of gRPC:
/// texts of ours, and not the server's.
pub(super) const TOO_LATE: &str = "no answer within the time allowed";
pub(super) const NOTHING_MOVED: &str = "nothing moved for ";
pub(super) const HTTP: &str = "HTTP ";

/// The error that a call, `what`, ended with. `secrets` are not shown, should the server repeat them.
pub(super) fn error(what: &str, status: &Status, secrets: &[String]) -> RemoteError {
    let (kind, text) = (kind(status), text(status));
    let ours =
        status.source().is_some() || [TOO_LATE, NOTHING_MOVED, HTTP].iter().any(|own| text.starts_with(own));
    let text = shown(&text, secrets);
    let message = match (ours, name(status.code())) {
        (true, _) => format!("{what}: {text}"),
        (false, code) if text.is_empty() => format!("{what}: {code}"),
        (false, code) => format!("{what}: {code}: {text}"),
    };
    RemoteError::new(kind, message)
}

fn kind(status: &Status) -> RemoteErrorKind {
    if let Some(first) = status.source() {
        for error in chain(first) {
            if error.is::<TimeoutExpired>() {
                return RemoteErrorKind::Timeout;
            }
            if let Some(kind) = tls(error) {
                return kind;
            }
        }
        // It came from the connection, and not from the server.
        return match status.code() {
            Code::DeadlineExceeded => RemoteErrorKind::Timeout,
            Code::ResourceExhausted => RemoteErrorKind::Failed,
            _ => RemoteErrorKind::Unreachable,
        };
    }
    match status.code() {
        // Some servers call it so that the time which we gave them is over; we take nothing back.
        Code::DeadlineExceeded | Code::Cancelled => RemoteErrorKind::Timeout,
        Code::Unauthenticated | Code::PermissionDenied => RemoteErrorKind::Denied,
        Code::ResourceExhausted => RemoteErrorKind::Full,
        Code::Unavailable | Code::Internal | Code::Unknown | Code::Aborted | Code::DataLoss => {
            RemoteErrorKind::Failed
        }
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Unimplemented => RemoteErrorKind::Refused,
        Code::OutOfRange | Code::Ok => RemoteErrorKind::Broken,
    }
}

/// What a failed handshake of TLS means.
fn tls(error: &(dyn Error + 'static)) -> Option<RemoteErrorKind> {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = inner.and_then(|inner| inner.downcast_ref::<TlsError>()).or(error.downcast_ref::<TlsError>())?;
    match tls {
        // Its certificate is not one that we trust.
        TlsError::InvalidCertificate(_) => Some(RemoteErrorKind::Config),
        // Ours is not one that it trusts.
        TlsError::AlertReceived(
            AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::DecryptError
            | AlertDescription::HandshakeFailure
            | AlertDescription::UnknownCA
            | AlertDescription::UnsupportedCertificate,
        ) => Some(RemoteErrorKind::Denied),
        _ => None,
    }
}

/// Whether a connection was there, and ended without an answer.
pub(super) fn hung_up(status: &Status) -> bool {
    status.source().is_some_and(|first| !chain(first).any(|error| error.is::<ConnectError>()))
}

fn chain<'a>(first: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let mut next = Some(first);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

fn text(status: &Status) -> String {
    let Some(first) = status.source() else { return status.message().to_owned() };
    let mut parts: Vec<String> = Vec::new();
    for error in chain(first) {
        if error.is::<TimeoutExpired>() {
            return TOO_LATE.to_owned();
        }
        // rustls sends its readers to a page of its documentation.
        let part = error.to_string();
        let part = part.split(": https://").next().unwrap_or_default().to_owned();
        // Each says what the one below it says, or what it is about.
        let dull = error.is::<ConnectError>() || error.is::<tonic::transport::Error>();
        if !dull && !parts.iter().any(|before| before.contains(&part)) {
            parts.push(part);
        }
    }
    if parts.is_empty() { status.message().to_owned() } else { parts.join(": ") }
}

/// A server's text as one line of bearable length, without what we showed it to be let in.
fn shown(text: &str, secrets: &[String]) -> String {
    let mut text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for secret in secrets {
        text = text.replace(secret, "***");
    }
    let text = text.trim();
    match text.char_indices().nth(TEXT) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

/// A code as the specification of gRPC writes it.
fn name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_repeats_a_secret_is_not_quoted() {
        let status = Status::unauthenticated("bad token `s3cret`\r\n  really");
        let error = error("GetCapabilities", &status, &["s3cret".to_owned()]);
        assert_eq!(error.kind, RemoteErrorKind::Denied);
        assert_eq!(error.message, "GetCapabilities: UNAUTHENTICATED: bad token `***`    really");
    }

    #[test]
    fn long_texts_are_cut() {
        let error = error("Write", &Status::internal("ä".repeat(1000)), &[]);
        assert_eq!(error.kind, RemoteErrorKind::Failed);
        assert!(error.message.chars().count() < 450);
    }
}
