//! Throughput, against the same written by hand.
//!
//! ```text
//! cargo bench --bench throughput                  # criterion
//! cargo bench --bench throughput -- --ratios      # ours against the twin, in turn; `--only=queue` for some
//! ```
//!
//! Criterion runs one benchmark after another, so a ratio of two of its figures has the noise of the machine
//! in it. `--ratios` runs ours and the twin in turn and takes the median of the pairwise ratios. It names the bars that
//! were missed; with `--strict` it fails then.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use outflow::queue::{Batch, QueueOptions};
use outflow::retry::{Breaker, Constant, ExponentialBackoff};
use outflow::{Broadcaster, Closing, Flushing, Meter, Sink, SinkExt, WriteError, channel, sink};

/// Runs so many events and answers how long that took.
type Run = Box<dyn FnMut(u64) -> Duration>;

/// A benchmark, its twin written by hand, and what it is held to.
struct Case {
    name: &'static str,
    ours: Run,
    twin: Option<Run>,
    /// The ratio that it must not exceed.
    bar: Option<f64>,
    /// What go-events takes on such a machine, in nanoseconds an event.
    go_events: Option<f64>,
    /// Events in a sample.
    events: u64,
}

fn timed(f: impl FnOnce()) -> Duration {
    let start = Instant::now();
    f();
    start.elapsed()
}

/// Writes to a sink whose type the optimiser knows, as a caller would: an event that comes back is looked at.
#[inline(never)]
fn write_all<S: Sink<u64>>(sink: &S, events: u64) {
    for event in 0..events {
        if let Err(refused) = sink.write(black_box(event)) {
            black_box(refused.into_event());
        }
    }
}

fn through<S: Sink<u64> + 'static>(sink: S) -> Run {
    Box::new(move |events| timed(|| write_all(&sink, events)))
}

/// Counts what it is written; what every chain below ends in.
#[derive(Default)]
struct Count(AtomicU64);

impl Sink<u64> for Count {
    type Error = Infallible;

