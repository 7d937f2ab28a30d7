//! Relays Docker Registry notifications to webhooks: every event to every endpoint, in order, whatever
//! becomes of the endpoints meanwhile.
//!
//! ```text
//! cargo run --release --example relay                 # 251 samples, to two receivers of its own
//! cargo run --release --example relay -- --to https://hooks.example/registry < notifications.ndjson
//! ```
//!
//! The samples are real notifications, but not of your registry: with `--to` what is relayed is what was given, a
//! file or standard input. A line is an envelope as a registry posts it, or what `registry_relay` wrote down
//! because it could not deliver it.
//!
//! An event passes from left to right; each queue has a thread of its own, and the sinks behind it run there:
//!
//! ```text
//!               ┌─▶ filter ─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//!   broadcaster ┤
//!               └─▶ filter ─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//! ```

mod args;
mod check;
mod ending;
mod endpoint;
mod envelope;
mod input;
mod progress;
mod receiver;
mod report;
mod table;

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use outflow::retry::Breaker;
use outflow::{AddError, Broadcaster, Closing, Flushing, Meter, Queue, Sink, SinkExt, SinkId, WriteError};
use parking_lot::Mutex;

use crate::args::{Args, Settings};
use crate::ending::{Happening, Watch};
use crate::endpoint::Endpoint;
use crate::envelope::{Event, MEDIA_TYPE};
use crate::input::{Input, InputError};
use crate::progress::{Notes, Progress};
use crate::receiver::{Fault, Receiver};
use crate::report::Tally;

/// Posts each event to one endpoint.
struct HttpSink {
    agent: ureq::Agent,
    endpoint: Endpoint,
}

impl Sink<Event> for HttpSink {
    type Error = ureq::Error;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, ureq::Error>> {
        self.post(&event.envelope).map_err(|error| WriteError::failed(event, error))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

impl HttpSink {
    fn new(endpoint: Endpoint, timeout: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        Self { agent: config.into(), endpoint }
    }

    fn post(&self, envelope: &str) -> Result<(), ureq::Error> {
        let mut response = self.agent.post(&self.endpoint.url).content_type(MEDIA_TYPE).send(envelope)?;
        // A connection whose answer is read to its end serves the next request.
        let _ = io::copy(&mut response.body_mut().as_reader().take(64 * 1024), &mut io::sink());
        match response.status() {
            status if status.is_success() => Ok(()),
            status => Err(ureq::Error::StatusCode(status.as_u16())),
        }
    }
}

/// The chain to one endpoint, and what there is to know of it.
struct Leg {
    endpoint: Endpoint,
    queue: Queue<Event>,
    id: SinkId,
    posts: Meter,
    last_failure: Arc<Mutex<Option<String>>>,
}

impl Leg {
    fn add(to: &Broadcaster<Event>, endpoint: Endpoint, args: &Arc<Args>) -> Result<Self, AddError> {
        let Settings { timeout, threshold, backoff } = args.settings();
        let posts = Meter::new();
        let last_failure = Arc::new(Mutex::new(None));

        let queue = HttpSink::new(endpoint.clone(), timeout)
            .metered(&posts)
            .retry(Breaker::new(threshold, backoff))
            .on_failure({
                let last_failure = Arc::clone(&last_failure);
                move |failure| *last_failure.lock() = Some(failure.error.to_string())
            })
            .queued();
        let id = to.add(queue.clone().filter({
            let args = Arc::clone(args);
            move |event: &Event| args.wants(&event.action)
        }))?;
        Ok(Self { endpoint, queue, id, posts, last_failure })
    }

    fn tally(&self) -> Tally {
        let events = self.queue.stats();
        let posts = self.posts.snapshot();
        Tally {
            accepted: events.accepted,
            posted: posts.events,
            failed: posts.failures,
            pending: events.accepted - events.delivered,
            acknowledged: events.delivered,
        }
    }

    fn last_failure(&self) -> Option<String> {
        self.last_failure.lock().clone()
    }
}

fn main() -> ExitCode {
    relay(Args::of_command_line()).unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "relay: {error}");
        ExitCode::FAILURE
    })
}

fn relay(args: Args) -> Result<ExitCode, Box<dyn Error>> {
    let args = Arc::new(args);
    let input = args.input()?;
    let receivers = match &args.to[..] {
        [] => vec![Receiver::start(Fault::Overloaded)?, Receiver::start(Fault::Outage)?],
        _ => Vec::new(),
    };
    let own: Vec<String> = receivers.iter().map(Receiver::url).collect();
    let endpoints = Endpoint::parse_all(if receivers.is_empty() { &args.to } else { &own })?;

    let broadcaster = Broadcaster::new();
    let legs = endpoints.into_iter().map(|endpoint| Leg::add(&broadcaster, endpoint, &args));
    let legs: Vec<Leg> = legs.collect::<Result<_, _>>()?;

    let progress = Progress::new(&legs);
    let notes = progress.notes();
    for (leg, receiver) in legs.iter().zip(&receivers) {
        notes.say(format_args!("{} {}", leg.endpoint, receiver.fault()));
    }
    let watch = Watch::new()?;
    // On a thread of its own, since there may be nothing to read for ever, whatever Ctrl-C says.
    thread::spawn({
        let (broadcaster, args, receivers) = (broadcaster.clone(), Arc::clone(&args), receivers.clone());
        let (tell, notes) = (watch.teller(), notes.clone());
        move || tell.send(Happening::InputEnded(read(input, &broadcaster, &args, &receivers, &notes)))
    });
    let ending = watch.wait(&broadcaster, args.grace, &legs, progress);
    Ok(report::conclude(&ending, &legs, &receivers, &notes))
}

/// What became of the input.
struct Reading {
    /// Whether it was read to its end.
    whole: bool,
    /// How many of its lines are no envelopes.
    malformed: usize,
    /// The ids of the events that receivers of its own are to get.
    relayed: Vec<String>,
}

fn read(
    input: Input,
    to: &Broadcaster<Event>,
    args: &Args,
    receivers: &[Receiver],
    notes: &Notes,
) -> Reading {
    let (mut readable, mut malformed) = (true, 0);
    let lines = input.filter_map(|line| {
        line.inspect_err(|error| {
            notes.say(error);
            match error {
                InputError::Unreadable { .. } => readable = false,
                InputError::Malformed { .. } => malformed += 1,
            }
        })
        .ok()
    });
    let events = lines.flatten();
    if receivers.is_empty() {
        let written = to.write_all(events).is_ok();
        return Reading { whole: written && readable, malformed, relayed: Vec::new() };
    }

    // A receiver that goes down in the middle of the run has to know where that is.
    let events: Vec<Event> = events.collect();
    let wanted = events.iter().filter(|event| args.wants(&event.action));
    let relayed: Vec<String> = wanted.map(|event| event.id.clone()).collect();
    receivers.iter().for_each(|receiver| receiver.go_down_at(relayed.len().div_ceil(2)));
    let written = to.write_all(events).is_ok();
    Reading { whole: written && readable, malformed, relayed }
}
