//! A durable queue, and the store beneath it, against bare file operations and embedded stores, on the same disk.
//!
//! ```text
//! cargo run --release --manifest-path benches/durable/Cargo.toml   # `-- --quick` for a first look, without candidates,
//!                                                                  # `--only=redb` for some, `--only=million`
//! ```
//!
//! Ours or a candidate and what it is held against run in turn, and what is shown is the median of the pairwise ratios,
//! so that what else the machine does hits both. Rows of `durable_with` are the queue that a user has; those of `store` are
//! what is beneath it, as are the candidates'. A bar that one of the first two misses is named at the end. Events have 256 bytes. The files are made anew for each run, in the
//! folder that `OUTFLOW_BENCH_DIR` names, else in `target`: not in `/tmp`, which is often memory.

mod bare;
mod candidates;
mod million;
mod ours;
mod queue;
mod sync;

use std::path::Path;
use std::time::{Duration, Instant};

use candidates::{Candidate, Fjall, PersistentQueue, Redb, Sqlite};
use million::Found;
use ours::durable::Store;
use queue::Downstream;

/// When what was written has to survive the machine.
#[derive(Clone, Copy, PartialEq)]
pub enum Sync {
    Always,
    /// Within 100 ms.
    Every,
    Os,
}

pub const SIZE: usize = 256;

struct Case {
    name: String,
    ours: Box<dyn Fn(&Path) -> f64>,
    peer: Box<dyn Fn(&Path) -> f64>,
    /// The ratio that it was to have at most.
    bar: Option<f64>,
}

/// The microseconds an event that `writers` threads need to append `events` events, each `run` at once.
fn appending<C>(writers: usize, run: usize, events: usize, sync: Sync) -> impl Fn(&Path) -> f64
where
    C: Candidate,
{
    move |dir| {
        let store = C::open(dir, sync);
        let payload: Vec<Vec<u8>> = (0..run).map(|n| vec![n as u8; SIZE]).collect();
        let start = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..writers {
                scope.spawn(|| {
                    for _ in 0..events / writers / run {
                        store.append(&payload);
                    }
                });
            }
        });
        micros(start.elapsed(), events)
    }
}

/// The microseconds an event that delivering a backlog takes, acknowledged in groups of 1,000 and reclaimed.
fn delivering<C>(events: usize) -> impl Fn(&Path) -> f64
where
    C: Candidate,
{
    move |dir| {
        let payload: Vec<Vec<u8>> = (0..1000).map(|n| vec![n as u8; SIZE]).collect();
        let store = C::open(dir, Sync::Os);
        for _ in 0..events / payload.len() {
            store.append(&payload);
        }
        drop(store);
        let store = C::open(dir, Sync::Os);
        let start = Instant::now();
        assert_eq!(store.deliver(1000), events);
        micros(start.elapsed(), events)
    }
}

fn micros(time: Duration, events: usize) -> f64 {
    time.as_secs_f64() * 1e6 / events as f64
}

/// How many events a row has.
#[derive(Clone, Copy)]
struct Counts {
    /// Each synced.
    few: usize,
    /// Eight to a sync.
    some: usize,
    many: usize,
}

type Measure = Box<dyn Fn(&Path) -> f64>;

/// What is held against bare file operations: 1 writer, 8 writers, runs of 1,000, 1 writer that waits for no sync, with a sync
/// now and then and without, a backlog.
fn against_files(name: &str, counts: Counts, ours: [Option<Measure>; 6]) -> impl Iterator<Item = Case> {
    let Counts { few, some, many } = counts;
    let peers: [(&str, Measure, Option<f64>); 6] = [
        (
            "1 writer, Always; append and fdatasync",
            Box::new(move |dir| bare::append(dir, few, 1, true)),
            Some(1.4),
        ),
        (
            "8 writers, Always; append and fdatasync for 8",
            Box::new(move |dir| bare::append(dir, some, 8, true)),
            Some(1.5),
        ),
        (
            "runs of 1,000, Always; append and fdatasync for 1,000",
            Box::new(move |dir| bare::append(dir, many, 1000, true)),
            Some(2.0),
        ),
        ("1 writer, Every; a write each", Box::new(move |dir| bare::append(dir, many, 1, false)), None),
        ("1 writer, Os; a write each", Box::new(move |dir| bare::append(dir, many, 1, false)), Some(2.0)),
        (
            "a backlog of 100,000; reading the same bytes",
            Box::new(move |dir| bare::read(dir, many)),
            Some(5.0),
        ),
    ];
    ours.into_iter().zip(peers).filter_map(move |(ours, (what, peer, bar))| {
        Some(Case { name: format!("{name}: {what}"), ours: ours?, peer, bar })
    })
}

/// What is held against persistent-queue, whatever the policy.
fn against_persistent_queue(name: &str, events: usize, ours: impl Fn(Sync) -> Measure) -> Vec<Case> {
    let policies = [("Always", Sync::Always), ("Every", Sync::Every), ("Os", Sync::Os)];
    let case = |(policy, sync)| Case {
        name: format!("{name}: 8 writers, {policy}; persistent-queue, group"),
        ours: ours(sync),
        peer: Box::new(appending::<PersistentQueue>(8, 1, events, Sync::Always)),
        bar: Some(0.7),
    };
    policies.map(case).into()
}

fn store<C>(name: &str, counts: Counts) -> impl Iterator<Item = Case>
where
    C: Candidate + 'static,
{
    let Counts { few, some, many } = counts;
    against_files(
        name,
        counts,
        [
            Some(Box::new(appending::<C>(1, 1, few, Sync::Always))),
            Some(Box::new(appending::<C>(8, 1, some, Sync::Always))),
            Some(Box::new(appending::<C>(1, 1000, many, Sync::Always))),
            // The candidates know no such policy.
            None,
            Some(Box::new(appending::<C>(1, 1, many, Sync::Os))),
            Some(Box::new(delivering::<C>(many))),
        ],
    )
}

