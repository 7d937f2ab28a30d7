//! The chain to one endpoint.

use std::convert::Infallible;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use outflow::buffer::{Buffer, Policy};
use outflow::durable::Undecodable;
use outflow::http::{BuildError, HttpSink};
use outflow::metrics::Publisher;
use outflow::queue::{Batch, QueueOptions, QueueStats};
use outflow::retry::{Breaker, Constant};
use outflow::sink::{Never, from_fn};
use outflow::{AddError, Broadcaster, CatchPanicError, Counter, DeadLetter, Meter, Queue, Sink, SinkExt};
use ring::digest;

use crate::args::{Args, Secrets, WhenFull};
use crate::books::{Account, Books, PostError, Spill};
use crate::durable::{OnDisk, Stores, UNCONFIRMED};
use crate::endpoint::Endpoint;
use crate::envelope::{self, Event, MEDIA_TYPE};
use crate::held::{Counted, Held};
use crate::one_by_one::OneByOne;
use crate::undelivered::Undelivered;

/// How long a write that comes back gets to be accounted for.
const ACCOUNTING: Duration = Duration::from_secs(1);

/// How long to wait for a disk that is full before an event that was refused is tried again.
const DISK: Duration = Duration::from_secs(1);

/// The chain to one endpoint, and what there is to know of it.
pub(crate) struct Leg {
    pub(crate) endpoint: Endpoint,
    pub(crate) posts: Meter,
    queue: Waiting,
    books: Arc<Books>,
}

/// What gets the events for all endpoints.
pub(crate) enum To<'a> {
    InMemory(&'a Broadcaster<Event>),
    OnDisk(&'a Stores),
}

/// Where events wait for an endpoint.
enum Waiting {
    InMemory(Box<dyn Backlog>),
    OnDisk(OnDisk),
}

impl Leg {
    pub(crate) fn add(
        to: &To<'_>,
        endpoint: Endpoint,
        args: &Args,
        secrets: &Secrets,
        file: Option<&Undelivered>,
        publisher: &Publisher,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let (posts, retries) = (Meter::new(), Counter::new());
        let books = Arc::new(Books::new(endpoint.to_string(), file, matches!(to, To::OnDisk(_))));

        let keeps_refused = file.is_some();
        let http = http_sink(&endpoint, args, secrets)?.metered(&posts).catch_panic();
        // Shared by who posts events together and who posts them alone: they go over the same connections, count
        // for the same breaker, and wait as long as the endpoint has asked the other to.
        let post = Arc::new(
            Counted::new(http, &books)
                .retry(Breaker::new(args.threshold, args.backoff).name(endpoint.to_string()))
                .honor_retry_after()
                .on_failure({
                    let books = Arc::clone(&books);
                    move |failure| books.note(failure)
                })
                .give_up_when(move |failure| keeps_refused && is_final(failure.error))
                .count_retries(&retries),
        );
        let alone = Arc::clone(&post).dead_letter(from_fn({
            let books = Arc::clone(&books);
            move |letter: &DeadLetter<Vec<Event>, PostError>| books.refuse(&letter.event[0], &letter.error)
        }));
        let chain = post
            .dead_letter(OneByOne::new(alone, &books))
            // Where what is refused cannot be written down it is tried again.
            .retry(Constant::new(DISK));

        let batch = Batch::of(args.batch);
        let chain = Held::new(chain, &books);
        let name = endpoint.to_string();
        publisher.meter(&*name, &posts).latency(&*name, &posts).retries(&*name, &retries);
        let queue = match to {
            To::InMemory(to) => {
                let buffer = Buffer::bounded(args.backlog);
                let spill = Spill::new(&books);
                Waiting::InMemory(match args.when_full {
                    WhenFull::Refuse => {
                        let options = QueueOptions::new(buffer.spill(spill)).name(&*name);
                        add(to, chain.batched_with(batch, options), publisher, &name)?
                    }
                    WhenFull::DropOldest => {
                        let options = QueueOptions::new(buffer.drop_oldest().spill(spill)).name(&*name);
                        add(to, chain.batched_with(batch, options), publisher, &name)?
                    }
                })
            }
            To::OnDisk(stores) => {
                // What is read ahead for the next request.
                let ahead = QueueOptions::new(Buffer::bounded(args.batch)).name(&*name);
                let chain = chain.batched_with(batch, ahead);
                let queue = stores.queue_with(&endpoint, chain, |options| {
                    // So that there is another batch while one is being confirmed.
                    let options = options.unconfirmed(UNCONFIRMED.max(2 * args.batch as u64));
                    match file {
                        Some(file) => options.undecodable(park(file)),
                        None => options,
                    }
                })?;
                queue.found(&endpoint).iter().for_each(crate::say);
                Waiting::OnDisk(queue)
            }
        };
        Ok(Self { endpoint, posts, queue, books })
    }

    /// Its queue, if that is on disk.
    pub(crate) fn on_disk(&self) -> Option<&OnDisk> {
        match &self.queue {
            Waiting::InMemory(_) => None,
            Waiting::OnDisk(queue) => Some(queue),
        }
    }

    /// How many events find room. Unless somebody writes meanwhile, it only grows.
    pub(crate) fn room(&self) -> usize {
        match &self.queue {
            Waiting::InMemory(queue) => queue.room(),
            Waiting::OnDisk(_) => usize::MAX,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        match &self.queue {
            Waiting::InMemory(queue) => queue.is_closed(),
            Waiting::OnDisk(queue) => queue.is_closed(),
        }
    }

    /// What is given up from now on is left over, not evicted. While it is called, nobody writes.
    pub(crate) fn begin_drain(&self) {
        self.books.end();
    }

    /// Accounts for what an aborted close has left behind, as far as it does not come back: nobody knows
    /// whether the endpoint has it.
    pub(crate) fn settle(&self) {
        let Waiting::InMemory(queue) = &self.queue else { return };
        let accepted = queue.stats().accepted;
        let deadline = Instant::now() + ACCOUNTING;
        while !self.books.are_balanced(accepted) && Instant::now() < deadline {
            self.books.leave_in_hand("it was being posted when the grace was over: it may have arrived");
            // Or the write has come back, and its events are on their way into the file.
            thread::sleep(Duration::from_millis(1));
        }
        self.books.balance(accepted);
    }

    pub(crate) fn tally(&self) -> Tally {
        let posts = self.posts.snapshot();
        Tally {
            accepted: match &self.queue {
                Waiting::InMemory(queue) => queue.stats().accepted,
                Waiting::OnDisk(queue) => queue.accepted(),
            },
            posted: posts.events,
            failed: posts.failures,
            account: self.books.account(),
        }
    }

    /// Why the file could not be written, the last time.
    pub(crate) fn file_error(&self) -> Option<String> {
        self.books.file_error()
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

/// Where what is on disk goes that this program cannot read.
fn park(file: &Undelivered) -> impl Sink<Undecodable, Error = Infallible> + Send + Sync + 'static {
    let file = file.clone();
    from_fn(move |Undecodable { number, bytes, error, .. }: &Undecodable| {
        file.park(&format!("event {number} on disk cannot be read: {error}"), bytes.clone())?;
        file.sync()
    })
    .retry(Constant::new(DISK))
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
    pub(crate) account: Account,
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
