use std::convert::Infallible;
use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};
use crate::lifecycle::{Closing, Flushing};
use crate::sync::give_way;
use crate::testing::{Latch, Probe, Stamp};

/// The reliable sink that [`Conformance`](super::Conformance) hands to your closure, to stand at the end of the chain.
/// Clones share one state.
///
/// It keeps the stamps of the events written to it, and, as each check needs, waits, closes by itself, panics, or calls
/// the sink above. It refuses writes once it is closed. Where the chain needs a sink that can fail, put a
/// [`Flaky`](crate::testing::Flaky) before it.
///
/// # Examples
///
/// ```
/// use outflow::SinkExt;
/// use outflow::testing::{Conformance, Downstream, Flaky};
///
/// Conformance::new(|end: Downstream| Flaky::at_random(end.clone(), 0.5, 1).fallback(end)).run()?;
/// # Ok::<(), outflow::testing::Violation>(())
/// ```
pub struct Downstream<E = Probe> {
    shared: Arc<Shared<E>>,
}

struct Shared<E> {
    stamp: StampOf<E>,
    state: Mutex<State<E>>,
}

pub(super) type StampOf<E> = Arc<dyn Fn(&E) -> Stamp + Send + Sync>;
type Call<E> = Arc<dyn Fn(&E) + Send + Sync>;

struct State<E> {
    delivered: Vec<Stamp>,
    /// Refused after a call of `close`.
    late: Vec<Stamp>,
    /// Refused after it had closed by itself.
    refused: Vec<Stamp>,
    closed: bool,
    closes: u64,
    /// Where a write waits before anything else.
    hold: Option<Latch>,
    /// What a write calls before it is delivered.
    call: Option<Call<E>>,
    /// How many writes succeed before one panics.
    panic_in: Option<u64>,
    panicked: u64,
}

impl<E> Downstream<E> {
    pub(super) fn new(stamp: StampOf<E>) -> Self {
        let state = State {
            delivered: Vec::new(),
            late: Vec::new(),
            refused: Vec::new(),
            closed: false,
            closes: 0,
            hold: None,
            call: None,
            panic_in: None,
            panicked: 0,
        };
        Self { shared: Arc::new(Shared { stamp, state: Mutex::new(state) }) }
    }

    /// The stamps of the events delivered so far, in the order in which they came.
    pub fn delivered(&self) -> Vec<Stamp> {
        self.shared.state.lock().delivered.clone()
    }

    pub(super) fn late(&self) -> Vec<Stamp> {
        self.shared.state.lock().late.clone()
    }

    pub(super) fn refused(&self) -> Vec<Stamp> {
        self.shared.state.lock().refused.clone()
    }

    /// Whether its `close` was called; `false` if it closed by itself.
    pub(super) fn was_closed(&self) -> bool {
        self.shared.state.lock().closes > 0
    }

    pub(super) fn panicked(&self) -> u64 {
        self.shared.state.lock().panicked
    }

    pub(super) fn hold(&self) -> Latch {
        self.shared.state.lock().hold.get_or_insert_with(Latch::new).clone()
    }

    /// Closes it as if by itself.
    pub(super) fn end(&self) {
        self.shared.state.lock().closed = true;
    }

    pub(super) fn call(&self, call: Option<Call<E>>) {
        // Dropped without the lock: what the closure holds may call this sink from its destructor.
        let before = std::mem::replace(&mut self.shared.state.lock().call, call);
        drop(before);
    }

    /// Makes one write panic, after this many have succeeded.
    pub(super) fn panic_after(&self, writes: u64) {
        self.shared.state.lock().panic_in = Some(writes);
    }

    /// Makes the next write panic, if the panic is still to come.
    pub(super) fn panic_next(&self) {
        let mut state = self.shared.state.lock();
        state.panic_in = state.panic_in.map(|_| 0);
    }

    /// Takes an event, once it need not wait; `false` if it is closed.
    fn take(&self, event: &E) -> bool {
        let hold = self.shared.state.lock().hold.clone();
        if let Some(hold) = hold {
            hold.pass();
        }
        self.take_now(event)
    }

    fn take_now(&self, event: &E) -> bool {
        let call = self.shared.state.lock().call.clone();
        if let Some(call) = call {
            call(event);
        }
        let stamp = (self.shared.stamp)(event);
        let mut state = self.shared.state.lock();
        if state.closed {
            if state.closes > 0 {
                state.late.push(stamp);
            } else {
                state.refused.push(stamp);
            }
            return false;
        }
        match state.panic_in.as_mut() {
            Some(0) => {
                state.panic_in = None;
                state.panicked += 1;
                drop(state);
                // Not `panic!`, whose hook would print it.
                resume_unwind(Box::new("planned panic".to_owned()));
            }
            Some(remaining) => *remaining -= 1,
            None => {}
        }
        state.delivered.push(stamp);
        true
    }
}

impl<E> Sink<E> for Downstream<E> {
    type Error = Infallible;

    fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        if self.take(&event) { Ok(()) } else { Err(WriteError::Closed(event)) }
    }

    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Infallible>> {
        if self.take(event) { Ok(()) } else { Err(WriteError::Closed(())) }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        let mut state = self.shared.state.lock();
        state.closed = true;
        state.closes += 1;
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.shared.state.lock().closed
    }
}

/// A [`Downstream`] as an asynchronous sink. Made by [`into_async`](Downstream::into_async).
///
/// Each write is pending once, so that what is above it is suspended in every write; and it never blocks a thread.
pub struct AsyncDownstream<E = Probe> {
    end: Downstream<E>,
}

impl<E> Downstream<E> {
    /// Makes an asynchronous sink of it, for the end of an asynchronous chain.
    pub fn into_async(self) -> AsyncDownstream<E> {
        AsyncDownstream { end: self }
    }
}

impl<E> AsyncSink<E> for AsyncDownstream<E>
where
    E: Send,
{
    type Error = Infallible;

    async fn write(&self, event: E) -> Result<(), WriteError<E, Infallible>> {
        give_way().await;
        let hold = self.end.shared.state.lock().hold.clone();
        if let Some(hold) = hold {
            hold.passed().await;
        }
        if self.end.take_now(&event) { Ok(()) } else { Err(WriteError::Closed(event)) }
    }

    delegate!(end: flush, close, is_closed, wants);
}

impl<E> Clone for AsyncDownstream<E> {
    fn clone(&self) -> Self {
        Self { end: self.end.clone() }
    }
}

impl<E> fmt::Debug for AsyncDownstream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncDownstream").field("end", &self.end).finish()
    }
}

impl<E> Clone for Downstream<E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<E> fmt::Debug for Downstream<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.state.lock();
        f.debug_struct("Downstream")
            .field("delivered", &state.delivered.len())
            .field("closed", &state.closed)
            .finish_non_exhaustive()
    }
}
