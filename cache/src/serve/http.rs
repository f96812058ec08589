//! The HTTP side: `/ac`, `/cas` as Bazel, ccache and sccache speak it, and what people and Prometheus look at.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH, RANGE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use tonic::Status;

use super::disk::Opened;
use super::error::PutError;
use super::index::When;
use super::names::{BlobName, EntryId, Function, Partition, hex};
use super::shared::{IDLE, Shared, pieces};
use super::tokens::Grant;
use super::upload::{Coding, MAX_UNDERSTOOD, Upload};
use super::{door, metrics, page};
use crate::digest::parse_hash;

pub use crate::remote::DURATION_HEADER;

/// Bytes of a body that nobody wants which are read all the same, so that the answer is heard.
const DRAINED: u64 = 64 << 20;

/// What a path stands for.
enum Place {
    Entry(EntryId),
    Blob([u8; 32]),
}

fn place(path: &str) -> Option<Place> {
    let mut parts = path.strip_prefix('/')?.rsplitn(3, '/');
    let hash = parts.next().and_then(parse_hash)?;
    let part = parts.next()?;
    let partition = Partition::parse(parts.next().unwrap_or_default())?;
    match part {
        "ac" => Some(Place::Entry(EntryId { partition, hash })),
        // The same blobs for all partitions.
        "cas" => Some(Place::Blob(hash)),
        _ => None,
    }
}

/// Everything that is not one of gRPC's services, nor for people.
pub(super) async fn serve(
    State(shared): State<Arc<Shared>>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    if door::is_grpc(&parts.headers) {
        return Status::unimplemented("there is no such service").into_http::<Body>();
    }
    let Some(place) = place(parts.uri.path()) else {
        drain(body).await;
        return answer(
            StatusCode::NOT_FOUND,
            "there is nothing of this name: /ac/HEX or /cas/HEX is expected",
        );
    };
    let is_head = parts.method == Method::HEAD;
    let done = match (parts.method, place) {
        (Method::GET | Method::HEAD, Place::Entry(id)) => {
            get_entry(&shared, &grant, id, &parts.headers).await
        }
        (Method::GET | Method::HEAD, Place::Blob(hash)) => {
            get_blob(&shared, &grant, hash, &parts.headers).await
        }
        (Method::PUT, Place::Entry(id)) => put_entry(&shared, &grant, id, &parts.headers, body).await,
        (Method::PUT, Place::Blob(hash)) => put_blob(&shared, &grant, hash, &parts.headers, body).await,
        _ => {
            drain(body).await;
            let allow = [(ALLOW, "GET, HEAD, PUT")];
            return (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET, HEAD and PUT\n").into_response();
        }
    };
    let response = done.unwrap_or_else(|error| failed(&shared, &error));
    // The length stays.
    if is_head { response.map(|_| Body::empty()) } else { response }
}

fn answer(status: StatusCode, text: impl std::fmt::Display) -> Response {
    (status, format!("{text}\n")).into_response()
}

fn failed(shared: &Shared, error: &PutError) -> Response {
    let status = match error {
        PutError::Wrong | PutError::Invalid(_) => StatusCode::BAD_REQUEST,
        PutError::Full => StatusCode::INSUFFICIENT_STORAGE,
        PutError::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
        PutError::Incomplete(_) => StatusCode::CONFLICT,
        PutError::Condition => StatusCode::PRECONDITION_FAILED,
        PutError::Unfinished => StatusCode::REQUEST_TIMEOUT,
        PutError::Io(cause) => {
            shared.warn(format!("the disk failed: {cause}"));
            return answer(StatusCode::INTERNAL_SERVER_ERROR, "the server's disk failed");
        }
    };
    answer(status, error)
}

/// Reads what is left of a body, within bounds.
pub(super) async fn drain(body: Body) {
    let mut left = DRAINED;
    let mut stream = body.into_data_stream();
    let patience = Duration::from_secs(5);
    while let Ok(Some(Ok(bytes))) = tokio::time::timeout(patience, stream.next()).await {
        left = left.saturating_sub(bytes.len() as u64);
        if left == 0 {
            return;
        }
    }
}

fn tag(hash: &[u8; 32]) -> String {
    format!("\"{}\"", hex(hash))
}

/// Whether a list of entity tags has this one.
fn lists(header: Option<&HeaderValue>, tag: &str) -> bool {
    let Some(text) = header.and_then(|header| header.to_str().ok()) else { return false };
    text.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == tag)
}

fn whole(opened: Opened, tag: &str) -> Response {
    let size = opened.end;
    body(StatusCode::OK, opened, size, &[(ETAG, tag)])
}

