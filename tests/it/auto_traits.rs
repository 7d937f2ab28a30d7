//! Every public type is `Send` and `Sync` as far as what it holds is.

use std::convert::Infallible;

use outflow::adapter::{
    CatchPanic, CloseOnFailure, CloseWithLast, Closeable, DeadLettered, ExpireAfter, Fallback, Filter,
    FilterMap, Inspect, KeepOpen, Lossy, Map, MapOwned, Metered, RateLimit, SplitOn, Tee, Timeout,
};
use outflow::buffer::{Block, BlockFor, DropNewest, DropOldest, Full, Reject, Unbounded};
use outflow::channel::{ChannelSink, Events};
use outflow::log::{
    Chunk, Cursor, CursorHandle, FollowError, FollowOptions, FollowerHandle, FollowerStats, Held, Lag,
    Lagged, Log, LogOptions, Numbered, RecvError, Start, StartError, SubscribeOptions, TryRecvError, WeakLog,
};
use outflow::queue::{Batch, Permit, QueueOptions, QueueStats, WeakQueue};
use outflow::retry::{
    Breaker, BreakerState, Constant, CountRetries, ExponentialBackoff, Failure, GiveUp, GiveUpWhen,
    HonorRetryAfter, MaxAttempts, OnFailure, PerWrite, Retry,
};
use outflow::sink::{Collector, Discard, ForEach, FromAsyncFn, FromFn, FromFnMut};
use outflow::{
    AddError, AsyncOnly, Broadcaster, Buffer, CatchPanicError, CloseError, CloseGuard, Closing, Counter,
    DeadLetter, Ended, EndedSink, ExpireError, FlushError, Flushing, Meter, MeterSnapshot, PendingClose,
    PendingFlush, Queue, Rate, SharedAsyncSink, SharedSink, SinkId, Subscription, SubscriptionIntoIter,
    TimeoutError, WeakBroadcaster, WriteAllError, WriteError, channel,
};

fn send_sync<T: Send + Sync>() {}

/// `Send` and not `Sync`, as an event may be.
type Event = std::cell::Cell<u32>;
type F = fn(&Event) -> bool;
type Leaf = Discard<Event>;

#[test]
fn every_sink_is_send_and_sync_even_if_its_events_are_only_send() {
    send_sync::<Collector<Event>>();
    send_sync::<Leaf>();
    send_sync::<ForEach<Event, F>>();
    send_sync::<FromFn<Event, F>>();
    send_sync::<FromFnMut<Event, F>>();
    send_sync::<Filter<Leaf, F>>();
    send_sync::<Map<Leaf, Event, Event, F>>();
    send_sync::<MapOwned<Leaf, Event, Event, F, F>>();
    send_sync::<FilterMap<Leaf, Event, Event, F>>();
    send_sync::<Inspect<Leaf, F>>();
    send_sync::<Tee<Leaf, Leaf>>();
    send_sync::<Fallback<Leaf, Leaf>>();
    send_sync::<DeadLettered<Leaf, Leaf>>();
    send_sync::<Lossy<Leaf>>();
    send_sync::<CatchPanic<Leaf>>();
    send_sync::<Metered<Leaf>>();
    send_sync::<KeepOpen<Leaf>>();
    send_sync::<Closeable<Leaf>>();
    send_sync::<CloseOnFailure<Leaf>>();
    send_sync::<CloseWithLast<Leaf, Event>>();
    send_sync::<RateLimit<Leaf>>();
    send_sync::<ExpireAfter<Leaf, F>>();
    send_sync::<SplitOn<Discard<Vec<Event>>, F>>();
    send_sync::<Retry<Leaf, PerWrite>>();
    send_sync::<Retry<Leaf, Breaker>>();
    send_sync::<Retry<Leaf, GiveUpWhen<MaxAttempts<OnFailure<Breaker, F>>, F>>>();
    send_sync::<Retry<Leaf, CountRetries<Breaker>>>();
    send_sync::<Retry<Leaf, HonorRetryAfter<Breaker>>>();
    send_sync::<FromAsyncFn<Event, F>>();
    #[cfg(feature = "tower")]
    send_sync::<outflow::sink::FromService<Event, std::cell::Cell<u32>>>();
    #[cfg(feature = "http-async")]
    send_sync::<outflow::http::AsyncHttpSink<Event>>();
    send_sync::<Timeout<Leaf>>();
    send_sync::<SharedAsyncSink<Event>>();
    send_sync::<Queue<Event>>();
    send_sync::<Queue<Event, DropOldest>>();
    send_sync::<WeakQueue<Event>>();
    send_sync::<ChannelSink<Event, Block>>();
    send_sync::<Events<Event>>();
    send_sync::<channel::Iter<'_, Event>>();
    send_sync::<channel::TryIter<'_, Event>>();
    send_sync::<channel::IntoIter<Event>>();
    send_sync::<Broadcaster<Event>>();
    send_sync::<Subscription<Event>>();
    send_sync::<SharedSink<Event>>();
    send_sync::<CloseGuard<Leaf, Event>>();
    send_sync::<Buffer<Event, DropNewest>>();
    send_sync::<QueueOptions<Event, Unbounded>>();
    send_sync::<QueueOptions<Event, Unbounded, AsyncOnly>>();
    send_sync::<Permit<'_, Event>>();
}

