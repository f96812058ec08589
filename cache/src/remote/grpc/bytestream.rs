//! Large blobs, as streams of pieces: the service ByteStream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bazel_remote_apis::google::bytestream::byte_stream_client::ByteStreamClient;
use bazel_remote_apis::google::bytestream::{ReadRequest, WriteRequest};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tempfile::TempPath;
use tokio::sync::{Mutex, mpsc};
use tokio::task::{block_in_place, spawn_blocking};
use tonic::{Code, Status};

use super::super::{Body, IN_MEMORY, RemoteError, RemoteErrorKind};
use super::capabilities::Capabilities;
use super::client::Client;
use super::names::Name;
use super::wire::Wire;
use super::zstandard::{self, Bounded};

/// The largest piece that is sent.
const PIECE: usize = 1 << 20;

/// The largest piece that is taken in.
const LARGEST_PIECE: usize = 16 << 20;

fn local(error: &io::Error) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Local, error.to_string())
}

impl Client {
    fn bytestream(&self) -> ByteStreamClient<Wire> {
        ByteStreamClient::new(self.wire.for_transfers()).max_decoding_message_size(LARGEST_PIECE)
    }

    /// The last part of a resource's name.
    fn resource(&self, capabilities: &Capabilities, name: &Name, compressed: bool) -> String {
        let kind = if compressed { "compressed-blobs/zstd" } else { "blobs" };
        format!("{kind}/{}{}/{}", capabilities.function.in_resource(), name.hex(), name.size)
    }

    fn of_instance(&self, resource: String) -> String {
        match self.instance() {
            "" => resource,
            instance => format!("{instance}/{resource}"),
        }
    }

    /// Fetches a blob; one that is large comes as a file in `scratch`, if that is given. `None`: it is not there.
    pub async fn read(
        &self,
        capabilities: &Capabilities,
        name: &Name,
        plain: bool,
        scratch: Option<&Path>,
    ) -> Result<Option<Body>, RemoteError> {
        const WHAT: &str = "Read";
        let compressed = plain && capabilities.zstd;
        let resource_name = self.of_instance(self.resource(capabilities, name, compressed));
        let request = ReadRequest { resource_name, read_offset: 0, read_limit: 0 };
        let lost = |status: &Status| match status.code() {
            Code::NotFound if std::error::Error::source(status).is_none() => Ok(None),
            _ => Err(self.error(WHAT, status)),
        };
        let mut pieces = match self.bytestream().read(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return lost(&status),
        };
        let mut sink = Sink::new(name.size, compressed, scratch).map_err(|error| local(&error))?;
        loop {
            match pieces.message().await {
                Ok(Some(piece)) => sink.take(piece.data).map_err(|error| self.failed(WHAT, error))?,
                Ok(None) => break,
                Err(status) => return lost(&status),
            }
        }
        sink.finish().map(Some).map_err(|error| self.failed(WHAT, error))
    }

    /// What became of bytes that arrived: they were not what they should be, or could not be written down.
    fn failed(&self, what: &str, error: io::Error) -> RemoteError {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::Other => {
                self.broken(what, error)
            }
            _ => local(&error),
        }
    }

    /// Stores a blob.
    pub async fn write(
        &self,
        capabilities: &Capabilities,
        name: &Name,
        body: Body,
        plain: bool,
    ) -> Result<(), RemoteError> {
        const WHAT: &str = "Write";
        let mut compressed = plain && capabilities.zstd;
        let body = match body {
            Body::Bytes(bytes) if compressed => {
                let frame = block_in_place(|| zstandard::compress(&bytes));
                compressed = frame.is_some();
                Body::Bytes(frame.map_or(bytes, Bytes::from))
            }
            body => body,
        };
        let uuid = uuid().map_err(|error| local(&error))?;
        let resource = self.resource(capabilities, name, compressed);
        let resource = self.of_instance(format!("uploads/{uuid}/{resource}"));
        let (sender, receiver) = mpsc::channel(2);
        let receiver = Arc::new(Mutex::new(receiver));
        let size = name.size;
        let pieces = spawn_blocking(move || send(body, size, compressed, &sender));
        let answer = self.bytestream().write(requests(resource, Arc::clone(&receiver))).await;
        // A server that has answered may not want the rest, and the connection may still wait to send it.
        receiver.lock().await.close();
        let sent = match pieces.await {
            Ok(sent) => sent.map_err(|error| local(&error))?,
            Err(error) => return Err(RemoteError::new(RemoteErrorKind::Local, error.to_string())),
        };
        let committed = match answer {
            Ok(answer) => answer.into_inner().committed_size,
            Err(status) if status.code() == Code::AlreadyExists => return Ok(()),
            Err(status) => return Err(self.error(WHAT, &status)),
        };
        // When somebody else was faster, servers say the size of the whole, or -1 where it is compressed.
        let whole = u64::try_from(committed).is_ok_and(|size| size == name.size);
        let same = sent.is_some_and(|sent| u64::try_from(committed).is_ok_and(|size| size == sent));
        if whole || compressed && (same || committed == -1) {
            return Ok(());
        }
        Err(self.broken(WHAT, format!("{committed} bytes were stored of {}", name.size)))
    }
}

