//! Where the events of a follower come from: its log, one by one. [`worker`](crate::worker) has the rest of its life.
//!
//! # Why an abort counts exactly
//!
//! An event is claimed before it is handed to the sink, and what stops the follower keeps every event that is not claimed
//! by then: see [`claims`](super::claims).

use std::future::{Future, ready};
use std::sync::Arc;
use std::task::Waker;

use super::bound::Bound;
use super::claims::Claim;
use super::error::{FollowError, StartError};
use super::follower_sink::FollowerSink;
use super::follower_state::FollowerState;
use super::options::FollowOptions;
use super::reader::{ReadResult, Reader};
use super::remote::Remote;
use super::segment::{DropLater, Segment};
use super::shared::Shared;
use crate::contract::{AsyncSink, Never, Reliable, SharedAsyncSink, Sink, erase};
use crate::lifecycle::{Flushing, close_caught};
use crate::worker::{AbortDrain, AsyncOnly, Cause, Closes, Deliver, End, Life, Next, Place, Source, count};

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
    let closes = FollowerSink::Sync(erase(Arc::clone(&sink)));
    let (state, life, place) = register(shared, options, closes, ByRef(sink))?;
    place.start(life).map_err(FollowError::Spawn)?;
    Ok(state)
}

/// As [`start`], for an asynchronous sink.
pub(super) fn start_async<E, S>(
    shared: &Arc<Shared<E>>,
    options: FollowOptions<E, AsyncOnly>,
    sink: S,
) -> Result<Arc<FollowerState<E>>, FollowError>
where
    E: Clone + Send + Sync + 'static,
    S: AsyncSink<E> + 'static,
    S::Error: Never,
{
    let sink = Arc::new(sink);
    let closes = FollowerSink::Async(SharedAsyncSink::new(Reliable(Arc::clone(&sink))));
    let (state, life, place) = register(shared, options, closes, AwaitedClone(sink))?;
    place.start(life).map_err(FollowError::Spawn)?;
    Ok(state)
}

/// A follower, and its worker, which does not run yet, and where it is to.
type Registered<E, D> = (Arc<FollowerState<E>>, Life<Followed<E>, D>, Place);

/// Registers a follower. What `sink` delivers to is closed by `closes`.
fn register<E, D, R>(
    shared: &Arc<Shared<E>>,
    options: FollowOptions<E, R>,
    closes: FollowerSink<E>,
    sink: D,
) -> Result<Registered<E, D>, StartError>
where
    E: Clone + Send + Sync + 'static,
    D: Deliver<Claimed<E>, Receipt = Claimed<E>>,
{
    let bound = options.bound();
    let (node, position) = match shared.join(options.start, &bound) {
        Ok(begin) => begin,
        Err(error) => {
            drop(close_caught(|| closes.close()));
            options.spill.into_iter().for_each(|spill| drop(close_caught(|| Sink::close(&spill))));
            return Err(error);
        }
    };
    let reader = Reader::new(node, position, bound);
    let name = options.place.name.as_deref().map(Arc::from);
    let state = FollowerState::new(shared, reader, options.spill, closes, name);
    state.completion.set_aborter(Arc::new(AbortDrain(Arc::downgrade(&state))));
    shared.register.add(state.clone());
    let life = Life::of_registered(Followed::new(Arc::clone(&state)), sink);
    Ok((state, life, options.place))
}

/// The events of a log that a follower delivers.
struct Followed<E> {
    state: Arc<FollowerState<E>>,
    /// The next event: the position in `claims`, which only the worker moves.
    position: u64,
    /// The event that it stops before, as far as the worker has been asked to look.
    end: u64,
    /// Where that is, if it was found.
    place: Option<Claimed<E>>,
    task: Option<Arc<Remote>>,
}

/// An event in its segment.
struct Claimed<E> {
    segment: Arc<Segment<E>>,
    at: usize,
}

impl<E> Claimed<E> {
    /// Nothing behind the end of the segment.
    #[inline]
    fn event(&self) -> Option<&E> {
        self.segment.events.0.get(self.at)
    }
}

impl<E> Followed<E> {
    fn new(state: Arc<FollowerState<E>>) -> Self {
        let position = state.start;
        Self { state, position, end: u64::MAX, place: None, task: Some(Arc::default()) }
    }
}

