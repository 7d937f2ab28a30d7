//! For those who know [go-events]: what became of each name, and what behaves differently.
//!
//! | go-events | outflow |
//! | --- | --- |
//! | `Event` | any `E` |
//! | `Sink` | [`Sink<E>`](crate::Sink) |
//! | `Write(event) error` | [`write`](crate::Sink::write), which hands the event back |
//! | `Close() error` | `close().wait()`; see [shutdown](super::shutdown) |
//! | `ErrSinkClosed` | [`WriteError::Closed`](crate::WriteError::Closed) |
//! | `NewRetryingSink(sink, strategy)` | [`sink.retry(strategy)`](crate::SinkExt::retry) |
//! | `RetryStrategy.Proceed` | [`backoff`](crate::retry::RetryStrategy::backoff) |
//! | `RetryStrategy.Failure` returning `true` | [`failure`](crate::retry::RetryStrategy::failure) returning `Err`: the event comes back |
//! | `NewBreaker(threshold, backoff)` | [`Breaker::new`](crate::retry::Breaker::new) |
//! | `NewExponentialBackoff(config)` | [`ExponentialBackoff`](crate::retry::ExponentialBackoff) |
//! | `NewQueue(sink)` | [`sink.queued()`](crate::SinkExt::queued) |
//! | `NewBroadcaster(sinks...)` | [`Broadcaster`](crate::Broadcaster) |
//! | `Broadcaster.Remove(sink)` | [`remove(id)`](crate::Broadcaster::remove) |
//! | `NewFilter(sink, matcher)` | [`sink.filter(f)`](crate::SinkExt::filter) |
//! | `Matcher`, `MatcherFunc` | any `Fn(&E) -> bool` |
//! | `NewChannel(n)` | [`channel::bounded(n)`](crate::channel::bounded), [`rendezvous`](crate::channel::rendezvous) |
//! | `Channel.Done()` | the end of [`Events`](crate::channel::Events) |
//!
//! # What behaves differently, and why
//!
//! - **Dropping an event is asked for.** go-events logs at debug level that an event was dropped. Here a
//!   sink that can fail does not compile behind a queue until the code says what happens to what fails.
//! - **`close` never waits.** There, closing a queue over a dead endpoint hangs for ever, and closing from
//!   within a sink deadlocks. Here the wait is an answer, with a time limit and an abort.
//! - **Every closer waits for the same drain.** There, a second closer is told at once that the sink is
//!   closed, before the first is through.
//! - **Closing goes all the way down.** There, closing a retrying sink closes nothing under it.
//! - **A closed sink does not disturb its neighbours.** There, a broadcaster that removes one while it walks
//!   the list has the next miss an event. Here it is removed from a copy, reported, and stands in the
//!   outcome of the close.
//! - **A write takes no lock of the broadcaster.** There, one goroutine takes writes, adds and removes in
//!   turn, and a sink that calls back waits for itself.
//! - **A breaker lets one writer probe.** There, everybody who waited goes at once. And it counts on a
//!   monotonic clock.
//! - **The bound of the backoff holds.** There, the shift overflows after 56 failures, and a configuration
//!   of zero panics.
//! - **A closed channel refuses.** There, a write into a closed channel succeeds if there is room.
//! - **Queues can be bounded**, and say what happens when they are full.
//!
//! [go-events]: https://github.com/docker/go-events
