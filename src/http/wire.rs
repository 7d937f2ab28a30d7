//! What stands between hyper and a stream: hyper gets rewritten heads, which it can read whatever the endpoint sent.
//!
//! # Why hyper gets no answer before the request is sent
//!
//! An endpoint may answer before it has read the whole body, and read on. To hyper, an answer that closes the connection
//! is its end, and what was not sent by then is not sent: an event would be counted as delivered that arrived in part.
//! So the head of an answer is kept back until hyper has handed over the body (`Whole::poll_frame`) and flushed what it
//! had buffered after that, or until a write fails, which `Socket` passes over. If the time is over first, the write has
//! the head in `Exchange`. All of this is polled by one task, the write's, and the lock is never contended.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};
use hyper::rt::{Read, ReadBufCursor, Write};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWrite as _};

use super::TransportFailure;
use super::fault::{Fault, is_broken, of_io};
use super::head::{Head, HeadReader, Step};
use super::socket::Stream;

/// How many bytes are read from a stream at once, and by hyper. An idle connection keeps room for both.
pub(super) const READ: usize = 2 * 1024;

/// One request over a connection and its answer.
#[derive(Default)]
pub(super) struct Exchange {
    /// Whether the head of the answer is to be read. If not, what comes is passed on as it is.
    awaits: bool,
    /// Whether hyper has the whole body.
    handed_over: bool,
    /// Whether the request was sent, or cannot be.
    sent: bool,
    reader: HeadReader,
    /// Whether anything of an answer came.
    pub(super) came: bool,
    /// The head of the answer.
    pub(super) head: Option<Head>,
    /// Why there is no answer, and whether the connection is broken.
    pub(super) failure: Option<(Fault, bool)>,
    /// hyper's, while the head is kept back.
    waker: Option<Waker>,
}

impl Exchange {
    fn fail(&mut self, error: &io::Error) {
        if self.failure.is_none() {
            self.failure = Some((of_io(error), is_broken(error)));
        }
    }
}

/// The body of a request.
pub(super) struct Whole {
    bytes: Option<Bytes>,
    exchange: Arc<Mutex<Exchange>>,
}

impl Whole {
    /// Begins an exchange with this body.
    pub(super) fn begin(bytes: Bytes, exchange: &Arc<Mutex<Exchange>>) -> Self {
        let handed_over = bytes.is_empty();
        *exchange.lock() = Exchange { awaits: true, handed_over, ..Exchange::default() };
        Self { bytes: (!handed_over).then_some(bytes), exchange: Arc::clone(exchange) }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.exchange.lock().handed_over = true;
        Poll::Ready(self.bytes.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, Bytes::len) as u64)
    }
}

/// A stream that gives hyper rewritten heads.
pub(super) struct Wire {
    stream: Stream,
    exchange: Arc<Mutex<Exchange>>,
    /// What came and hyper has not read.
    input: Vec<u8>,
}

impl Wire {
    pub(super) fn new(stream: Stream, exchange: Arc<Mutex<Exchange>>) -> Self {
        Self { stream, exchange, input: Vec::new() }
    }

    /// Reads some bytes; none at the end.
    fn fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.input.reserve(READ);
        pin!(self.stream.read_buf(&mut self.input)).poll(context)
    }

    /// Reads until a rewritten head is at the front of `input`, and the request is sent.
    fn read_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut exchange = self.exchange.lock();
            if exchange.head.is_some() {
                if exchange.sent {
                    exchange.awaits = false;
                    return Poll::Ready(Ok(()));
                }
                exchange.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            match exchange.reader.look(&self.input) {
                Step::Head(head) => {
                    // A body that has come with its head, as most do, is none of hyper's business.
                    let whole = head.body_length().and_then(|body| head.length.checked_add(body));
                    let whole = whole.filter(|whole| *whole <= self.input.len());
                    let rewritten = head.rewritten(whole.is_none());
                    drop(self.input.splice(..whole.unwrap_or(head.length), rewritten));
                    exchange.head = Some(head);
                }
                Step::Skip(length) => drop(self.input.drain(..length)),
                Step::Unreadable(reason) => {
                    exchange.failure = Some((Fault::transport(TransportFailure::Protocol, reason), false));
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Step::More => {
                    drop(exchange);
                    let read = match ready!(self.fill(context)) {
                        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                        read => read,
                    };
                    let mut exchange = self.exchange.lock();
                    exchange.came |= read.is_ok();
                    if let Err(error) = read {
                        exchange.fail(&error);
                        return Poll::Ready(Err(error));
                    }
                }
            }
        }
    }

    fn failing<T>(&self, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &done {
            self.exchange.lock().fail(error);
        }
        done
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.exchange.lock().awaits {
            ready!(self.read_head(context))?;
        }
        if self.input.is_empty() && ready!(self.fill(context))? == 0 {
            return Poll::Ready(Ok(()));
        }
        let passed = buffer.remaining().min(self.input.len());
        buffer.put_slice(&self.input[..passed]);
        self.input.drain(..passed);
        Poll::Ready(Ok(()))
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.failing(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.failing(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper calls this when it has written everything that it has buffered.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        ready!(self.failing(flushed))?;
        let mut exchange = self.exchange.lock();
        exchange.sent |= exchange.handed_over;
        let waker = if exchange.sent { exchange.waker.take() } else { None };
        drop(exchange);
        if let Some(waker) = waker {
            waker.wake();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
