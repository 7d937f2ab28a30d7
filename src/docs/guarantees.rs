//! What every sink of this crate promises: order, delivery, and where an event is at every moment.
//!
//! # Where an event is
//!
//! At every moment an event is in exactly one place, and each place has a count:
//!
//! - **with its writer**: a write that fails hands it back, in the error;
//! - **pending** in a queue, or **in flight** from there to the sink;
//! - **delivered**: the sink accepted it;
//! - **spilled**: there was no room for it, or the queue ended before it was delivered, and the spill accepted it;
//! - **dropped**: the same, but there was no spill, or the spill refused it;
//! - **lost**: the sink panicked on it.
//!
//! [`Queue::stats`](crate::Queue::stats) has all of them. Those of a follower of a log have one more: *skipped*, for one
//! that was asked to skip what it cannot keep up with.
//!
//! An event in a queue dies with the process. One in a durable queue is on disk, and there after it: see
//! [`docs::durable`](super::durable).
//!
//! # The laws
//!
//! A [transparent combinator](crate::adapter) passes each call on, and keeps a law as far as its downstream does.
//! [`closeable`](crate::SinkExt::closeable) gives any sink a closed state;
//! [`keep_open`](crate::SinkExt::keep_open) does not pass a close on.
//!
//! 1. An error hands back the event that was passed in: not a copy of it, and not what a combinator made of it. (If the
//!    event is a vector, what is handed back may be the part of it that was not written, in order.)
//! 2. Once `close` has returned, every write answers `Closed`, from every thread.
//! 3. `close` may be called any number of times, from any thread and from within; every
//!    [`Closing`](crate::Closing) waits for the same drain and gets the same outcome.
//! 4. Every event is accounted for, exactly once, under any race of writes, closes, aborts, panics and
//!    drops: `accepted = delivered + dropped + spilled + lost + pending + in_flight`. The counts are exact when no
//!    event moves: while a queue is empty or stuck and no write is under way, and after its close. While it runs they
//!    are a snapshot: what was delivered, dropped, spilled and lost only grows from one to the next, an event that
//!    moves meanwhile may not be in it yet, and `accepted` is the sum.
//! 5. A sink handed to a combinator belongs to the chain, spill and dead letter included, and is closed
//!    with it, after the last write to it. (An abort does not wait for that.) A sink that several chains
//!    share is handed to each as [`keep_open`](crate::SinkExt::keep_open), or as a clone of
//!    [`close_with_last`](crate::SinkExt::close_with_last).
//! 6. Events of one writer reach a downstream in the order written, and an event whose write returned before
//!    another's began precedes it. Spills are excepted, and so are writes from within a write where there are
//!    [several sinks](#order-across-sinks). Below a queue that is [keyed](crate::queue::QueueOptions::keyed) it holds for
//!    the events of each key, and below a [concurrent](crate::queue::QueueOptions::concurrent) one not at all.
//! 7. A downstream that answers `Closed` makes the sink above it closed, and never in silence. A queue's close reports
//!    [`DownstreamClosed`](crate::CloseError::DownstreamClosed). A broadcaster removes the sink, goes on with the
//!    others, and lists it in [`ended`](crate::Broadcaster::ended) with the events that it refused; its close reports
//!    only what such a sink had accepted and did not deliver. A log goes on without the follower, and names it in
//!    [`ended`](crate::Log::ended) and in the outcome of its close. An ending that was asked for, by
//!    [`Lag::Close`](crate::log::Lag::Close), is in `ended` alone.
//! 8. A sink may be called from within its own downstream (write, flush, close, add, remove, subscribe, drop)
//!    without a deadlock. Excepted are two bounded queues that write into each other: both may be full, and each
//!    then waits for the other.
//! 9. A panic in user code leaves no sink hanging and no other event unaccounted for.
//!
//! The test kit (feature `testing`) checks them on a sink of your own, and names the one that it breaks:
//! `testing::Conformance`.
//!
//! # Delivery
//!
//! A retry writes until the sink says that it accepted. A remote endpoint that accepts an event and whose answer is
//! lost, because the connection breaks, gets the event again. So delivery is *at least once* while the process lives,
//! in order. With [`max_attempts`](crate::retry::Retry::max_attempts) it is at least once, or into the dead letter that
//! you named. What a queue does not deliver its close reports.
//!
//! # Flushes
//!
//! A [flush](crate::Sink::flush) is done when every event that was accepted before it is delivered, or was spilled,
//! dropped or lost and is counted. It does not wait for an event that a writer is carrying into a spill at that moment.
//! If sinks form a ring, it ends when what was accepted before it is delivered; what the ring makes of that is new.
//!
//! # Order across sinks
//!
//! Concurrent writers to a [`Broadcaster`](crate::Broadcaster) may reach two of its sinks in different orders. So may one
//! writer. If a sink of a broadcaster or a [`tee`](crate::SinkExt::tee) gets event 1 and writes event 2 back to it from
//! within that write, event 2 reaches the later sinks *before* event 1: they get `[2, 1]`, and the first sink gets
//! `[1, 2]`. A queue before it, `broadcaster.queued()`, gives all sinks one order in both cases.
//!
//! ```
//! use outflow::{Broadcaster, Sink, SinkExt, sink};
//!
//! let (first, second) = (sink::collector(), sink::collector());
//! let broadcaster = Broadcaster::new();
//! broadcaster.extend([first.clone(), second.clone()])?;
//! let ordered = broadcaster.queued();
//!
//! std::thread::scope(|scope| {
//!     for writer in 0..4 {
//!         let ordered = &ordered;
//!         scope.spawn(move || ordered.write_all((0..100).map(|n| writer * 1000 + n)).unwrap());
//!     }
//! });
//! ordered.close().wait()?;
//! assert_eq!(first.events(), second.events());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
