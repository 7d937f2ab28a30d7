//! Being watched: what is logged to `tracing`, and what is published through `metrics`.
//!
//! Both are facades: this crate says what happened, and the program says where that goes.
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
//! | `outflow::broadcast` | warn | a sink closed by itself, and was removed | `sink` |
//! | `outflow::log` | error | a sink panicked, and its follower has ended | `sink`, `lost`, `left` |
//! | `outflow::log` | warn | a sink closed by itself, and its follower has ended | `sink`, `left` |
//! | `outflow::log` | warn | a follower was too far behind, and has ended | `sink`, `left` |
//! | `outflow::close` | info | a close takes long | `waited_ms`, `pending`, `in_flight`, `queues`, `queue` |
//!
//! - `queue` is the [name of the queue](crate::queue::QueueOptions::name): of the one it is about, or, of a
//!   retry, a breaker and a lossy sink, of the one on whose worker it happened. It is missing if that has no
//!   name, or if a sink is written to directly: then the spans of the writer say where. Name your queues.
//! - `breaker` is the [name of the breaker](crate::retry::Breaker::name), if it has one; `sink` the
//!   [id](crate::SinkId) that a broadcaster or a log gave. A channel has no name: its `event_type` has to do.
//! - `attempt` and `elapsed_ms` are those of [`Failure`](crate::retry::Failure). `failures` are in a row.
//! - What a follower [skips](crate::log::Lag::Skip) is logged as dropped.
//! - `left` is how many events were spilled or dropped because of it, `lost` on how many a sink panicked.
//! - `pending` and `in_flight` are summed over all `queues` that the close goes through and that have something
//!   left; `queue` is the one that has most.
//!
//! ## What is never logged
//!
//! Nothing of an event, of an error or of a panic is: any of them may hold a secret, and a log is read by more
//! people than the sink is. `error_type` and `event_type` are names of types. A panic's message is printed by
//! the panic hook, and is in the [`CloseError`](crate::CloseError). Whoever asks for content does so where it
//! is at hand, in words and at a level of their own; there is no switch for it:
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
//! A full buffer that drops its oldest drops a million events a second, and a line for each would be the next
//! outage. So what has a `count` is logged at most once a second, for each buffer, retry and lossy sink by
//! itself: the first event at once, then with the count since the last line. (A period that grows with the
//! flood would say less the worse it is.) Each event is in exactly one count, so the counts add up to what the
//! stats say. What comes after the last line of a burst is logged
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
//! is logged by the thread that waits for it, in [`wait`](crate::Closing::wait) or
//! [`within`](crate::Closing::within), after 1 s, 2 s, 4 s, and so on; no thread is kept for it. A close for which no
//! thread waits, since the `Closing` was dropped or is awaited as a future, is not logged, nor is what a sink of your
//! own drains. `Debug` of a [`Closing`](crate::Closing) has the same figures at any time.
//!
//! ## What it costs
//!
//! Every call stands on a path that is cold: a write that succeeds passes none. Without a
//! subscriber a failed attempt and a dropped event cost a load more. With one, a dropped event costs a look at the
//! clock.
//!
//! ## A subscriber's own doings
//!
//! A subscriber, its filters included, is called without a lock held, on the thread on which it happened. A panic
//! of it goes no further, and a filter that panics wants nothing. While it is called nothing is logged on its
//! thread, so that it may write what it gets to a sink of this crate, even one that fails or drops. What it causes
//! there that has a `count` is logged with the next line of its kind, if there is one; anything else is not logged.
//!
//! What others tell while a sink delivers is another matter: an HTTP client logs each request, and a logger that
//! writes what it hears to that client's sink is fed by its own lines. [`is_delivering`](crate::is_delivering) is
//! true then, whatever logs: let it decide what goes to the sink and what to standard error. Lines that
//! threads of a sink's own log, it does not know of.
//!
//! # `metrics`
//!
//! A `metrics::Publisher` is given meters, counters and queues, each with a name, and passes on what they
//! have counted when its `update` is called: before each scrape. `examples/metrics.rs` does it with
//! Prometheus.
//!
//! | series | kind | labels | from |
//! | --- | --- | --- | --- |
//! | `outflow_events_total` | counter | `sink` | [`Meter`](crate::Meter): writes begun |
//! | `outflow_successes_total` | counter | `sink` | writes that the sink accepted |
//! | `outflow_failures_total` | counter | `sink` | writes that the sink failed |
//! | `outflow_errors_total` | counter | `sink`, `reason` | writes that ended otherwise: `closed` or `panic` |
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
//! All are numbers of events, but for the histogram, which is in seconds. What Docker Registry publishes of an
//! endpoint is there with a queue and a meter right above the sink that sends:
//!
//! | Docker Registry | here |
//! | --- | --- |
//! | `Events` | `outflow_queue_accepted_total`; with the attempts of a retry each by itself, `outflow_events_total` |
//! | `Successes` | `outflow_successes_total` |
//! | `Failures`, `Errors`: a bad status, no answer | `outflow_failures_total`: only the sink can tell them apart |
//! | `Pending` | `outflow_queue_pending`, and `outflow_queue_in_flight` |
//!
//! A metered write costs 11 ns whether the feature is on or not (two shared cores, an uncontended meter). With
//! its latency recorded to the Prometheus exporter it costs 109 ns: two looks at the clock and the record.
//!
//! A recorder that panics costs what it was being passed, and nothing else: its panic goes no further, at the end of
//! a write as in `update`, which passes on the rest.
//!
//! Of two series with one name the counts add up. A counter begins at zero with the first update, so that its
//! first event is seen as an increase. What a queue counted before it closed is published by the first update
//! after, even if every handle was dropped by then.
