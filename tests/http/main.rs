//! The webhook sink: what it delivers, how it fails, how it deals with odd endpoints, and what it keeps secret. The tests are
//! written once, and run over the blocking sink and over the asynchronous one.

#![allow(clippy::duplicate_mod, reason = "the tests run over two sinks")]

#[path = "../it/common/mod.rs"]
mod common;

#[cfg(feature = "http-async")]
mod asynchronous;
mod blocking;
mod logs;
mod server;
