//! Retries: writing an event again that failed, when a strategy says so.
//!
//! [`sink.retry(strategy)`](crate::SinkExt::retry) writes an event until the sink accepts it. Between attempts it waits on
//! the writer's thread; behind a queue that is the queue's worker. The strategies:
//!
//! - [`Breaker`], for an endpoint that is either up or down. After a number of failures in a row it holds all attempts
//!   back for a while, and then lets a single one through as a probe. An endpoint that is down gets few requests; when
//!   it is up again, events wait for one backoff more at most.
//! - [`ExponentialBackoff`], for an endpoint that is overloaded. It waits longer the longer the endpoint fails, and for a
//!   random time, so that many clients do not retry at the same moment.
//! - [`Constant`], the same wait after every failure.
//!
//! A failed attempt counts whichever writer made it: eight writers that fail at the same time are eight failures in a
//! row, for the threshold of a breaker and for the bound of an exponential backoff. (One that is
//! [`per_write`](ExponentialBackoff::per_write) counts those of each write.) Choose these numbers with the number
//! of writers in mind; behind a queue there is one. Put a strategy in an `Arc` to share it between sinks. A clone of it
//! has the same settings, and starts without failures.
//!
//! # Giving up
//!
//! A retry with one of these never gives up, so that it is reliable. Two methods change that: the write then fails, and
//! hands the event back with its last error.
//!
//! - [`max_attempts`](Retry::max_attempts), for an endpoint that fails. Its failures count in the strategy.
//! - [`give_up_when`](Retry::give_up_when), for an event that the endpoint will never accept. Such a failure does not
//!   count, so that a bad event does not delay good ones.
//!
//! With [`honor_retry_after`](Retry::honor_retry_after) a retry waits for as long as the endpoint asks, if that is longer
//! than the strategy's wait.
//!
//! # Strategies without a retry
//!
//! What those methods add are strategies too. They have constructors of their own, so that several retries can use one:
//!
//! ```
//! use std::time::Duration;
//! use outflow::retry::{Breaker, GiveUpWhen, Failure, MaxAttempts};
//! use outflow::{Sink, SinkExt, sink};
//!
//! let strategy = Breaker::new(5, Duration::from_secs(1));
//! let strategy = GiveUpWhen::new(strategy, |failure: &Failure<'_, u32, u16>| *failure.error == 422);
//! let strategy = MaxAttempts::new(strategy, 8);
//!
//! // A breaker for each endpoint.
//! let endpoint = |status: u16| sink::from_fn(move |_: &u32| Err(status)).retry(strategy.clone());
//! let (mirror, archive) = (endpoint(422), endpoint(422));
//! assert_eq!(mirror.write(1).unwrap_err().error(), Some(&422));
//! assert_eq!(archive.write(1).unwrap_err().error(), Some(&422));
//! ```

mod breaker;
mod constant;
mod count_retries;
mod exponential;
mod give_up;
mod honor;
#[allow(clippy::module_inception)] // The module is named after its feature, this file after its type.
mod retry;
mod strategy;

pub use self::breaker::{Breaker, BreakerState};
pub use self::constant::Constant;
pub use self::count_retries::CountRetries;
pub use self::exponential::{ExponentialBackoff, PerWrite};
pub use self::give_up::{GiveUpWhen, MaxAttempts, OnFailure};
pub use self::honor::{HonorRetryAfter, RetryAfter};
pub use self::retry::Retry;
pub use self::strategy::{Failure, GiveUp, RetryStrategy, Stop};
