//! How the client makes a connection: ureq's connectors, and between them some that see what ureq does not report.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ureq::unversioned::transport::time::Duration as Remaining;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector,
    TcpConnector, Transport,
};

use super::failure::{OwnError, is_broken};
use super::fault::same;
use super::head::{Head, HeadReader, LONGEST_REWRITTEN, Step};

/// Long enough to read what has already arrived.
const AT_ONCE: Remaining = Remaining::from_millis(10);

/// The connectors of ureq's default, with those of this module between them.
pub(super) fn connector(proxied: bool) -> impl Connector<(), Out = impl Transport> {
    ().chain(ByProxy(ConnectProxyConnector::default()))
        .chain(TcpConnector::default())
        .chain(ReadsOn)
        .chain(RustlsConnector::default())
        .chain(ReadsHeads { proxied, dead: Arc::default() })
}

/// Marks an error of connecting through a proxy as the proxy's.
#[derive(Debug)]
struct ByProxy(ConnectProxyConnector);

impl<In: Transport> Connector<In> for ByProxy {
    type Out = <ConnectProxyConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.0.connect(details, chained).map_err(|error| OwnError::Proxy(Box::new(error)).into())
    }
}

/// Wraps a socket in [`ReadingOn`], below the encryption.
#[derive(Debug)]
struct ReadsOn;

impl<In: Transport> Connector<In> for ReadsOn {
    type Out = ReadingOn<In>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<ReadingOn<In>>, ureq::Error> {
        Ok(chained.map(|inner| ReadingOn { inner, broken: None }))
    }
}

/// A socket from which an answer can be read although a write to it failed. An endpoint that refuses a body before it has
/// read all of it answers and closes the connection. ureq would report only the latter, and the answer, that the event is
/// too large, would be lost.
#[derive(Debug)]
struct ReadingOn<T> {
    inner: T,
    /// The error of the write that failed, or timed out in the middle. What is written afterwards is discarded.
    broken: Option<io::Error>,
}

impl<T: Transport> Transport for ReadingOn<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if self.broken.is_some() {
            return Ok(());
        }
        match self.inner.transmit_output(amount, timeout) {
            Err(ureq::Error::Io(error)) => {
                self.broken = Some(error);
                Ok(())
            }
            Err(error) => {
                self.broken = Some(io::ErrorKind::TimedOut.into());
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        match (self.inner.await_input(timeout), &self.broken) {
            // There is no answer. The error of the write came first, and says most.
            (Ok(false) | Err(ureq::Error::Io(_)), Some(broken)) => Err(ureq::Error::Io(same(broken))),
            (answer, _) => answer,
        }
    }

    fn is_open(&mut self) -> bool {
        self.broken.is_none() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Wraps a connection in [`ReadingHeads`], above the encryption.
#[derive(Debug)]
struct ReadsHeads {
    proxied: bool,
    /// How many connections were found broken when they were used again.
    dead: Arc<AtomicU64>,
}

impl<In: Transport> Connector<In> for ReadsHeads {
    type Out = ReadingHeads<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<ReadingHeads<In>>, ureq::Error> {
        // This is the connection to a proxy, through which a tunnel is made, and what passes it need not be HTTP. ureq
        // asks for that connection with a configuration that has no proxy.
        let tunnel = self.proxied && details.config.proxy().is_none();
        Ok(chained.map(|inner| ReadingHeads {
            inner,
            head: LazyBuffers::new(LONGEST_REWRITTEN, 1),
            awaits: false,
            tunnel,
            reader: HeadReader::default(),
            answers: 0,
            // Relaxed: no other memory depends on the count.
            made_at: self.dead.load(Ordering::Relaxed),
            dead: Arc::clone(&self.dead),
        }))
    }
}

/// A connection that gives the client rewritten heads, which it can read whatever the endpoint sent.
#[derive(Debug)]
struct ReadingHeads<T> {
    inner: T,
    /// The rewritten head of the answer, until the client has read it.
    head: LazyBuffers,
    /// Whether a request was sent and the head of its answer has not come.
    awaits: bool,
    /// Whether it is the connection to the proxy of a tunnel, and passes everything on as it is.
    tunnel: bool,
    /// Reads the answer to this request.
    reader: HeadReader,
    /// How many answers have come over this connection.
    answers: u64,
    /// The value of `dead` when the connection was made.
    made_at: u64,
    dead: Arc<AtomicU64>,
}

impl<T: Transport> ReadingHeads<T> {
    /// Reads until the head of an answer is complete.
    fn read_head(&mut self, timeout: NextTimeout) -> Result<Head, ureq::Error> {
        let begun = Instant::now();
        loop {
            match self.reader.look(self.inner.buffers().input()) {
                Step::Head(head) => {
                    self.inner.buffers().input_consume(head.length);
                    self.awaits = false;
                    self.answers += 1;
                    return Ok(head);
                }
                Step::Skip(length) => {
                    self.inner.buffers().input_consume(length);
                    continue;
                }
                Step::Unreadable(reason) => return Err(OwnError::Unreadable(reason).into()),
                Step::More => {}
            }
            let remaining = timeout.after.saturating_sub(begun.elapsed());
            if remaining.is_zero() {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            if !self.inner.await_input(NextTimeout { after: Remaining::Exact(remaining), ..timeout })? {
                return Err(ureq::Error::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Distinguishes a connection that was broken before it was used again from one that broke off now: its request is
    /// not the first, and not a byte of the answer came. Then the other kept connections are not used again either, since
    /// they are likely to be broken too.
    fn classify(&mut self, error: ureq::Error) -> ureq::Error {
        let nothing_came =
            self.awaits && !self.reader.has_interim() && self.inner.buffers().input().is_empty();
        if self.tunnel || self.answers == 0 || !nothing_came {
            return error;
        }
        self.dead.fetch_add(1, Ordering::Relaxed);
        if is_broken(&error) { OwnError::Dead(Box::new(error)).into() } else { error }
    }
}

impl<T: Transport> Transport for ReadingHeads<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        // The rewritten head first, then the body.
        if self.head.input().is_empty() { self.inner.buffers() } else { &mut self.head }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if !self.tunnel && !self.awaits {
            self.awaits = true;
            self.reader = HeadReader::default();
        }
        let begun = Instant::now();
        // The encrypted connection reports that the time was over only at its next write, so this checks for it.
        let sent = self.inner.transmit_output(amount, timeout).and_then(|()| match timeout.after {
            Remaining::Exact(after) if begun.elapsed() >= after => Err(ureq::Error::Timeout(timeout.reason)),
            _ => Ok(()),
        });
        if self.awaits && matches!(sent, Err(ureq::Error::Timeout(_))) {
            // The endpoint has stopped reading. It may have answered before that.
            if let Ok(head) = self.read_head(NextTimeout { after: AT_ONCE, ..timeout }) {
                return Err(OwnError::Answered(head).into());
            }
        }
        sent.map_err(|error| self.classify(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if !self.awaits {
            return self.inner.await_input(timeout);
        }
        let head = self.read_head(timeout).map_err(|error| self.classify(error))?;
        let rewritten = head.rewritten(true);
        self.head.input_append_buf()[..rewritten.len()].copy_from_slice(&rewritten);
        self.head.input_appended(rewritten.len());
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        self.made_at == self.dead.load(Ordering::Relaxed) && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
