//! Takes a Docker Registry's notifications and relays each of them to webhooks: every event to every endpoint, in
//! order, whatever becomes of the endpoints meanwhile.
//!
//! ```text
//! cargo run --release --example registry_relay --features http,metrics,tracing -- --self-test
//! cargo run --release --example registry_relay --features http,metrics,tracing -- \
//!     --to https://hooks.example/registry --to https://audit.example/in \
//!     --only push,delete --repository 'library/**' --undelivered /var/lib/relay/undelivered.ndjson
//! ```
//!
//! The registry is told of it in its configuration:
//!
//! ```text
//! notifications:
//!   endpoints:
//!     - name: relay
//!       url: http://127.0.0.1:5056/events
//!       headers: { Authorization: [Bearer ...] }   # with REGISTRY_RELAY_TOKEN; it shows in the registry's /debug/vars
//!       timeout: 1s
//!       threshold: 10
//!       backoff: 1s
//! ```
//!
//! # What happens to an event
//!
//! An envelope comes in on the left, and what is queued goes out on the right, from a thread for each endpoint:
//!
//! ```text
//!  POST /events          admission                    ┌─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//!  ─▶ token, size, ─▶ room in every queue ─▶ broadcaster ┤          └▶ what is refused for good ─▶ file
//!     form, filters      or 503                       └─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//! ```
//!
//! - It is answered 202 when it stands in every endpoint's queue, and nothing but queueing happens before that: no
//!   endpoint is waited for. Whatever else is answered, nothing of the envelope was taken: 400 with the reason when it
//!   is no envelope, 413 when it is too large (decompressed, and however it is sent), 503 with `Retry-After` when there
//!   is no room. A registry keeps what is not answered 2xx, and posts it again.
//! - It goes out as it came in, unknown fields and the form of numbers and all. While several wait they go out together,
//!   up to `--batch` to an envelope; when an endpoint refuses such an envelope for good, each is sent alone.
//! - It is posted until it is answered 2xx, with a breaker and with the endpoint's `Retry-After`. With `--undelivered`,
//!   one that is refused for good (any other 4xx, a redirect) goes into that file and blocks no other; without, there is
//!   nowhere to put it, and it is tried again.
//! - `webhook-id` is the event's id, the same each time, so that an endpoint knows what it has: an event can come twice,
//!   as when the answer to it got lost. (Of several together it is the first one's, with `+` and how many follow.) With
//!   REGISTRY_RELAY_SIGNING_SECRETS set all is signed as Standard Webhooks has it.
//!
//! # When an endpoint is dead
//!
//! A dead endpoint, bounded memory and "accept all, lose none" cannot all be had. When `--backlog` events wait for an
//! endpoint, `--when-full refuse` answers 503 before any endpoint has taken anything: the registry keeps the events, and
//! the live endpoints wait with the dead one. `--when-full drop-oldest` goes on, and counts for that endpoint what it
//! drops.
//!
//! Nothing here is durable: a crash loses what was answered 2xx and not delivered. SIGTERM does not. It stops listening,
//! delivers for `--grace`, and writes what is left to `--undelivered`: made by then, 0600, never over a file that
//! exists nor through a link. Each line has the endpoint, the reason and the event; one that was posted and not answered
//! is there, too. The exit status is 0 when every event was delivered, or stands in the file, or was dropped as asked;
//! failing to write the file is 1. To send them again: `jq -c '{events: [.event]}'`, and `examples/relay`.
//!
//! # What it protects itself from
//!
//! Plain HTTP: beyond loopback, which it only listens on with a token, put a proxy with TLS before it. With the token in
//! REGISTRY_RELAY_TOKEN all but `/healthz` asks for it. Head, body and idling of a client each have `--client-timeout`;
//! at most `--max-connections` are connected, and when others wait, each gets its turn after an answer. A browser's page
//! cannot post here: the content type has to be the registry's, or JSON. No secret is printed, logged or written, and an
//! endpoint goes by scheme, host and port.
//!
//! Memory is bounded by `--backlog` events, each once for all endpoints that wait alike, plus `--max-body` and 16 KiB
//! for each connection. With the defaults and a registry's events, of about 1 KiB, that is below 64 MiB; somebody who has the
//! token and posts events of 256 KiB makes it 2.5 GB an endpoint: lower `--max-body` and `--backlog` where that matters.
//!
//! # Under load
//!
//! (below)

mod args;
#[path = "../relay/check.rs"]
mod check;
mod door;
#[path = "../relay/endpoint.rs"]
mod endpoint;
#[path = "../relay/envelope.rs"]
mod envelope;
mod held;
#[path = "../relay/input.rs"]
mod input;
mod leg;
mod metrics;
#[path = "../relay/receiver.rs"]
mod receiver;
mod relay;
mod report;
mod self_test;
mod server;
mod service;
mod undelivered;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;

use tracing::Level;

use crate::args::Args;
use crate::service::Service;

fn main() -> ExitCode {
    // A breaker that opens, events that are dropped, a close that takes long: with counts, and of no content.
    tracing_subscriber::fmt().with_max_level(Level::INFO).with_ansi(false).with_writer(io::stderr).init();
    run(Args::of_command_line()).unwrap_or_else(|error| {
        say(error);
        ExitCode::FAILURE
    })
}

fn run(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let secrets = args.secrets()?;
    if args.self_test {
        return self_test::run(args, secrets);
    }
    // Taken over first, so that what was accepted is drained whenever it comes.
    let (interrupt, interrupts) = mpsc::channel();
    ctrlc::set_handler(move || _ = interrupt.send(()))?;

    let grace = humantime::format_duration(args.grace);
    let service = Service::start(args, secrets)?;
    say(format_args!("listening on {}", service.address));
    interrupts.recv()?;
    say(format_args!("stopping; what is not delivered in {grace} is given up (once more: at once)"));
    Ok(service.stop(interrupts).conclude())
}

/// Where standard error cannot be written to there is nobody to tell.
fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "registry_relay: {message}");
}
