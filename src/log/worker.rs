//! The thread between a log and a follower's sink.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::follower_state::{Cause, Claim, Following};
use super::options::Bound;
use super::reader::Look;
use super::segment::Passed;
use crate::contract::Never;
use crate::contract::Sink;
use crate::lifecycle::{CloseError, MaybeDone, flush_caught, join};
use crate::sync::caught::{drop_caught, panic_message};
use crate::trace;

pub(super) struct Worker<E, S> {
    following: Arc<Following<E>>,
    sink: Arc<S>,
    /// The next event to write: what the claim says, without its flags.
    position: u64,
    /// Up to where the first flush has to see everything delivered.
    flush: u64,
}

/// Why a worker stops.
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
    pub(super) fn new(following: Arc<Following<E>>, sink: Arc<S>) -> Self {
        let position = following.start;
        Self { following, sink, position, flush: u64::MAX }
    }

    /// Writes every event to the sink and sees to what is left when that ends, however it does.
    pub(super) fn run(mut self) {
        let following = Arc::clone(&self.following);
        let _among_workers = following.shared.workers.enter();
        let _inside = following.scope.enter();
        let end = catch_unwind(AssertUnwindSafe(|| self.pump()));
        let drained = match end {
            // Somebody else may have stopped it meanwhile: then there is nothing left to give up.
            Ok(End::Drained) => {
                if following.stop(None) {
                    // Dropped before the close is told, with the events that it may hold. Of a follower that
                    // somebody else stopped, the reader is that one's.
                    let reader = following.reader.lock().take();
                    drop_caught(reader);
                }
                !following.is_detached()
            }
            Ok(End::Stopped) => false,
            Ok(End::DownstreamClosed) => self.end_by_itself(Cause::DownstreamClosed),
            Ok(End::Lagged) => self.end_by_itself(Cause::Lagged),
            Err(panic) => {
                // What was claimed is lost.
                following.counts.lost.store(following.in_flight(), Ordering::Release);
                let message = panic_message(panic);
                // Whoever stopped it: an event is lost.
                following.set_cause(Cause::Panicked(Arc::clone(&message)));
                self.end_by_itself(Cause::Panicked(message))
            }
        };
        self.answer_last(drained);
        if !following.is_detached() {
            drop(following.close_sink());
        }
        // The sink is dropped before the close is told, as far as this thread holds it.
        drop_caught(self);
        following.set_through();
        following.leave();
    }

    /// Unless it was stopped before, gives up what is left.
    fn end_by_itself(&self, cause: Cause) -> bool {
        let following = &*self.following;
        let first = following.stop(Some(cause.clone()));
        if first {
            following.give_up_rest();
        }
        match cause {
            Cause::Panicked(_) => {
                let lost = following.counts.lost.load(Ordering::Acquire);
                trace::follower_panicked(following.id, lost, following.left());
            }
            // Else it is what an abort has done.
            Cause::DownstreamClosed if first => trace::follower_ended(following.id, following.left()),
            Cause::Lagged if first => trace::follower_lagged(following.id, following.left()),
            _ => {}
        }
        false
    }

    fn pump(&mut self) -> End {
        let following = Arc::clone(&self.following);
        loop {
            if following.has_news() {
                if following.is_stopped() {
                    return End::Stopped;
                }
                self.flush = following.see();
            }
            if self.flush <= self.position {
                self.answer_flushes();
            }
            let end = following.end();
            if self.position >= end {
                return End::Drained;
            }
            let mut passed = Passed::default();
            let look = {
                let mut reader = following.reader.lock();
                let Some(reader) = &mut *reader else {
                    return End::Stopped;
                };
                reader.position = self.position;
                reader.look(&following.shared, &mut passed)
            };
            drop(passed);
            match look {
                Look::Events(segment, at) => {
                    let events = segment.events.get(at..).unwrap_or_default();
                    let events = events.get(..(end - self.position) as usize).unwrap_or(events);
                    if let Some(end) = self.write(events) {
                        return end;
                    }
                }
                Look::Empty => {
                    following.shared.rest(self.position, None, || following.has_news());
                }
                Look::Ended => return End::Drained,
                Look::Behind => {
                    let Bound::Skip(window) = following.bound else {
                        return End::Lagged;
                    };
                    let to = following.shared.exact_head().saturating_sub(window).min(end);
                    if to > self.position && matches!(following.claim(self.position, to), Claim::Claimed) {
                        count(&following.counts.skipped, to - self.position);
                        following.shed.log_skipped(to - self.position);
                        self.position = to;
                    }
                }
            }
        }
    }

    /// Writes them, as far as nobody asks for something else.
    #[inline]
    fn write(&mut self, events: &[E]) -> Option<End> {
        let following = &*self.following;
        for event in events {
            match following.claim(self.position, self.position + 1) {
                Claim::Claimed => self.position += 1,
                Claim::Stopped => return Some(End::Stopped),
                Claim::Asked => return None,
            }
            if self.sink.write_ref(event).is_err() {
                count(&following.counts.returned, 1);
                following.shed.shed_ref(event);
                return Some(End::DownstreamClosed);
            }
            count(&following.counts.delivered, 1);
            if let Bound::Block(pace) = &following.bound {
                following.shared.moved(pace, self.position);
            }
            if self.flush <= self.position {
                return None;
            }
        }
        None
    }

    /// MaybeDones the flushes whose events are all delivered.
    #[cold]
    fn answer_flushes(&mut self) {
        let (due, next) = self.following.take_due(self.position);
        self.flush = next;
        for (flush, trail) in due {
            let downstream = trail.pass_on(|| flush_caught(|| self.sink.flush()));
            MaybeDone::gather(&flush, [(downstream.0, true)], join);
        }
    }

    fn answer_last(&mut self, drained: bool) {
        for (flush, trail) in self.following.end_requests() {
            if drained {
                let downstream = trail.pass_on(|| flush_caught(|| self.sink.flush()));
                MaybeDone::gather(&flush, [(downstream.0, true)], join);
            } else if self.following.is_detached() {
                // What is not delivered is not this follower's any more.
                flush.complete(Ok(()));
            } else {
                let left = CloseError::Undelivered { events: self.following.left(), in_flight: 0 };
                flush.complete(Err(left));
            }
        }
    }
}

fn count(count: &AtomicU64, events: u64) {
    // The thread alone writes it.
    count.store(count.load(Ordering::Relaxed) + events, Ordering::Release);
}
