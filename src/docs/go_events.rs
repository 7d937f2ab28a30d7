//! For those who know [go-events]: what became of each name, and what behaves differently.
//!
//! | go-events | outflow |
//! | --- | --- |
//! | `Event` | any `E` |
//! | `Sink` | [`Sink<E>`](crate::Sink) |
//! | `Sink.Write(event) error` | [`write`](crate::Sink::write), which hands the event back |
//! | `Sink.Close() error` | `close().wait()`; see [shutdown](super::shutdown) |
//! | `ErrSinkClosed` | [`WriteError::Closed`](crate::WriteError::Closed) |
//! | any other error of `Write` | [`WriteError::Failed`](crate::WriteError::Failed), of the sink's own type |
//! | `NewRetryingSink(sink, strategy)` | [`sink.retry(strategy)`](crate::SinkExt::retry) |
//! | `RetryStrategy` | [`RetryStrategy`](crate::retry::RetryStrategy) |
//! | `RetryStrategy.Proceed` | [`backoff`](crate::retry::RetryStrategy::backoff) |
//! | `RetryStrategy.Failure` returning `true` | [`failure`](crate::retry::RetryStrategy::failure) returning `Err`: the event comes back |
//! | `RetryStrategy.Success` | [`success`](crate::retry::RetryStrategy::success) |
//! | `NewBreaker(threshold, backoff)` | [`Breaker::new`](crate::retry::Breaker::new) |
//! | `NewExponentialBackoff(config)` | [`ExponentialBackoff`](crate::retry::ExponentialBackoff), whose setters are the config's fields |
//! | `DefaultExponentialBackoffConfig` | `ExponentialBackoff::default()` |
//! | `NewQueue(sink)` | [`sink.queued()`](crate::SinkExt::queued) |
//! | `NewBroadcaster(sinks...)` | [`Broadcaster::new`](crate::Broadcaster::new) and [`extend`](crate::Broadcaster::extend) |
//! | `Broadcaster.Add(sink)` | [`add(sink)`](crate::Broadcaster::add), which returns an id |
//! | `Broadcaster.Remove(sink)` | [`remove(id)`](crate::Broadcaster::remove), which returns the sink |
//! | `NewFilter(sink, matcher)` | [`sink.filter(f)`](crate::SinkExt::filter) |
//! | `Matcher`, `MatcherFunc` | any `Fn(&E) -> bool` |
//! | `NewChannel(n)` | [`channel::bounded(n)`](crate::channel::bounded), [`rendezvous`](crate::channel::rendezvous) |
//! | `Channel.C` | [`Events`](crate::channel::Events), and its [`select_in`](crate::channel::Events::select_in) for a `select` |
//! | `Channel.Done()` | the end of [`Events`](crate::channel::Events) |
//! | the `String()` of each | `Debug` |
//!
//! # What behaves differently, and why
//!
//! ## Losing events
//!
//! - **No event is dropped unless that was asked for.** go-events drops what fails and logs that, in a queue at debug
//!   level. Here a sink that can fail does not compile behind a queue until the code says what happens to what fails.
//! - **Giving up is an error.** There, a write returns `nil` when the strategy gives up, as if it had succeeded. Here the
//!   event comes back with its last error.
//! - **A closed channel refuses.** There, a write into a closed channel succeeds if there is room.
//! - **A closed sink does not disturb its neighbours.** There, a broadcaster removes it from the list that it is walking,
//!   and the next sink misses an event. Here it is removed from a copy, and listed in
//!   [`ended`](crate::Broadcaster::ended).
//! - **A queue whose sink has closed is closed.** There, it goes on accepting events and drops each.
//! - **Queues can be bounded**, and say what happens when they are full.
//!
//! ## Closing
//!
//! - **`close` never waits.** There, closing a queue over a dead endpoint hangs for ever, and closing from
//!   within a sink deadlocks. Here `close` returns something to wait for, with a time limit and an abort.
//! - **All callers of `close` wait for the same drain.** There, a second call returns at once that the sink is closed,
//!   while the first still waits.
//! - **Closing goes all the way down.** There, closing a retrying sink closes nothing under it.
//! - **One dead sink holds up no other.** There, a broadcaster closes its sinks one after the other. Here all
//!   closes are begun before any is waited for.
//! - **A filter asks its sink whether it is closed.** There, one that rejects every event never learns it.
//!
//! ## Broadcasting
//!
//! - **A write happens on the writer's thread and takes no lock.** There, one goroutine takes writes, adds and
//!   removes in turn: a blocked sink blocks all of them, and a sink that calls back waits for itself.
//! - **Concurrent writers may reach two sinks in different orders**, and so may a sink that writes back to the
//!   broadcaster. There, that goroutine makes one order for all; here `broadcaster.queued()` does.
//! - **A sink is known by its id.** There, by comparing it, so that the same sink added twice is there once. Here it
//!   is there twice.
//!
//! ## Retrying
//!
//! - **A breaker lets one writer probe.** There, all writers that waited go at once.
//! - **Clocks are monotonic.** There, a breaker keeps its last failure as wall-clock time, and a clock set back stalls
//!   it.
//! - **The strategy is asked again after a wait**, until it says that there is none left. There, a write goes ahead
//!   after one, whatever has happened meanwhile.
//! - **A random wait is drawn once for each failure**, and all writers wait for it. There, every attempt draws its own.
//! - **The bound of the backoff holds.** There, the multiplication overflows: with a factor of a second the bound falls
//!   back to the base after 56 failures, and if that is zero the draw panics.
//! - **A failure that is given up by [`give_up_when`](crate::retry::Retry::give_up_when) does not count** in the breaker,
//!   so that an event that the endpoint will never accept holds up no other.
//! - **Zero means zero.** There, a factor or a maximum of zero stands for the default.
//! - **Nothing is logged** unless the feature `tracing` is on, and an event's content never:
//!   [`on_failure`](crate::retry::Retry::on_failure) is where to do it.
//!
//! [go-events]: https://github.com/docker/go-events
