//! The life of a worker: it takes events from a source and delivers them, one after the other.
//!
//! A [`Life`] is a future. It is polled by a task of a pool, on a thread of its own (`block_on`), or by any executor.
//!
//! # Why no wake-up is lost
//!
//! A worker that finds nothing registers its waker ([`Source::register`]), and sleeps if it looks once more and finds
//! nothing. Whatever gives it something to find looks for the waker afterwards: at a queue by the pair of fences of
//! `ReaderWaker`, at a log under its lock. The waker is good for one wake-up, so it is registered anew for each sleep.
//!
//! # Why each flush is answered
//!
//! A flush waits in `Flushes` until everything is delivered that was accepted before it. The worker looks for new ones when
//! it was asked to, and gives them their mark. It passes them on at that mark, or when it finds nothing to deliver. What
//! waits when it ends is answered there (`end`), or by the abort that stopped it; what is asked for after that is answered
//! by the close.
//!
//! # If the future is dropped
//!
//! An executor that is shut down drops its tasks, at any await. What was with the sink is lost then, and the rest of the end
//! is as after an abort: see [`end`](super::end).

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Instant;

use super::deliver::Deliver;
use super::end::wind_up;
use super::flushes::pass_on;
use super::source::{Drain, End, Next, Source};
use super::state::Cause;
use super::thread;
use crate::sync::caught::{Payload, drop_caught, run_caught};
use crate::sync::give_way;
use crate::sync::timer::sleep_until;
use crate::trace;

/// How many steps a worker takes before it gives way to others of its pool.
const STEPS: usize = 256;

/// Takes events from `source` and hands them to `sink`, until there are no more or something stops it.
#[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice")]
fn live<S, D>(source: &mut S, sink: &D, own_thread: bool) -> impl Future<Output = End>
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    async move {
        let drain = Arc::clone(source.drain());
        let flushes = &drain.worker().flushes;
        // Passes on the flushes that are due at a position; the mark of the next.
        let pass_due = |position| {
            let (due, next) = flushes.take_due(position);
            pass_on::<S::Item, _>(due, sink, drain.worker().scope, || drain.given_up());
            next
        };
        // The position at which the first flush that waits is to be passed on.
        let mut flush_at = u64::MAX;
        // Whether a waker is registered, and nothing was found since.
        let mut registered = false;
        let mut steps = 0;
        loop {
            let next = match deliver_ready(source, sink, flush_at, &mut steps, &mut registered) {
                Ok(next) => next,
                Err(event) => return refuse(source, sink, event),
            };
            match next {
                None => {}
                Some(Next::Event(event)) => match sink.deliver(event).await {
                    Ok(receipt) => source.delivered(receipt),
                    Err(event) => return refuse(source, sink, event),
                },
                Some(Next::Asked) => {
                    registered = false;
                    let first = flushes.look_up(|| source.mark());
                    flush_at = source.share_flush(first);
                }
                // An abort that has emptied the source has stopped it before.
                Some(Next::Empty(_)) if flush_at < u64::MAX && !drain.is_stopped() => {
                    flush_at = pass_due(u64::MAX);
                }
                Some(Next::Empty(_)) if !registered => {
                    let moves = own_thread && source.spin();
                    registered =
                        !moves && poll_fn(|context| Poll::Ready(source.register(context.waker()))).await;
                }
                Some(Next::Empty(until)) => {
                    registered = false;
                    woken(until, own_thread).await;
                }
                Some(Next::End(end)) => return end,
            }
            while flush_at <= source.position() {
                let next = pass_due(source.position());
                flush_at = source.share_flush(next);
            }
            steps += 1;
            if steps >= STEPS {
                steps = 0;
                // A waker that was registered may be used up by the next poll, and what woke was no event that is still there.
                registered = false;
                source.give_way();
                give_way().await;
            }
        }
    }
}

/// Delivers to a synchronous sink, without an await, until there is something else to do. The error is what the sink refused.
#[inline]
fn deliver_ready<S, D>(
    source: &mut S,
    sink: &D,
    flush_at: u64,
    steps: &mut usize,
    registered: &mut bool,
) -> Result<Option<Next<S::Item>>, S::Item>
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    let mut left = STEPS - *steps;
    let next = loop {
        let event = match source.next(flush_at) {
            Next::Event(event) => event,
            other => break Some(other),
        };
        *registered = false;
        let event = match sink.deliver_now(event) {
            Ok(delivered) => {
                source.delivered(delivered?);
                left -= 1;
                if left == 0 || flush_at <= source.position() {
                    break None;
                }
                continue;
            }
            Err(event) => event,
        };
        break Some(Next::Event(event));
    };
    *steps = STEPS - left;
    Ok(next)
}

