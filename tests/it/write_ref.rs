//! Every override of `write_ref` does what the provided one does: the same results, the same effects.

use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::planned_panic;
use outflow::retry::{Breaker, Constant, ExponentialBackoff};
use outflow::{
    Broadcaster, Buffer, Closing, DeadLetter, Flushing, Meter, Rate, Sink, SinkExt, WriteError, channel, sink,
};

/// Has `write_ref` provided, whatever the sink's own would do.
struct Provided<S>(S);

impl<S: Sink<u32>> Sink<u32> for Provided<S> {
    type Error = S::Error;

    fn write(&self, event: u32) -> Result<(), WriteError<u32, S::Error>> {
        self.0.write(event)
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

type Log = Arc<Mutex<Vec<(&'static str, u32)>>>;

/// Logs what it gets; even numbers above 90 fail.
fn fallible(name: &'static str, log: &Log) -> impl Sink<u32, Error = u32> + Send + Sync + use<> {
    let log = Arc::clone(log);
    sink::from_fn(move |event: &u32| {
        log.lock().unwrap().push((name, *event));
        if *event > 90 && event % 2 == 0 { Err(*event + 1) } else { Ok(()) }
    })
}

fn reliable(name: &'static str, log: &Log) -> impl Sink<u32, Error = Infallible> + Send + Sync + use<> {
    let log = Arc::clone(log);
    sink::from_fn(move |event: &u32| {
        log.lock().unwrap().push((name, *event));
        Ok(())
    })
}

fn outcomes<S>(sink: &S, log: &Log, extra: impl Fn(&S) -> String) -> Vec<String>
where
    S: Sink<u32>,
    S::Error: Debug,
{
    let mut seen = Vec::new();
    for event in [1, 2, 3, 91, 92, 94, 95] {
        let outcome = match sink.write_ref(&event) {
            Ok(()) => "ok".to_string(),
            Err(WriteError::Closed(())) => "closed".to_string(),
            Err(WriteError::Failed { event: (), error }) => format!("failed {error:?}"),
        };
        seen.push(format!("{event}: {outcome}"));
    }
    let _ = sink.flush().within(Duration::from_secs(10));
    seen.push(format!("{:?} {}", log.lock().unwrap(), extra(sink)));
    let _ = sink.close().within(Duration::from_secs(10));
    for event in [1, 2, 92] {
        seen.push(format!("closed: {:?}", sink.write_ref(&event).map_err(|refused| refused.is_closed())));
    }
    seen.push(format!("{:?} {}", log.lock().unwrap(), extra(sink)));
    seen
}

fn same<S>(name: &str, make: impl Fn(&Log) -> S)
where
    S: Sink<u32>,
    S::Error: Debug,
{
    same_with(name, make, |_| String::new());
}

fn same_with<S>(name: &str, make: impl Fn(&Log) -> S, extra: impl Fn(&S) -> String)
where
    S: Sink<u32>,
    S::Error: Debug,
{
    let (ours, theirs) = (Log::default(), Log::default());
    let overridden = outcomes(&make(&ours), &ours, &extra);
    let provided = outcomes(&Provided(make(&theirs)), &theirs, |sink| extra(&sink.0));
    assert_eq!(overridden, provided, "{name}");
    assert!(overridden.iter().any(|line| line.contains("Err(true)")), "{name} is not closed: {overridden:?}");
}

#[test]
fn of_every_leaf() {
    same("from_fn", |log| fallible("a", log));
    same("from_fn_mut", |log| {
        let log = Arc::clone(log);
        let mut before = 0;
        sink::from_fn_mut(move |event: &u32| {
            log.lock().unwrap().push(("a", *event + before));
            before = *event;
            if *event == 92 { Err("no") } else { Ok(()) }
        })
    });
    same("for_each", |log| {
        let log = Arc::clone(log);
        sink::for_each(move |event: u32| log.lock().unwrap().push(("a", event)))
    });
    same("discard", |_| sink::discard());
    same_with("collector", |_| sink::collector(), |sink| format!("{:?}", sink.events()));
}

#[test]
fn of_every_transparent_combinator() {
    same("filter", |log| fallible("a", log).filter(|event| event % 3 != 0));
    same("map", |log| fallible("a", log).map(|event: &u32| event + 1));
    same("map_owned", |log| fallible("a", log).map_owned(|event: u32| event + 1, |event| event - 1));
    same("filter_map", |log| fallible("a", log).filter_map(|event: &u32| (*event != 2).then_some(event + 1)));
    same("inspect", |log| {
        let inner = Arc::clone(log);
        fallible("a", log).inspect(move |event: &u32| inner.lock().unwrap().push(("seen", *event)))
    });
    same_with("tee", |log| reliable("a", log).tee(reliable("b", log)), |tee| tee.missed().to_string());
    same_with(
        "tee with one closed",
        |log| {
            let left = reliable("a", log);
            drop(left.close());
            left.tee(reliable("b", log))
        },
        |tee| tee.missed().to_string(),
    );
    same_with(
        "tee with the other closed",
        |log| {
            let right = reliable("b", log);
            drop(right.close());
            reliable("a", log).tee(right)
        },
        |tee| tee.missed().to_string(),
    );
    same("fallback", |log| fallible("a", log).fallback(fallible("b", log)));
    same("fallback of a closed one", |log| {
        let primary = fallible("a", log);
        drop(primary.close());
        primary.fallback(reliable("b", log))
    });
    same("fallback to a closed one", |log| {
        let other = fallible("b", log);
        drop(other.close());
        fallible("a", log).fallback(other)
    });
    same("dead_letter", |log| {
        let inner = Arc::clone(log);
        fallible("a", log).dead_letter(sink::from_fn(move |letter: &DeadLetter<u32, u32>| {
            inner.lock().unwrap().push(("letter", letter.event * 1000 + letter.error));
            if letter.event == 94 { Err("no letters") } else { Ok(()) }
        }))
    });
    same("dead_letter to a closed one", |log| {
        let letters = sink::discard();
        drop(letters.close());
        fallible("a", log).dead_letter(letters)
    });
    same_with("lossy", |log| fallible("a", log).lossy(), |lossy| lossy.dropped().to_string());
    same("catch_panic", |log| {
        fallible("a", log)
            .inspect(|event| {
                if *event == 3 {
                    planned_panic();
                }
            })
            .catch_panic()
    });
    let seen = Mutex::new(Vec::new());
    same("metered", |log| {
        let meter = Meter::new();
        seen.lock().unwrap().push(meter.clone());
        fallible("a", log).metered(&meter)
    });
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen[0].snapshot(), seen[1].snapshot());
    assert_eq!(seen[0].snapshot().events, 10);
    same("keep_open", |log| fallible("a", log).keep_open().closeable());
    same("close_with_last", |log| fallible("a", log).close_with_last());
    same("close_on_failure", |log| fallible("a", log).close_on_failure());
    same("closeable", |log| fallible("a", log).closeable());
    same("retry", |log| fallible("a", log).retry(Constant::new(Duration::ZERO)).max_attempts(3));
    same("retry with a breaker", |log| {
        fallible("a", log).retry(Breaker::new(2, Duration::from_micros(10))).give_up_when(|f| f.attempt == 2)
    });
    same("retry with a backoff per write", |log| {
        let backoff = ExponentialBackoff::default().base(Duration::ZERO).factor(Duration::from_micros(1));
        fallible("a", log).retry(backoff.per_write()).max_attempts(3)
    });
    same("rate_limit", |log| fallible("a", log).rate_limit(Rate::per_second(1_000_000).burst(3)));
    same("expire_after", |log| {
        let age = |event: &u32| Duration::from_secs(u64::from(event % 3));
        fallible("a", log).expire_after(Duration::from_secs(1), age)
    });
    same("split_on", |log| {
        let batches = fallible("a", log).map(|batch: &Vec<u32>| batch.iter().sum::<u32>());
        batches.split_on(|_| true).map(|event: &u32| vec![*event, 1])
    });
    same("shared", |log| fallible("a", log).shared());
    same("boxed", |log| Box::new(fallible("a", log)));
    same("four at once", |log| {
        fallible("a", log)
            .map(|event: &u32| event + 1)
            .filter(|event| event % 5 != 0)
            .lossy()
            .tee(reliable("b", log))
            .inspect(|_| {})
    });
}

#[test]
fn of_queue_channel_and_broadcaster() {
    same("queue", |log| reliable("a", log).queued());
    same("bounded queue", |log| reliable("a", log).queued_with(Buffer::bounded(100)));
    let events = Mutex::new(Vec::new());
    same("channel", |_| {
        let (sink, received) = channel::bounded(4);
        events.lock().unwrap().push(received);
        sink.map(|event: &u32| *event).filter(|event| *event < 4)
    });
    let events: Vec<Vec<u32>> =
        events.into_inner().unwrap().into_iter().map(|events| events.into_iter().collect()).collect();
    assert_eq!(events[0], events[1]);
    let kept = Mutex::new(Vec::new());
    same("full channel", |_| {
        let (sink, received) = channel::with(Buffer::bounded(2).reject());
        kept.lock().unwrap().push(received);
        sink
    });
    same_with(
        "broadcaster",
        |log| {
            let broadcaster = Broadcaster::new();
            broadcaster.add(reliable("a", log)).unwrap();
            broadcaster.add(reliable("b", log)).unwrap();
            let ends = reliable("c", log);
            drop(ends.close());
            broadcaster.add(ends).unwrap();
            broadcaster
        },
        |broadcaster| format!("{} {}", broadcaster.ended().undelivered, broadcaster.len()),
    );
    let watchers = Mutex::new(Vec::new());
    same_with(
        "broadcaster with subscriptions",
        |_| {
            let broadcaster = Broadcaster::new();
            let first = broadcaster.subscribe(Buffer::unbounded());
            drop(broadcaster.subscribe(Buffer::unbounded()));
            let last = broadcaster.subscribe(Buffer::bounded(3).drop_oldest());
            watchers.lock().unwrap().push([first, last]);
            broadcaster
        },
        |broadcaster| broadcaster.len().to_string(),
    );
    let watched: Vec<Vec<(Vec<u32>, u64)>> = watchers
        .into_inner()
        .unwrap()
        .iter()
        .map(|watchers| {
            watchers.iter().map(|watcher| (watcher.iter().collect(), watcher.dropped())).collect()
        })
        .collect();
    assert_eq!(watched[0], [(vec![1, 2, 3, 91, 92, 94, 95], 0), (vec![92, 94, 95], 4)]);
    assert_eq!(watched[0], watched[1]);
    same_with("empty broadcaster", |_| Broadcaster::new(), |broadcaster| broadcaster.unheard().to_string());
}