fn durable_with(name: &str, counts: Counts, downstream: Downstream) -> impl Iterator<Item = Case> {
    let Counts { few, some, many } = counts;
    against_files(
        name,
        counts,
        [
            Some(Box::new(queue::writing(1, 1, few, Sync::Always, downstream))),
            Some(Box::new(queue::writing(8, 1, some, Sync::Always, downstream))),
            Some(Box::new(queue::writing(1, 1000, many, Sync::Always, downstream))),
            Some(Box::new(queue::writing(1, 1, many, Sync::Every, downstream))),
            Some(Box::new(queue::writing(1, 1, many, Sync::Os, downstream))),
            // A sink that is stuck has nothing delivered.
            (downstream == Downstream::Ready).then(|| Box::new(queue::delivering(many)) as Measure),
        ],
    )
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let strict = arguments.iter().any(|argument| argument == "--strict");
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    let (rounds, scale): (usize, usize) = if quick { (3, 10) } else { (9, 1) };
    let home = std::env::var_os("OUTFLOW_BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Into::into);
    // It is not there if Cargo builds elsewhere.
    std::fs::create_dir_all(&home).expect("a folder on a disk");

    let counts = Counts { few: 2_000 / scale, some: 8_000 / scale, many: 100_000 };
    let few = 1_600 / scale;
    let mut all: Vec<Case> = durable_with("durable_with", counts, Downstream::Ready).collect();
    all.extend(against_persistent_queue("durable_with", few, |sync| {
        Box::new(queue::writing(8, 1, few, sync, Downstream::Ready))
    }));
    all.extend(durable_with("durable_with, sink stuck", counts, Downstream::Stuck));
    all.extend(store::<Store>("store", counts));
    all.extend(against_persistent_queue("store", few, |sync| Box::new(appending::<Store>(8, 1, few, sync))));
    if !quick {
        all.extend(store::<Redb>("redb", counts));
        all.extend(store::<Sqlite>("SQLite", counts));
        all.extend(store::<Fjall>("fjall", counts));
        all.extend(store::<PersistentQueue>("persistent-queue", counts));
    }
    println!("| | µs an event | against | ratio | bar | |\n| --- | --- | --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for case in all.iter().filter(|case| only.is_none_or(|only| case.name.contains(only))) {
        let run = |measure: &dyn Fn(&Path) -> f64| {
            let dir = tempfile::tempdir_in(&home).expect("a folder on a disk");
            measure(&dir.path().join("store"))
        };
        let (ours, peers): (Vec<_>, Vec<_>) = (0..rounds).map(|_| (run(&case.ours), run(&case.peer))).unzip();
        let ratio = median(ours.iter().zip(&peers).map(|(ours, peer)| ours / peer).collect());
        let verdict = match case.bar {
            None => ("".to_owned(), ""),
            Some(bar) => (bar.to_string(), if ratio <= bar { "met" } else { "MISSED" }),
        };
        if verdict.1 == "MISSED" && (case.name.starts_with("durable_with") || case.name.starts_with("store"))
        {
            missed.push(format!("{}: {ratio:.2}, and not {}", case.name, verdict.0));
        }
        println!(
            "| {} | {:.2} | {:.2} | {ratio:.2} | {} | {} |",
            case.name,
            median(ours),
            median(peers),
            verdict.0,
            verdict.1,
        );
    }
    if only.is_none_or(|only| only == "million") {
        millions(&home, rounds.div_ceil(3), 1_000_000 / scale);
    }
    println!("\nbars that were missed: {}", missed.len());
    missed.iter().for_each(|missed| println!("  {missed}"));
    if strict && !missed.is_empty() {
        std::process::exit(1);
    }
}

/// Time and memory of the queue that a user has, at a million events and a tenth of that.
fn millions(home: &Path, rounds: usize, most: usize) {
    println!("\n| | µs an event | seconds | MiB of the process |\n| --- | --- | --- | --- |");
    let show = |name: &str, count: usize, found: Vec<Found>| {
        let memory: Option<Vec<f64>> = found.iter().map(|found| found.memory).collect();
        let micros = median(found.into_iter().map(|found| found.micros).collect());
        let memory = memory.map_or("?".to_owned(), |memory| format!("{:.1}", median(memory)));
        println!("| {count} events: {name} | {micros:.2} | {:.2} | {memory} |", micros * count as f64 / 1e6);
    };
    let in_folder = |measure: &dyn Fn(&Path) -> [Found; 2]| -> [Vec<Found>; 2] {
        let round = |_| {
            let dir = tempfile::tempdir_in(home).expect("a folder on a disk");
            measure(&dir.path().join("store")).into()
        };
        let (first, second): (Vec<_>, Vec<_>) =
            (0..rounds).map(round).collect::<Vec<(Found, Found)>>().into_iter().unzip();
        [first, second]
    };
    for count in [most / 10, most] {
        let [always, os] = in_folder(&|path| {
            let in_and_out = |name, sync| million::in_and_out(&path.with_extension(name), count, sync);
            [in_and_out("always", Sync::Always), in_and_out("os", Sync::Os)]
        });
        show("in and out in runs of 1,000, Always", count, always);
        show("in and out in runs of 1,000, Os", count, os);
        let [opened, delivered] = in_folder(&|path| million::opened_and_delivered(path, count));
        show("opened with all of them waiting", count, opened);
        show("then delivered, until the queue is closed", count, delivered);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
