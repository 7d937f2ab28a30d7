//! Relays Docker Registry notifications to webhooks: every event to every endpoint, in order, whatever
//! becomes of the endpoints meanwhile.
//!
//! ```text
//! cargo run --release --example relay                 # 251 samples, to two receivers of its own
//! cargo run --release --example relay -- --to https://hooks.example/registry < notifications.ndjson
//! cargo run --release --features durable --example relay -- --durable /var/lib/relay \
//!     --to https://hooks.example/registry < notifications.ndjson
//! ```
//!
//! The samples are real notifications, but not of your registry: with `--to` what is relayed is what was given, a
//! file or standard input. A line is an envelope as a registry posts it, or what `registry_relay` wrote down
//! because it could not deliver it.
//!
//! An event passes from left to right; what stands behind a queue runs on its worker:
//!
//! ```text
//!               ┌─▶ filter ─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//!   broadcaster ┤
//!               └─▶ filter ─▶ queue ┄▶ retry ─▶ meter ─▶ HTTP sink
//! ```
//!
//! With `--durable` the queues are on disk, and what is read goes to each of them, at once as much as there is. An event is
//! accepted when it is in all of them. Killed and started again, the relay delivers what it had accepted, to each
//! endpoint, in order, though up to 256 events come twice to each; the next input has to begin behind it (`durable_inspect`
//! says how many events a queue has ever taken). A disk that is full holds up the reading until there is room. After
//! Ctrl-C what is not delivered stays on disk for the next run, and is told.

mod args;
mod check;
mod durable;
mod ending;
mod endpoint;
mod envelope;
mod input;
mod intake;
mod out_of_time;
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
use outflow::{Closing, Flushing, Meter, Queue, Sink, SinkExt, SinkId, WriteError};
use parking_lot::Mutex;

use crate::args::{Args, Settings};
use crate::durable::{OnDisk, Stores};
use crate::ending::{Happening, Watch};
use crate::endpoint::Endpoint;
use crate::envelope::{Event, MEDIA_TYPE};
use crate::input::{Input, InputError};
use crate::intake::Intake;
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
    queue: Waiting,
    posts: Meter,
    last_failure: Arc<Mutex<Option<String>>>,
}

/// Where events wait for an endpoint.
enum Waiting {
    InMemory(Queue<Event>, SinkId),
    OnDisk(OnDisk),
}

impl Leg {
    fn new(to: &mut Intake, endpoint: Endpoint, args: &Arc<Args>) -> Result<Self, Box<dyn Error>> {
        let Settings { timeout, threshold, backoff } = args.settings();
        let posts = Meter::new();
        let last_failure = Arc::new(Mutex::new(None));

        let post = HttpSink::new(endpoint.clone(), timeout)
            .metered(&posts)
            .retry(Breaker::new(threshold, backoff))
            .on_failure({
                let last_failure = Arc::clone(&last_failure);
                move |failure| *last_failure.lock() = Some(failure.error.to_string())
            });
        let queue = to.add(&endpoint, post, args)?;
        Ok(Self { endpoint, queue, posts, last_failure })
    }

    fn tally(&self) -> Tally {
        let (accepted, acknowledged) = match &self.queue {
            Waiting::InMemory(queue, _) => {
                let events = queue.stats();
                (events.accepted, events.delivered)
            }
            Waiting::OnDisk(queue) => {
                let accepted = queue.recovered() + queue.accepted();
                (accepted, accepted.saturating_sub(queue.pending()))
            }
        };
        let posts = self.posts.snapshot();
        Tally {
            accepted,
            posted: posts.events,
            failed: posts.failures,
            pending: accepted - acknowledged,
            acknowledged,
        }
    }

    /// Events that are on disk.
    fn on_disk(&self) -> u64 {
        match &self.queue {
            Waiting::InMemory(..) => 0,
            Waiting::OnDisk(queue) => queue.pending(),
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

    let stores = Stores::open(&args.durable, &endpoints)?;
    let others = stores.as_ref().map_or(Ok(Vec::new()), |stores| stores.others(&endpoints))?;
    let mut intake = Intake::new(stores);
    let legs = endpoints.into_iter().map(|endpoint| Leg::new(&mut intake, endpoint, &args));
    let legs: Vec<Leg> = legs.collect::<Result<_, _>>()?;
    let intake = Arc::new(intake);

    let progress = Progress::new(&legs);
    let notes = progress.notes();
    others.iter().for_each(|line| notes.say(line));
    intake.found().iter().for_each(|line| notes.say(line));
    for (leg, receiver) in legs.iter().zip(&receivers) {
        notes.say(format_args!("{} {}", leg.endpoint, receiver.fault()));
    }
    let watch = Watch::new()?;
    // On a thread of its own, since there may be nothing to read for ever, whatever Ctrl-C says.
    thread::spawn({
        let (intake, args, receivers) = (Arc::clone(&intake), Arc::clone(&args), receivers.clone());
        let (tell, notes) = (watch.teller(), notes.clone());
        move || tell.send(Happening::InputEnded(read(input, &intake, &args, &receivers, &notes)))
    });
    let ending = watch.wait(&intake, args.grace, &legs, progress);
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

fn read(input: Input, to: &Intake, args: &Args, receivers: &[Receiver], notes: &Notes) -> Reading {
    let (mut readable, mut malformed) = (true, 0);
    let mut events_of = |line: Result<Vec<Event>, InputError>| {
        line.unwrap_or_else(|error| {
            notes.say(&error);
            match error {
                InputError::Unreadable { .. } => readable = false,
                InputError::Malformed { .. } => malformed += 1,
            }
            Vec::new()
        })
    };
    if receivers.is_empty() {
        let written = to.relay(input, &mut events_of, args, notes);
        return Reading { whole: written && readable, malformed, relayed: Vec::new() };
    }

    // A receiver that goes down in the middle of the run has to know where that is.
    let lines: Vec<_> = input.map(|line| Ok(events_of(line))).collect();
    let events = lines.iter().flatten().flatten();
    let relayed = events.filter(|event| args.wants(&event.action)).map(|event| event.id.clone());
    let relayed: Vec<String> = relayed.collect();
    receivers.iter().for_each(|receiver| receiver.go_down_at(relayed.len().div_ceil(2)));
    let written = to.relay(lines.into_iter(), &mut events_of, args, notes);
    Reading { whole: written && readable, malformed, relayed }
}
