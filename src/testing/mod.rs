//! What sinks are tested with: feature `testing`.
//!
//! For a chain under test, sinks that misbehave on command:
//!
//! - [`Flaky`] fails by a script, or at random, the same way every time;
//! - [`Slow`] takes its time;
//! - [`Stuck`] waits until it is released, which may be never;
//! - [`Panicking`] panics.
//!
//! To see what comes out: [`Recorder`] checks the order of each writer's events, and finds repeats and gaps. To
//! go through hours of backoff in no time: [`VirtualClock`]. To wait for what another thread does, and not
//! sleep: [`Latch`].
//!
//! For a sink of your own: [`Conformance`] checks that it keeps the laws of
//! [`docs::guarantees`](crate::docs::guarantees), and names the one that it breaks.
//!
//! # Examples
//!
//! An endpoint that fails twice, under a breaker, with a backoff of an hour that takes no time:
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

mod conformance;
mod flaky;
mod latch;
mod panicking;
mod probe;
mod recorder;
mod slow;
mod stuck;
mod virtual_clock;

pub use self::conformance::{Conformance, Downstream, Law, Subject, Violation};
pub use self::flaky::{Flaky, FlakyError, Outcome};
pub use self::latch::Latch;
pub use self::panicking::Panicking;
pub use self::probe::{Probe, Stamp};
pub use self::recorder::{Irregularity, Recorder};
pub use self::slow::Slow;
pub use self::stuck::Stuck;
pub use self::virtual_clock::VirtualClock;

use std::time::Duration;

/// How long the kit waits for what a test says will happen: longer than it takes, short enough that a test
/// that hangs says so.
const PATIENCE: Duration = Duration::from_secs(30);
