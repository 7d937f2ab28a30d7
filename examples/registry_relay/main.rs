//! Takes a Docker Registry's notifications and relays each of them to webhooks: every event to every
//! endpoint, in order, whatever becomes of the endpoints meanwhile.
//!
//! ```text
//! cargo run --release --example registry_relay --features durable,http,metrics,tracing -- --self-test
//! cargo run --release --example registry_relay --features durable,http,metrics,tracing -- \
//!     --to https://hooks.example/registry --to https://audit.example/in \
//!     --only push,delete --repository 'library/**' --undelivered /var/lib/relay/undelivered.ndjson
//! ```
//!
//! `--help` tells the options. The registry learns of it in its configuration:
//!
//! ```text
//! notifications:
//!   endpoints:
//!     - name: relay
//!       url: http://127.0.0.1:5056/events
//!       headers: { Authorization: [Bearer ...] }   # with REGISTRY_RELAY_TOKEN; the registry's /debug/vars shows it
//!       timeout: 1s
//!       threshold: 10
//!       backoff: 1s
//! ```
//!
//! # What happens to an event
//!
//! An envelope comes in on the left; what stands behind an endpoint's queue runs on the worker of that queue:
//!
//! ```text
//!                                                        ┌─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//! POST ─▶ token, limits, ─▶ room in every ─▶ broadcaster ┤         └▶ refused for good ─▶ file
//!         form, filters     queue, or 503                └─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//!                                                                  └▶ refused for good ─▶ file
//! ```
//!
//! - It is answered 202 when it stands in every endpoint's queue. Nothing but queueing comes before that, so
//!   that takes well under a millisecond, whatever the endpoints do. 503 with `Retry-After` says that there is no
//!   room now, and that nothing of the envelope was taken: a registry keeps what is not answered 2xx, posts it
//!   again, and until then nothing that comes after it.
//! - So what cannot be relayed however often it is posted is written to `--undelivered`, whole, and answered 202,
//!   with a line in the log: an envelope of more than `--max-body` bytes (decompressed, and however it is sent) or
//!   with more events than `--backlog`, and what is no envelope. Only when it can be written: else that is 503, too.
//!   What is so large that no event of a registry is, more than 32 MiB and `--max-body`, is answered 413, and so is
//!   all that is too large without `--undelivered`, and what is no envelope 400: a registry that has one to post is
//!   stuck with it, and one pull with a `User-Agent` of 70 KB makes one. The log says so, as it does of what is
//!   wrong with every post alike, such as the token (401), the `Content-Type` (415: it is JSON, of any version), or
//!   the name that a registry comes by (421): nothing is taken until that is right.
//! - It goes out as it came in, with fields that nobody here knows, and numbers as they were written, as
//!   `application/vnd.docker.distribution.events.v1+json` whatever version it came as. While several wait they go
//!   out together, up to `--batch` in an envelope; when an endpoint refuses such an envelope for good, each of its
//!   events is sent alone.
//! - It is posted until it is answered 2xx, with a breaker, and as the endpoint's `Retry-After` says. With
//!   `--undelivered`, one that is refused for good (any other 4xx, a redirect) goes into that file and blocks
//!   no other; without, there is nowhere to put it, and it is tried again.
//! - `webhook-id` is the event's id, the same each time, so that an endpoint knows what it has: an event can
//!   come twice, as when the answer to it got lost. (Of several together it is a digest of their envelope, so
//!   that it never stands for others.) With REGISTRY_RELAY_SIGNING_SECRETS set, everything is signed as
//!   Standard Webhooks has it.
//!
//! # When an endpoint is dead
//!
//! A dead endpoint, bounded memory and "accept all, lose none" cannot all be had in memory. When `--backlog` events
//! wait for an endpoint, `--when-full refuse` answers 503 before any endpoint has taken anything: the
//! registry keeps the envelope, and the live endpoints wait with the dead one. `--when-full drop-oldest` goes
//! on, and counts for that endpoint what it drops.
//!
//! Or the events are on disk, and then a dead endpoint costs disk (below).
//!
//! A crash loses what was answered 2xx and is not delivered yet, unless that is on disk. SIGTERM does not: it stops
//! listening, delivers for `--grace`, and writes what is left to `--undelivered`; what was posted and not answered is there,
//! too. The exit status is 0 when every event was delivered, or stands in the file or on disk, or was dropped as asked for,
//! and 1 when one was lost, because the file could not be written or there was none, or when something had ended by
//! itself: an endpoint's queue, or the server.
//!
//! # With the events on disk
//!
//! `--durable DIR` puts a [durable queue](outflow::docs::durable) for each endpoint in the place of the one in memory:
//!
//! ```text
//! POST ─▶ token, limits, ─▶ commit to every ┄▶ read ─▶ batch ┄▶ retry ─▶ meter ─▶ HTTP sink
//!         form, filters     queue, or 503                            └▶ refused for good ─▶ file
//! ```
//!
//! - An envelope is answered 202 when it is on disk for every endpoint, synced unless `--durable-sync` says otherwise.
//!   What is posted meanwhile is committed together, one sync for each endpoint.
//! - Killed at any time and started again, the relay delivers everything that was answered 2xx, to each endpoint, in
//!   order. What may come twice then, to each: 256 events or two of `--batch`, whichever is more; and what was posted and
//!   not answered, which the registry posts again.
//! - A dead endpoint holds up nobody: no other endpoint, and no registry. What waits for it is on disk, and of that as
//!   much as two requests have in memory. So there is no `--backlog`, and no `--when-full`: the bound is the disk, or
//!   `--durable-bytes`.
//! - When there is no room for one endpoint, the answer is 503, and the registry posts the envelope again until there is.
//!   An endpoint whose disk has room has it by then, and gets it a second time when it is taken: twice, as long as no other
//!   disk fills up in between, since the endpoint without room is tried first.
//! - SIGTERM delivers for `--grace`; what is left stays on disk, is told, and goes out first after the next start.
//!   `--undelivered` gets what an endpoint refuses for good and what cannot be relayed or read, as before, and is synced
//!   before the event leaves the disk, or the 202.
//! - What is on disk for an endpoint that is not given any more stays there, and the start says how much. An endpoint
//!   goes by its whole URL: whoever changes a path or a password renames its directory while the relay is stopped.
//!   Filters concern what is posted from now on.
//! - After a write or a sync that failed (and not for want of room) the relay takes nothing more, answers 503, also to
//!   `/healthz`, and has to be started again: only then is it known what is on disk. Then the exit status is 1.
//!
//! `examples/durable_inspect` prints what is in such a directory, also while the relay runs.
//!
//! # What was not delivered
//!
//! `--undelivered` is made when there is something to write, 0600, and anew when it was moved away or removed. A
//! file that an earlier run has left is appended to, and the start says how many lines it has. Nothing is written
//! over another file, through a link, to another user's file, or to one that another relay writes to: then the
//! relay does not start. A line is one of
//!
//! ```text
//! {"endpoint":"https://hooks.example:443","reason":"...","event":{...}}   this endpoint did not get this event
//! {"reason":"...","envelope":{...}}                                       this went to no endpoint
//! {"reason":"...","base64":"..."}                                         the same, and it is no JSON
//! ```
//!
//! `examples/relay` reads them. To send an endpoint what it did not get:
//!
//! ```text
//! again=/var/lib/relay/again-$(date +%s).ndjson
//! mv /var/lib/relay/undelivered.ndjson "$again"
//! grep -e '^{"endpoint":"https://hooks.example:443"' -e '^{"reason":' "$again" |
//!     cargo run --release --example relay -- --to https://hooks.example/registry
//! ```
//!
//! It posts each until it is answered 2xx, so that what was refused is refused again unless the endpoint has been
//! mended, and it does not sign, nor set `webhook-id`.
//!
//! The file has no limit: whoever may pull may have the registry post what fills a disk. When it is full, what
//! would go there is not taken.
//!
//! # What it takes no harm from
//!
//! With a token in REGISTRY_RELAY_TOKEN everything but `/healthz` asks for it; without, it listens on
//! loopback alone. It speaks plain HTTP: beyond loopback, put a proxy with TLS before it. The head of a
//! request, its body, and idling have `--client-timeout` each. At most `--max-connections` are connected, and
//! while others wait, a client is let go after its answer. No secret is printed, logged or written; an endpoint
//! goes by scheme, host and port, and its directory by a checksum of 32 bits besides.
//!
//! A page in a browser on the same machine cannot post here, not even by a name of its own that it has resolve
//! to loopback: a request with an `Origin` is refused (403), and, without a token, one whose `Host` is not a
//! loopback address or `localhost` (421). A registry that is to come by another name, or a proxy that passes
//! the name on, brings the token.
//!
//! What waits is bounded by `--backlog` events for each endpoint, an event that waits for several being there
//! once. With the defaults and a registry's events, of about 1 KiB, the process stays below 128 MiB. Whoever
//! may post can make an event as large as `--max-body`, and it 3 GiB for an endpoint: lower both where that
//! matters. What is too large for that and written down is in memory one at a time: 100 MiB at most for what a
//! registry makes of it, and 350 MiB for what was made to take much.
//!
//! # Under load
//!
//! 64 clients of `wrk` for 30 s, each posting the next envelope, with one event of 0.7 KiB, as soon as the
//! last is answered, on two cores that wrk and the receivers share (`tests/registry_load.rs`):
//!
//! | two endpoints | posts a second | answered within (half, 99 %) | accepted | refused | delivered | peak memory |
//! | --- | --- | --- | --- | --- | --- | --- |
//! | both live | 66,700 | 0.8 ms, 3.9 ms | 2,005,104 | 0 | all, to both, once | 17 MiB |
//! | one dead, `refuse` | 81,900 | 0.6 ms, 3.7 ms | 50,042 | 2,411,022 | all to the live one | 58 MiB |
//! | one dead, `drop-oldest` | 91,800 | 0.5 ms, 3.1 ms | 2,757,836 | 0 | all to the live one; 2,707,759 dropped for the dead | 58 MiB |
//!
//! The registry itself (2.8.2), with a dead endpoint of its own and 64 clients that pull a blob for as long,
//! queued 29,432 events without a bound and grew from 22 MiB to 151 MiB, 4.5 KiB an event (in another run 6), and
//! goes on growing.