fn body(status: StatusCode, opened: Opened, length: u64, headers: &[(HeaderName, &str)]) -> Response {
    let body =
        if opened.at >= opened.end { Body::from(opened.first) } else { Body::from_stream(pieces(opened)) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let kept = response.headers_mut();
    kept.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    kept.insert(CONTENT_LENGTH, length.into());
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            kept.insert(name, value);
        }
    }
    response
}

async fn get_entry(
    shared: &Shared,
    grant: &Grant,
    id: EntryId,
    headers: &HeaderMap,
) -> Result<Response, PutError> {
    if !grant.reads_from(&id.partition) {
        return Ok(answer(StatusCode::FORBIDDEN, "this token does not read from this partition"));
    }
    let Some(found) = shared.entry(grant, id).await? else {
        return Ok(answer(StatusCode::NOT_FOUND, "not found"));
    };
    let tag = tag(&found.hash);
    if lists(headers.get(IF_NONE_MATCH), &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    Ok(whole(found.opened, &tag))
}

/// The blob that has this hash by either function.
fn find(shared: &Shared, hash: [u8; 32]) -> Option<(BlobName, u64)> {
    let index = shared.disk.index();
    let names = Function::ALL.map(|function| BlobName { function, hash });
    names.into_iter().find_map(|name| match index.blob(&name) {
        Some(blob) => Some((name, blob.size)),
        None => name.is_empty().then_some((name, 0)),
    })
}

async fn get_blob(
    shared: &Shared,
    grant: &Grant,
    hash: [u8; 32],
    headers: &HeaderMap,
) -> Result<Response, PutError> {
    let tag = tag(&hash);
    let absent = || answer(StatusCode::NOT_FOUND, "not found");
    // Neither counts as a miss of its own kind when the name is not known by either function.
    let (name, size) = find(shared, hash).unwrap_or((BlobName { function: Function::Sha256, hash }, 0));
    if name.is_empty() {
        return Ok(([(ETAG, tag)], Body::empty()).into_response());
    }
    let range = headers.get(RANGE).map(|range| part_of(range, size));
    let (from, to) = match range {
        Some(Some(Some((from, to)))) => (from, Some(to)),
        Some(Some(None)) if size > 0 => {
            let range = [(CONTENT_RANGE, format!("bytes */{size}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
        _ => (0, None),
    };
    let Some(opened) = shared.blob(grant, name, from, to).await? else { return Ok(absent()) };
    if lists(headers.get(IF_NONE_MATCH), &tag) {
        return Ok((StatusCode::NOT_MODIFIED, [(ETAG, tag)]).into_response());
    }
    if to.is_none() || opened.size != size {
        let response = whole(opened, &tag);
        return Ok(([(ACCEPT_RANGES, "bytes")], response).into_response());
    }
    let length = opened.end - from;
    let range = format!("bytes {from}-{}/{size}", opened.end - 1);
    Ok(body(StatusCode::PARTIAL_CONTENT, opened, length, &[(ETAG, &tag), (CONTENT_RANGE, &range)]))
}

/// The part that a range header asks for, as begin and end. `None`: it is of another kind, and ignored; `Some(None)`: there is
/// no such part.
fn part_of(header: &HeaderValue, size: u64) -> Option<Option<(u64, u64)>> {
    let (from, to) = header.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (from, to) = match (from.trim(), to.trim()) {
        ("", last) => (size.saturating_sub(number(last)?), size),
        (from, "") => (number(from)?, size),
        (from, to) => (number(from)?, number(to)?.saturating_add(1).min(size)),
    };
    Some((from < to && from < size).then_some((from, to)))
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Takes in a body.
async fn receive(upload: &mut Upload, body: Body) -> Result<(), (PutError, Body)> {
    let mut stream = body.into_data_stream();
    loop {
        let failed = match tokio::time::timeout(IDLE, stream.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(bytes))) => match upload.push(bytes).await {
                Ok(()) => continue,
                Err(error) => error,
            },
            Ok(Some(Err(_))) | Err(_) => return Err((PutError::Unfinished, Body::empty())),
        };
        return Err((failed, Body::from_stream(stream)));
    }
}

/// Takes in a body that may have so many bytes; where it is refused, what is left of it is read.
async fn take_in(
    mut upload: Upload,
    headers: &HeaderMap,
    limit: u64,
    body: Body,
) -> Result<Upload, PutError> {
    if announced(headers).is_some_and(|length| length > limit) {
        drain(body).await;
        return Err(PutError::TooLarge(limit));
    }
    match receive(&mut upload, body).await {
        Ok(()) => Ok(upload),
        Err((error, rest)) => {
            drop(upload);
            drain(rest).await;
            Err(error)
        }
    }
}

async fn put_blob(
    shared: &Shared,
    grant: &Grant,
    hash: [u8; 32],
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, PutError> {
    if !grant.writes() {
        drain(body).await;
        return Ok(answer(StatusCode::FORBIDDEN, "this token does not write"));
    }
    if let Some((name, size)) = find(shared, hash)
        && announced(headers).is_none_or(|length| length == size)
        && shared.disk.has(&name, size, true)
    {
        drain(body).await;
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let limit = shared.disk.max_blob;
    let upload = Upload::blob(shared.disk.clone(), None, Coding::Identity, limit);
    let upload = take_in(upload, headers, limit, body).await?;
    upload.finish_blob(hash, None).await?;
    shared.metrics.person(&grant.name, |person| person.blobs += 1);
    Ok(StatusCode::CREATED.into_response())
}

/// On what condition an entry is to be stored.
fn condition(headers: &HeaderMap) -> Result<When, PutError> {
    if headers.get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == b"*") {
        return Ok(When::Absent);
    }
    match headers.get(IF_MATCH).map(HeaderValue::to_str) {
        None => Ok(When::Always),
        Some(Ok("*")) => Ok(When::Present),
        // A tag of another form is not ours, so nothing has it.
        Some(tag) => tag
            .ok()
            .and_then(|tag| parse_hash(tag.trim().strip_prefix('"')?.strip_suffix('"')?))
            .map(When::Is)
            .ok_or(PutError::Condition),
    }
}

async fn put_entry(
    shared: &Shared,
    grant: &Grant,
    id: EntryId,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, PutError> {
    if !grant.writes_to(&id.partition) {
        drain(body).await;
        return Ok(answer(StatusCode::FORBIDDEN, "this token does not write to this partition"));
    }
    let when = match condition(headers) {
        Ok(when) => when,
        Err(error) => {
            drain(body).await;
            return Err(error);
        }
    };
    let duration = headers.get(DURATION_HEADER).and_then(|text| text.to_str().ok()?.parse().ok());
    let limit = shared.max_entry;
    let upload = Upload::entry(shared.disk.clone(), limit);
    let upload = take_in(upload, headers, limit, body).await?;
    // Looking into one that is not small takes its size in memory.
    let large = (64 << 10..=MAX_UNDERSTOOD).contains(&upload.received);
    let _permit = if large { shared.heavy.acquire().await.ok() } else { None };
    let (hash, is_new) = upload.finish_entry(id, when, duration).await?;
    shared.metrics.person(&grant.name, |person| person.entries += 1);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok((status, [(ETAG, tag(&hash))]).into_response())
}

/// For whoever wants to know whether the server is there.
pub(super) async fn health() -> &'static str {
    "ok\n"
}

/// For Prometheus.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let text = shared.metrics.text(&shared.disk, shared.max_size);
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response()
}

/// For people.
pub(super) async fn page(State(shared): State<Arc<Shared>>) -> Response {
    let html = page::html(&shared.metrics, &shared.disk, shared.max_size);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, page::POLICY),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hashes_are_places() {
        let hash = "0f".repeat(32);
        for good in [format!("/ac/{hash}"), format!("/cas/{hash}"), format!("/pr/12/ac/{hash}")] {
            assert!(place(&good).is_some(), "{good}");
        }
        for bad in [
            "/".to_owned(),
            "/ac/".to_owned(),
            format!("ac/{hash}"),
            format!("/a//ac/{hash}"),
            format!("/../ac/{hash}"),
            format!("/a/../ac/{hash}"),
            format!("/%2e%2e/ac/{hash}"),
            format!("/ac/{hash}/"),
            format!("/ac/../{hash}"),
            format!("/ac/{}", hash.to_uppercase()),
            format!("/ac/{}", &hash[1..]),
            format!("/x/{hash}"),
        ] {
            assert!(place(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn ranges() {
        let part = |text| part_of(&HeaderValue::from_static(text), 10);
        assert_eq!(part("bytes=0-3"), Some(Some((0, 4))));
        assert_eq!(part("bytes=4-"), Some(Some((4, 10))));
        assert_eq!(part("bytes=-3"), Some(Some((7, 10))));
        assert_eq!(part("bytes=-30"), Some(Some((0, 10))));
        assert_eq!(part("bytes=8-99"), Some(Some((8, 10))));
        assert_eq!(part("bytes=10-"), Some(None));
        assert_eq!(part("bytes=-0"), Some(None));
        assert_eq!(part("bytes=3-2"), Some(None));
        for ignored in ["lines=1-2", "bytes=0-1,3-4", "bytes=a-b", "bytes=", "bytes=-"] {
            assert_eq!(part(ignored), None, "{ignored}");
        }
    }
}
