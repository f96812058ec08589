//! `ByteStream`: blobs of any size, plain or compressed on their way.

use std::io::{self, Write as _};
use std::pin::Pin;

use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStream;
use bazel_remote_apis::google::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest, WriteResponse,
};
use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use tonic::{Request, Response, Status, Streaming};
use zstd::stream::write::Encoder;

use super::super::disk::Opened;
use super::super::error::PutError;
use super::super::shared::{IDLE, pieces};
use super::super::upload::{Coding, Upload};
use super::{Service, grant, resource, status};

/// A level at which compressing is faster than most networks.
const LEVEL: i32 = 1;

type Pieces = Pin<Box<dyn Stream<Item = Result<ReadResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ByteStream for Service {
    type ReadStream = Pieces;

    async fn read(&self, request: Request<ReadRequest>) -> Result<Response<Pieces>, Status> {
        let grant = grant(&request)?;
        let request = request.into_inner();
        let resource = resource::parse(&request.resource_name, false)?;
        let (Ok(from), Ok(limit)) = (u64::try_from(request.read_offset), u64::try_from(request.read_limit))
        else {
            return Err(Status::out_of_range("offset and limit cannot be negative"));
        };
        if limit > 0 && resource.coding == Coding::Zstd {
            return Err(Status::invalid_argument("what is compressed is read without a limit"));
        }
        if resource.name.is_empty() && resource.size == 0 {
            if from > 0 {
                return Err(Status::out_of_range("the offset is beyond the end"));
            }
            let nothing = match resource.coding {
                Coding::Identity => Vec::new(),
                Coding::Zstd => {
                    zstd::bulk::compress(&[], LEVEL).map_err(|_| Status::internal("zstd failed"))?
                }
            };
            let piece = (!nothing.is_empty()).then_some(Ok(ReadResponse { data: nothing }));
            return Ok(Response::new(Box::pin(stream::iter(piece))));
        }
        let to = (limit > 0).then(|| from.saturating_add(limit));
        let found = self.0.blob(&grant, resource.name, from, to).await;
        let opened = match found.map_err(|error| status(&self.0, &error))? {
            Some(opened) if opened.size == resource.size => opened,
            _ => return Err(Status::not_found("there is no such blob")),
        };
        if from > opened.size {
            return Err(Status::out_of_range("the offset is beyond the end"));
        }
        let broken = |error: io::Error| Status::data_loss(format!("the server's disk failed: {error}"));
        let answers: Pieces = match resource.coding {
            Coding::Identity => Box::pin(
                pieces(opened)
                    .map(move |piece| piece.map(|bytes| ReadResponse { data: bytes.into() }).map_err(broken)),
            ),
            Coding::Zstd => {
                let permit = self.0.coders.clone().acquire_owned().await;
                let compressed = compressed(opened).map_err(broken)?;
                Box::pin(compressed.map(move |piece| {
                    let _held = &permit;
                    piece.map(|data| ReadResponse { data }).map_err(broken)
                }))
            }
        };
        Ok(Response::new(answers))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let grant = grant(&request)?;
        let mut stream = request.into_inner();
        if !grant.writes() {
            return Err(Status::permission_denied("this token does not write"));
        }
        let failed = |error: PutError| status(&self.0, &error);
        let mut message = next(&mut stream).await?.ok_or_else(|| failed(PutError::Unfinished))?;
        let name = message.resource_name.clone();
        let resource = resource::parse(&name, true)?;
        if resource.size > self.0.disk.max_blob {
            return Err(failed(PutError::TooLarge(self.0.disk.max_blob)));
        }
        if self.0.disk.has(&resource.name, resource.size, true) {
            let committed_size = match resource.coding {
                Coding::Identity => resource.size as i64,
                // As the protocol says where the bytes need not have come.
                Coding::Zstd => -1,
            };
            return Ok(Response::new(WriteResponse { committed_size }));
        }
        let _permit = match resource.coding {
            Coding::Identity => None,
            Coding::Zstd => self.0.coders.clone().acquire_owned().await.ok(),
        };
        let function = Some(resource.name.function);
        let mut upload = Upload::blob(self.0.disk.clone(), function, resource.coding, resource.size);
        // More than it says it is, so it is something else.
        let wrong =
            |error| failed(if matches!(error, PutError::TooLarge(_)) { PutError::Wrong } else { error });
        loop {
            if !message.resource_name.is_empty() && message.resource_name != name {
                return Err(Status::invalid_argument("the name changed on the way"));
            }
            if u64::try_from(message.write_offset) != Ok(upload.received) {
                return Err(Status::invalid_argument(
                    "an upload begins at its beginning, and leaves nothing out",
                ));
            }
            let last = message.finish_write;
            upload.push(Bytes::from(message.data)).await.map_err(wrong)?;
            if last {
                break;
            }
            message = next(&mut stream).await?.ok_or_else(|| failed(PutError::Unfinished))?;
        }
        let received = upload.received;
        upload.finish_blob(resource.name.hash, Some(resource.size)).await.map_err(wrong)?;
        self.0.metrics.person(&grant.name, |person| person.blobs += 1);
        Ok(Response::new(WriteResponse { committed_size: received as i64 }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let grant = grant(&request)?;
        let resource = resource::parse(&request.get_ref().resource_name, true)?;
        let complete = self.0.disk.has(&resource.name, resource.size, grant.writes());
        // What is not complete begins anew.
        let committed_size = if complete { resource.size as i64 } else { 0 };
        Ok(Response::new(QueryWriteStatusResponse { committed_size, complete }))
    }
}

async fn next(stream: &mut Streaming<WriteRequest>) -> Result<Option<WriteRequest>, Status> {
    match tokio::time::timeout(IDLE, stream.message()).await {
        Ok(message) => message,
        Err(_) => Err(Status::deadline_exceeded("nothing came for too long")),
    }
}

/// The bytes of a file, compressed piece by piece.
fn compressed(opened: Opened) -> io::Result<impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static> {
    let encoder = Encoder::new(Vec::new(), LEVEL)?;
    Ok(stream::unfold(Some((encoder, opened)), |state| async move {
        let (encoder, opened) = state?;
        let stepped = tokio::task::spawn_blocking(move || step(encoder, opened)).await;
        match stepped.unwrap_or_else(|_| Err(io::Error::other("the server is shutting down"))) {
            Ok((bytes, rest)) => Some((Ok(bytes), rest)),
            Err(error) => Some((Err(error), None)),
        }
    }))
}

type Compressing = (Encoder<'static, Vec<u8>>, Opened);

/// Compresses until there is something to send.
fn step(
    mut encoder: Encoder<'static, Vec<u8>>,
    mut opened: Opened,
) -> io::Result<(Vec<u8>, Option<Compressing>)> {
    loop {
        if opened.first.is_empty() && opened.at < opened.end {
            opened.first = Opened::read(&opened.file, opened.at, opened.end)?;
            opened.at += opened.first.len() as u64;
        }
        if opened.first.is_empty() {
            return Ok((encoder.finish()?, None));
        }
        encoder.write_all(&std::mem::take(&mut opened.first))?;
        if !encoder.get_ref().is_empty() {
            let bytes = std::mem::take(encoder.get_mut());
            return Ok((bytes, Some((encoder, opened))));
        }
    }
}
