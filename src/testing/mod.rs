//! A kit for testing sinks and chains of them. Needs the `testing` feature.
//!
//! Sinks that misbehave on command, to put at the end of a chain under test:
//!
//! - [`Flaky`] fails by a script, or at random, the same way every time;
//! - [`Slow`] takes a given time for each write;
//! - [`Stuck`] blocks each write until a latch is opened, which may be never;
//! - [`Panicking`] panics.
//!
//! Each is a [`Sink`](crate::Sink) over a sink, and an [`AsyncSink`](crate::AsyncSink) over an asynchronous one.
//!
//! Instruments:
//!
//! - [`Recorder`] keeps what arrives, and finds events that are out of order, repeated or missing;
//! - [`VirtualClock`] lets hours of backoff pass at once;
//! - [`Latch`] lets a test wait for another thread without a sleep;
//! - [`block_on`] polls an asynchronous write without a runtime.
//!
//! For a sink of your own, [`Conformance`] checks that it keeps the laws of
//! [`docs::guarantees`](crate::docs::guarantees), and names the one that it breaks.
//!
//! # Examples
//!
//! An endpoint that fails twice, under a breaker whose backoff of an hour passes at once:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//! use outflow::retry::Breaker;
//! use outflow::testing::{Flaky, Outcome::{Fail, Pass}, VirtualClock};
//! use outflow::{Sink, SinkExt, sink};
//!
//! const HOUR: Duration = Duration::from_secs(3600);
//! let clock = VirtualClock::new();
//! let delivered = sink::collector();
//! let queue = Flaky::script(delivered.clone(), [Fail, Fail, Pass])
//!     .retry(Breaker::new(1, HOUR).clock(clock.clone()))
//!     .clock(clock.clone())
//!     .queued();
//! queue.write("push").unwrap();
//!
//! for _ in 0..2 {
//!     clock.until_sleeping(1);
//!     clock.advance(HOUR);
//! }
//! queue.close().wait()?;
//! assert_eq!(delivered.events(), ["push"]);
//! assert_eq!(clock.elapsed(), 2 * HOUR);
//! # Ok::<(), outflow::CloseError>(())
//! ```

mod block_on;
mod conformance;
mod flaky;
mod latch;
mod panicking;
mod probe;
mod recorder;
mod slow;
mod stuck;
mod virtual_clock;

pub use self::block_on::block_on;
pub use self::conformance::{AsyncDownstream, Conformance, Downstream, Law, Subject, Violation};
pub use self::flaky::{Flaky, FlakyError, Outcome};
pub use self::latch::Latch;
pub use self::panicking::Panicking;
pub use self::probe::{Probe, Stamp};
pub use self::recorder::{Irregularity, Recorder};
pub use self::slow::Slow;
pub use self::stuck::Stuck;
pub use self::virtual_clock::VirtualClock;

use std::time::Duration;

/// How long the kit waits for an event that a test expects. Longer than any takes, and short enough that a test which
/// would hang fails with a message.
const PATIENCE: Duration = Duration::from_secs(30);
