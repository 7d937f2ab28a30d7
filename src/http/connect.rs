//! How the client gets a connection: ureq's own parts, with a few between them that see what it does not tell.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use ureq::unversioned::transport::time::Duration as Left;
use ureq::unversioned::transport::{
    Buffers, ConnectProxyConnector, ConnectionDetails, Connector, LazyBuffers, NextTimeout, RustlsConnector,
    TcpConnector, Transport,
};

use super::failure::{Own, is_broken};
use super::head::{self, Beginning, Head, LONGEST_HEAD, LONGEST_REWRITTEN};

/// Enough to take what has come already.
const AT_ONCE: Left = Left::from_millis(10);

const NOT_HTTP: &str = "it is not HTTP/1.1";
const LONG_HEAD: &str = "its head is longer than 16 KiB, interim answers (1xx) included";

/// What ureq connects with by itself, and these parts between.
pub(super) fn connector(proxied: bool) -> impl Connector<(), Out = impl Transport> {
    ().chain(ByProxy(ConnectProxyConnector::default()))
        .chain(TcpConnector::default())
        .chain(ReadsOn)
        .chain(RustlsConnector::default())
        .chain(ReadsHeads { proxied, dead: Arc::default() })
}

/// Says of what goes wrong on the way through a proxy that it is the proxy's.
#[derive(Debug)]
struct ByProxy(ConnectProxyConnector);

impl<In: Transport> Connector<In> for ByProxy {
    type Out = <ConnectProxyConnector as Connector<In>>::Out;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        self.0.connect(details, chained).map_err(|error| Own::Proxy(Box::new(error)).into())
    }
}

/// Makes [`ReadingOn`] of a socket, below the encryption.
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

/// A socket from which an answer can be read although a write to it failed. An endpoint that refuses a body before
/// it has read it answers and hangs up; the client by itself reports the latter only, and that the event is too
/// large is lost.
#[derive(Debug)]
struct ReadingOn<T> {
    inner: T,
    /// How a write failed, or that its time was over in the middle of it. What is written after that goes nowhere.
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
            // There was no answer. What went wrong first says most.
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

fn same(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

/// Makes [`ReadingHeads`] of a connection, above the encryption.
#[derive(Debug)]
struct ReadsHeads {
    proxied: bool,
    /// How many connections were found dead when they were used again.
    dead: Arc<AtomicU64>,
}

impl<In: Transport> Connector<In> for ReadsHeads {
    type Out = ReadingHeads<In>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<ReadingHeads<In>>, ureq::Error> {
        // A tunnel is made of a connection to a proxy, and what goes through it need not be HTTP. ureq asks for
        // that connection without naming the proxy again.
        let tunnel = self.proxied && details.config.proxy().is_none();
        Ok(chained.map(|inner| ReadingHeads {
            inner,
            head: LazyBuffers::new(LONGEST_REWRITTEN, 1),
            awaits: false,
            tunnel,
            interim: 0,
            answers: 0,
            // Relaxed: a count, which hands over nothing.
            made_at: self.dead.load(Ordering::Relaxed),
            dead: Arc::clone(&self.dead),
        }))
    }
}

/// A connection whose answers have heads that the client can read, whatever the endpoint sent.
#[derive(Debug)]
struct ReadingHeads<T> {
    inner: T,
    /// The head of the answer as the client is to read it, until it has.
    head: LazyBuffers,
    /// Whether a request was sent and the head of its answer has not come.
    awaits: bool,
    /// Whether it leaves everything as it is.
    tunnel: bool,
    /// How many bytes of interim answers came to this request.
    interim: usize,
    /// How many answers came.
    answers: u64,
    /// What `dead` was when the connection was made.
    made_at: u64,
    dead: Arc<AtomicU64>,
}

impl<T: Transport> ReadingHeads<T> {
    /// Reads until there is a head.
    fn read_head(&mut self, timeout: NextTimeout) -> Result<Head, ureq::Error> {
        let begun = Instant::now();
        loop {
            let input = self.inner.buffers().input();
            let (length, room) = (input.len(), LONGEST_HEAD - self.interim);
            let head = match head::read(&input[..length.min(room)]) {
                Beginning::Answer(head) => Some(head),
                Beginning::Interim(length) => {
                    self.inner.buffers().input_consume(length);
                    self.interim += length;
                    continue;
                }
                Beginning::NotHttp => return Err(Own::Unreadable(NOT_HTTP).into()),
                Beginning::Part(Some(status)) if length > room => Some(Head::of_status(status, length)),
                Beginning::Part(None) if length > room => return Err(Own::Unreadable(LONG_HEAD).into()),
                Beginning::Part(_) => None,
            };
            if let Some(head) = head {
                self.inner.buffers().input_consume(head.length);
                self.awaits = false;
                self.answers += 1;
                return Ok(head);
            }
            let left = timeout.after.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(ureq::Error::Timeout(timeout.reason));
            }
            if !self.inner.await_input(NextTimeout { after: Left::Exact(left), ..timeout })? {
                return Err(ureq::Error::Io(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    }

    /// Tells a connection that was dead before it was used again from one that broke off: of the answer to a request
    /// that is not its first, not a byte came. Then those that were kept beside it are not used either, as they
    /// are likely to have gone the same way.
    fn seen(&mut self, error: ureq::Error) -> ureq::Error {
        let nothing_came = self.awaits && self.interim == 0 && self.inner.buffers().input().is_empty();
        if self.tunnel || self.answers == 0 || !nothing_came {
            return error;
        }
        self.dead.fetch_add(1, Ordering::Relaxed);
        if is_broken(&error) { Own::Dead(Box::new(error)).into() } else { error }
    }
}

impl<T: Transport> Transport for ReadingHeads<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        // First the head, then what follows it.
        if self.head.input().is_empty() { self.inner.buffers() } else { &mut self.head }
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        if !self.tunnel && !self.awaits {
            self.awaits = true;
            self.interim = 0;
        }
        let begun = Instant::now();
        // Encryption keeps it to itself that the time was over, until the next write.
        let sent = self.inner.transmit_output(amount, timeout).and_then(|()| match timeout.after {
            Left::Exact(after) if begun.elapsed() >= after => Err(ureq::Error::Timeout(timeout.reason)),
            _ => Ok(()),
        });
        if self.awaits && matches!(sent, Err(ureq::Error::Timeout(_))) {
            // The endpoint read no further. It may have said why.
            if let Ok(head) = self.read_head(NextTimeout { after: AT_ONCE, ..timeout }) {
                return Err(Own::Answered(head).into());
            }
        }
        sent.map_err(|error| self.seen(error))
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        if !self.awaits {
            return self.inner.await_input(timeout);
        }
        let head = self.read_head(timeout).map_err(|error| self.seen(error))?;
        self.head.input_append_buf()[..head.rewritten.len()].copy_from_slice(&head.rewritten);
        self.head.input_appended(head.rewritten.len());
        Ok(true)
    }

    fn is_open(&mut self) -> bool {
        self.made_at == self.dead.load(Ordering::Relaxed) && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
