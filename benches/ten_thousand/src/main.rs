//! Ten thousand queues against go-events, and a queue against a channel and a thread.
//!
//! ```text
//! cargo run --release --manifest-path benches/ten_thousand/Cargo.toml       # two minutes at most
//!     -- --quick           # a first look, in some seconds: a tenth of everything
//!     -- --only=fan-out    # only the rows whose names have that in them
//!     OUTFLOW_BENCH_DEDICATED=1 cargo run ...   # a thread for each queue, instead of the pool
//!     -- --strict          # exits with 1 if a bar is missed
//! ```
//!
//! Ours and the peer run in turn, and what is shown is the median of the pairwise ratios, so that what else the machine
//! does hits both. Everything is delivered, and counted. What holds ten thousand queues is a process of its own, ours
//! as well as go-events', so that each run begins with a fresh heap.
//!
//! go-events is measured where Go and its package are: `apt-get install golang-go golang-github-docker-go-events-dev`.

mod async_queue;
mod contest;
mod fan_out;
mod go;
mod log;
mod many;
mod queue;

use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, process, thread};

use crate::contest::Contest;

/// What still runs then hangs: no run of the benchmark, or of a process that it starts, takes that long.
const LIMIT: Duration = Duration::from_secs(300);

/// What runs now.
static RUNNING: Mutex<String> = Mutex::new(String::new());

fn stop_at_limit() {
    thread::spawn(|| {
        thread::sleep(LIMIT);
        let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner).clone();
        eprintln!("stopped after {} s, in: {running}", LIMIT.as_secs());
        process::exit(2);
    });
}

struct Options {
    quick: bool,
    strict: bool,
    only: String,
}

impl Options {
    fn parse() -> Result<Self, String> {
        let mut options = Self { quick: false, strict: false, only: String::new() };
        for argument in env::args().skip(1) {
            match argument.split_once('=') {
                None if argument == "--quick" => options.quick = true,
                None if argument == "--strict" => options.strict = true,
                Some(("--only", only)) => options.only = only.into(),
                _ => {
                    return Err(format!("{argument}? There are --quick, --strict and --only=PART-OF-A-NAME"));
                }
            }
        }
        Ok(options)
    }
}

fn contests(quick: bool) -> Vec<Contest> {
    [
        many::contests(quick),
        queue::contests(quick),
        async_queue::contests(quick),
        fan_out::contests(quick),
        log::contests(quick),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn main() -> ExitCode {
    stop_at_limit();
    if let Some(figures) = many::of_a_child() {
        figures.iter().for_each(|figure| println!("{figure}"));
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse() {
        Ok(options) => options,
        Err(what) => {
            eprintln!("{what}");
            return ExitCode::from(2);
        }
    };

    let start = Instant::now();
    let cores = thread::available_parallelism().map_or(0, |cores| cores.get());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!(
        "cores: {cores} (the bars are for 2), load before the run: {}",
        load.split(' ').next().unwrap_or("unknown")
    );
    if let Err(why) = go::events() {
        println!("go-events is skipped: {why}");
    }
    println!("\n| | unit | outflow | peer | ratio | bar | | rounds |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for contest in contests(options.quick) {
        if !contest.rows.iter().any(|row| row.name.contains(&options.only)) {
            continue;
        }
        *RUNNING.lock().unwrap_or_else(PoisonError::into_inner) = contest.rows[0].name.clone();
        for result in contest.run(options.quick) {
            if !result.row.name.contains(&options.only) {
                continue;
            }
            println!("{result}");
            if result.is_missed() {
                missed.push(result.row.name);
            }
        }
    }
    println!("\ntook {} s; bars missed: {}", start.elapsed().as_secs(), missed.len());
    missed.iter().for_each(|name| println!("- {name}"));
    if options.quick {
        println!("a quick look: too short to be held to");
    }
    if options.strict && !missed.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
