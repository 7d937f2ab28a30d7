//! The queue on a disk that loses what was not synced, fills and fails.

mod groups;
mod programs;
