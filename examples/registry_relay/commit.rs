//! From envelopes to the endpoints' queues on disk.
//!
//! One thread commits to all of them, one after the other, and together what was posted meanwhile: so all endpoints get all
//! envelopes in one order, and however many are posted at a time, a sync of each queue is enough.

use std::io;
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::durable::{OnDisk, Refusal};
use crate::envelope::Event;
use crate::notes::Notes;
use crate::relay::Admission;

/// How many events are committed together, and bytes of them, unless one envelope has more.
const RUN: (usize, usize) = (1024, 1 << 20);

const PANICKED: &str = "every endpoint: what commits has panicked";

/// Commits what is posted until it is dropped.
pub(crate) struct Committer {
    posted: mpsc::UnboundedSender<Posted>,
    state: Arc<Mutex<State>>,
}

/// Locked while a group is committed.
struct State {
    stopped: bool,
    /// The endpoint whose queue has failed, and why.
    failed: Option<String>,
    /// That which failed last stands first.
    queues: Vec<(String, OnDisk)>,
}

struct Posted {
    events: Vec<Event>,
    answer: oneshot::Sender<Admission>,
}

impl Committer {
    pub(crate) fn start(queues: Vec<(String, OnDisk)>) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State { stopped: false, failed: None, queues }));
        let (posted, from) = mpsc::unbounded_channel();
        let committing = Arc::clone(&state);
        thread::Builder::new().name("commits".to_string()).spawn(move || run(from, &committing))?;
        Ok(Self { posted, state })
    }

    /// Returns when the events are on disk for every endpoint, or not for all.
    pub(crate) async fn commit(&self, events: Vec<Event>) -> Admission {
        let (answer, answered) = oneshot::channel();
        let _ = self.posted.send(Posted { events, answer });
        // It is dropped unanswered if that thread has panicked.
        answered.await.unwrap_or_else(|_| Admission::Broken(PANICKED.to_string()))
    }

    /// Commits no more. No envelope is half committed by that.
    pub(crate) fn stop(&self) {
        self.state.lock().stopped = true;
    }

    /// What has failed and takes no events before the relay is started again.
    pub(crate) fn failed(&self) -> Option<String> {
        let panicked = self.posted.is_closed().then(|| PANICKED.to_string());
        panicked.or_else(|| self.state.lock().failed.clone())
    }
}

fn run(mut from: mpsc::UnboundedReceiver<Posted>, state: &Mutex<State>) {
    let notes = Notes::default();
    while let Some(Posted { mut events, answer }) = from.blocking_recv() {
        let bytes_of = |events: &[Event]| events.iter().map(|event| event.text().len()).sum::<usize>();
        let (mut answers, mut bytes) = (vec![answer], bytes_of(&events));
        while events.len() < RUN.0
            && bytes < RUN.1
            && let Ok(posted) = from.try_recv()
        {
            bytes += bytes_of(&posted.events);
            events.extend(posted.events);
            answers.push(posted.answer);
        }
        let admission = state.lock().commit(&events);
        if let Admission::NoRoom(why) = &admission {
            notes.say(format_args!("what was posted is not taken before there is room: {why}"));
        }
        for answer in answers {
            // Or its client is gone.
            let _ = answer.send(admission.clone());
        }
    }
}

impl State {
    fn commit(&mut self, events: &[Event]) -> Admission {
        if self.stopped {
            return Admission::Stopped;
        }
        for place in 0..self.queues.len() {
            let (endpoint, queue) = &self.queues[place];
            let admission = match queue.write_all(events.to_vec()) {
                Ok(()) => continue,
                Err((Refusal::NoRoom(why), _)) => Admission::NoRoom(format!("{endpoint}: {why}")),
                Err((Refusal::Closed, _)) => Admission::Broken(endpoint.clone()),
                Err((Refusal::Broken(why), _)) => {
                    self.failed = Some(format!("{endpoint}: {why}"));
                    Admission::Broken(endpoint.clone())
                }
            };
            // What is posted again and again meanwhile goes to no other queue again.
            self.queues[..=place].rotate_right(1);
            return admission;
        }
        Admission::Queued
    }
}
