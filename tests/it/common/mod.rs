//! What several of the tests need, a file for each kind of thing.

#![allow(dead_code, unreachable_pub, unused_imports)] // Not every binary needs all of it.

#[cfg(feature = "testing")]
mod clock;
mod dest;
mod events;
mod one_by_one;
mod panics;
mod races;
mod tasks;
mod waits;

#[cfg(feature = "testing")]
pub use outflow::testing::Latch;

#[cfg(feature = "testing")]
pub use self::clock::without_waiting;
pub use self::dest::{Batches, Dest, Fault, OnClose};
pub use self::events::{Census, Event};
pub use self::one_by_one::OneByOne;
pub use self::panics::{PLANNED, PanicsOnDrop, PanicsOnWake, panic_message, planned_panic};
pub use self::races::{factor, parse, rounds, spin, spin_below, spin_for};
pub use self::tasks::Count;
#[cfg(feature = "futures")]
pub use self::tasks::poll;
#[cfg(feature = "tokio")]
pub use self::tasks::runtime;
#[cfg(feature = "testing")]
pub use self::waits::queue_behind;
pub use self::waits::{SOON, in_time, wait_until};
