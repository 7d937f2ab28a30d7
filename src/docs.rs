//! Pages to read: a tutorial, what is guaranteed, how to stop, and what it costs.
//!
//! New here? Begin with the [`tutorial`]. Before you run this in earnest, read [`shutdown`] and [`guarantees`]; when
//! one event goes to many readers, [`fan_out`]; when events have to survive the process, [`durable`]. Where the sink behind
//! a queue runs: [`workers`].

pub mod async_sinks;
pub mod durable;
pub mod fan_out;
pub mod go_events;
pub mod guarantees;
#[doc = include_str!("INTERNALS.md")]
pub mod internals {}
pub mod observability;
pub mod shutdown;
pub mod speed;
pub mod tutorial;
pub mod workers;