/// A random UUID (RFC 9562, version 4).
fn uuid() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// A piece, and whether it is the last one.
type Piece = (Vec<u8>, bool);

type Pieces = Arc<Mutex<mpsc::Receiver<Piece>>>;

fn requests(resource: String, pieces: Pieces) -> impl Stream<Item = WriteRequest> {
    stream::unfold((Some(resource), pieces, 0), |(resource, pieces, write_offset)| async move {
        let (data, finish_write) = pieces.lock().await.recv().await?;
        let next = write_offset + data.len() as i64;
        let resource_name = resource.unwrap_or_default();
        let request = WriteRequest { resource_name, write_offset, finish_write, data };
        Some((request, (None, pieces, next)))
    })
}

/// Hands over a body in pieces; `None` when nobody wanted the rest, and otherwise how many bytes they were.
fn send(body: Body, size: u64, compressed: bool, to: &mpsc::Sender<Piece>) -> io::Result<Option<u64>> {
    match body {
        Body::Bytes(bytes) => pieces(&bytes[..], to, None),
        Body::File(path) if compressed => pieces(zstandard::compressing(File::open(path)?)?, to, None),
        Body::File(path) => pieces(File::open(path)?, to, Some(size)),
    }
}

fn pieces(mut from: impl Read, to: &mpsc::Sender<Piece>, size: Option<u64>) -> io::Result<Option<u64>> {
    let mut next = piece(&mut from)?;
    let mut sent = 0;
    loop {
        let now = next;
        // Pieces are full but for the last one.
        next = if now.len() < PIECE { Vec::new() } else { piece(&mut from)? };
        sent += now.len() as u64;
        let last = next.is_empty();
        if last && size.is_some_and(|size| size != sent) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a file has changed while it was sent"));
        }
        if to.blocking_send((now, last)).is_err() {
            return Ok(None);
        }
        if last {
            return Ok(Some(sent));
        }
    }
}

fn piece(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE);
    from.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
    Ok(piece)
}

/// Where the pieces of a blob go.
struct Sink {
    to: To,
    waiting: Vec<u8>,
}

enum To {
    As(Bounded<Place>),
    Frame(zstd::stream::write::Decoder<'static, Bounded<Place>>),
}

enum Place {
    Memory(Vec<u8>),
    File(File, TempPath),
}

impl Place {
    fn is_memory(&self) -> bool {
        matches!(self, Place::Memory(_))
    }
}

impl Write for Place {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Place::Memory(memory) => memory.write(bytes),
            Place::File(file, _) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn new(size: u64, compressed: bool, scratch: Option<&Path>) -> io::Result<Sink> {
        let place = match scratch {
            Some(scratch) if size > IN_MEMORY => {
                let file = tempfile::Builder::new().prefix("blob-").tempfile_in(scratch)?;
                let (file, path) = file.into_parts();
                Place::File(file, path)
            }
            _ => Place::Memory(Vec::new()),
        };
        let place = Bounded::new(place, size);
        let to = if compressed { To::Frame(zstandard::decompressing(place)?) } else { To::As(place) };
        Ok(Sink { to, waiting: Vec::new() })
    }

    /// Pieces may be tiny; what goes to a disk should not be.
    fn take(&mut self, piece: Vec<u8>) -> io::Result<()> {
        if self.waiting.is_empty() {
            self.waiting = piece;
        } else {
            self.waiting.extend_from_slice(&piece);
        }
        if self.waiting.len() >= PIECE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        match &mut self.to {
            To::As(place) if place.get().is_memory() => place.write_all(&waiting),
            To::As(place) => block_in_place(|| place.write_all(&waiting)),
            To::Frame(frame) => block_in_place(|| frame.write_all(&waiting)),
        }
    }

    fn finish(mut self) -> io::Result<Body> {
        self.write()?;
        let place = match self.to {
            To::As(place) => place,
            To::Frame(mut frame) => {
                frame.flush()?;
                frame.into_inner()
            }
        };
        if place.left() > 0 {
            let text = format!("it ended {} bytes too early", place.left());
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        Ok(match place.into_inner() {
            Place::Memory(memory) => Body::Bytes(memory.into()),
            Place::File(_, path) => Body::File(path.keep().map_err(|error| error.error)?),
        })
    }
}
