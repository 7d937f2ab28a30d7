//! The sinks at the ends of a graph, and the one that leads back into it: users' code, with all that it may do.

use std::convert::Infallible;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use outflow::testing::Slow;
use outflow::{
    AsyncSink, AsyncSinkExt, CloseError, Closing, Flushing, SharedAsyncSink, Sink, SinkExt, WriteError, sink,
};

use crate::event::{Event, Nested, PLANNED, World, is_getting};
use crate::graph::Entry;
use crate::operations::{self, Op};
use crate::probe::Fail;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseBy {
    Done,
    Panics,
    Fails,
    /// Ended by another thread.
    Later,
}

/// What a leaf does with every so many-th write; 0 is never.
#[derive(Clone, Debug)]
pub struct LeafPlan {
    pub stalls: u64,
    pub stall: Duration,
    pub panics: u64,
    pub fails: u64,
    /// Closes by itself at this write.
    pub closes: u64,
    pub close: CloseBy,
    pub flush_panics: bool,
    /// Whether `write_ref` clones.
    pub clones: bool,
    pub calls_back: u64,
    pub call: Op,
}

pub struct Leaf {
    plan: LeafPlan,
    world: Arc<World>,
    seen: AtomicU64,
    calls: AtomicU64,
    faults: AtomicU64,
    ended: AtomicBool,
    pub closes: AtomicU64,
}

/// How often one leaf calls back, so that events that beget events end.
const MOST_CALLS: u64 = 4;

/// How often one leaf panics or fails. Around a ring one write comes to it so often that some of it would fail in every attempt, and
/// a retry of that write would never end.
const MOST_FAULTS: u64 = 100;

enum Verdict {
    Accepted,
    Closed,
    Failed,
}

impl Leaf {
    pub fn new(plan: LeafPlan, world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            plan,
            world: Arc::clone(world),
            seen: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            closes: AtomicU64::new(0),
        })
    }

    fn getter_ran(&self, what: &str) {
        if is_getting() {
            self.world.broke("a getter runs no user's code", format!("a getter ran the {what} of a sink"));
        }
    }

    fn judge(&self) -> Verdict {
        let Some(seen) = self.arrives() else { return Verdict::Closed };
        if due(self.plan.stalls, seen) {
            thread::sleep(self.plan.stall);
        }
        self.decide(seen)
    }

    /// Waits without a thread.
    async fn judge_async(&self, pause: &SharedAsyncSink<()>) -> Verdict {
        let Some(seen) = self.arrives() else { return Verdict::Closed };
        if due(self.plan.stalls, seen) {
            let _ = pause.write(()).await;
        } else if seen % 3 == 0 {
            tokio::task::yield_now().await;
        }
        self.decide(seen)
    }

    /// The number of the write; `None` if it is closed.
    fn arrives(&self) -> Option<u64> {
        self.getter_ran("write");
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let seen = self.seen.fetch_add(1, Ordering::SeqCst) + 1;
        if due(self.plan.calls_back, seen) && self.calls.fetch_add(1, Ordering::SeqCst) < MOST_CALLS {
            operations::call_back(&self.world, &self.plan.call);
        }
        Some(seen)
    }

    fn decide(&self, seen: u64) -> Verdict {
        let plan = &self.plan;
        let fault = |every| due(every, seen) && self.faults.fetch_add(1, Ordering::SeqCst) < MOST_FAULTS;
        if fault(plan.panics) {
            panic_any(PLANNED);
        }
        if plan.closes > 0 && seen >= plan.closes {
            self.ended.store(true, Ordering::SeqCst);
            return Verdict::Closed;
        }
        if fault(plan.fails) { Verdict::Failed } else { Verdict::Accepted }
    }

    fn flush(&self) -> Flushing {
        self.getter_ran("flush");
        if self.plan.flush_panics {
            panic_any(PLANNED);
        }
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.getter_ran("close");
        self.ended.store(true, Ordering::SeqCst);
        self.closes.fetch_add(1, Ordering::SeqCst);
        match self.plan.close {
            CloseBy::Done => Closing::done(),
            CloseBy::Panics => panic_any(PLANNED),
            CloseBy::Fails => Closing::failed(CloseError::other("a planned failure")),
            CloseBy::Later => {
                let (closing, pending) = Closing::pending();
                thread::spawn(move || pending.finish(Ok(())));
                closing
            }
        }
    }
}

