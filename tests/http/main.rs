//! The webhook sink: what it delivers, how it fails, how it deals with odd endpoints, and what it keeps secret.

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
