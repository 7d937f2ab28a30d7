//! The thread between a log and a follower's sink.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::abort::AbortFollower;
use super::bound::Bound;
use super::claims::Claim;
use super::error::FollowError;
use super::flushes::Flush;
use super::follower_state::{Cause, FollowerState};
use super::options::FollowOptions;
use super::reader::{ReadResult, Reader};
use super::segment::DropLater;
use super::shared::Shared;
use crate::contract::Sink;
use crate::contract::{Never, erase};
use crate::lifecycle::{CloseError, MaybeDone, close_caught, flush_caught, join};
use crate::sync::caught::{Payload, drop_caught, panic_message, run_caught};
use crate::trace;

/// Registers a follower and starts its worker.
pub(super) fn start<E, S>(
    shared: &Arc<Shared<E>>,
    options: FollowOptions<E>,
    sink: S,
) -> Result<Arc<FollowerState<E>>, FollowError>
where
    E: Clone + Send + Sync + 'static,
    S: Sink<E> + Send + Sync + 'static,
    S::Error: Never,
{
    let sink = Arc::new(sink);
    let bound = options.bound();
    let (node, position) = match shared.join(options.start, &bound) {
        Ok(begin) => begin,
        Err(error) => {
            drop(close_caught(|| sink.close()));
            if let Some(spill) = options.spill {
                drop(close_caught(|| spill.close()));
            }
            return Err(error.into());
        }
    };
    let reader = Reader::new(node, position, bound);
    let name = options.name.as_deref().map(Arc::from);
    let state = FollowerState::new(shared, reader, options.spill, erase::<E, _>(Arc::clone(&sink)), name);
    state.completion.set_aborter(Arc::new(AbortFollower(Arc::downgrade(&state))));
    shared.register.add(state.clone());

    let mut thread = std::thread::Builder::new();
    if let Some(name) = options.name {
        thread = thread.name(name);
    }
    if let Some(stack_size) = options.stack_size {
        thread = thread.stack_size(stack_size);
    }
    let worker = Worker { state: Arc::clone(&state), sink, position, flush: u64::MAX };
    match thread.spawn(move || worker.run()) {
        Ok(_) => Ok(state),
        Err(error) => {
            state.stop(None);
            state.shed_rest();
            state.set_finished();
            state.leave();
            Err(FollowError::Spawn(error))
        }
    }
}

struct Worker<E, S> {
    state: Arc<FollowerState<E>>,
    sink: Arc<S>,
    /// The next event to write: the position in `claims`, which only this thread moves.
    position: u64,
    /// The mark of the first flush that waits.
    flush: u64,
}

/// Why the worker stops.
enum End {
    Drained,
    /// By an abort or a detach.
    Stopped,
    DownstreamClosed,
    Lagged,
}

impl<E, S> Worker<E, S>
where
    E: Clone + Send + Sync,
    S: Sink<E>,
    S::Error: Never,
{
    /// Writes every event to the sink, and sees to what is left when that ends, however it does.
    fn run(mut self) {
        let state = Arc::clone(&self.state);
        let _among_workers = state.shared.workers.enter();
        let _inside = state.scope.enter();
        let end = catch_unwind(AssertUnwindSafe(|| self.pump()));
        // Whatever happens in here, the follower ends.
        run_caught(|| self.wind_up(end));
        state.set_finished();
        state.leave();
        drop_caught(state);
    }

    fn pump(&mut self) -> End {
        let state = Arc::clone(&self.state);
        loop {
            if state.claims.has_news() {
                if state.claims.is_stopped() {
                    return End::Stopped;
                }
                state.claims.take_ask();
                self.flush = state.flushes.first_mark();
            }
            if self.flush <= self.position {
                self.flush_sink();
            }
            let end = state.end();
            if self.position >= end {
                return End::Drained;
            }
            let mut later = DropLater::default();
            let result = {
                let mut reader = state.reader.lock();
                let Some(reader) = &mut *reader else {
                    return End::Stopped;
                };
                reader.position = self.position;
                reader.read(&state.shared, &mut later)
            };
            drop(later);
            match result {
                ReadResult::Events(segment, at) => {
                    let events = segment.from(at);
                    let events = events.get(..(end - self.position) as usize).unwrap_or(events);
                    if let Some(end) = self.write(events) {
                        return end;
                    }
                }
                ReadResult::Empty => {
                    state.shared.park(self.position, None, || state.claims.has_news());
                }
                ReadResult::Ended => return End::Drained,
                ReadResult::Behind => {
                    let Bound::Skip(window) = state.bound else {
                        return End::Lagged;
                    };
                    self.skip_to(state.shared.exact_head().saturating_sub(window).min(end));
                }
            }
        }
    }

    /// Writes them, until something else is asked for.
    #[inline]
    fn write(&mut self, events: &[E]) -> Option<End> {
        let state = &*self.state;
        for event in events {
            match state.claims.claim(self.position, self.position + 1) {
                Claim::Claimed => self.position += 1,
                Claim::Stopped => return Some(End::Stopped),
                Claim::Asked => return None,
            }
            if self.sink.write_ref(event).is_err() {
                self.refused(event);
                return Some(End::DownstreamClosed);
            }
            count(&state.counts.delivered, 1);
            if let Bound::Block(gate) = &state.bound {
                state.shared.moved(gate, self.position);
            }
            if self.flush <= self.position {
                return None;
            }
        }
        None
    }

    /// The sink answered `Closed` to an event that was claimed: it is shed. One that the sink did not want, as a filter
    /// does not, counts as delivered, as it does while the sink is open.
    #[cold]
    fn refused(&self, event: &E) {
        let wanted = catch_unwind(AssertUnwindSafe(|| self.sink.wants(event)));
        if wanted.map_err(drop_caught).unwrap_or(true) {
            count(&self.state.counts.refused, 1);
            self.state.shed.shed_ref(event);
        } else {
            count(&self.state.counts.delivered, 1);
        }
    }

    /// Leaves out the events before `to`.
    fn skip_to(&mut self, to: u64) {
        let state = &*self.state;
        if to > self.position && matches!(state.claims.claim(self.position, to), Claim::Claimed) {
            let skipped = to - self.position;
            count(&state.counts.skipped, skipped);
            state.shed.log_skipped(skipped);
            self.position = to;
        }
    }

    /// Flushes the sink, for the flushes whose events are all delivered.
    #[cold]
    fn flush_sink(&mut self) {
        let (due, next) = self.state.flushes.take_due(self.position);
        self.flush = next;
        self.pass_on(due);
    }
}

