//! Pages for reading: shutdown, guarantees, and a page for those who know go-events.

pub mod go_events;
pub mod guarantees;
pub mod shutdown;
