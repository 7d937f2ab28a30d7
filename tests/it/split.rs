//! A batch that is refused is halved until what is refused is alone: few requests, no event twice, all in order.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outflow::queue::Batch;
use outflow::retry::Constant;
use outflow::{Closing, DeadLetter, Flushing, Sink, SinkExt, WriteError, sink};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    TooLarge,
    /// And which event.
    Malformed(usize),
    Down,
}

fn is_of_the_batch(error: &Refused) -> bool {
    *error != Refused::Down
}

/// Takes batches of at most `largest` events none of which is bad.
struct Endpoint<'a> {
    bad: &'a [usize],
    largest: usize,
    /// The numbers of the requests, from 0, that find it down.
    down: &'a [usize],
    requests: Cell<usize>,
    accepted: RefCell<Vec<usize>>,
    closed: Cell<bool>,
}

impl<'a> Endpoint<'a> {
    fn new(bad: &'a [usize]) -> Self {
        Self {
            bad,
            largest: usize::MAX,
            down: &[],
            requests: Cell::new(0),
            accepted: RefCell::default(),
            closed: Cell::new(false),
        }
    }
}

impl Sink<Vec<usize>> for Endpoint<'_> {
    type Error = Refused;

    fn write(&self, batch: Vec<usize>) -> Result<(), WriteError<Vec<usize>, Refused>> {
        if self.closed.get() {
            return Err(WriteError::Closed(batch));
        }
        let request = self.requests.replace(self.requests.get() + 1);
        let error = match batch.iter().find(|event| self.bad.contains(event)) {
            _ if self.down.contains(&request) => Refused::Down,
            _ if batch.len() > self.largest => Refused::TooLarge,
            Some(event) => Refused::Malformed(*event),
            None => {
                self.accepted.borrow_mut().extend(batch);
                return Ok(());
            }
        };
        Err(WriteError::failed(batch, error))
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.set(true);
        Closing::done()
    }
}

fn log2(n: usize) -> usize {
    n.next_power_of_two().trailing_zeros() as usize
}

#[test]
fn of_500_events_with_a_bad_one_that_one_is_refused_after_at_most_20_requests() {
    for bad in 0..500 {
        let bad = [bad];
        let endpoint = Endpoint::new(&bad);
        let refused = (&endpoint).split_on(is_of_the_batch).write((0..500).collect()).unwrap_err();
        assert_eq!(refused, WriteError::failed(vec![bad[0]], Refused::Malformed(bad[0])));
        assert!(endpoint.requests.get() <= 20, "{} requests", endpoint.requests.get());
        assert_eq!(*endpoint.accepted.borrow(), (0..500).filter(|n| *n != bad[0]).collect::<Vec<_>>());
    }
}

#[test]
fn the_number_of_requests_has_the_bound_that_is_documented() {
    let mut rng = fastrand::Rng::with_seed(7);
    for n in (1..70).chain([500, 512, 513]) {
        for k in [0, 1, 2, 3, n / 2, n] {
            let bad: Vec<usize> = rng.choose_multiple(0..n, k.min(n));
            let endpoint = Endpoint::new(&bad);
            let written = (&endpoint).split_on(is_of_the_batch).write((0..n).collect());
            assert_eq!(written.is_ok(), bad.is_empty());
            let most = (1 + 2 * bad.len() * log2(n)).min(2 * n - 1);
            assert!(endpoint.requests.get() <= most, "{} of {n}: {}", bad.len(), endpoint.requests.get());
        }
    }
}

#[test]
fn of_several_that_are_refused_the_error_is_that_of_the_first() {
    let endpoint = Endpoint::new(&[3, 9, 30]);
    let refused = (&endpoint).split_on(is_of_the_batch).write((0..40).collect()).unwrap_err();
    assert_eq!(refused, WriteError::failed(vec![3, 9, 30], Refused::Malformed(3)));
}

#[test]
fn a_batch_that_is_too_large_arrives_in_parts_in_order() {
    let endpoint = Endpoint { largest: 64, ..Endpoint::new(&[]) };
    (&endpoint).split_on(is_of_the_batch).write((0..500).collect()).unwrap();
    assert_eq!(*endpoint.accepted.borrow(), (0..500).collect::<Vec<_>>());
    assert_eq!(endpoint.requests.get(), 1 + 2 + 4 + 8);
    // An event that is too large by itself is refused.
    let endpoint = Endpoint { largest: 0, ..Endpoint::new(&[]) };
    let refused = (&endpoint).split_on(is_of_the_batch).write(vec![1, 2]).unwrap_err();
    assert_eq!(refused, WriteError::failed(vec![1, 2], Refused::TooLarge));
}