mod args;
mod books;
#[path = "../relay/check.rs"]
mod check;
mod commit;
mod door;
#[path = "../relay/durable/mod.rs"]
mod durable;
#[path = "../relay/endpoint.rs"]
mod endpoint;
#[path = "../relay/envelope.rs"]
mod envelope;
mod held;
#[path = "../relay/input.rs"]
mod input;
mod leg;
mod lines;
mod metrics;
mod notes;
mod one_by_one;
#[path = "../relay/out_of_time.rs"]
mod out_of_time;
#[path = "../relay/receiver.rs"]
mod receiver;
mod relay;
mod report;
mod self_test;
mod server;
mod service;
#[path = "../relay/table.rs"]
mod table;
mod undelivered;

use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc;

use tracing::Level;

use crate::args::Args;
use crate::service::{Happening, Service};

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
    let (tell, happenings) = mpsc::channel();
    let interrupt = tell.clone();
    ctrlc::set_handler(move || _ = interrupt.send(Happening::Interrupted))?;

    let grace = humantime::format_duration(args.grace);
    let fate = if args.durable.durable.is_some() { "stays on disk" } else { "is given up" };
    let service = Service::start(args, secrets, tell)?;
    say(format_args!("listening on {}", service.address));
    let happening = happenings.recv()?;
    let (why, again) = match happening {
        Happening::Interrupted => ("", "once more"),
        Happening::ServerEnded => ("the server has ended: ", "a signal"),
    };
    say(format_args!("{why}stopping; what is not delivered in {grace} {fate} ({again}: at once)"));
    let verdict = service.stop(happenings.into_iter()).conclude();
    Ok(match happening {
        Happening::Interrupted => verdict,
        Happening::ServerEnded => ExitCode::FAILURE,
    })
}

/// Where standard error cannot be written to there is nobody to tell.
fn say(message: impl Display) {
    let _ = writeln!(io::stderr(), "registry_relay: {message}");
}
