//! The one way in to the queues of all endpoints.

use std::error::Error;
use std::iter;
use std::sync::{Arc, mpsc};
use std::thread;

use outflow::{Broadcaster, Closing, Never, Sink, SinkExt};

use crate::Waiting;
use crate::args::Args;
use crate::durable::{OnDisk, Stores};
use crate::endpoint::Endpoint;
use crate::envelope::Event;
use crate::input::InputError;
use crate::progress::Notes;

/// How many lines are read ahead, and how many are committed at once, at most.
const RUN: usize = 256;

/// What a line of the input is.
type Line = Result<Vec<Event>, InputError>;

pub(crate) enum Intake {
    InMemory(Broadcaster<Event>),
    OnDisk { stores: Stores, queues: Vec<(Endpoint, OnDisk)> },
}

impl Intake {
    pub(crate) fn new(stores: Option<Stores>) -> Self {
        match stores {
            None => Self::InMemory(Broadcaster::new()),
            Some(stores) => Self::OnDisk { stores, queues: Vec::new() },
        }
    }

    /// A queue before `post`, which gets what is wanted of all that is relayed.
    pub(crate) fn add<S>(
        &mut self,
        endpoint: &Endpoint,
        post: S,
        args: &Arc<Args>,
    ) -> Result<Waiting, Box<dyn Error>>
    where
        S: Sink<Event> + Send + Sync + 'static,
        S::Error: Never,
    {
        match self {
            Self::InMemory(broadcaster) => {
                let queue = post.queued();
                let args = Arc::clone(args);
                let wanted = queue.clone().filter(move |event: &Event| args.wants(&event.action));
                Ok(Waiting::InMemory(queue, broadcaster.add(wanted)?))
            }
            Self::OnDisk { stores, queues } => {
                let queue = stores.queue(endpoint, post)?;
                queues.push((endpoint.clone(), queue.clone()));
                Ok(Waiting::OnDisk(queue))
            }
        }
    }

    /// What to say of the queues at the start.
    pub(crate) fn found(&self) -> Vec<String> {
        match self {
            Self::InMemory(_) => Vec::new(),
            Self::OnDisk { queues, .. } => {
                queues.iter().flat_map(|(endpoint, queue)| queue.found(endpoint)).collect()
            }
        }
    }

    /// Relays all lines. `false` if it was closed before.
    pub(crate) fn relay<I>(
        &self,
        lines: I,
        events_of: &mut dyn FnMut(Line) -> Vec<Event>,
        args: &Args,
        notes: &Notes,
    ) -> bool
    where
        I: Iterator<Item = Line> + Send + 'static,
    {
        match self {
            Self::InMemory(broadcaster) => broadcaster.write_all(lines.flat_map(events_of)).is_ok(),
            Self::OnDisk { queues, .. } => {
                // What can be read without waiting is committed together.
                let (send, read) = mpsc::sync_channel(RUN);
                thread::spawn(move || lines.into_iter().try_for_each(|line| send.send(line)));
                iter::from_fn(|| {
                    read.recv().ok().map(|line| iter::once(line).chain(read.try_iter().take(RUN)))
                })
                .all(|run| {
                    let wanted = |event: &Event| args.wants(&event.action);
                    let events: Vec<Event> = run.flat_map(&mut *events_of).filter(wanted).collect();
                    queues.iter().all(|(endpoint, queue)| {
                        queue.commit(events.clone(), |why| notes.say(format_args!("{endpoint}: {why}")))
                    })
                })
            }
        }
    }

    /// What becomes of events that are not delivered in time.
    pub(crate) fn fate(&self) -> &'static str {
        match self {
            Self::InMemory(_) => "is given up",
            Self::OnDisk { .. } => "stays on disk",
        }
    }

    pub(crate) fn close(&self) -> Closing {
        match self {
            Self::InMemory(broadcaster) => broadcaster.close(),
            Self::OnDisk { queues, .. } => Closing::all(queues.iter().map(|(_, queue)| queue.close())),
        }
    }
}
