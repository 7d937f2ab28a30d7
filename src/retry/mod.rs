//! Writing again what failed, when a strategy says so.
//!
//! [`sink.retry(strategy)`](crate::SinkExt::retry) writes until the sink accepts, and waits between attempts
//! on the writer's thread; behind a queue that is the queue's worker. Which strategy?
//!
//! - [`Breaker`]: for an endpoint that is either up or down. It lets everything through until so many
//!   attempts in a row have failed, then nothing for a while, then one event to see. Cheap for the endpoint, at the
//!   price of up to one backoff after it is up again.
//! - [`ExponentialBackoff`]: for one that is overloaded. Waits longer the longer it fails, at random, so that
//!   many clients do not come back at once.
//! - [`Constant`]: the same wait after every failure.
//!
//! A failed attempt counts whichever writer made it: eight writers that fail at once are eight failures in a row, for
//! a breaker's threshold and for the bound of an exponential backoff. Choose the numbers for the writers that there
//! are; behind a queue there is one. A strategy serves several sinks through an `Arc`; a clone of it has the same
//! settings and starts anew.
//!
//! These never give up, so that the sink becomes reliable. [`max_attempts`](Retry::max_attempts) and
//! [`give_up_when`](Retry::give_up_when) say when to; then the event comes back with its last error. The former is
//! for an endpoint that fails, and its failures count. The latter is for an event that the endpoint will never accept:
//! such a failure counts nowhere, so that a bad event holds up no good one.
//!
//! An endpoint that says itself when to come back is listened to with
//! [`honor_retry_after`](Retry::honor_retry_after), whatever the strategy.
//!
//! What those methods make are strategies too, and can be made without a retry, to be given to several:
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
pub use self::exponential::ExponentialBackoff;
pub use self::give_up::{GiveUpWhen, MaxAttempts, OnFailure};
pub use self::honor::{HonorRetryAfter, RetryAfter};
pub use self::retry::Retry;
pub use self::strategy::{Failure, GiveUp, RetryStrategy, Stop};
