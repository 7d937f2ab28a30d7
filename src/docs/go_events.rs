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
//! | `Broadcaster.Add(sink)` | [`add(sink)`](crate::Broadcaster::add), which answers an id |
//! | `Broadcaster.Remove(sink)` | [`remove(id)`](crate::Broadcaster::remove), which hands the sink back |
//! | `NewFilter(sink, matcher)` | [`sink.filter(f)`](crate::SinkExt::filter) |
//! | `Matcher`, `MatcherFunc` | any `Fn(&E) -> bool` |
//! | `NewChannel(n)` | [`channel::bounded(n)`](crate::channel::bounded), [`rendezvous`](crate::channel::rendezvous) |
//! | `Channel.C` | [`Events`](crate::channel::Events), or its [`as_crossbeam`](crate::channel::Events::as_crossbeam) for `select!` |
//! | `Channel.Done()` | the end of [`Events`](crate::channel::Events) |
//! | the `String()` of each | `Debug` |
//!
//! # What behaves differently, and why
//!
//! ## Losing events
//!
//! - **Dropping an event is asked for.** go-events logs that an event was dropped, at debug level in a queue. Here a
//!   sink that can fail does not compile behind a queue until the code says what happens to what fails.
//! - **Giving up is an error.** There, a strategy that gives up has the write answer `nil`, as if it had
//!   succeeded. Here the event comes back with its last error.
//! - **A closed channel refuses.** There, a write into a closed channel succeeds if there is room.
//! - **A closed sink does not disturb its neighbours.** There, a broadcaster that removes one while it walks
//!   the list has the next miss an event. Here it is removed from a copy, reported, and stands in the
//!   outcome of the close.
//! - **A queue whose sink has closed is closed.** There, it goes on accepting events and drops each.
//! - **Queues can be bounded**, and say what happens when they are full.
//!
//! ## Closing
//!
//! - **`close` never waits.** There, closing a queue over a dead endpoint hangs for ever, and closing from
//!   within a sink deadlocks. Here the wait is an answer, with a time limit and an abort.
//! - **Every closer waits for the same drain.** There, a second closer is told at once that the sink is
//!   closed, before the first is through.
//! - **Closing goes all the way down.** There, closing a retrying sink closes nothing under it.
//! - **One dead sink holds up no other.** There, a broadcaster closes its sinks one after the other. Here all
//!   closes are begun before any is waited for.
//! - **A filter notices.** There, one that rejects everything never learns that its sink is closed.
//!
//! ## Broadcasting
//!
//! - **A write happens on the writer's thread and takes no lock.** There, one goroutine takes writes, adds and
//!   removes in turn: a blocked sink blocks all of them, and a sink that calls back waits for itself.
//! - **Concurrent writers may reach two sinks in different orders.** There, that goroutine makes one order for all;
//!   `broadcaster.queued()` has it here.
//! - **A sink is known by its id.** There, by comparing it, so that the same sink added twice is there once. Here it
//!   is there twice.
//!
//! ## Retrying
//!
//! - **A breaker lets one writer probe.** There, everybody who waited goes at once.
//! - **Clocks are monotonic.** There, a breaker keeps its last failure as wall-clock time, and a clock set back stalls
//!   it.
//! - **The strategy is asked again after a wait**, until it says that there is none left. There, a write goes ahead
//!   after one, whatever has happened meanwhile.
//! - **A wait is drawn once a failure**, and all who share the strategy wait for it. There, every attempt draws its own.
//! - **The bound of the backoff holds.** There, the multiplication overflows: with a factor of a second the bound falls
//!   back to the base after 56 failures, and if that is zero the draw panics.
//! - **Zero means zero.** There, a factor or a maximum of zero stands for the default.
//! - **Nothing is logged** unless the feature `tracing` is on, and an event's content never:
//!   [`on_failure`](crate::retry::Retry::on_failure) is where to do it.
//!
//! [go-events]: https://github.com/docker/go-events