impl<E> Followed<E>
where
    E: Send + Sync,
{
    /// Something has been asked of the worker.
    #[cold]
    fn news(&mut self) -> Next<Claimed<E>> {
        if self.state.claims.is_stopped() {
            return Next::End(End::Stopped);
        }
        self.state.claims.take_ask();
        self.end = self.state.end();
        Next::Asked
    }

    /// Looks for the next event in the chain; `None` if it has moved on.
    fn read(&mut self) -> Option<Next<Claimed<E>>> {
        let state = &*self.state;
        if state.claims.has_news() {
            return Some(self.news());
        }
        if self.position >= self.end {
            return Some(Next::End(End::Drained));
        }
        let mut later = DropLater::default();
        let result = {
            let mut reader = state.reader.lock();
            let Some(reader) = &mut *reader else {
                return Some(Next::End(End::Stopped));
            };
            reader.position = self.position;
            reader.read(&state.shared, &mut later)
        };
        drop(later);
        match result {
            ReadResult::Events(segment, at) => self.place = Some(Claimed { segment, at }),
            ReadResult::Empty => return Some(Next::Empty(None)),
            ReadResult::Ended => return Some(Next::End(End::Drained)),
            ReadResult::Behind => {
                let Bound::Skip(window) = state.bound else {
                    return Some(Next::End(End::Ended(Cause::Lagged)));
                };
                self.skip_to(state.shared.exact_head().saturating_sub(window).min(self.end));
            }
        }
        None
    }

    /// Leaves out the events before `to`.
    fn skip_to(&mut self, to: u64) {
        let state = &*self.state;
        if to > self.position && matches!(state.claims.claim(self.position, to), Claim::Claimed) {
            let skipped = to - self.position;
            count(&state.worker.counts.skipped, skipped);
            state.shed.log_skipped(skipped);
            self.position = to;
        }
    }
}

impl<E> Source for Followed<E>
where
    E: Clone + Send + Sync + 'static,
{
    type Drain = FollowerState<E>;
    type Item = Claimed<E>;
    type Receipt = Claimed<E>;

    fn drain(&self) -> &Arc<FollowerState<E>> {
        &self.state
    }

    #[inline]
    fn next(&mut self, _flush_at: u64) -> Next<Claimed<E>> {
        loop {
            if self.place.is_some() && self.position < self.end {
                match self.state.claims.claim(self.position, self.position + 1) {
                    Claim::Claimed => {}
                    Claim::Stopped | Claim::Asked => return self.news(),
                }
                self.position += 1;
                if let Some(place) = self.place.take() {
                    return Next::Event(place);
                }
            }
            if let Some(next) = self.read() {
                return next;
            }
        }
    }

    #[inline]
    fn delivered(&mut self, place: Claimed<E>) {
        count(&self.state.worker.counts.delivered, 1);
        if let Bound::Block(gate) = &self.state.bound {
            self.state.shared.moved(gate, self.position);
        }
        // A segment that is read is released at once.
        let next = Claimed { at: place.at + 1, ..place };
        self.place = next.event().is_some().then_some(next);
    }

    fn refused(&mut self, place: Claimed<E>, wanted: bool) {
        let state = &*self.state;
        if wanted {
            count(&state.worker.counts.returned, 1);
            place.event().into_iter().for_each(|event| state.shed.shed_ref(event));
        } else {
            count(&state.worker.counts.delivered, 1);
        }
    }

    #[inline]
    fn position(&self) -> u64 {
        self.position
    }

    fn mark(&self) -> u64 {
        self.state.mark()
    }

    fn spin(&self) -> bool {
        self.state.shared.spin(self.position, || self.state.claims.has_news())
    }

    fn register(&mut self, waker: &Waker) -> bool {
        self.task.as_ref().is_some_and(|task| {
            task.set_waker(waker);
            self.state.shared.park_task(task, self.position, || self.state.claims.has_news())
        })
    }

    fn unregister(&mut self) {
        if let Some(task) = self.task.take() {
            self.state.shared.forget_task(task);
        }
    }
}

/// A synchronous sink, which gets its events by reference.
struct ByRef<S>(Arc<S>);

impl<E, S> Deliver<Claimed<E>> for ByRef<S>
where
    E: Clone + Send + Sync + 'static,
    S: Sink<E> + Send + Sync + 'static,
    S::Error: Never,
{
    type Receipt = Claimed<E>;

    fn deliver(&self, place: Claimed<E>) -> impl Future<Output = Result<Claimed<E>, Claimed<E>>> + Send {
        ready(self.deliver_now(place).unwrap_or_else(Err))
    }

    #[inline]
    fn deliver_now(&self, place: Claimed<E>) -> Result<Result<Claimed<E>, Claimed<E>>, Claimed<E>> {
        let written = place.event().map(|event| self.0.write_ref(event));
        Ok(if let Some(Err(_)) = written { Err(place) } else { Ok(place) })
    }

    fn wants(&self, place: &Claimed<E>) -> bool {
        place.event().is_none_or(|event| self.0.wants(event))
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }
}

