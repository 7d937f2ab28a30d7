//! What the store uses of the crate besides.

#[allow(dead_code, unreachable_pub, reason = "compiled in from the crate, and not all of it is used")]
#[path = "../../../src/sync/blocking.rs"]
pub mod blocking;
