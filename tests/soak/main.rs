//! A soak: random graphs under random operations of several threads, and one oracle.
//!
//! A seed is a program: a graph to depth five and what each thread does to it; only how the threads interleave differs from run
//! to run. Each program runs in a process beside the test, which a watchdog ends when it hangs. What the oracle holds is in
//! `oracle.rs`.
//!
//! | variable | |
//! | --- | --- |
//! | `OUTFLOW_SOAK_SECONDS` | how long, after the seeds of `seeds.txt`; 3 if not given |
//! | `OUTFLOW_SOAK_SEED` | runs this program alone, `OUTFLOW_SOAK_ROUNDS` times (200) or until it fails |
//! | `OUTFLOW_SOAK_KEEP_GOING=1` | goes on after a failure; at the end come all seeds by promise |
//! | `OUTFLOW_SOAK_CONFIRM` | how often a new program that failed is run again: it counts if it fails once more (50; 0 counts all) |
//! | `OUTFLOW_SOAK_WITHOUT` | names of traits in `plan.rs`, by commas: `rings,aborts` |
//! | `OUTFLOW_SOAK_PATIENCE` | seconds without progress after which a program hangs; 10 |

#![allow(unreachable_pub)] // A test has no outside.

mod asynchronous;
mod build;
mod event;
mod graph;
mod leaf;
#[path = "../it/common/one_by_one.rs"]
mod one_by_one;
mod operations;
mod oracle;
mod plan;
mod probe;
mod reader;
mod run;
mod watchdog;

use run::Settings;

/// The seeds of programs that failed once, each run some times, since threads interleave as they like.
const KEPT: &str = include_str!("seeds.txt");

#[test]
fn every_event_is_accounted_for_in_random_graphs() {
    let kept: Vec<u64> = KEPT
        .lines()
        .filter_map(|line| line.split('#').next())
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| line.parse().expect("a seed in seeds.txt"))
        .flat_map(|seed| std::iter::repeat_n(seed, 5))
        .collect();
    let failures = run::soak(&Settings::of_environment(), &kept);
    for (promise, seeds) in &failures {
        println!("{} programs broke: {promise}: {:?}", seeds.len(), &seeds[..seeds.len().min(20)]);
    }
    assert!(failures.is_empty(), "{} promises were broken", failures.len());
}

/// Not a test: the process that the test runs programs in.
#[test]
fn child() {
    if std::env::var_os("OUTFLOW_SOAK_CHILD").is_some() {
        run::child();
    }
}
