//! Pages for reading: shutdown, guarantees, observability, and a page for those who know go-events.

pub mod go_events;
pub mod guarantees;
pub mod observability;
pub mod shutdown;