impl<E, S> Worker<E, S>
where
    S: Sink<E>,
{
    fn pass_on(&self, flushes: Vec<Flush>) {
        for flush in flushes {
            let flushing = flush.trail.pass_on(|| flush_caught(|| self.sink.flush()));
            MaybeDone::gather(&flush.completion, [(flushing.0, true)], join);
        }
    }
}

/// The end.
impl<E, S> Worker<E, S>
where
    E: Clone + Send + Sync,
    S: Sink<E>,
    S::Error: Never,
{
    /// Sees to what is left, ends the flushes, closes the sink and drops it.
    fn wind_up(self, end: Result<End, Payload>) {
        let state = Arc::clone(&self.state);
        let drained = match end {
            Ok(End::Drained) => {
                // If something else has stopped it meanwhile, the reader is for that to drop.
                if state.stop(None) {
                    drop(state.reader.lock().take());
                }
                !state.claims.is_detached()
            }
            Ok(End::Stopped) => false,
            Ok(End::DownstreamClosed) => self.end_by_itself(Cause::DownstreamClosed),
            Ok(End::Lagged) => self.end_by_itself(Cause::Lagged),
            Err(panic) => {
                // What was claimed is lost.
                state.counts.lost.store(state.in_flight(), Ordering::Release);
                let message = panic_message(panic);
                state.set_panicked(Arc::clone(&message));
                self.end_by_itself(Cause::Panicked(message))
            }
        };
        self.end_flushes(drained);
        if !state.claims.is_detached() {
            drop(state.close_sink());
        }
        // The sink is dropped before the close completes, as far as this thread holds it.
        drop_caught(self);
    }

    /// Sheds what is left, unless it was stopped before. It is not drained.
    fn end_by_itself(&self, cause: Cause) -> bool {
        let state = &*self.state;
        let first = state.stop(Some(cause.clone()));
        if first {
            state.shed_rest();
        }
        match cause {
            Cause::Panicked(_) => {
                let lost = state.counts.lost.load(Ordering::Acquire);
                trace::follower_panicked(&state.label, lost, state.undelivered());
            }
            // Otherwise it is the doing of an abort.
            Cause::DownstreamClosed if first => trace::follower_ended(&state.label, state.undelivered()),
            Cause::Lagged if first => trace::follower_lagged(&state.label, state.undelivered()),
            _ => {}
        }
        false
    }

    fn end_flushes(&self, drained: bool) {
        let state = &*self.state;
        let flushes = state.flushes.end();
        if flushes.is_empty() {
            return;
        }
        if drained {
            self.pass_on(flushes);
            return;
        }
        // What is not delivered is not this follower's any more, if its sink was handed back.
        let outcome = if state.claims.is_detached() {
            Ok(())
        } else {
            Err(CloseError::Undelivered { events: state.undelivered(), in_flight: 0 })
        };
        for flush in flushes {
            flush.completion.complete(outcome.clone());
        }
    }
}

fn count(count: &AtomicU64, events: u64) {
    // The worker alone writes it.
    count.store(count.load(Ordering::Relaxed) + events, Ordering::Release);
}