    #[inline]
    fn write(&self, event: u64) -> Result<(), WriteError<u64, Infallible>> {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(event), Ordering::Relaxed);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

/// A chain written by hand: the same closures, the same signature, and the event goes back on an error.
struct ByHand<F>(F);

impl<F> Sink<u64> for ByHand<F>
where
    F: Fn(u64) -> Result<(), WriteError<u64, Infallible>>,
{
    type Error = Infallible;

    #[inline]
    fn write(&self, event: u64) -> Result<(), WriteError<u64, Infallible>> {
        (self.0)(event)
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

fn keep(event: &u64) -> bool {
    *event != u64::MAX
}

fn bump(event: &u64) -> u64 {
    event.wrapping_mul(3)
}

/// The writer of an event that is dropped as asked learns all the same that the sink is closed.
fn rejected(sink: &Count, event: u64) -> Result<(), WriteError<u64, Infallible>> {
    if sink.is_closed() { Err(WriteError::Closed(event)) } else { Ok(()) }
}

fn chains() -> Vec<Case> {
    let one = Count::default();
    let four = Count::default();
    let eight = Count::default();
    let case = |name, ours, twin, bar| Case {
        name,
        ours,
        twin: Some(twin),
        bar,
        go_events: None,
        events: 1_000_000,
    };
    vec![
        case(
            "chain of 1 combinator",
            through(Count::default().filter(keep)),
            through(ByHand(move |event| if keep(&event) { one.write(event) } else { rejected(&one, event) })),
            None,
        ),
        case(
            "chain of 4 combinators",
            through(Count::default().map(bump).filter(keep).map(bump).filter(keep)),
            through(ByHand(move |event| {
                if !keep(&event) {
                    return rejected(&four, event);
                }
                let bumped = bump(&event);
                if !keep(&bumped) {
                    return rejected(&four, event);
                }
                four.write(bump(&bumped)).map_err(|refused| refused.map_event(|_| event))
            })),
            Some(1.10),
        ),
        case(
            "chain of 8 combinators",
            through(
                Count::default()
                    .map(bump)
                    .filter(keep)
                    .map(bump)
                    .filter(keep)
                    .map(bump)
                    .filter(keep)
                    .map(bump)
                    .filter(keep),
            ),
            through(ByHand(move |event| {
                let mut passed = event;
                for _ in 0..4 {
                    if !keep(&passed) {
                        return rejected(&eight, event);
                    }
                    passed = bump(&passed);
                }
                eight.write(passed).map_err(|refused| refused.map_event(|_| event))
            })),
            None,
        ),
    ]
}

fn retries() -> Vec<Case> {
    let second = Duration::from_secs(1);
    let case =
        |name, ours| Case { name, ours, twin: None, bar: None, go_events: Some(401.0), events: 1_000_000 };
    vec![
        case("retry that succeeds, breaker", through(Count::default().retry(Breaker::new(5, second)))),
        case(
            "retry that succeeds, exponential",
            through(Count::default().retry(ExponentialBackoff::default())),
        ),
        case("retry that succeeds, constant", through(Count::default().retry(Constant::new(second)))),
    ]
}

/// A meter costs what its counts do, and two looks at the clock and the record once its latency is asked for.
fn meters() -> Vec<Case> {
    let case = |name, ours| Case { name, ours, twin: None, bar: None, go_events: None, events: 100_000 };
    vec![
        case("metered", through(Count::default().metered(&Meter::new()))),
        #[cfg(feature = "metrics")]
        case("metered, with its latency", {
            let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
            let meter = Meter::new();
            metrics::with_local_recorder(&recorder, || {
                outflow::metrics::Publisher::new().latency("bench", &meter);
            });
            let sink = Count::default().metered(&meter);
            Box::new(move |events| {
                let took = timed(|| write_all(&sink, events));
                recorder.handle().run_upkeep();
                took
            })
        }),
    ]
}

/// Has each of `producers` threads write its share, and waits until `drain` says that all is delivered.
fn produce<W>(producers: u64, events: u64, write: &W, drain: impl FnOnce())
where
    W: Fn(u64) + Sync,
{
    if producers == 1 {
        (0..events).for_each(write);
    } else {
        thread::scope(|scope| {
            for _ in 0..producers {
                scope.spawn(|| (0..events / producers).for_each(write));
            }
        });
    }
    drain();
}

fn queue_of(producers: u64) -> Run {
    Box::new(move |events| {
        let queue = Count::default().queued();
        timed(|| {
            produce(producers, events, &|event| _ = black_box(queue.write(event)), || {
                queue.close().wait().expect("nothing is aborted");
            });
        })
    })
}

fn keyed_of(producers: u64) -> Run {
    Box::new(move |events| {
        let queue = Count::default().queued_with(QueueOptions::default().keyed(8, |event| event % 1000));
        timed(|| {
            produce(producers, events, &|event| _ = black_box(queue.write(event)), || {
                queue.close().wait().expect("nothing is aborted");
            });
        })
    })
}

fn bare_channel(producers: u64) -> Run {
    Box::new(move |events| {
        let (sender, receiver) = crossbeam_channel::unbounded::<u64>();
        let count = Count::default();
        let worker = thread::spawn(move || {
            for event in receiver {
                let _ = count.write(event);
            }
        });
        timed(|| {
            produce(producers, events, &|event| _ = black_box(sender.send(event)), || {});
            drop(sender);
            worker.join().expect("the worker does not panic");
        })
    })
}

fn queues() -> Vec<Case> {
    let case = |name, ours, producers, bar, go_events| Case {
        name,
        ours,
        twin: Some(bare_channel(producers)),
        bar,
        go_events,
        events: 400_000,
    };
    vec![
        case("queue, 1 producer", queue_of(1), 1, Some(1.35), Some(122.0)),
        case("queue, 2 producers", queue_of(2), 2, Some(1.2), None),
        case("queue, 4 producers", queue_of(4), 4, None, Some(231.0)),
        // The twin is a plain queue.
        Case {
            twin: Some(queue_of(1)),
            ..case("keyed, 1,000 keys, 8 at once", keyed_of(1), 1, Some(2.5), None)
        },
        case(
            "queue, batches of 100",
            Box::new(|events| {
                let queue = sink::for_each(|batch: Vec<u64>| drop(black_box(batch))).batched(Batch::of(100));
                timed(|| {
                    produce(1, events, &|event| _ = black_box(queue.write(event)), || {
                        queue.close().wait().expect("nothing is aborted");
                    });
                })
            }),
            1,
            None,
            None,
        ),
        case(
            "channel",
            Box::new(|events| {
                let (sink, received) = channel::unbounded::<u64>();
                let count = Count::default();
                let worker = thread::spawn(move || {
                    for event in received {
                        let _ = count.write(event);
                    }
                });
                timed(|| {
                    produce(1, events, &|event| _ = black_box(sink.write(event)), || {
                        sink.close().wait().expect("nothing is aborted");
                        worker.join().expect("the reader does not panic");
                    });
                })
            }),
            1,
            None,
            None,
        ),
    ]
}

type Closure = Arc<dyn Fn(&u64) + Send + Sync>;

/// A loop over boxed closures, which is what a broadcaster without adds, removes and closes would be.
fn closures(sinks: usize) -> Run {
    let closures: Vec<Closure> = (0..sinks)
        .map(|_| {
            let count = Count::default();
            Arc::new(move |event: &u64| _ = count.write(*event)) as Closure
        })
        .collect();
    through(ByHand(move |event| {
        closures.iter().for_each(|closure| closure(&event));
        Ok(())
    }))
}

fn broadcast(sinks: usize) -> Run {
    let broadcaster = Broadcaster::new();
    broadcaster.extend((0..sinks).map(|_| Count::default())).expect("it is open");
    through(broadcaster)
}

fn broadcast_to_queues(queues: usize, retry: bool) -> Run {
    Box::new(move |events| {
        let broadcaster = Broadcaster::new();
        for _ in 0..queues {
            let added = if retry {
                broadcaster.add(Count::default().retry(Breaker::new(5, Duration::from_secs(1))).queued())
            } else {
                broadcaster.add(Count::default().queued())
            };
            added.expect("it is open");
        }
        timed(|| {
            write_all(&broadcaster, events);
            broadcaster.close().wait().expect("nothing is aborted");
        })
    })
}

fn broadcasts() -> Vec<Case> {
    let direct = |name, sinks, bar, go_events, events| Case {
        name,
        ours: broadcast(sinks),
        twin: Some(closures(sinks)),
        bar,
        go_events: Some(go_events),
        events,
    };
    let queued = |name, queues, retry, go_events| Case {
        name,
        ours: broadcast_to_queues(queues, retry),
        twin: None,
        bar: None,
        go_events,
        events: 100_000,
    };
    vec![
        direct("broadcast to 1", 1, None, 487.0, 1_000_000),
        direct("broadcast to 10", 10, Some(1.5), 544.0, 500_000),
        direct("broadcast to 100", 100, None, 740.0, 50_000),
        direct("broadcast to 1,000", 1000, Some(1.3), 3894.0, 5_000),
        queued("broadcast to 1 queue", 1, false, None),
        queued("broadcast to 2 queues", 2, false, None),
        queued("broadcast to 10 queues", 10, false, None),
        queued("broadcast to 2 queued retries", 2, true, Some(1208.0)),
    ]
}

fn cases() -> Vec<Case> {
    chains().into_iter().chain(retries()).chain(meters()).chain(queues()).chain(broadcasts()).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers whether every bar is met.
fn ratios(quick: bool) -> bool {
    let rounds = if quick { 5 } else { 41 };
    println!(
        "{:<34} {:>9} {:>9} {:>6} {:>6} {:>10} {:>6}",
        "ns an event, medians", "outflow", "by hand", "ratio", "bar", "go-events", "times"
    );
    let only = std::env::args().find_map(|argument| argument.strip_prefix("--only=").map(str::to_owned));
    let mut missed = Vec::new();
    for mut case in cases() {
        if only.as_ref().is_some_and(|only| !case.name.contains(&**only)) {
            continue;
        }
        let events = if quick { case.events / 10 } else { case.events };
        let per_event = |time: Duration| time.as_nanos() as f64 / events as f64;
        let (mut ours, mut theirs, mut pairwise) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=rounds {
            let mut measure_ours = || per_event((case.ours)(events));
            // Each goes first in every other round, so that neither has the warmer machine.
            let (a, b) = match &mut case.twin {
                None => (measure_ours(), None),
                Some(twin) if round % 2 == 0 => (measure_ours(), Some(per_event(twin(events)))),
                Some(twin) => {
                    let b = per_event(twin(events));
                    (measure_ours(), Some(b))
                }
            };
            if round == 0 {
                continue; // To warm up.
            }
            ours.push(a);
            if let Some(b) = b {
                theirs.push(b);
                pairwise.push(a / b);
            }
        }
        let ours = median(ours);
        if let Some(bar) = case.bar.filter(|bar| median(pairwise.clone()) > *bar) {
            missed.push(format!("{} ({:.2}, bar {bar:.2})", case.name, median(pairwise.clone())));
        }
        let or_dash = |values: Vec<f64>, digits| match values[..] {
            [] => "-".to_string(),
            _ => format!("{:.digits$}", median(values)),
        };
        println!(
            "{:<34} {ours:>9.1} {:>9} {:>6} {:>6} {:>10} {:>6}",
            case.name,
            or_dash(theirs, 1),
            or_dash(pairwise, 2),
            case.bar.map_or("-".to_string(), |bar| format!("{bar:.2}")),
            case.go_events.map_or("-".to_string(), |go| format!("{go:.0}")),
            case.go_events.map_or("-".to_string(), |go| format!("{:.1}", go / ours)),
        );
    }
    if !missed.is_empty() {
        println!("missed: {}", missed.join(", "));
    }
    missed.is_empty()
}

fn measure(criterion: &mut Criterion) {
    for case in cases() {
        let mut group = criterion.benchmark_group(case.name);
        group.sample_size(10).throughput(Throughput::Elements(case.events));
        let runs = [("outflow", Some(case.ours)), ("by hand", case.twin)];
        for (name, run) in runs {
            if let Some(mut run) = run {
                group.bench_function(name, |bencher| {
                    bencher.iter_custom(|samples| (0..samples).map(|_| run(case.events)).sum());
                });
            }
        }
        group.finish();
    }
}

fn main() {
    let asks = |flag: &str| std::env::args().any(|argument| argument == flag);
    if asks("--ratios") {
        let met = ratios(asks("--quick"));
        // Not unless asked: on a machine that does other things as well, a ratio says little.
        if asks("--strict") && !met {
            std::process::exit(1);
        }
    } else {
        let mut criterion = Criterion::default().configure_from_args();
        measure(&mut criterion);
        criterion.final_summary();
    }
}
