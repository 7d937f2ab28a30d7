//! Being watched: what is told to `tracing`, and what is published through `metrics`.
//!
//! Both are facades: this crate says what happened, and whoever runs the program says where that goes.
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
//! | `outflow::breaker` | warn | a breaker opened | `breaker`, `queue`, `count`, `failures`, `backoff_ms` |
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
//! - What a follower [skips](crate::log::Lag::Skip) is told as dropped.
//! - `left` is how many events were spilled or dropped because of it, `lost` on how many a sink panicked.
//! - `pending` and `in_flight` are summed over all `queues` that the close goes through and that have something
//!   left; `queue` is the one that has most.
//!
//! ## What is never told
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
//! outage. So what has a `count` is told at most once a second, for each buffer, retry and lossy sink by
//! itself: the first event at once, then with the count since the last line. (A period that grows with the
//! flood would say less the worse it is.) Each event is in exactly one count, so the counts add up to what the
//! stats say. What comes after the last line of a burst is told
//!
//! - by the next event, when the second is over;
//! - of a queue, by its worker within a second of being idle;
//! - before the close of the buffer, the retry or the lossy sink is through, or when the latter two are dropped;
//!   unless that happens on a thread on which a subscriber is being called (see below): then it is not told.
//!
//! A breaker that flaps is told to open at most once a second, `count` says how often it did. Each opening told
//! is told to close, after it; and what was told last is how it is, or becomes so with the next failure.
//!
//! A failed attempt is told each time, as asked: it is not at a level that is on by itself.
//!
//! ## A close that takes long
//!
//! is told by whoever waits for it, in [`wait`](crate::Closing::wait) or [`within`](crate::Closing::within),
//! after 1 s, 2 s, 4 s, and so on; no thread is kept for it. What nobody waits for on a thread, since the
//! `Closing` was dropped or is awaited as a future, is not told, nor is what a sink of your own drains. `Debug`
//! of a [`Closing`](crate::Closing) has the same figures at any time.
//!
//! ## What it costs
//!
//! Every call stands on a path that is cold: a write that succeeds passes none. With nobody listening a failed
//! attempt and a dropped event cost a load more. With somebody, a dropped event costs a look at the clock.
//!
//! ## A subscriber's own doings
//!
//! A subscriber, its filters included, is called without a lock held, on the thread on which it happened. A panic
//! of it goes no further, and whoever panics when asked is not told. While it is called nothing is told on its
//! thread, so that it may write what it hears to a sink of this crate, even one that fails or drops. What it causes
//! there that has a `count` is told with the next line of its kind, if there is one.
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
//! A recorder that panics harms no write and loses no count: at the end of a write its panic goes no further, and
//! in `update` it goes on to the caller after everything else is published; what it panicked on is passed on again
//! by the next.
//!
//! Of two series with one name the counts add up. A counter begins at zero with the first update, so that its
//! first event is seen as an increase. What a queue counted before it closed is published by the first update
//! after, even if every handle was dropped by then.
