//! What every sink of this crate promises: order, delivery, and where an event is at every moment.
//!
//! # Where an event is
//!
//! At every moment an event is in exactly one place, and each place has a count:
//!
//! - **with its writer**: a write that fails hands it back, in the error;
//! - **pending** in a queue, or **in flight** from there to the sink;
//! - **delivered**: the sink accepted it;
//! - **spilled**: the buffer gave it up into its spill;
//! - **dropped**: the buffer gave it up and had no spill, or the spill refused it;
//! - **lost**: the sink panicked on it.
//!
//! [`Queue::stats`](crate::Queue::stats) has all of them, and they add up to what was accepted. So do
//! those of a log's [followers](crate::log::FollowerHandle::stats), each of which has them for itself, with one
//! more: **skipped**, where it was asked to keep up or skip.
//!
//! Nothing here is durable: an event in a queue dies with the process.
//!
//! # The laws
//!
//! A transparent combinator passes each call on and keeps a law as far as its downstream does.
//! [`closeable`](crate::SinkExt::closeable) gives any sink a closed state;
//! [`keep_open`](crate::SinkExt::keep_open) swallows `close`.
//!
//! 1. An error hands back the event that was passed in, itself, not a copy and not a mapped one. (Of a
//!    vector of events, what is handed back may be the rest, in order.)
//! 2. Once `close` has returned, every write answers `Closed`, from every thread.
//! 3. `close` may be called any number of times, from any thread and from within; every
//!    [`Closing`](crate::Closing) waits for the same drain and gets the same outcome.
//! 4. Every event is accounted for, exactly once, under any race of writes, closes, aborts, panics and
//!    drops: `accepted = delivered + dropped + spilled + lost + pending + in_flight`.
//! 5. A sink handed to a combinator belongs to the chain, spill and dead letter included, and is closed
//!    with it, after the last write to it. (An abort does not wait for that.) A sink that several chains
//!    share is handed to each as [`keep_open`](crate::SinkExt::keep_open), or as a clone of
//!    [`close_with_last`](crate::SinkExt::close_with_last).
//! 6. Events of one writer reach a downstream in the order written, and an event whose write returned before
//!    another's began precedes it. Spills aside, and writes
//!    from within a write, where there are [several sinks](#order-across-sinks).
//! 7. A downstream that answers `Closed` makes the sink above it closed, and never in silence: a queue's
//!    close reports [`DownstreamClosed`](crate::CloseError::DownstreamClosed), a broadcaster reports the sink
//!    and goes on with the others, as a log does without a follower that has ended.
//! 8. A sink may be called from within its own downstream (write, flush, close, add, remove, subscribe, drop)
//!    without a deadlock. Two bounded queues that write into each other are their author's.
//! 9. A panic in user code leaves no sink hanging and no other event unaccounted for.
//!
//! The test kit (feature `testing`) checks all nine on a sink of your own, and names the one that it breaks.
//!
//! # Delivery
//!
//! A retry writes until the sink says that it accepted. A sink that accepts and whose answer is lost, as a
//! request that is cut off, gets the event again: *at least once*, if the sink behind is a remote one. What a
//! queue does not deliver is reported by its close. So: at least once while the process lives, in order; or,
//! after `max_attempts`, into the dead letter that you named.
//!
//! # Order across sinks
//!
//! Concurrent writers to a [`Broadcaster`](crate::Broadcaster) may reach two of its sinks in different
//! orders. So may one writer: an event that a sink of a broadcaster or a [`tee`](crate::SinkExt::tee) writes
//! back to it, in the middle of a write, reaches the later sinks *before* the event that was being written.
//! They get `[2, 1]` where the first sink gets `[1, 2]`. A queue before it, `broadcaster.queued()`, gives all
//! sinks one order in both cases.
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
