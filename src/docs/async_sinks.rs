//! Asynchronous sinks: for a client whose calls are awaited.
//!
//! An [`AsyncSink`](crate::AsyncSink) is the twin of a [`Sink`](crate::Sink) whose writes return a future. It belongs at
//! the end of a chain, where a client of a broker or a database is asynchronous:
//!
//! ```
//! use std::time::Duration;
//! use outflow::{AsyncSink, AsyncSinkExt, DeadLetter, SinkExt, retry::ExponentialBackoff, sink};
//!
//! # #[derive(Clone)] struct Client;
//! # impl Client { async fn publish(&self, _: &str) -> Result<(), u16> { Ok(()) } }
//! # let client = Client;
//! let dead = sink::for_each(|letter: DeadLetter<String, _>| eprintln!("{letter:?}")).queued();
//! let events = sink::from_async_fn(move |event: String| {
//!         let client = client.clone();
//!         async move { client.publish(&event).await }
//!     })
//!     .timeout(Duration::from_secs(10))
//!     .retry(ExponentialBackoff::default())
//!     .max_attempts(5)
//!     .dead_letter(dead);
//!
//! # let block_on = |future: std::pin::Pin<&mut dyn Future<Output = bool>>| {
//! #     assert!(future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready());
//! # };
//! # let future = std::pin::pin!(async {
//! events.write("push alpine".to_string()).await.unwrap();
//! # true });
//! # block_on(future);
//! events.close().wait()?;
//! # Ok::<(), outflow::CloseError>(())
//! ```
//!
//! The leaves are [`sink::from_async_fn`](crate::sink::from_async_fn), `sink::from_service` for a `tower::Service`
//! (feature `tower`), `http::AsyncHttpSink` for webhooks (feature `http-async`), and what implements the trait. The combinators are the methods of
//! [`AsyncSinkExt`](crate::AsyncSinkExt): those with an asterisk in the
//! [table](crate#all-combinators), and [`timeout`](crate::AsyncSinkExt::timeout).
//!
//! # Behind a queue
//!
//! [`queued`](crate::AsyncSinkExt::queued), [`queued_with`](crate::AsyncSinkExt::queued_with) and
//! [`batched`](crate::AsyncSinkExt::batched) give a [`Queue`](crate::Queue), the same as over a `Sink`. It is a `Sink`
//! itself, so a [`Broadcaster`](crate::Broadcaster), a filter and the rest above it know nothing of async. A log has
//! [`follow_async`](crate::Log::follow_async), whose sink gets a clone of each event: keep large ones in an `Arc`.
//!
//! # Which runtime
//!
//! Any, or none: a write is a future, and is polled by what awaits it. Its waits are timers of this crate, on one thread
//! that runs while a timer is set. The worker of a queue runs
//!
//! | | where |
//! | --- | --- |
//! | by default | on [`Workers::global()`](crate::Workers::global), a pool of this crate, or [on](crate::queue::QueueOptions::on) one of your own |
//! | `.on(tokio::runtime::Handle::current())` (feature `tokio`) | on that runtime, multi-thread or current-thread |
//! | <code>.on(\|worker\| executor.spawn(worker).detach())</code> | on whatever that [closure](crate::Executor) has it polled by |
//! | [`.dedicated()`](crate::queue::QueueOptions::dedicated) | on a thread of its own |
//!
//! A client that needs its runtime (tokio's sockets and timers, and all that is built on them) has to be polled there: give the
//! queue that runtime's handle. On a pool of this crate its first poll panics with "there is no reactor running". (The
//! webhook sink keeps the handle of the runtime that it was built on, and may be polled anywhere.)
//!
//! A `Sink` may block, and would hold up the other tasks of a runtime. Options with a runtime or a closure in them have the type
//! `QueueOptions<E, P, AsyncOnly>`, which a queue over a `Sink` does not take:
//!
//! ```compile_fail,E0277
//! use outflow::{SinkExt, WorkerFuture, queue::QueueOptions, sink};
//!
//! let options = QueueOptions::default().on(|worker: WorkerFuture| drop(worker));
//! sink::for_each(|_: u32| {}).queued_with(options); // Leave `on` out, or give it `&Workers`.
//! ```
//!
//! # What not to do
//!
//! Do not `block_on` in a `Sink` to call an async client. On the thread of a current-thread runtime it hangs: the thread waits for
//! a future that this thread alone would drive. On a multi-thread one it panics or stops a worker of the runtime.
//!
//! ```ignore
//! sink::from_fn(move |event: &Event| handle.block_on(client.publish(event))) // hangs
//!     .queued()
//! // In its place:
//! sink::from_async_fn(move |event: Event| { let client = client.clone(); async move { client.publish(&event).await } })
//!     .queued_with(QueueOptions::default().on(handle))
//! ```
//!
//! For the same reason do not call in an `async` function what waits on its thread: [`Closing::wait`](crate::Closing::wait),
//! [`Flushing::wait`](crate::Flushing::wait), a write into a full [`Buffer::bounded`](crate::Buffer::bounded). Await the first two
//! (feature `futures`); the next section is about the last. A queue on a runtime writes to its
//! [spill](crate::Buffer::spill) there, when it ends before its time: let that be a queue without a bound, or a sink that
//! is quick.
//!
//! Do not await in a sink what waits for that very write: a flush or the close of its own queue. It never ends, in any runtime,
//! where `wait()` answers [`WouldDeadlock`](crate::CloseError::WouldDeadlock). To begin a close and drop the
//! [`Closing`](crate::Closing) is fine.
//!
//! # Back-pressure
//!
//! What never waits may be written to from an `async` function: a queue without a bound, one that evicts or rejects, and a
//! [`Log`](crate::Log) without [`Lag::Block`](crate::log::Lag::Block). They do not slow a writer down, either. A queue with
//! `Buffer::bounded(n)` does, without a thread:
//!
//! - [`queue.write_async(event).await`](crate::Queue::write_async) waits for room. The future holds the event: dropped
//!   before it is ready, it drops the event, which was not written.
//! - [`queue.reserve().await`](crate::Queue::reserve) gives a [`Permit`](crate::queue::Permit), and
//!   [`send`](crate::queue::Permit::send) writes without waiting. The event need not exist before that, so that nothing is lost in a
//!   `select!`.
//! - `queue.into_futures()` (feature `futures`) is a `futures::Sink` that is ready when there
//!   is room.
//!
//! Tasks and threads that wait get room in one order, that in which they came. A close ends their waits with `Closed`.
//!
//! # An abort, and a runtime that is shut down
//!
//! No write that the sink was given is cancelled by a close or an abort. When the time of [`close().within(..)`](crate::Closing::within) is up,
//! what is pending is spilled or dropped, the sink is closed, and the error counts the write that is still under way as
//! `in_flight`. It is polled on. If its event comes back, as a retry's does when the sink is closed, it is spilled; if it is delivered,
//! [`stats`](crate::Queue::stats) say so later.
//!
//! A runtime that is shut down drops the worker, at whatever await it is. That is the end of the queue: what was pending is spilled or
//! dropped, the event that was with the sink is lost, all of it is counted, the sink's close is begun, and the queue's close, which does not
//! hang, says [`Undelivered`](crate::CloseError::Undelivered). So does a queue that is made on a runtime that was shut down before: it
//! is closed. Close queues before the runtime, as [`docs::shutdown`](super::shutdown) has it. If an executor keeps a worker
//! and never polls it again, a close waits: use `within`.
//!
//! # The two kinds do not mix unseen
//!
//! A `Sink` may block and is no `AsyncSink`, which must not; and a caller of a `Sink` has nothing to await with. Where an
//! asynchronous chain needs a `Sink` beside it, as its [`dead_letter`](crate::AsyncSinkExt::dead_letter) or
//! [`fallback`](crate::AsyncSinkExt::fallback), it must be one whose writes never wait
//! ([`ImmediateSink`](crate::sink::ImmediateSink)): a queue without a bound, or one that evicts or rejects.
//!
//! # Cancellation
//!
//! This crate drops no write that has begun, except in a [`timeout`](crate::adapter::Timeout), which says what that means.
//! If you drop the future of a write yourself (in a `select!`, say), its event goes with it, and may have arrived or not.
//! A retry that is dropped in its wait has taken its timer back, and the next write finds the sink as it was.
//!
//! # Panics
//!
//! A panic in a poll is a panic of the sink: it goes to what polls the write, and
//! [`catch_panic`](crate::AsyncSinkExt::catch_panic) makes an error of it.
