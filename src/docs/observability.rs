//! What is logged to `tracing`, and what is published through `metrics`.
//!
//! Both are facades: this crate reports what happened, and the program decides where that goes.
//! Neither is compiled in without its feature.
//!
//! # `tracing`
//!
//! Targets, messages and the names of fields are promises, as a signature is.
//!
//! | target | level | message | fields |
//! | --- | --- | --- | --- |
//! | `outflow::retry` | debug | an attempt failed | `queue`, `attempt`, `elapsed_ms`, `error_type` |
//! | `outflow::retry` | warn | events were given up | `queue`, `count`, `error_type` |
//! | `outflow::breaker` | warn | a breaker opened | `breaker`, `queue`, `failures`, `backoff_ms` |
//! | `outflow::breaker` | info | a breaker closed | `breaker`, `queue` |
//! | `outflow::buffer` | warn | events were dropped | `queue` or `sink`, `count`, `event_type` |
//! | `outflow::buffer` | warn | events were spilled | `queue` or `sink`, `count`, `event_type` |
//! | `outflow::lossy` | warn | events were dropped | `queue`, `count`, `error_type` |
//! | `outflow::queue` | error | a sink panicked, and its queue is closed | `queue`, `lost`, `left` |
//! | `outflow::queue` | warn | a sink closed by itself, and its queue is closed | `queue`, `left` |
//! | `outflow::durable` | warn | a flush failed, and its events come again | `queue`, `events`, `backoff_ms` |
//! | `outflow::durable` | warn | a buffer below shed events, which come again | `queue`, `events`, `backoff_ms` |
//! | `outflow::broadcast` | warn | a sink closed by itself, and was removed | `sink` |
//! | `outflow::log` | error | a sink panicked, and its follower has ended | `sink`, `lost`, `left` |
//! | `outflow::log` | warn | a sink closed by itself, and its follower has ended | `sink`, `left` |
//! | `outflow::log` | warn | a follower was too far behind, and has ended | `sink`, `left` |
//! | `outflow::close` | info | a close takes long | `waited_ms`, `pending`, `in_flight`, `queues`, `queue` |
//!
//! - `queue` is the [name of the queue](crate::queue::QueueOptions::name). For a retry, a breaker and a lossy sink it is
//!   the queue on whose thread it happened. It is missing if the queue has no name, or if no queue is above the sink:
//!   then the spans of the writer say where. Name your queues.
//! - `breaker` is the [name of the breaker](crate::retry::Breaker::name), if it has one. `sink` is the
//!   [name](crate::Broadcaster::add_named) under which a sink was added, else the [id](crate::SinkId) that a
//!   broadcaster or a log gave it. A channel has no name, only its `event_type`.
//! - `attempt` and `elapsed_ms` are those of [`Failure`](crate::retry::Failure). `failures` are in a row.
//! - What a follower [skips](crate::log::Lag::Skip) is logged as dropped.
//! - `left` is how many events were spilled or dropped because the sink ended, `lost` on how many it panicked.
//! - `pending` and `in_flight` are sums over all queues that the close waits for and that have something left.
//!   `queues` is how many those are; `queue` is the one that has most.
//!
//! ## What is never logged
//!
//! The content of an event, of an error or of a panic: any of them may hold a secret, and a log has more readers than
//! the sink has. `error_type` and `event_type` are names of types. The message of a panic is printed by the panic hook,
//! and is in the [`CloseError`](crate::CloseError). There is no switch for content. A program that wants it logged does
//! so itself, where the content is at hand:
//!
//! ```
//! # #[cfg(feature = "tracing")] {
//! use std::time::Duration;
//! use outflow::{Buffer, SinkExt, retry::{Breaker, Failure}, sink};
//!
//! let queue = sink::from_fn(|_: &String| Err("no route to host"))
//!     .retry(Breaker::new(5, Duration::from_secs(1)).name("mirror"))
//!     .max_attempts(8)
//!     .on_failure(|failure: &Failure<'_, String, &str>| {
//!         tracing::debug!(event = %failure.event, error = %failure.error, "an attempt failed");
//!     })
//!     .dead_letter(sink::for_each(|letter: outflow::DeadLetter<String, &str>| {
//!         tracing::warn!(event = %letter.event, error = %letter.error, "given up");
//!     }))
//!     .queued_with(Buffer::bounded(1024).drop_oldest().spill(sink::for_each(|event: String| {
//!         tracing::warn!(%event, "there was no room");
//!     })));
//! # drop(queue);
//! # }
//! ```
//!
//! ## Floods
//!
//! A full buffer that drops its oldest can drop a million events a second, and a line for each would be the next
//! outage. So what has a `count` is logged at most once a second, for each buffer, retry and lossy sink by
//! itself: the first event at once, the others with the count since the last line. Each event is in exactly one count,
//! so the counts add up to what the stats say. What comes after the last line of a burst is logged
//!
//! - with the next event, when the second is over;
//! - or before the close of the buffer, the retry or the lossy sink is done, or when the latter two are dropped;
//!   unless that happens on a thread on which a subscriber is being called (see below): then it is not logged.
//!
//! Nothing wakes up to log: if no event follows a burst, its count stands in the stats, and in the log with the close.
//!
//! A breaker logs each time that it opens and each time that it closes, when it happens, on the thread whose failure
//! or success it was. Two threads may log at the same time: then the line of a closing may come before the one of the
//! opening that it ended. One that flaps logs as often: give it a backoff that keeps it from that.
//!
//! A failed attempt is logged each time: `debug` is not a level that is on by itself.
//!
//! ## A close that takes long
//!
//! A close is logged by the thread that waits for it, in [`wait`](crate::Closing::wait) or
//! [`within`](crate::Closing::within), after 1 s, 2 s, 4 s, and so on. A close for which no thread waits, because the
//! `Closing` was dropped or is awaited as a future, is not logged, nor is what a sink of your own drains. `Debug` of a
//! [`Closing`](crate::Closing) has the same figures at any time.
//!
//! ## What it costs
//!
//! A write that succeeds logs nothing and pays nothing. Without a subscriber a failed attempt and a dropped event each
//! cost one load more; with one, a dropped event costs a look at the clock.
//!
//! ## A subscriber that writes to a sink
//!
//! A subscriber and its filters are called without a lock held, on the thread on which it happened. Their panics go no
//! further; a filter that panics counts as one that wants nothing. While a subscriber is called, nothing is logged on
//! its thread, so that it may write what it gets to a sink of this crate, even to one that fails or drops. If that
//! causes something that has a `count`, it is logged with the next line of its kind, if there is one; anything else that
//! it causes is not logged.
//!
//! What other crates log while a sink delivers is another matter. An HTTP client logs each request; a logger that writes
//! to that client's sink is then fed by its own lines. [`is_delivering`](crate::is_delivering) is true on a thread that
//! delivers: let it decide which lines go to the sink and which to standard error. It does not know of threads that a
//! sink of yours starts.
//!
//! # `metrics`
//!
//! A `metrics::Publisher` is given meters, counters and queues, each with a name, and passes on what they
//! have counted when its `update` is called: before each scrape. `examples/metrics.rs` does it with
//! Prometheus.
//!
//! | series | kind | labels | from |
//! | --- | --- | --- | --- |
//! | `outflow_events_total` | counter | `sink` | [`Meter`](crate::Meter): writes that were begun |
//! | `outflow_successes_total` | counter | `sink` | writes that the sink accepted |
//! | `outflow_failures_total` | counter | `sink` | writes that the sink failed |
//! | `outflow_errors_total` | counter | `sink`, `reason` | writes that ended otherwise: `closed`, `panic`, or `cancelled` where the future of a write was dropped |
//! | `outflow_in_flight` | gauge | `sink` | writes under way |
//! | `outflow_delivery_duration_seconds` | histogram | `sink`, `outcome` | one write through the meter, if asked for: `success` or `failure` |
//! | `outflow_retries_total` | counter | `sink` | [`count_retries`](crate::retry::Retry::count_retries): failed attempts after which there is to be another |
//! | `outflow_dropped_total` | counter | `sink` | [`lossy_counted`](crate::SinkExt::lossy_counted): events that failed and were dropped |
//! | `outflow_queue_accepted_total` | counter | `queue` | [`Queue::stats`](crate::Queue::stats) |
//! | `outflow_queue_delivered_total` | counter | `queue` | |
//! | `outflow_queue_dropped_total` | counter | `queue` | |
//! | `outflow_queue_spilled_total` | counter | `queue` | |
//! | `outflow_queue_lost_total` | counter | `queue` | |
//! | `outflow_queue_pending` | gauge | `queue` | |
//! | `outflow_queue_in_flight` | gauge | `queue` | |
//! | `outflow_queue_oldest_age_seconds` | gauge | `queue` | how long the oldest event has waited, since the first update that saw it |
//! | `outflow_durable_delivered_total` | counter | `queue` | `Durable::stats`, since it was opened |
//! | `outflow_durable_acknowledged_total` | counter | `queue` | |
//! | `outflow_durable_dropped_total` | counter | `queue` | |
//! | `outflow_durable_dead_lettered_total` | counter | `queue` | |
//! | `outflow_durable_damaged_total` | counter | `queue` | |
//! | `outflow_durable_failed_flushes_total` | counter | `queue` | |
//! | `outflow_durable_failed_reads_total` | counter | `queue` | |
//! | `outflow_durable_pending` | gauge | `queue` | what is on disk, also after a restart |
//! | `outflow_durable_unconfirmed` | gauge | `queue` | |
//! | `outflow_durable_passed_over` | gauge | `queue` | |
//! | `outflow_durable_bytes` | gauge | `queue` | bytes of the store |
//! | `outflow_durable_oldest_age_seconds` | gauge | `queue` | since the oldest was written, also after a restart |
//! | `outflow_follower_accepted_total` | counter | `follower` | [`FollowerHandle::stats`](crate::log::FollowerHandle::stats) |
//! | `outflow_follower_delivered_total` | counter | `follower` | |
//! | `outflow_follower_skipped_total` | counter | `follower` | |
//! | `outflow_follower_dropped_total` | counter | `follower` | |
//! | `outflow_follower_spilled_total` | counter | `follower` | |
//! | `outflow_follower_lost_total` | counter | `follower` | |
//! | `outflow_follower_pending` | gauge | `follower` | |
//! | `outflow_follower_in_flight` | gauge | `follower` | |
//! | `outflow_follower_oldest_age_seconds` | gauge | `follower` | as the queue's |
//! | `outflow_subscription_dropped_total` | counter | `subscription` | [`Events::dropped`](crate::channel::Events::dropped) |
//! | `outflow_subscription_spilled_total` | counter | `subscription` | |
//! | `outflow_subscription_pending` | gauge | `subscription` | [`Events::len`](crate::channel::Events::len) |
//!
//! All are numbers of events, except where the name says seconds or bytes. For what Docker Registry publishes of an
//! endpoint, put a meter right above the sink that sends, and a queue above that:
//!
//! | Docker Registry | here |
//! | --- | --- |
//! | `Events` | `outflow_queue_accepted_total`; `outflow_events_total` counts each attempt of a retry |
//! | `Successes` | `outflow_successes_total` |
//! | `Failures`, `Errors`: a bad status, no answer | `outflow_failures_total`: only the sink can tell them apart |
//! | `Pending` | `outflow_queue_pending`, and `outflow_queue_in_flight` |
//!
//! What a metered write costs: [`docs::speed`](super::speed).
//!
//! A recorder that panics costs what it was being passed, and nothing else: its panic goes no further, at the end of
//! a write as in `update`, which passes on the rest.
//!
//! Of two series with one name the counts add up. A counter begins at zero with the first update, so that its
//! first event is seen as an increase. What a queue counted before it closed is published by the first update
//! after, even if every handle was dropped by then.
