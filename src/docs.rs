//! Pages for reading: shutdown, guarantees, fan-out, and a page for those who know go-events.

pub mod fan_out;
pub mod go_events;
pub mod guarantees;
pub mod shutdown;
