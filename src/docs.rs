//! Pages to read: a tutorial, what is guaranteed, how to stop, and what it costs.
//!
//! | page | |
//! | --- | --- |
//! | [`tutorial`] | four short chapters, for those who are new here |
//! | [`guarantees`] | the laws: order, delivery, and where an event is at every moment |
//! | [`shutdown`] | how to stop, and how to learn what was not delivered |
//! | [`fan_out`] | one event to many: when a broadcaster, when a log |
//! | [`observability`] | what is logged to `tracing`, and what is published through `metrics` |
//! | [`speed`] | measured, against the same by hand and against other crates |
//! | [`go_events`] | what became of each name of go-events, and what behaves differently |
//! | [`internals`] | for those who work on this crate |

pub mod fan_out;
pub mod go_events;
pub mod guarantees;
#[doc = include_str!("INTERNALS.md")]
pub mod internals {}
pub mod observability;
pub mod shutdown;
pub mod speed;
pub mod tutorial;
