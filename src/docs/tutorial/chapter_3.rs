//! Chapter 3: when it is slow.
//!
//! Until now a write took as long as the webhook did. [`queued`](crate::SinkExt::queued) puts a queue before the sink,
//! and a thread that takes events out of it and writes them to the sink. A write then returns at once.
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Buffer, Sink, SinkExt, retry::Breaker, sink};
//!
//! let webhook = sink::from_fn(|_event: &&str| Ok::<(), std::io::Error>(()))
//!     .retry(Breaker::new(5, Duration::from_secs(1))) // in the queue's worker
//!     .queued_with(Buffer::bounded(1000));
//!
//! webhook.write("push alpine").unwrap(); // It is in the queue.
//! webhook.flush().wait()?; // It is posted.
//! webhook.close().wait()?; // So is everything else, and the thread has ended.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What happens to an event now happens after its write has returned, and there is no writer left to get an error. So
//! only a reliable sink can be queued: without the `retry` this does not compile, and the compiler names what helps.
//!
//! # When the queue is full
//!
//! A queue without a bound grows as long as the webhook is down. A [`Buffer`](crate::Buffer) bounds it and says what a
//! write into a full one does:
//!
//! | | a write into a full queue |
//! | --- | --- |
//! | [`Buffer::bounded(n)`](crate::Buffer::bounded) | waits for room |
//! | [`.block_for(time)`](crate::Buffer::block_for) | waits that long, and then fails |
//! | [`.reject()`](crate::Buffer::reject) | fails |
//! | [`.drop_oldest()`](crate::Buffer::drop_oldest) | makes room: the event that has waited longest is dropped |
//! | [`.drop_newest()`](crate::Buffer::drop_newest) | drops the event that is written |
//! | [`.spill(sink)`](crate::Buffer::spill), after one of these | writes what would be dropped to that sink |
//!
//! [`Buffer::weighing`](crate::Buffer::weighing) bounds what the events weigh, too: their bytes, say.
//!
//! [`stats`](crate::Queue::stats) counts where the events of a queue are, dropped ones included.
//!
//! # Several at once
//!
//! [`batched`](crate::SinkExt::batched) is a queue whose thread writes vectors: to a sink that can take a hundred events
//! in one request.
//!
//! # Large events
//!
//! A queue moves events by value, and several of these moves are on the stack of its thread at once. Rust gives a thread
//! 2 MiB. An event of 256 KiB overflows that, in a debug build one of 96 KiB, and an overflow ends the process. So keep
//! large events in an `Arc` or a `Box` (a `Vec` or a `String` is small itself), or give the thread a larger stack with
//! [`QueueOptions::stack_size`](crate::queue::QueueOptions::stack_size). An `Arc` also makes it cheap to clone the event
//! for each sink of a broadcaster.
//!
//! Next: [many of them, and stopping](super::chapter_4).
