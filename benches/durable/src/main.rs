//! The store beneath a durable queue against embedded stores and against bare file operations, on the same disk.
//!
//! ```text
//! cargo run --release --manifest-path benches/durable/Cargo.toml            # `-- --quick` for a first look,
//!                                                                           # `--only=redb` for some
//! ```
//!
//! Ours or a candidate and what it is held against run in turn, and what is shown is the median of the pairwise ratios,
//! so that what else the machine does hits both. Events have 256 bytes. The files are made anew for each run, in the
//! folder that `OUTFLOW_BENCH_DIR` names, else in `target`: not in `/tmp`, which is often memory.

mod bare;
mod candidates;
mod ours;

use std::path::Path;
use std::time::{Duration, Instant};

use candidates::{Candidate, Fjall, PersistentQueue, Redb, Sqlite};
use ours::durable::Store;

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
    bar: f64,
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

fn cases<C>(name: &str, scale: usize) -> Vec<Case>
where
    C: Candidate + 'static,
{
    let case = |what: &str, ours: Box<dyn Fn(&Path) -> f64>, peer: Box<dyn Fn(&Path) -> f64>, bar: f64| {
        Case { name: format!("{name}: {what}"), ours, peer, bar }
    };
    let (few, some, many) = (2_000 / scale, 8_000 / scale, 100_000);
    vec![
        case(
            "1 writer, Always; append and fdatasync",
            Box::new(appending::<C>(1, 1, few, Sync::Always)),
            Box::new(move |dir| bare::append(dir, few, 1, true)),
            1.4,
        ),
        case(
            "8 writers, Always; append and fdatasync for 8",
            Box::new(appending::<C>(8, 1, some, Sync::Always)),
            Box::new(move |dir| bare::append(dir, some, 8, true)),
            1.5,
        ),
        case(
            "runs of 1,000, Always; append and fdatasync for 1,000",
            Box::new(appending::<C>(1, 1000, many, Sync::Always)),
            Box::new(move |dir| bare::append(dir, many, 1000, true)),
            2.0,
        ),
        case(
            "1 writer, Os; a write each",
            Box::new(appending::<C>(1, 1, many, Sync::Os)),
            Box::new(move |dir| bare::append(dir, many, 1, false)),
            2.0,
        ),
        case(
            "a backlog of 100,000; reading the same bytes",
            Box::new(delivering::<C>(many)),
            Box::new(move |dir| bare::read(dir, many)),
            5.0,
        ),
    ]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let strict = arguments.iter().any(|argument| argument == "--strict");
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    let (rounds, scale) = if quick { (3, 4) } else { (9, 1) };
    let home = std::env::var_os("OUTFLOW_BENCH_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"), Into::into);

    let mut all = cases::<Store>("ours", scale);
    for (name, sync) in [("Always", Sync::Always), ("Every", Sync::Every), ("Os", Sync::Os)] {
        let events = 1_600 / scale;
        all.push(Case {
            name: format!("ours: 8 writers, {name}; persistent-queue, group"),
            ours: Box::new(appending::<Store>(8, 1, events, sync)),
            peer: Box::new(appending::<PersistentQueue>(8, 1, events, Sync::Always)),
            bar: 0.7,
        });
    }
    all.extend(cases::<Redb>("redb", scale));
    all.extend(cases::<Sqlite>("SQLite", scale));
    all.extend(cases::<Fjall>("fjall", scale));
    all.extend(cases::<PersistentQueue>("persistent-queue", scale));
    println!("| | µs an event | against | ratio | bar | |\n| --- | --- | --- | --- | --- | --- |");
    let mut missed = 0;
    for case in all.iter().filter(|case| only.is_none_or(|only| case.name.contains(only))) {
        let run = |measure: &dyn Fn(&Path) -> f64| {
            let dir = tempfile::tempdir_in(&home).expect("a folder on a disk");
            measure(&dir.path().join("store"))
        };
        let (ours, peers): (Vec<_>, Vec<_>) = (0..rounds).map(|_| (run(&case.ours), run(&case.peer))).unzip();
        let ratio = median(ours.iter().zip(&peers).map(|(ours, peer)| ours / peer).collect());
        let met = ratio <= case.bar;
        missed += usize::from(!met && case.name.starts_with("ours"));
        println!(
            "| {} | {:.2} | {:.2} | {ratio:.2} | {} | {} |",
            case.name,
            median(ours),
            median(peers),
            case.bar,
            if met { "met" } else { "MISSED" },
        );
    }
    println!("\nbars that ours missed: {missed}");
    if strict && missed > 0 {
        std::process::exit(1);
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
