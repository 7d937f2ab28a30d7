//! From an envelope to the endpoints' queues.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use outflow::metrics::Publisher;
use outflow::{Broadcaster, Closing, Sink, SinkExt};
use parking_lot::Mutex;

use crate::args::{Args, Secrets, WhenFull};
use crate::commit::Committer;
use crate::durable::{OnDisk, Stores};
use crate::endpoint::Endpoint;
use crate::envelope::Event;
use crate::leg::{Leg, To};
use crate::undelivered::Undelivered;

/// Every endpoint's chain, and the one way in.
pub(crate) struct Relay {
    intake: Intake,
    pub(crate) legs: Vec<Leg>,
    file: Option<Undelivered>,
    /// How many bodies stand in the file that could not be relayed.
    parked: AtomicU64,
    args: Args,
    /// Held by who admits an envelope, so that all endpoints get all envelopes in one order, and the room
    /// that was seen is there: others only take events out.
    admission: Mutex<Admitting>,
}

/// How an envelope gets into every endpoint's queue.
enum Intake {
    InMemory(Broadcaster<Event>),
    OnDisk(Committer),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Admitting {
    Yes,
    Stopped,
}

/// What becomes of an envelope: all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Each event that is relayed stands in every endpoint's queue.
    Queued,
    /// The backlog of this endpoint is at its limit, and nothing was taken.
    Full(String),
    /// There is no room on the disk, for this endpoint and for this reason. Other endpoints may get it all the same.
    NoRoom(String),
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
        if args.durable.durable_bytes.is_some_and(|bytes| bytes / 4 < args.max_body as u64) {
            return Err("--durable-bytes is less than four envelopes of --max-body: raise it".into());
        }
        let stores = Stores::open(&args.durable, &endpoints)?;
        if let Some(stores) = &stores {
            stores.others(&endpoints)?.iter().for_each(crate::say);
        }
        let broadcaster = Broadcaster::new();
        let to = stores.as_ref().map_or(To::InMemory(&broadcaster), To::OnDisk);
        let legs: Vec<Leg> = endpoints
            .into_iter()
            .map(|endpoint| Leg::add(&to, endpoint, &args, secrets, file.as_ref(), publisher))
            .collect::<Result<_, _>>()?;
        let intake = if stores.is_some() {
            let queue_of = |leg: &Leg| leg.on_disk().map(|queue| (leg.endpoint.to_string(), queue.clone()));
            Intake::OnDisk(Committer::start(legs.iter().filter_map(queue_of).collect())?)
        } else {
            Intake::InMemory(broadcaster)
        };
        let parked = AtomicU64::new(0);
        Ok(Self { intake, legs, file, parked, args, admission: Mutex::new(Admitting::Yes) })
    }

    /// Queues the events that are relayed, for every endpoint or for none. It waits for nobody but other
    /// admissions, which do the same, and for the disk.
    pub(crate) async fn admit(&self, events: Vec<Event>) -> Admission {
        let events: Vec<Event> = events.into_iter().filter(|event| self.wants(event)).collect();
        match &self.intake {
            Intake::InMemory(broadcaster) => self.admit_to(broadcaster, events),
            Intake::OnDisk(committer) => committer.commit(events).await,
        }
    }

    fn admit_to(&self, broadcaster: &Broadcaster<Event>, events: Vec<Event>) -> Admission {
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
        match broadcaster.write_all(events) {
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
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.park(reason, body)?;
        if let Intake::OnDisk(_) = &self.intake {
            // Like what is relayed.
            file.sync()?;
        }
        self.parked.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn parked(&self) -> u64 {
        self.parked.load(Ordering::Relaxed)
    }

    /// An endpoint whose queue has ended though nobody stopped it.
    pub(crate) fn broken(&self) -> Option<String> {
        let ended = self.legs.iter().find(|leg| leg.is_closed()).map(|leg| leg.endpoint.to_string());
        ended.or_else(|| self.failed())
    }

    /// A queue on disk that takes no events before the relay is started again, and why.
    pub(crate) fn failed(&self) -> Option<String> {
        match &self.intake {
            Intake::InMemory(_) => None,
            Intake::OnDisk(committer) => committer.failed(),
        }
    }

    /// Whether what is not delivered stays on disk.
    pub(crate) fn is_on_disk(&self) -> bool {
        matches!(self.intake, Intake::OnDisk(_))
    }

    /// Admits no more, and begins to drain. No envelope is half admitted then.
    pub(crate) fn stop(&self) -> Closing {
        let broadcaster = match &self.intake {
            Intake::InMemory(broadcaster) => broadcaster,
            Intake::OnDisk(committer) => {
                committer.stop();
                return Closing::all(self.legs.iter().filter_map(Leg::on_disk).map(OnDisk::close));
            }
        };
        let mut admitting = self.admission.lock();
        if *admitting == Admitting::Yes {
            *admitting = Admitting::Stopped;
            self.legs.iter().for_each(Leg::begin_drain);
        }
        broadcaster.close()
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
