//! Pages for reading: shutdown, guarantees, fan-out, observability, and a page for those who know go-events.

pub mod fan_out;
pub mod go_events;
pub mod guarantees;
pub mod observability;
pub mod shutdown;