/// The sink is closed, and an event came back.
#[cold]
fn refuse<S, D>(source: &mut S, sink: &D, event: S::Item) -> End
where
    S: Source,
    D: Deliver<S::Item>,
{
    let wanted = catch_unwind(AssertUnwindSafe(|| sink.wants(&event)));
    source.refused(event, wanted.map_err(drop_caught).unwrap_or(true));
    End::Ended(Cause::DownstreamClosed)
}

/// Waits for a wake-up, or until that time.
fn woken(until: Option<Instant>, own_thread: bool) -> impl Future<Output = ()> {
    let mut timer = until.filter(|_| !own_thread).map(sleep_until);
    let mut waits = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut waits, true) {
            return Poll::Ready(());
        }
        if own_thread {
            thread::park_at_most_until(until);
        }
        match &mut timer {
            Some(timer) => Pin::new(timer).poll(context),
            None => Poll::Pending,
        }
    })
}

/// The worker of a queue or a follower, as an [`Executor`](crate::Executor) gets it: a future that is ready when the worker has ended.
///
/// Dropped before that, polled or not, it ends: what was pending is spilled or dropped, what was in flight is lost, and
/// all of that is counted. A close that waits says so.
pub type WorkerFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A worker that has not ended.
pub(crate) struct Life<S, D>
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    /// Empty once it has ended.
    parts: Option<(S, D)>,
    /// Whether to drop it ends it: it has begun, or others know of it already.
    ends: bool,
}

impl<S, D> Life<S, D>
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    /// One that nothing knows of yet: if it never [runs](Self::run), its sink is dropped, and not closed.
    pub(crate) fn new(source: S, sink: D) -> Self {
        Self { parts: Some((source, sink)), ends: false }
    }

    /// If it never runs, it ends all the same.
    pub(crate) fn of_registered(source: S, sink: D) -> Self {
        Self { parts: Some((source, sink)), ends: true }
    }

    /// Lives until the end, which comes too if the future is dropped, polled or not. `own_thread`: it is polled by
    /// [`block_on`](thread::block_on) and nothing else.
    pub(crate) fn run(mut self, own_thread: bool) -> impl Future<Output = ()> + Send {
        self.ends = true;
        self.run_once_polled(own_thread)
    }

    /// As [`run`](Self::run), but a future that is dropped before its first poll is a worker that never ran.
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice")]
    pub(super) fn run_once_polled(mut self, own_thread: bool) -> impl Future<Output = ()> + Send {
        async move {
            self.ends = true;
            let Some((source, sink)) = &mut self.parts else {
                return;
            };
            let drain = Arc::clone(source.drain());
            let end = {
                let life = pin!(Some(live(source, sink, own_thread)));
                let mut polled = Polled { life, drain: &*drain };
                poll_fn(|context| polled.poll(context)).await
            };
            self.end(end);
        }
    }

    fn end(&mut self, end: Result<End, Payload>) {
        if let Some((source, sink)) = self.parts.take() {
            wind_up(source, sink, end);
        }
    }
}

impl<S, D> Drop for Life<S, D>
where
    S: Source,
    D: Deliver<S::Item, Receipt = S::Receipt>,
{
    fn drop(&mut self) {
        if self.ends {
            self.end(Ok(End::Dropped));
        }
    }
}

/// Polls, and drops, within the scope of the worker, and catches panics of the sink.
struct Polled<'a, F, T: Drain> {
    life: Pin<&'a mut Option<F>>,
    drain: &'a T,
}

impl<F, T> Polled<'_, F, T>
where
    F: Future<Output = End>,
    T: Drain,
{
    fn poll(&mut self, context: &mut std::task::Context<'_>) -> Poll<Result<End, Payload>> {
        let _inside = self.drain.enter();
        trace::on_worker_of(self.drain.log());
        let life = self.life.as_mut().as_pin_mut();
        let poll = || life.map_or(Poll::Ready(End::Dropped), |life| life.poll(context));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(end)) => Poll::Ready(Ok(end)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}

impl<F, T: Drain> Drop for Polled<'_, F, T> {
    fn drop(&mut self) {
        let _inside = self.drain.enter();
        run_caught(|| self.life.set(None));
    }
}
