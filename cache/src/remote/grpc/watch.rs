//! Calls on which nothing moves any more, and how that is seen.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, Sleep, sleep_until};
use tonic::body::Body;
use tonic::{Code, Status};

use super::line::Moved;
use super::status::NOTHING_MOVED;

/// How many bytes of a request are handed to the connection at once: it must be seen that they move.
const PIECE: usize = 64 << 10;

/// A call waits for its turn this many times as long as nothing may move, while others move on its connection.
const PATIENCE: u32 = 6;

/// What is known of a call's movement. Below gRPC, frames of its request that the connection takes and frames of its answer are
/// seen, so that a message of some MiB on a slow line is not taken for a dead one. What the connection has taken may still wait
/// there for a long time, together with what other calls want to send; so what matters first is whether anything moves on the
/// connection at all.
#[derive(Clone)]
pub(super) struct Watch {
    call: Moved,
    line: Moved,
    idle: Duration,
}

impl Watch {
    /// A call that begins, on a connection, of which nothing may move for as long as `idle`.
    pub fn new(line: Moved, idle: Duration) -> Watch {
        Watch { call: Moved::now(), line, idle }
    }

    /// When it is over, if nothing moves until then.
    fn end(&self) -> Instant {
        let call = self.call.last();
        (call.max(self.line.last()) + self.idle).min(call + self.idle * PATIENCE)
    }

    /// Ends when nothing has moved for too long.
    pub async fn silence(&self) {
        loop {
            let end = self.end();
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    /// What a call ends with on which nothing moves.
    pub fn stalled(&self) -> Status {
        let seconds = self.call.last().elapsed().as_secs_f32();
        Status::new(Code::DeadlineExceeded, format!("{NOTHING_MOVED}{seconds:.1} s"))
    }
}

/// The body of a request, in small pieces, that notes when one is taken.
pub(super) struct Asking {
    inner: Body,
    rest: Bytes,
    watch: Watch,
}

impl Asking {
    pub fn new(inner: Body, watch: Watch) -> Asking {
        Asking { inner, rest: Bytes::new(), watch }
    }

    fn piece(&mut self) -> Frame<Bytes> {
        Frame::data(self.rest.split_to(self.rest.len().min(PIECE)))
    }
}

impl HttpBody for Asking {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        this.watch.call.touch();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(this.piece())));
        }
        let frame = ready!(Pin::new(&mut this.inner).poll_frame(cx));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        Poll::Ready(Some(Ok(match frame.into_data() {
            Ok(data) => {
                this.rest = data;
                this.piece()
            }
            Err(trailers) => trailers,
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }
}

/// The body of an answer, that ends with an error when nothing moves for too long while it is waited for.
pub(super) struct Answer {
    inner: Body,
    watch: Watch,
    silence: Option<Pin<Box<Sleep>>>,
}

impl Answer {
    pub fn new(inner: Body, watch: Watch) -> Answer {
        Answer { inner, watch, silence: None }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.silence = None;
            this.watch.call.touch();
            return Poll::Ready(frame);
        }
        let silence = this.silence.get_or_insert_with(|| {
            // It counts from when somebody waits: whoever takes his time with what arrived is not the server.
            this.watch.call.touch();
            Box::pin(sleep_until(this.watch.end()))
        });
        loop {
            ready!(silence.as_mut().poll(cx));
            let end = this.watch.end();
            if end <= Instant::now() {
                return Poll::Ready(Some(Err(this.watch.stalled())));
            }
            silence.as_mut().reset(end);
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
