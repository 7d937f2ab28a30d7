//! What became of the events of one endpoint.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use outflow::http::HttpError;
use outflow::retry::Failure;
use outflow::{CatchPanicError, Closing, FlushError, Flushing, Sink, WriteError};
use parking_lot::Mutex;

use crate::envelope::Event;
use crate::held::InHand;
use crate::notes::Notes;
use crate::undelivered::Undelivered;

pub(crate) type PostError = CatchPanicError<HttpError>;

/// Counts the events of one endpoint, and writes down those that did not reach it.
///
/// Each event that its queue has accepted is counted once, when it is delivered, written, dropped or lost. One
/// that was written down because nobody could wait for the answer stays so, should it arrive after all.
///
/// Of a queue on disk nothing is left over: what is not delivered stays there. There what was refused is safe on the
/// disk before its queue forgets it.
pub(crate) struct Books {
    endpoint: String,
    file: Option<Undelivered>,
    on_disk: bool,
    /// Whether something was written that is not safe on the disk.
    unsynced: AtomicBool,
    pub(crate) in_hand: InHand,
    /// Whether what the queue gives up is left over, not evicted.
    over: AtomicBool,
    delivered: AtomicU64,
    refused: AtomicU64,
    dropped: AtomicU64,
    written: AtomicU64,
    lost: AtomicU64,
    failed: Mutex<Option<io::Error>>,
    notes: Notes,
}

/// What stands in the books.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Events that the endpoint answered with a 2xx.
    pub(crate) delivered: u64,
    /// Events that it refused for good.
    pub(crate) refused: u64,
    /// Events that made room for newer ones.
    pub(crate) dropped: u64,
    /// Events in the file, those that were refused among them.
    pub(crate) written: u64,
    /// Events that were neither delivered nor written, and that nobody asked to drop.
    pub(crate) lost: u64,
}

impl Books {
    pub(crate) fn new(endpoint: String, file: Option<&Undelivered>, on_disk: bool) -> Self {
        Self {
            endpoint,
            file: file.cloned(),
            on_disk,
            unsynced: AtomicBool::new(false),
            in_hand: InHand::default(),
            over: AtomicBool::new(false),
            delivered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failed: Mutex::default(),
            notes: Notes::default(),
        }
    }

    /// From now on nothing is evicted: what its queue gives up is left over.
    pub(crate) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// Of the first events in hand, which the endpoint has.
    pub(crate) fn deliver(&self, events: usize) {
        self.delivered.fetch_add(self.in_hand.let_go(events), Ordering::Relaxed);
    }

    /// Of the first event in hand, which the endpoint does not want.
    pub(crate) fn refuse(&self, event: &Event, error: &PostError) -> io::Result<()> {
        self.in_hand.let_go_if(|| {
            self.write(event, &error.to_string())?;
            self.refused.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }

    /// Of an event for which there was no time.
    fn leave(&self, event: &Event, reason: &str) {
        if !self.on_disk && self.write(event, reason).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A flush of what was refused, besides what is `below`.
    pub(crate) fn flush(&self, below: Flushing) -> Flushing {
        if !self.on_disk || !self.unsynced.swap(false, Ordering::AcqRel) {
            return below;
        }
        match self.file.as_ref().map_or(Ok(()), Undelivered::sync) {
            Ok(()) => below,
            Err(error) => {
                self.unsynced.store(true, Ordering::Release);
                Flushing::all([below, Flushing::failed(FlushError::other(error))])
            }
        }
    }

    /// Of the events in a write for which nobody can wait.
    pub(crate) fn leave_in_hand(&self, reason: &str) {
        self.in_hand.take().iter().for_each(|event| self.leave(event, reason));
    }

    /// Whether what stands here is all of the `accepted` events of its queue.
    pub(crate) fn are_balanced(&self, accepted: u64) -> bool {
        self.unaccounted(accepted) == 0
    }

    /// Counts as lost what nobody has accounted for.
    pub(crate) fn balance(&self, accepted: u64) {
        self.lost.fetch_add(self.unaccounted(accepted), Ordering::Relaxed);
    }

    fn unaccounted(&self, accepted: u64) -> u64 {
        let Account { delivered, dropped, written, lost, .. } = self.account();
        accepted.saturating_sub(delivered + dropped + written + lost)
    }

    pub(crate) fn account(&self) -> Account {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Account {
            delivered: read(&self.delivered),
            refused: read(&self.refused),
            dropped: read(&self.dropped),
            written: read(&self.written),
            lost: read(&self.lost),
        }
    }

    fn write(&self, event: &Event, reason: &str) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let written = file.write(&self.endpoint, reason, event);
        match &written {
            Ok(()) => {
                self.written.fetch_add(1, Ordering::Relaxed);
                self.unsynced.store(true, Ordering::Release);
            }
            Err(error) => *self.failed.lock() = Some(io::Error::new(error.kind(), error.to_string())),
        }
        written
    }

    /// Why the file could not be written, the last time.
    pub(crate) fn file_error(&self) -> Option<String> {
        self.failed.lock().as_ref().map(io::Error::to_string)
    }

    /// Tells of failures: of the first, and then of those since, once in a while.
    pub(crate) fn note(&self, failure: &Failure<'_, Vec<Event>, PostError>) {
        self.notes.say(failure.error);
    }
}

/// Takes what a queue gives up into the books.
pub(crate) struct Spill(Arc<Books>);

impl Spill {
    pub(crate) fn new(books: &Arc<Books>) -> Self {
        Self(Arc::clone(books))
    }
}

impl Sink<Event> for Spill {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        let books = &self.0;
        if !books.over.load(Ordering::Acquire) {
            books.dropped.fetch_add(1, Ordering::Relaxed);
            // Refused, so that the queue counts it as dropped, too.
            return Err(WriteError::Closed(event));
        }
        if !books.in_hand.was_taken(&event) {
            books.leave(&event, "it was not delivered before the grace was over");
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}
