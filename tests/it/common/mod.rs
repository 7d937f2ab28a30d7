//! What several of the tests need: events that count themselves, a sink that does what it is told.

#![allow(dead_code, unreachable_pub)]

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::time::{Duration, Instant};

#[allow(unused_imports)] // Not every test waits at one.
#[cfg(feature = "testing")]
pub use outflow::testing::Latch;
use outflow::{Closing, Flushing, Sink, WriteError};

/// Longer than anything here takes, short enough to be told of a hang.
pub const SOON: Duration = Duration::from_secs(20);

/// How many events there are, and how many copies were made.
#[derive(Debug, Default)]
pub struct Census {
    pub live: AtomicI64,
    pub clones: AtomicU64,
}

/// An event that is counted as long as it lives.
#[derive(Debug)]
pub struct Event {
    pub id: u64,
    census: Arc<Census>,
}

impl Event {
    pub fn new(id: u64, census: &Arc<Census>) -> Self {
        census.live.fetch_add(1, Ordering::SeqCst);
        Self { id, census: Arc::clone(census) }
    }
}

impl Clone for Event {
    fn clone(&self) -> Self {
        self.census.clones.fetch_add(1, Ordering::SeqCst);
        Self::new(self.id, &self.census)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        self.census.live.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Census {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub fn clones(&self) -> u64 {
        self.clones.load(Ordering::SeqCst)
    }

    /// Waits until no event is left, which a thread that is about to end may hold.
    pub fn assert_none_left(&self) {
        wait_until("every event is dropped", || self.live.load(Ordering::SeqCst) == 0);
    }
}

/// Waits for something that nothing signals.
#[track_caller]
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::yield_now();
    }
}

/// A panic with this message is planned, and not printed.
pub const PLANNED: &str = "planned panic";

pub fn hush_planned_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.payload().downcast_ref::<&str>() != Some(&PLANNED) {
                before(info);
            }
        }));
    });
}

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
    /// Somebody wrote after the close.
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
            std::panic::panic_any(PLANNED);
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
                std::panic::panic_any(PLANNED);
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

/// Runs `f` on a thread of its own and panics if it takes too long: a deadlock fails the test.
#[track_caller]
pub fn in_time<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let _ = sender.send(f());
    });
    match receiver.recv_timeout(SOON) {
        Ok(answer) => answer,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(()) => panic!("{what} answered nothing"),
        },
    }
}

/// Counts how often it was woken.
#[derive(Default)]
pub struct Count(AtomicUsize);

impl std::task::Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Count {
    pub fn new() -> (Arc<Self>, std::task::Waker) {
        let count = Arc::<Self>::default();
        (Arc::clone(&count), std::task::Waker::from(count))
    }

    pub fn get(&self) -> usize {
        self.0.load(Ordering::SeqCst)
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
