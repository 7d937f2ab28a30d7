//! The chain to one endpoint.

use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::buffer::{Buffer, Policy};
use outflow::http::{BuildError, HttpError, HttpSink};
use outflow::metrics::Publisher;
use outflow::queue::{Batch, QueueOptions, QueueStats};
use outflow::retry::{Breaker, Constant, Failure};
use outflow::sink::{Never, from_fn};
use outflow::{
    AddError, Broadcaster, CatchPanicError, Closing, Counter, DeadLetter, Flushing, Meter, Queue, Sink,
    SinkExt, WriteError,
};
use parking_lot::Mutex;
use ring::digest;

use crate::args::{Args, Secrets, WhenFull};
use crate::endpoint::Endpoint;
use crate::envelope::{self, Event, MEDIA_TYPE};
use crate::held::{Held, InHand};
use crate::undelivered::Undelivered;

/// How long a write that comes back gets to be accounted for.
const ACCOUNTING: Duration = Duration::from_secs(1);

/// How long to wait for a disk that is full before an event that was refused is tried again.
const DISK: Duration = Duration::from_secs(1);

/// How often an endpoint's failures are told.
const BETWEEN_NOTES: Duration = Duration::from_secs(10);

type PostError = CatchPanicError<HttpError>;

/// The chain to one endpoint, and what there is to know of it.
pub(crate) struct Leg {
    pub(crate) endpoint: Endpoint,
    pub(crate) posts: Meter,
    queue: Box<dyn Backlog>,
    books: Arc<Books>,
    in_hand: InHand,
    /// What was evicted before the drain began.
    evicted: AtomicU64,
}

impl Leg {
    pub(crate) fn add(
        to: &Broadcaster<Event>,
        endpoint: Endpoint,
        args: &Args,
        secrets: &Secrets,
        file: Option<&Undelivered>,
        publisher: &Publisher,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (posts, retries) = (Meter::new(), Counter::new());
        let in_hand = InHand::default();
        let books = Arc::new(Books {
            endpoint: endpoint.to_string(),
            file: file.cloned(),
            draining: AtomicBool::new(false),
            written: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            failed: Mutex::default(),
            notes: Mutex::default(),
        });

        // Shared by the two chains that post: each event goes over the same connections, and counts for the
        // same breaker, whether with others or alone.
        let http = Arc::new(http_sink(&endpoint, args, secrets)?.metered(&posts).catch_panic());
        let breaker = Arc::new(Breaker::new(args.threshold, args.backoff).name(endpoint.to_string()));
        let keeps_refused = file.is_some();
        let give_up =
            move |failure: &Failure<'_, Vec<Event>, PostError>| keeps_refused && is_final(failure.error);
        let tell = {
            let books = Arc::clone(&books);
            move |failure: &Failure<'_, Vec<Event>, PostError>| books.note(failure)
        };

        let alone = Arc::clone(&http)
            .retry(Arc::clone(&breaker))
            .honor_retry_after()
            .on_failure(tell.clone())
            .give_up_when(give_up)
            .count_retries(&retries)
            .dead_letter(from_fn({
                let books = Arc::clone(&books);
                move |letter: &DeadLetter<Vec<Event>, PostError>| {
                    books.refuse(&letter.event[0], &letter.error)
                }
            }));
        let chain = http
            .retry(breaker)
            .honor_retry_after()
            .on_failure(tell)
            .give_up_when(give_up)
            .count_retries(&retries)
            .dead_letter(OneByOne { alone, books: Arc::clone(&books) })
            // Where what is refused cannot be written down it is tried again.
            .retry(Constant::new(DISK));

        let buffer = Buffer::bounded(args.backlog);
        let batch = Batch::of(args.batch);
        let chain = Held::new(chain, &in_hand);
        let spill = Spill(Arc::clone(&books));
        let name = endpoint.to_string();
        publisher.meter(&*name, &posts).latency(&*name, &posts).retries(&*name, &retries);
        let queue = match args.when_full {
            WhenFull::Refuse => {
                let options = QueueOptions::new(buffer.spill(spill)).name(&*name);
                add(to, chain.batched_with(batch, options), publisher, &name)?
            }
            WhenFull::DropOldest => {
                let options = QueueOptions::new(buffer.drop_oldest().spill(spill)).name(&*name);
                add(to, chain.batched_with(batch, options), publisher, &name)?
            }
        };
        Ok(Self { endpoint, posts, queue, books, in_hand, evicted: AtomicU64::new(0) })
    }

