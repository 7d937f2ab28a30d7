//! Chapter 2: when it fails.
//!
//! The type of a sink says whether it can fail: its [`Error`](crate::Sink::Error). A sink whose error is
//! [`Infallible`](std::convert::Infallible) is called *reliable*. It refuses an event only once it is closed. Every
//! method that follows says what happens to an event that fails, and so changes the error.
//!
//! # Try again
//!
//! [`retry`](crate::SinkExt::retry) writes until the sink accepts the event. A strategy says when: a
//! [`Breaker`](crate::retry::Breaker) leaves an endpoint alone for a while after some failures in a row,
//! [`ExponentialBackoff`](crate::retry::ExponentialBackoff) waits longer the longer it fails. Neither gives up, so the
//! result is reliable.
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Sink, SinkExt, retry::Breaker, sink};
//!
//! let mut attempts = 0;
//! let webhook = sink::from_fn_mut(move |_event: &&str| {
//!     attempts += 1;
//!     if attempts < 4 { Err("503 Service Unavailable") } else { Ok(()) }
//! });
//!
//! let reliable = webhook.retry(Breaker::new(2, Duration::from_millis(10)));
//! reliable.write("push alpine").unwrap(); // Returns after the fourth attempt.
//! ```
//!
//! # Give up
//!
//! An event that the endpoint will never accept would be tried for ever.
//! [`give_up_when`](crate::retry::Retry::give_up_when) looks at the error,
//! [`max_attempts`](crate::retry::Retry::max_attempts) counts. Then the event comes back to the writer with its last
//! error, so the sink can fail again. [`dead_letter`](crate::SinkExt::dead_letter) says where such an event goes:
//!
//! ```
//! use std::time::Duration;
//! use outflow::{Sink, SinkExt, retry::{Breaker, Failure}, sink};
//!
//! let undelivered = sink::collector();
//! let webhook = sink::from_fn(|event: &&str| if event.is_empty() { Err(400) } else { Ok(()) })
//!     .retry(Breaker::new(5, Duration::from_secs(1)))
//!     .give_up_when(|failure: &Failure<'_, &str, u16>| (400..500).contains(failure.error))
//!     .dead_letter(undelivered.clone());
//!
//! webhook.write("push alpine").unwrap();
//! webhook.write("").unwrap();
//!
//! let letter = undelivered.take().remove(0);
//! assert_eq!((letter.event, letter.error), ("", 400));
//! ```
//!
//! # Or else
//!
//! | | what fails |
//! | --- | --- |
//! | [`fallback`](crate::SinkExt::fallback) | is written to another sink, without the error |
//! | [`lossy`](crate::SinkExt::lossy) | is dropped, and counted |
//! | [`close_on_failure`](crate::SinkExt::close_on_failure) | comes back, and the sink is closed |
//! | [`catch_panic`](crate::SinkExt::catch_panic) | because of a panic is an error, as any other |
//!
//! Next: [when it is slow](super::chapter_3).
