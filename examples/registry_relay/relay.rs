//! From an envelope to the endpoints' queues.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use outflow::metrics::Publisher;
use outflow::{Broadcaster, Closing, Sink, SinkExt};
use parking_lot::Mutex;

use crate::args::{Args, Secrets, WhenFull};
use crate::endpoint::Endpoint;
use crate::envelope::Event;
use crate::leg::Leg;
use crate::undelivered::Undelivered;

/// Every endpoint's chain, and the one way in.
pub(crate) struct Relay {
    broadcaster: Broadcaster<Event>,
    pub(crate) legs: Vec<Leg>,
    file: Option<Undelivered>,
    /// How many bodies stand in the file that could not be relayed.
    parked: AtomicU64,
    args: Args,
    /// Held by who admits an envelope, so that all endpoints get all envelopes in one order, and the room
    /// that was seen is there: others only take events out.
    admission: Mutex<Admitting>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Admitting {
    Yes,
    Stopped,
}

/// What becomes of an envelope: all of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Each event that is relayed stands in every endpoint's queue.
    Queued,
    /// The backlog of this endpoint is at its limit, and nothing was taken.
    Full(String),
    /// It has more events than a backlog ever holds.
    TooMany,
    /// This endpoint's queue has ended, and so has the relay's promise.
    Broken(String),
    /// The relay is being stopped.
    Stopped,
}

impl Relay {
    pub(crate) fn new(
        args: Args,
        endpoints: Vec<Endpoint>,
        secrets: &Secrets,
        publisher: &Publisher,
    ) -> Result<Self, Box<dyn Error>> {
        let file = args.undelivered.as_deref().map(open).transpose()?;
        let broadcaster = Broadcaster::new();
        let legs = endpoints
            .into_iter()
            .map(|endpoint| Leg::add(&broadcaster, endpoint, &args, secrets, file.as_ref(), publisher))
            .collect::<Result<_, _>>()?;
        let parked = AtomicU64::new(0);
        Ok(Self { broadcaster, legs, file, parked, args, admission: Mutex::new(Admitting::Yes) })
    }

    /// Queues the events that are relayed, for every endpoint or for none. It waits for nobody but another
    /// admission, which does the same.
    pub(crate) fn admit(&self, events: Vec<Event>) -> Admission {
        let events: Vec<Event> = events.into_iter().filter(|event| self.wants(event)).collect();
        if events.len() > self.args.backlog {
            return Admission::TooMany;
        }

        let admitting = self.admission.lock();
        if *admitting == Admitting::Stopped {
            return Admission::Stopped;
        }
        if let Some(endpoint) = self.broken() {
            return Admission::Broken(endpoint);
        }
        let full = match self.args.when_full {
            WhenFull::Refuse => self.legs.iter().find(|leg| leg.room() < events.len()),
            WhenFull::DropOldest => None,
        };
        if let Some(leg) = full {
            return Admission::Full(leg.endpoint.to_string());
        }
        // Each write finds room, or makes it.
        match self.broadcaster.write_all(events) {
            Ok(()) => Admission::Queued,
            Err(_) => Admission::Stopped,
        }
    }

    /// Whether this event is relayed.
    pub(crate) fn wants(&self, event: &Event) -> bool {
        self.args.wants(event)
    }

    /// Whether what cannot be relayed can be written down.
    pub(crate) fn can_park(&self) -> bool {
        self.file.is_some()
    }

    /// Writes down what was posted and cannot be relayed.
    pub(crate) fn park(&self, reason: &str, body: Vec<u8>) -> io::Result<()> {
        self.file.as_ref().ok_or(io::ErrorKind::NotFound)?.park(reason, body)?;
        self.parked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// An endpoint whose queue has ended though nobody stopped it.
    pub(crate) fn broken(&self) -> Option<String> {
        self.legs.iter().find(|leg| leg.is_closed()).map(|leg| leg.endpoint.to_string())
    }

    /// Admits no more, and begins to drain. No envelope is half admitted then.
    pub(crate) fn stop(&self) -> Closing {
        let mut admitting = self.admission.lock();
        if *admitting == Admitting::Yes {
            *admitting = Admitting::Stopped;
            self.legs.iter().for_each(Leg::begin_drain);
        }
        self.broadcaster.close()
    }

    /// Accounts for what an aborted close has left behind.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.legs.iter().for_each(Leg::settle);
        self.file.as_ref().map_or(Ok(()), Undelivered::sync)
    }
}

fn open(path: &Path) -> Result<Undelivered, String> {
    let option = format!("--undelivered {}", path.display());
    let (file, there) = Undelivered::at(path).map_err(|error| format!("{option}: {error}"))?;
    if let Some(lines) = there {
        crate::say(format_args!("{option} is there, with lines of before: {lines}; more go behind them"));
    }
    Ok(file)
}