#[test]
fn a_sink_that_is_down_is_asked_no_more_and_all_that_is_left_comes_back() {
    // 0 and 1 are refused one by one, 2 and 3 are accepted, and then it is down.
    let endpoint = Endpoint { down: &[6], ..Endpoint::new(&[0, 1]) };
    let refused = (&endpoint).split_on(is_of_the_batch).write((0..8).collect()).unwrap_err();
    assert_eq!(refused, WriteError::failed(vec![0, 1, 4, 5, 6, 7], Refused::Down));
    assert_eq!((endpoint.requests.get(), &*endpoint.accepted.borrow()), (7, &vec![2, 3]));

    let endpoint = Endpoint { down: &[0], ..Endpoint::new(&[]) };
    let refused = (&endpoint).split_on(is_of_the_batch).write((0..8).collect()).unwrap_err();
    assert_eq!(refused, WriteError::failed((0..8).collect(), Refused::Down));
    assert_eq!(endpoint.requests.get(), 1);
}

#[test]
fn a_close_in_the_middle_hands_back_what_was_not_accepted() {
    let endpoint = Endpoint { largest: 2, ..Endpoint::new(&[0]) };
    // It is closed once it has accepted something.
    let closing = (&endpoint).split_on(|error| {
        if !endpoint.accepted.borrow().is_empty() {
            drop(endpoint.close());
        }
        is_of_the_batch(error)
    });
    // [0, 1, 2, 3], [0, 1], [0], [1] accepted, [2, 3] accepted, [4, 5, 6, 7] refused and closed.
    let refused = closing.write((0..8).collect()).unwrap_err();
    assert_eq!(refused, WriteError::Closed(vec![0, 4, 5, 6, 7]));
    assert_eq!(*endpoint.accepted.borrow(), [1, 2, 3]);
}

#[test]
fn what_the_predicate_does_not_hold_for_is_passed_on_and_so_is_an_empty_batch() {
    let endpoint = Endpoint { largest: 1, ..Endpoint::new(&[]) };
    let refused = (&endpoint).split_on(|_| false).write(vec![1, 2]).unwrap_err();
    assert_eq!(refused, WriteError::failed(vec![1, 2], Refused::TooLarge));
    assert_eq!(endpoint.requests.get(), 1);
    assert!((&endpoint).split_on(|_| true).write(Vec::new()).is_ok());
    assert_eq!(endpoint.requests.get(), 2);
    let refuses = sink::from_fn(|_: &Vec<u32>| Err("empty")).split_on(|_| true);
    assert_eq!(refuses.write(Vec::new()), Err(WriteError::failed(Vec::new(), "empty")));
}

/// Writes until an event is bad, and hands back that one and those after it, as a sink of vectors may.
struct Piecemeal<'a>(&'a Endpoint<'a>);

impl Sink<Vec<usize>> for Piecemeal<'_> {
    type Error = Refused;

    fn write(&self, batch: Vec<usize>) -> Result<(), WriteError<Vec<usize>, Refused>> {
        self.0.requests.set(self.0.requests.get() + 1);
        let good = batch.iter().take_while(|event| !self.0.bad.contains(event)).count();
        self.0.accepted.borrow_mut().extend(&batch[..good]);
        match batch[good..] {
            [] => Ok(()),
            [bad, ..] => Err(WriteError::failed(batch[good..].to_vec(), Refused::Malformed(bad))),
        }
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }
}

#[test]
fn what_a_sink_has_taken_of_a_batch_is_not_written_again() {
    for k in 0..20 {
        let bad = fastrand::Rng::with_seed(k).choose_multiple(0..40, k as usize);
        let endpoint = Endpoint::new(&bad);
        let _ = Piecemeal(&endpoint).split_on(is_of_the_batch).write((0..40).collect()).map_err(|refused| {
            let mut sorted = bad.clone();
            sorted.sort_unstable();
            assert_eq!(refused.into_event(), sorted);
        });
        assert_eq!(*endpoint.accepted.borrow(), (0..40).filter(|n| !bad.contains(n)).collect::<Vec<_>>());
    }
}

