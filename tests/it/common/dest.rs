//! Sinks that keep or count what they are written.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use outflow::{Closing, Flushing, Sink, WriteError};

use super::{Event, planned_panic};

/// What a `Dest` does with the event of this number, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    PanicAt(usize),
    ClosedAt(usize),
}

/// Keeps events, until its fault or its close.
#[derive(Debug)]
pub struct Dest {
    fault: Fault,
    state: Mutex<(Vec<Event>, bool)>,
    seen: AtomicUsize,
    pub closes: AtomicUsize,
    /// There was a write after the close.
    pub late: AtomicBool,
}

impl Dest {
    pub fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self {
            fault,
            state: Mutex::new((Vec::new(), false)),
            seen: AtomicUsize::new(0),
            closes: AtomicUsize::new(0),
            late: AtomicBool::new(false),
        })
    }

    pub fn ids(&self) -> Vec<u64> {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).0.iter().map(|event| event.id).collect()
    }

    fn take(&self, event: Event) -> Result<(), Event> {
        let seen = self.seen.fetch_add(1, Ordering::SeqCst);
        if self.fault == Fault::PanicAt(seen) {
            planned_panic();
        }
        let mut state = self.state.lock().unwrap_or_else(|e| e.into_inner());
        if state.1 {
            if self.closes.load(Ordering::SeqCst) > 0 {
                self.late.store(true, Ordering::SeqCst);
            }
            return Err(event);
        }
        if self.fault == Fault::ClosedAt(seen) {
            state.1 = true;
            return Err(event);
        }
        state.0.push(event);
        Ok(())
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).1 = true;
        self.closes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Sink<Event> for Dest {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        self.take(event).map_err(WriteError::Closed)
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.end();
        Closing::done()
    }

    fn is_closed(&self) -> bool {
        self.state.lock().unwrap_or_else(|e| e.into_inner()).1
    }
}

/// The same for batches; hands back the rest of one.
pub struct Batches(pub Arc<Dest>);

impl Sink<Vec<Event>> for Batches {
    type Error = Infallible;

    fn write(&self, batch: Vec<Event>) -> Result<(), WriteError<Vec<Event>, Infallible>> {
        assert!(!batch.is_empty(), "an empty batch");
        if let Fault::PanicAt(at) = self.0.fault {
            // Before any is kept: a batch on which a sink panics is lost as a whole.
            if self.0.seen.load(Ordering::SeqCst) + batch.len() > at {
                planned_panic();
            }
        }
        let mut events = batch.into_iter();
        while let Some(event) = events.next() {
            if let Err(event) = self.0.take(event) {
                return Err(WriteError::Closed(std::iter::once(event).chain(events).collect()));
            }
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.0.end();
        Closing::done()
    }
}

/// Accepts everything, and calls a closure whenever it is closed.
pub struct OnClose<F>(pub F);

impl<F: Fn() -> Closing> Sink<u32> for OnClose<F> {
    type Error = Infallible;

    fn write(&self, _: u32) -> Result<(), WriteError<u32, Infallible>> {
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        (self.0)()
    }
}
