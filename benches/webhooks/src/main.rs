//! Requests a second of the asynchronous webhook sink, against loops written by hand over the same client.
//!
//! ```text
//! cargo run --release --manifest-path benches/webhooks/Cargo.toml   # half a minute
//!     -- --quick     # a first look, in some seconds
//!     -- --strict    # exits with 1 if the bar is missed
//! ```
//!
//! Each loop posts the same events, as JSON, one after the other on each of its connections, reads each answer to its
//! end, and gives it ten seconds. Ours and the peer run in turn on a two-thread runtime, and what is shown is the median
//! of the pairwise ratios, so that what else the machine does hits both. The endpoint is a process of its own.
//!
//! One connection is measured with everything on one processor, so that what counts there is the work of a request.

mod endpoint;
mod loops;

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tokio::runtime::{Builder, Runtime};

/// What still runs then hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// How often each is measured in a set-up.
const ROUNDS: usize = 3;

/// At least so many requests of ours for one of the peer.
const BAR: f64 = 0.9;

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Has this thread, and what it starts, run on one processor.
fn on_one_processor() {
    let mut one = CpuSet::new();
    one.set(0).expect("there is one");
    if let Err(error) = sched_setaffinity(Pid::from_raw(0), &one) {
        eprintln!("not on one processor: {error}");
    }
}

/// Makes a loop with this many connections. What it returns posts so many events over each of them.
type Loop = fn(&Runtime, &str, usize) -> Box<dyn FnMut(usize)>;

/// Requests a second.
fn rate(requests: usize, run: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    run();
    requests as f64 / begun.elapsed().as_secs_f64()
}

fn main() -> ExitCode {
    if env::args().any(|argument| argument == endpoint::FLAG) {
        endpoint::serve();
    }
    thread::spawn(|| {
        thread::sleep(LIMIT);
        eprintln!("stopped after {LIMIT:?}");
        process::exit(2);
    });
    let quick = env::args().any(|argument| argument == "--quick");
    let (setups, requests) = if quick { (3, 1_000) } else { (15, 4_000) };

    println!("| connections | ours | peer | requests/s, ours | peer | ratio | bar |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut missed = false;
    for connections in [200, 16, 1] {
        if connections == 1 {
            // Whether the scheduler puts the threads at both ends of a connection together changes its rate threefold.
            on_one_processor();
        }
        let (endpoint, runtime) = (endpoint::Endpoint::start(), runtime());
        let cases: [(&str, Loop, &str, Loop); 4] = [
            ("awaited", loops::sink, "hyper's connection", loops::connection),
            ("awaited", loops::sink, "hyper-util's client", loops::legacy),
            ("queue", loops::queue, "channel, hyper's connection", loops::channel),
            ("queue", loops::queue, "channel, hyper-util's client", loops::channel_legacy),
        ];
        for (our_name, ours, name, peer) in cases {
            let each = requests / connections;
            let (mut rates, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..setups {
                let mut ours = ours(&runtime, &endpoint.url, connections);
                let mut peer = peer(&runtime, &endpoint.url, connections);
                // To warm up.
                ours(each);
                peer(each);
                for _ in 0..ROUNDS {
                    let our = rate(requests, || ours(each));
                    let their = rate(requests, || peer(each));
                    rates.push(our);
                    theirs.push(their);
                    ratios.push(our / their);
                }
            }
            let ratio = median(ratios);
            missed |= ratio < BAR;
            println!(
                "| {connections} | {our_name} | {name} | {:.0} | {:.0} | {ratio:.2} | {BAR}{} |",
                median(rates),
                median(theirs),
                if ratio < BAR { ", missed" } else { "" },
            );
        }
    }
    if missed && env::args().any(|argument| argument == "--strict") {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