/// An asynchronous sink, which gets clones: a future owns what it writes.
struct AwaitedClone<S>(Arc<S>);

impl<E, S> Deliver<Claimed<E>> for AwaitedClone<S>
where
    E: Clone + Send + Sync + 'static,
    S: AsyncSink<E> + 'static,
    S::Error: Never,
{
    type Receipt = Claimed<E>;

    async fn deliver(&self, place: Claimed<E>) -> Result<Claimed<E>, Claimed<E>> {
        let Some(event) = place.event().cloned() else {
            return Ok(place);
        };
        let written = self.0.write(event).await.is_ok();
        if written { Ok(place) } else { Err(place) }
    }

    fn wants(&self, place: &Claimed<E>) -> bool {
        place.event().is_none_or(|event| self.0.wants(event))
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::worker::testing::{Awaits, poll_and_drop};

    /// Keeps what it gets, and panics on one event.
    struct Keeps {
        events: Mutex<Vec<u32>>,
        panics_on: u32,
    }

    impl Sink<u32> for Keeps {
        type Error = std::convert::Infallible;

        fn write(&self, event: u32) -> Result<(), crate::contract::WriteError<u32, Self::Error>> {
            if event == self.panics_on {
                // Without a word of it on standard error.
                std::panic::resume_unwind(Box::new("as planned"));
            }
            self.events.lock().unwrap().push(event);
            Ok(())
        }

        fn flush(&self) -> Flushing {
            Flushing::done()
        }

        fn close(&self) -> crate::lifecycle::Closing {
            crate::lifecycle::Closing::done()
        }
    }

    #[test]
    fn a_follower_whose_future_is_dropped_at_any_moment_ends_with_everything_accounted_for() {
        const ROUNDS: u32 = if cfg!(miri) { 8 } else { 4000 };

        for round in 0..ROUNDS {
            let log = crate::log::Log::new();
            let panics_on = if round % 7 == 0 { 5 } else { u32::MAX };
            let sink = Arc::new(Keeps { events: Mutex::default(), panics_on });
            let spill = Arc::new(Keeps { events: Mutex::default(), panics_on: u32::MAX });
            let shared = &log.shared;
            let options = FollowOptions::new().spill(Arc::clone(&spill));
            let deliver = Awaits(ByRef(Arc::clone(&sink)));
            let closes = FollowerSink::Sync(erase(Arc::clone(&sink)));
            let (state, life, _) = register(shared, options, closes, deliver).unwrap();
            let life = life.run(false);
            thread::scope(|scope| {
                scope.spawn(|| (0..20).for_each(|event| _ = log.append(event)));
                scope.spawn(|| {
                    let flushed = state.request_flush().within(Duration::from_secs(20));
                    assert!(!matches!(flushed, Err(crate::lifecycle::FlushError::TimedOut)), "{flushed:?}");
                });
                scope.spawn(|| match round % 4 {
                    0 => drop(state.close()),
                    1 => _ = state.close().abort(),
                    2 => drop(state.detach(false)),
                    _ => {}
                });
                scope.spawn(|| poll_and_drop(life, round as usize % 41));
            });
            let begun = std::time::Instant::now();
            let closed = state.close().within(Duration::from_secs(20));
            assert!(begun.elapsed() < Duration::from_secs(15), "round {round} hung: {closed:?}");
            let stats = state.stats();
            assert_eq!((stats.pending, stats.in_flight), (0, 0), "round {round}: {stats:?} {closed:?}");
            assert_eq!(stats.delivered, sink.events.lock().unwrap().len() as u64);
            assert_eq!(stats.spilled, spill.events.lock().unwrap().len() as u64);
            assert_eq!(stats.accepted, stats.delivered + stats.spilled + stats.dropped + stats.lost);
            assert!(stats.lost <= 1 && stats.dropped == 0, "{stats:?}");
            let is_detached = state.claims.is_detached();
            // A panic in the write under way is told even then; what an executor drops with it is not.
            if !is_detached || stats.lost == 0 {
                assert_eq!(closed.is_ok(), is_detached || stats.spilled + stats.lost == 0, "{closed:?}");
            }
            drop(log);
        }
    }
}
