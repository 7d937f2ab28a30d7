//! The webhook sink: what it delivers and how it fails, what it makes of odd endpoints, what it keeps to
//! itself.

#[path = "../it/common/mod.rs"]
mod common;

mod building;
mod connecting;
mod delivery;
mod hostile;
mod logging;
mod options;
mod secrets;
mod server;
mod signing;
mod tls;