fn due(every: u64, seen: u64) -> bool {
    every > 0 && seen % every == 0
}

pub struct Reliable(pub Arc<Leaf>);

impl Sink<Event> for Reliable {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        match self.0.judge() {
            Verdict::Accepted => event.discard(),
            Verdict::Closed => return Err(WriteError::Closed(event)),
            Verdict::Failed => unreachable!("a reliable leaf was planned to fail"),
        }
        Ok(())
    }

    fn write_ref(&self, event: &Event) -> Result<(), WriteError<(), Infallible>> {
        let owned = self.0.plan.clones.then(|| event.clone());
        let verdict = self.0.judge();
        owned.into_iter().for_each(Event::discard);
        if let Verdict::Accepted = verdict { Ok(()) } else { Err(WriteError::Closed(())) }
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.ended.load(Ordering::SeqCst)
    }
}

pub struct Failing(pub Arc<Leaf>);

impl Sink<Event> for Failing {
    type Error = Fail;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Fail>> {
        match self.0.judge() {
            Verdict::Accepted => event.discard(),
            Verdict::Closed => return Err(WriteError::Closed(event)),
            Verdict::Failed => return Err(WriteError::failed(event, Fail)),
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.ended.load(Ordering::SeqCst)
    }
}

/// An asynchronous leaf of either kind.
pub struct Waits<S> {
    sink: S,
    /// Waits as long as the leaf stalls.
    pause: SharedAsyncSink<()>,
}

impl<S> Waits<S> {
    pub fn new(sink: S, leaf: &Leaf) -> Self {
        let waits = Slow::new(sink::from_async_fn(|()| async { Ok::<_, Infallible>(()) }), leaf.plan.stall);
        Self { sink, pause: AsyncSinkExt::shared(waits) }
    }
}

impl AsyncSink<Event> for Waits<Reliable> {
    type Error = Infallible;

    async fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        match self.sink.0.judge_async(&self.pause).await {
            Verdict::Accepted => event.discard(),
            Verdict::Closed => return Err(WriteError::Closed(event)),
            Verdict::Failed => unreachable!("a reliable leaf was planned to fail"),
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.sink.0.flush()
    }

    fn close(&self) -> Closing {
        self.sink.0.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

impl AsyncSink<Event> for Waits<Failing> {
    type Error = Fail;

    async fn write(&self, event: Event) -> Result<(), WriteError<Event, Fail>> {
        match self.sink.0.judge_async(&self.pause).await {
            Verdict::Accepted => event.discard(),
            Verdict::Closed => return Err(WriteError::Closed(event)),
            Verdict::Failed => return Err(WriteError::failed(event, Fail)),
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.sink.0.flush()
    }

    fn close(&self) -> Closing {
        self.sink.0.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

/// How often an event may go around a ring.
const MOST_HOPS: u8 = 2;

/// Writes a copy of each event, as one of its own, to a sink further up. Its close goes no further.
pub struct Back {
    pub target: Arc<OnceLock<Entry>>,
    pub world: Arc<World>,
    /// Writes by turns with and without a timeout.
    pub by_turns: bool,
}

impl Back {
    pub fn sink(self) -> impl Sink<Event, Error = Infallible> + Send + Sync {
        self.keep_open()
    }
}

impl Sink<Event> for Back {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        self.write_ref(&event).map_err(|refused| refused.map_event(|()| unreachable!("answers `Ok`")))?;
        event.discard();
        Ok(())
    }

    fn write_ref(&self, event: &Event) -> Result<(), WriteError<(), Infallible>> {
        if event.hops < MOST_HOPS {
            if let Some(target) = self.target.get() {
                let again = Event::next(&self.world, target.edge.node, event.hops + 1, event.bomb);
                let _nested = Nested::enter();
                let timed = self.by_turns && again.seq % 2 == 1;
                let written = if timed { target.write_for(again) } else { target.write(again) };
                // Handed back to this writer, which drops it.
                written.unwrap_or_else(Event::discard);
            }
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.target.get().map_or_else(Flushing::done, Entry::flush)
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}