/// Bad events and a size, and an endpoint that is down from time to time.
fn outage(seed: u64, run: impl Fn(&Endpoint<'_>, Vec<usize>) -> Vec<usize>) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let n = rng.usize(1..80);
    let k = rng.usize(0..6).min(n);
    let mut bad = rng.choose_multiple(0..n, k);
    bad.sort_unstable();
    let down: Vec<usize> = (0..200).filter(|_| rng.u8(0..4) == 0).collect();
    let endpoint = Endpoint { largest: rng.usize(1..80), down: &down, ..Endpoint::new(&bad) };
    let refused = run(&endpoint, (0..n).collect());
    assert_eq!(refused, bad, "seed {seed}");
    assert_eq!(
        *endpoint.accepted.borrow(),
        (0..n).filter(|n| !bad.contains(n)).collect::<Vec<_>>(),
        "seed {seed}"
    );
}

#[test]
fn with_a_retry_below_or_above_each_event_is_accepted_once_in_order_or_refused() {
    let gives_up = |written: Result<(), WriteError<Vec<usize>, Refused>>| match written {
        Ok(()) => Vec::new(),
        Err(refused) => {
            assert_ne!(refused.error(), Some(&Refused::Down));
            refused.into_event()
        }
    };
    for seed in 0..300 {
        outage(seed, |endpoint, batch| {
            let retry = endpoint.retry(Constant::new(Duration::ZERO));
            gives_up(
                retry
                    .give_up_when(|failure| is_of_the_batch(failure.error))
                    .split_on(is_of_the_batch)
                    .write(batch),
            )
        });
        outage(seed, |endpoint, batch| {
            let split = endpoint.split_on(is_of_the_batch);
            gives_up(
                split
                    .retry(Constant::new(Duration::ZERO))
                    .give_up_when(|failure| is_of_the_batch(failure.error))
                    .write(batch),
            )
        });
    }
}

#[test]
fn by_reference_nothing_is_written_twice_either() {
    let endpoint = Endpoint::new(&[3]);
    let refused = (&endpoint).split_on(is_of_the_batch).write_ref(&(0..8).collect()).unwrap_err();
    assert_eq!(refused, WriteError::failed((), Refused::Malformed(3)));
    assert_eq!(*endpoint.accepted.borrow(), [0, 1, 2, 4, 5, 6, 7]);
}

#[test]
fn nothing_is_cloned_by_a_write() {
    struct Unique(u32);
    let sink = sink::from_fn(
        |batch: &Vec<Unique>| if batch.iter().any(|one| one.0 == 3) { Err(()) } else { Ok(()) },
    );
    let refused = sink.split_on(|()| true).write((0..8).map(Unique).collect()).unwrap_err();
    assert_eq!(refused.into_event().len(), 1);
}

#[test]
fn under_a_queue_a_bad_event_is_a_dead_letter_and_the_others_are_delivered() {
    let (requests, accepted, dead) = (Arc::new(AtomicU32::new(0)), sink::collector(), sink::collector());
    let (count, log) = (Arc::clone(&requests), accepted.clone());
    let http = sink::from_fn(move |batch: &Vec<u32>| {
        count.fetch_add(1, Ordering::SeqCst);
        if batch.contains(&377) {
            return Err(422);
        }
        log.write_all(batch.iter().copied()).unwrap();
        Ok(())
    });
    let queue = http
        .split_on(|status| *status == 422)
        .dead_letter(dead.clone())
        .batched(Batch::of(500).within(Duration::from_secs(60)));
    queue.write_all(0..500).unwrap();
    queue.close().wait().unwrap();
    assert!(requests.load(Ordering::SeqCst) <= 20);
    assert_eq!(dead.take(), [DeadLetter { event: vec![377], error: 422 }]);
    assert_eq!(accepted.events(), (0..500).filter(|n| *n != 377).collect::<Vec<_>>());
}

#[test]
fn a_sink_that_cannot_fail_never_splits() {
    let written = sink::collector();
    written.clone().split_on(|error: &Infallible| match *error {}).write(vec![1, 2]).unwrap();
    assert_eq!(written.events(), [[1, 2]]);
}

#[cfg(feature = "testing")]
#[test]
fn both_faces_split_in_the_same_way() {
    use outflow::testing::block_on;
    use outflow::{AsyncSink, AsyncSinkExt};

    for seed in 0..200 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (n, largest) = (rng.usize(1..60), rng.usize(1..60));
        let answers = move |request: usize, batch: &Vec<usize>| match () {
            () if request % 13 == 12 => Err(Refused::Down),
            () if batch.len() > largest => Err(Refused::TooLarge),
            () => match batch.iter().find(|event| **event % 7 == seed as usize % 7) {
                Some(event) => Err(Refused::Malformed(*event)),
                None => Ok(()),
            },
        };
        let parts = [sink::collector(), sink::collector()];
        let logs = parts.clone();
        let log = logs[0].clone();
        let called = sink::from_fn(move |batch: &Vec<usize>| {
            log.write(batch.clone()).unwrap();
            answers(log.len(), batch)
        });
        let log = logs[1].clone();
        let awaited = sink::from_async_fn(move |batch: Vec<usize>| {
            log.write(batch.clone()).unwrap();
            std::future::ready(answers(log.len(), &batch))
        });
        let (called, awaited) = (called.split_on(is_of_the_batch), awaited.split_on(is_of_the_batch));
        assert_eq!(called.write((0..n).collect()), block_on(awaited.write((0..n).collect())));
        assert_eq!(parts[0].events(), parts[1].events());
    }
}
