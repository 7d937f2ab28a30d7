//! Requests a second of the asynchronous webhook sink, against loops written by hand over the same client.
//!
//! ```text
//! cargo run --release --manifest-path benches/webhooks/Cargo.toml   # half a minute
//!     -- --quick     # a first look, in some seconds
//!     -- --strict    # exits with 1 if the bar is missed
//! ```
//!
//! Each loop posts the same events, as JSON, one after the other on each of its connections, reads each answer to its end,
//! and gives it ten seconds. Ours and the peer run in turn on a two-thread runtime, and what is shown is the median of the pairwise
//! ratios, so that what else the machine does hits both. The endpoint is a process of its own.

mod endpoint;
mod loops;

use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, process, thread};

use tokio::runtime::{Builder, Runtime};

/// What still runs then hangs.
const LIMIT: Duration = Duration::from_secs(240);

/// At least so many requests of ours for one of the peer.
const BAR: f64 = 0.9;

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
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
    let (rounds, requests) = if quick { (15, 500) } else { (101, 1_000) };
    let endpoint = endpoint::Endpoint::start();
    let runtime = runtime();

    println!("| connections | ours | peer | requests/s, ours | peer | ratio | bar |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut missed = false;
    for connections in [1, 16] {
        let cases: [(&str, Loop, &str, Loop); 4] = [
            ("awaited", loops::sink, "hyper's connection", loops::connection),
            ("awaited", loops::sink, "hyper-util's client", loops::legacy),
            ("queue", loops::queue, "channel, hyper's connection", loops::channel),
            ("queue", loops::queue, "channel, hyper-util's client", loops::channel_legacy),
        ];
        for (our_name, ours, name, peer) in cases {
            let mut ours = ours(&runtime, &endpoint.url, connections);
            let mut peer = peer(&runtime, &endpoint.url, connections);
            let each = requests / connections;
            // To warm up.
            ours(each);
            peer(each);
            let (mut rates, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..rounds {
                let our = rate(requests, || ours(each));
                let their = rate(requests, || peer(each));
                rates.push(our);
                theirs.push(their);
                ratios.push(our / their);
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
