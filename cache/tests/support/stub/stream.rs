//! Blobs as streams.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bazel_remote_apis::google::bytestream as api;
use bazel_remote_apis::google::bytestream::byte_stream_server::ByteStream;
use futures_util::{StreamExt, stream};
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use super::{Fault, Held};

/// How much a stub sends at once.
const PIECE: usize = 256 << 10;

pub struct Streams(pub Arc<Held>);

/// `[uploads/UUID/](blobs|compressed-blobs/zstd)/[blake3/]HEX/SIZE`: the digest, and whether it is compressed.
fn parse(resource: &str, blake3: bool) -> Option<(String, bool)> {
    let rest = match resource.strip_prefix("uploads/") {
        Some(rest) => {
            let (uuid, rest) = rest.split_once('/')?;
            (uuid.len() == 36 && uuid.as_bytes()[14] == b'4').then_some(rest)?
        }
        None => resource,
    };
    let (rest, compressed) = match rest.strip_prefix("compressed-blobs/zstd/") {
        Some(rest) => (rest, true),
        None => (rest.strip_prefix("blobs/")?, false),
    };
    let name = if blake3 { rest.strip_prefix("blake3/")? } else { rest };
    Some((name.to_owned(), compressed))
}

impl Streams {
    fn parse(&self, resource: &str) -> Result<(String, bool), Status> {
        let blake3 = self.0.manners.lock().expect("the lock").blake3;
        parse(resource, blake3).ok_or_else(|| Status::invalid_argument(format!("odd name: {resource}")))
    }
}

#[tonic::async_trait]
impl ByteStream for Streams {
    type ReadStream = BoxStream<api::ReadResponse>;

    async fn read(&self, request: Request<api::ReadRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let (name, compressed) = self.parse(&request.get_ref().resource_name)?;
        self.0.note(format!("Read zstd={compressed}"));
        let bytes = self.0.blob(&name).ok_or_else(|| Status::not_found("no such blob"))?;
        let fault = self.0.fault();
        let bytes = self.0.spoilt(bytes);
        let bytes = if compressed { zstd::encode_all(&bytes[..], 1)? } else { bytes };
        let pieces: Vec<_> = bytes.chunks(PIECE).map(<[u8]>::to_vec).collect();
        let endless = (fault == Fault::TooMany && !compressed).then(|| vec![7; PIECE]);
        let pieces = stream::iter(pieces).chain(stream::iter(endless).cycle());
        let pieces = pieces.enumerate().then(move |(n, data)| async move {
            match fault {
                Fault::Silent if n > 0 => pending().await,
                Fault::Slow => tokio::time::sleep(Duration::from_millis(100)).await,
                _ => {}
            }
            Ok(api::ReadResponse { data })
        });
        Ok(Response::new(Box::pin(pieces)))
    }

    async fn write(
        &self,
        request: Request<Streaming<api::WriteRequest>>,
    ) -> Result<Response<api::WriteResponse>, Status> {
        let mut pieces = request.into_inner();
        let first = pieces.message().await?.ok_or_else(|| Status::invalid_argument("nothing"))?;
        let (name, compressed) = self.parse(&first.resource_name)?;
        self.0.note(format!("Write zstd={compressed}"));
        match self.0.fault() {
            Fault::Silent => pending().await,
            Fault::Full => return Err(Status::resource_exhausted("the disk is full")),
            // What servers say when somebody else was faster.
            _ if self.0.blob(&name).is_some() => {
                let size = name.rsplit('/').next().and_then(|size| size.parse().ok()).unwrap_or(0);
                return Ok(Response::new(api::WriteResponse {
                    committed_size: if compressed { -1 } else { size },
                }));
            }
            _ => {}
        }
        let (mut bytes, mut piece) = (Vec::new(), Some(first));
        let mut finished = false;
        while let Some(next) = piece {
            if next.write_offset != bytes.len() as i64 || finished {
                return Err(Status::invalid_argument("odd offset"));
            }
            if next.data.len() > 1 << 20 {
                return Err(Status::invalid_argument("a large piece"));
            }
            finished = next.finish_write;
            bytes.extend(next.data);
            piece = pieces.message().await?;
            if self.0.fault() == Fault::Slow {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        if !finished {
            return Err(Status::invalid_argument("not finished"));
        }
        let committed = bytes.len() as i64;
        let bytes = if compressed { zstd::decode_all(&bytes[..])? } else { bytes };
        self.0.keep(&name, bytes)?;
        let committed_size = if self.0.fault() == Fault::Truncated { committed - 1 } else { committed };
        Ok(Response::new(api::WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        _: Request<api::QueryWriteStatusRequest>,
    ) -> Result<Response<api::QueryWriteStatusResponse>, Status> {
        Err(Status::unimplemented("never asked"))
    }
}
