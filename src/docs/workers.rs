//! Where the sink behind a queue runs: on a pool, or on a thread of its own.
//!
//! A [`Queue`](crate::Queue) has a *worker*, which takes events out of it and writes them to the sink. So has a
//! [follower](crate::log::Log::follow) of a log. A worker is a task of a pool, [`Workers`](crate::Workers), as a goroutine is
//! one of Go's: ten thousand queues need no more threads than one.
//!
//! | | where the worker runs |
//! | --- | --- |
//! | by default | [`Workers::global()`](crate::Workers::global), with as many threads as cores |
//! | [`QueueOptions::on`](crate::queue::QueueOptions::on) | a pool of your own, with settings of its own |
//! | [`QueueOptions::dedicated`](crate::queue::QueueOptions::dedicated) | a thread for this queue alone |
//!
//! [`FollowOptions`](crate::log::FollowOptions) has the same two methods. The worker of an asynchronous sink can also run on
//! a runtime: see [`docs::async_sinks`](super::async_sinks#which-runtime).
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Buffer, Sink, SinkExt, Workers, queue::QueueOptions, sink};
//!
//! let webhooks = Workers::builder().threads(4).keep_alive(Duration::from_secs(30)).name("webhooks").build();
//! let delivered = sink::collector();
//! let queues: Vec<_> = (0..1000)
//!     .map(|_| {
//!         let options = QueueOptions::new(Buffer::bounded(100)).on(&webhooks);
//!         delivered.clone().keep_open().queued_with(options)
//!     })
//!     .collect();
//! queues.iter().for_each(|queue| queue.write("pushed").unwrap());
//! for queue in queues {
//!     queue.close().wait()?;
//! }
//! assert_eq!(delivered.len(), 1000);
//! # Ok::<(), outflow::CloseError>(())
//! ```
//!
//! # Several events at once
//!
//! A queue has one worker, which delivers one event after the other. What the sink waits for, all of them wait for. Two options
//! give it more:
//!
//! | | at once | order |
//! | --- | --- | --- |
//! | [`QueueOptions::keyed`](crate::queue::QueueOptions::keyed) | events of up to `n` keys | that of each key: a tenant, a container, a file |
//! | [`QueueOptions::concurrent`](crate::queue::QueueOptions::concurrent) | up to `n` events | none |
//!
//! A key whose event is retried holds up its own events and no others, if the backoff is the write's own
//! ([`per_write`](crate::retry::ExponentialBackoff::per_write)): the other strategies are about the endpoint, for which all
//! writes wait. `examples/container_backoff.rs` shows that.
//!
//! A [`Sink`](crate::Sink) is written to from up to `n` threads, so `n` sinks that block are `n` threads while they do. An
//! [`AsyncSink`](crate::AsyncSink) needs none: the whole queue is one task.
//!
//! # A sink that blocks
//!
//! A sink may block: it holds up its own queue, and no other.
//!
//! - A wait of this crate is announced, and another thread of the pool takes over at once: the backoff of a
//!   [retry](crate::SinkExt::retry), room in a bounded buffer, a rendezvous, a [`Lag::Block`](crate::log::Lag::Block), a wait
//!   on a [`Closing`](crate::Closing) or a [`Flushing`](crate::Flushing), a spill.
//! - Your own code that blocks, in a socket or a lock, is noticed within 2 ms if another worker has something to do and no
//!   thread for it. Then threads are added, twice as many each time, until workers begin again in every millisecond. Code
//!   that computes for long looks the same.
//! - Threads that are not needed any more end after ten idle seconds: see
//!   [`keep_alive`](crate::WorkersBuilder::keep_alive).
//!
//! So a hundred endpoints that hang have a hundred threads after some milliseconds, as they would with a thread each. There
//! is no bound unless you set one, [`max_threads`](crate::WorkersBuilder::max_threads), since a bound is a deadlock for
//! somebody: if as many workers wait for what another is to do, it is never done. If the system gives no more threads, those
//! that there are go on; only a pool without any refuses a new queue.
//!
//! # A thread of its own
//!
//! Take [`dedicated`](crate::queue::QueueOptions::dedicated) where the sink keeps something in thread-local storage from one
//! event to the next, needs a larger stack or a priority of its own, or must not wait for a thread at all. Such a thread
//! looks for the next event for some microseconds before it sleeps. That is what makes one queue quick, and what makes
//! thousands of such threads slow: they get in each other's way.
//!
//! # Why the pool is the default
//!
//! One queue on the pool takes as long for an event as one with a thread, and wakes as soon. Ten thousand are set up thirty
//! times as fast, deliver hundreds of times as fast, and take a quarter of the memory: the figures are in
//! [`docs::speed`](super::speed#ten-thousand-queues).
//!
//! # Limits
//!
//! - On targets without threads nothing is promised: no thread can be started, and `queued` panics with that.
//! - In the child of a `fork` no thread of a pool exists: see [after a fork](super::shutdown#after-a-fork).
//! - A worker gives way to others after 256 events, so that a busy queue starves none.