#[cfg(feature = "futures")]
#[test]
fn what_async_code_holds_is_send_and_sync_and_need_not_be_pinned() {
    use outflow::adapter::{IntoFutures, IntoFuturesError};
    use outflow::queue::IntoFutures as BoundedIntoFutures;

    fn send<T: Send>() {}
    fn unpin<T: Unpin>() {}
    struct Pinned(#[allow(dead_code)] std::marker::PhantomPinned);
    send_sync::<IntoFutures<Queue<Event>, Event>>();
    send_sync::<IntoFuturesError<u32>>();
    send::<BoundedIntoFutures<Event>>();
    unpin::<BoundedIntoFutures<Pinned>>();
    unpin::<IntoFutures<Queue<Pinned>, Pinned>>();
    unpin::<(Events<Pinned>, Subscription<Pinned>)>();
}

#[test]
fn a_log_and_its_readers_are_send_and_sync_if_its_events_are() {
    send_sync::<(Log<u32>, WeakLog<u32>, Cursor<u32>, Chunk<'static, u32>, FollowerHandle<u32>)>();
    send_sync::<(CursorHandle<u32>, Numbered<u32>)>();
    send_sync::<(FollowOptions<u32>, SubscribeOptions, LogOptions, Start, Lag)>();
    send_sync::<(FollowerStats, Held, FollowError, Lagged, RecvError, StartError, TryRecvError)>();
}

#[test]
fn every_other_type_is_send_and_sync() {
    send_sync::<(Closing, Flushing, PendingClose, PendingFlush)>();
    send_sync::<(CloseError, FlushError, WriteError<u32, Infallible>, WriteAllError<u32, Infallible, ()>)>();
    send_sync::<(
        AddError,
        Ended,
        EndedSink,
        SinkId,
        Full,
        CatchPanicError<u32>,
        ExpireError<u32>,
        TimeoutError<u32>,
        DeadLetter<u32, u32>,
        Rate,
    )>();
    send_sync::<(Counter, Meter, MeterSnapshot, Batch<Event>, QueueStats)>();
    send_sync::<(Unbounded, Block, BlockFor, Reject, DropOldest, DropNewest)>();
    send_sync::<(Breaker, BreakerState, Constant, ExponentialBackoff, GiveUp, Failure<'static, u32, u32>)>();
}

#[cfg(feature = "metrics")]
#[test]
fn a_publisher_is_send_and_sync() {
    send_sync::<outflow::metrics::Publisher>();
}

#[test]
fn clocks_are_send_and_sync() {
    send_sync::<(outflow::clock::Monotonic, std::sync::Arc<dyn outflow::clock::Clock>)>();
}

#[cfg(feature = "testing")]
#[test]
fn the_test_kit_is_send_and_sync_even_if_its_events_are_only_send() {
    use outflow::testing::{
        Conformance, Downstream, Flaky, FlakyError, Irregularity, Latch, Law, Outcome, Panicking, Probe,
        Recorder, Slow, Stamp, Stuck, Subject, Violation, VirtualClock,
    };

    send_sync::<(Flaky<Leaf>, Slow<Leaf>, Stuck<Leaf>, Panicking<Event, Leaf>)>();
    send_sync::<(Recorder<Event>, Downstream<Event>, Subject<Event>, Conformance<Event>)>();
    send_sync::<(FlakyError<u32>, Irregularity, Latch, Law, Outcome, Probe, Stamp, Violation, VirtualClock)>(
    );
}

#[cfg(feature = "http")]
#[test]
fn the_webhook_sink_is_send_and_sync() {
    use outflow::http::{
        BuildError, EncodeWith, HttpError, HttpSink, HttpSinkBuilder, Json, TransportFailure,
    };
    send_sync::<HttpSink<Event>>();
    #[cfg(feature = "http-async")]
    send_sync::<outflow::http::AsyncHttpSink<Event>>();
    send_sync::<(HttpSinkBuilder<Event>, HttpSinkBuilder<Event, EncodeWith<F>>)>();
    send_sync::<(BuildError, EncodeWith<F>, HttpError, Json, TransportFailure)>();
}

#[test]
fn what_can_be_waited_for_can_be_handed_to_another_thread_and_survives_a_panic() {
    fn unpin<T: Unpin>() {}
    unpin::<(Closing, Flushing)>();
    let closing = Closing::done();
    std::thread::spawn(move || closing.wait()).join().unwrap().unwrap();
}

#[test]
fn what_holds_an_erased_sink_can_be_printed() {
    use outflow::{SinkExt, sink};

    let shared: SharedSink<u32> = sink::discard().shared();
    assert_eq!(format!("{shared:?}"), "Sink(..)");
    assert_eq!(format!("{:?}", shared.filter(|_| true)), "Filter { sink: Sink(..), .. }");
    // So that the outcome of `replace` can be unwrapped.
    let broadcaster = Broadcaster::new();
    let id = broadcaster.add(sink::discard::<u32>()).unwrap();
    broadcaster.replace(id, Collector::default()).unwrap();
}

#[test]
fn what_is_given_to_several_sinks_can_be_cloned_and_errors_can_be_compared() {
    fn clone<T: Clone>() {}
    fn equal<T: PartialEq>() {}

    clone::<(Buffer<NotClone, DropOldest>, QueueOptions<NotClone, DropOldest>, FollowOptions<NotClone>)>();
    clone::<(Constant, ExponentialBackoff, Breaker, MaxAttempts<Breaker>, HonorRetryAfter<Constant>)>();
    equal::<(CloseError, FlushError)>();
}

#[test]
fn what_a_broadcaster_hands_out_is_send_and_sync() {
    send_sync::<(WeakBroadcaster<Event>, SubscriptionIntoIter<Event>)>();
}

#[test]
fn a_pool_is_send_and_sync() {
    send_sync::<(outflow::Workers, outflow::WorkersBuilder, outflow::WorkersStats)>();
}

#[test]
fn a_queue_is_unwind_safe() {
    fn unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}

    unwind_safe::<Queue<u32>>();
}

struct NotClone;

#[test]
fn what_waits_for_room_may_move_to_another_thread() {
    use outflow::{SinkExt, sink};

    fn is_send(_: impl Send) {}

    let queue = sink::discard::<u32>().queued_with(Buffer::bounded(1));
    is_send(queue.write_async(1));
    is_send(queue.reserve());
}
