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
//! (feature `tower`), and what implements the trait. The combinators are the methods of
//! [`AsyncSinkExt`](crate::AsyncSinkExt): those with an asterisk in the
//! [table](crate#all-combinators), and [`timeout`](crate::AsyncSinkExt::timeout).
//!
//! # Which runtime
//!
//! Any, or none: a write is a future, and is polled by what awaits it. Its waits are timers of this crate, on one thread
//! that runs while a timer is set. A current-thread runtime will do.
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
