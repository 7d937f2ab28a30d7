//! The durable queue: what it promises, and what a process that is killed leaves.

mod crash;
#[cfg(unix)]
mod full;
mod laws;
mod promises;
mod scratch;