    /// How many events find room. Unless somebody writes meanwhile, it only grows.
    pub(crate) fn room(&self) -> usize {
        self.queue.room()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// What is given up from now on is left over, not evicted. While it is called, nobody writes.
    pub(crate) fn begin_drain(&self) {
        self.evicted.store(self.queue.stats().dropped, Ordering::Relaxed);
        self.books.draining.store(true, Ordering::Release);
    }

    /// Accounts for the events in a write that did not come back when the close was aborted: nobody knows
    /// whether the endpoint has them.
    pub(crate) fn settle(&self) {
        let deadline = Instant::now() + ACCOUNTING;
        while self.queue.stats().in_flight > 0 && Instant::now() < deadline {
            let events = self.in_hand.events();
            if !events.is_empty() {
                let reason = "it was posted, and not answered before the grace was over";
                events.iter().for_each(|event| self.books.leave(event, reason));
                // They may come back after this and be spilled, and stand there twice.
                return;
            }
            // The write has come back, and its events are on their way into the file.
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        let QueueStats { accepted, delivered, dropped, lost, .. } = self.queue.stats();
        let posts = self.posts.snapshot();
        let refused = self.books.refused.load(Ordering::Relaxed);
        let draining = self.books.draining.load(Ordering::Acquire);
        Tally {
            accepted,
            posted: posts.events,
            failed: posts.failures,
            delivered: delivered.saturating_sub(refused),
            refused,
            dropped: if draining { self.evicted.load(Ordering::Relaxed) } else { dropped },
            written: self.books.written.load(Ordering::Relaxed),
            lost: self.books.lost.load(Ordering::Relaxed) + lost,
        }
    }

    /// Why the file could not be written, the last time.
    pub(crate) fn file_error(&self) -> Option<String> {
        self.books.failed.lock().as_ref().map(io::Error::to_string)
    }
}

fn add<P>(
    to: &Broadcaster<Event>,
    queue: Queue<Event, P>,
    publisher: &Publisher,
    name: &str,
) -> Result<Box<dyn Backlog>, AddError>
where
    P: Policy<Error = Infallible>,
{
    publisher.queue(name, &queue);
    to.add(queue.clone())?;
    Ok(Box::new(queue))
}

fn http_sink(
    endpoint: &Endpoint,
    args: &Args,
    secrets: &Secrets,
) -> Result<HttpSink<Vec<Event>>, BuildError> {
    let mut sink = HttpSink::post(endpoint.url.to_string())
        .name(endpoint.to_string())
        .timeout(args.timeout)
        .content_type(MEDIA_TYPE)
        .webhook_id(|events: &Vec<Event>| id(events))
        .encode(|events: &Vec<Event>| Ok::<_, Infallible>(envelope::envelope_of(events).into_bytes()));
    if args.allow_plaintext {
        sink = sink.allow_plaintext();
    }
    secrets.signing.iter().fold(sink, |sink, secret| sink.sign_with(secret)).build()
}

/// The event's, or one of its own for several: when they are refused, each is sent again with its own.
///
/// It is a digest of their envelope, since an endpoint that has an id takes no other bytes under it: a registry
/// that missed our answer posts an event again, and then it may go out in other company.
fn id(events: &[Event]) -> String {
    if let [event] = events {
        return event.id.clone();
    }
    let mut envelope = digest::Context::new(&digest::SHA256);
    for event in events {
        envelope.update(event.text().as_bytes());
        envelope.update(b",");
    }
    let hex = |id, byte: &u8| format!("{id}{byte:02x}");
    envelope.finish().as_ref().iter().fold("batch-".to_string(), hex)
}

/// Whether the endpoint will never take it.
fn is_final(error: &PostError) -> bool {
    matches!(error, CatchPanicError::Sink(error) if !error.is_transient())
}

/// What became of the events of one endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    /// Answered 2xx, and not filtered out.
    pub(crate) accepted: u64,
    /// Requests, repeated ones included.
    pub(crate) posted: u64,
    /// Requests that were not answered with a 2xx.
    pub(crate) failed: u64,
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

/// A queue, whatever its policy.
trait Backlog: Send + Sync {
    fn room(&self) -> usize;
    fn stats(&self) -> QueueStats;
    fn is_closed(&self) -> bool;
}

impl<P> Backlog for Queue<Event, P>
where
    P: Policy,
    P::Error: Never,
{
    fn room(&self) -> usize {
        self.capacity().unwrap_or(usize::MAX).saturating_sub(self.len())
    }

    fn stats(&self) -> QueueStats {
        self.stats()
    }

    fn is_closed(&self) -> bool {
        Sink::is_closed(self)
    }
}

/// Where the events of one endpoint went that did not reach it.
struct Books {
    endpoint: String,
    file: Option<Undelivered>,
    draining: AtomicBool,
    written: AtomicU64,
    refused: AtomicU64,
    lost: AtomicU64,
    failed: Mutex<Option<io::Error>>,
    notes: Mutex<Notes>,
}

/// How many failures nobody was told of, and when it is time again.
#[derive(Default)]
struct Notes {
    untold: u64,
    next: Option<Instant>,
}

impl Books {
    fn write(&self, event: &Event, reason: &str) -> io::Result<()> {
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        let written = file.write(&self.endpoint, reason, event);
        match &written {
            Ok(()) => _ = self.written.fetch_add(1, Ordering::Relaxed),
            Err(error) => *self.failed.lock() = Some(io::Error::new(error.kind(), error.to_string())),
        }
        written
    }

    /// Of an event that the endpoint does not want.
    fn refuse(&self, event: &Event, error: &PostError) -> io::Result<()> {
        self.write(event, &error.to_string())?;
        self.refused.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Of an event for which there was no time.
    fn leave(&self, event: &Event, reason: &str) {
        if self.write(event, reason).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Tells of failures: of the first, and then of those since, once in a while.
    fn note(&self, failure: &Failure<'_, Vec<Event>, PostError>) {
        let mut notes = self.notes.lock();
        notes.untold += 1;
        if notes.next.is_none_or(|next| Instant::now() >= next) {
            let others = match mem::take(&mut notes.untold) {
                1 => String::new(),
                untold => format!(" (and {} failures before)", untold - 1),
            };
            crate::say(format_args!("{}{others}", failure.error));
            notes.next = Some(Instant::now() + BETWEEN_NOTES);
        }
    }
}

/// Takes what is left over into the books. What is evicted before that it refuses, and so the queue counts it
/// as dropped.
struct Spill(Arc<Books>);

impl Sink<Event> for Spill {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        if !self.0.draining.load(Ordering::Acquire) {
            return Err(WriteError::Closed(event));
        }
        self.0.leave(&event, "it was not delivered before the grace was over");
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

/// Tries the events of a batch each alone when the endpoint has refused them together: it may mean only one
/// of them.
struct OneByOne<S> {
    alone: S,
    books: Arc<Books>,
}

impl<S> Sink<DeadLetter<Vec<Event>, PostError>> for OneByOne<S>
where
    S: Sink<Vec<Event>, Error = io::Error>,
{
    type Error = io::Error;

    fn write(
        &self,
        letter: DeadLetter<Vec<Event>, PostError>,
    ) -> Result<(), WriteError<DeadLetter<Vec<Event>, PostError>, io::Error>> {
        let DeadLetter { event: mut events, error } = letter;
        if let [event] = &events[..] {
            return match self.books.refuse(event, &error) {
                Ok(()) => Ok(()),
                Err(why) => Err(WriteError::failed(DeadLetter { event: events, error }, why)),
            };
        }
        // What comes back is the rest, in order.
        while !events.is_empty() {
            let alone = vec![Arc::clone(&events[0])];
            if let Err(refused) = self.alone.write(alone) {
                return Err(refused.map_event(|_| DeadLetter { event: events, error }));
            }
            events.remove(0);
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.alone.flush()
    }

    fn close(&self) -> Closing {
        self.alone.close()
    }

    fn is_closed(&self) -> bool {
        self.alone.is_closed()
    }
}
