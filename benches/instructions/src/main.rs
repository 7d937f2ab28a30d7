//! Writes events to a chain, or to the same chain written by hand, for `.ci/instructions` to count the instructions.
//!
//! ```text
//! outflow-instructions                     # the cases, and the ratio that each must not exceed
//! outflow-instructions chain ours 10000    # writes so many events
//! outflow-instructions chain hand 10000
//! ```
//!
//! A chain and its twin call the same functions, of which the optimiser knows nothing, and are written to by the same
//! loop. Both are open, and every write succeeds; what a twin keeps of the promises stands with it.

mod chain;
mod retry;

use std::hint::black_box;
use std::process::ExitCode;

use outflow::Sink;

/// What is counted.
struct Case {
    name: &'static str,
    /// Instructions a write, ours through by hand: what it must not exceed.
    bar: f64,
    ours: fn(u64),
    hand: fn(u64),
}

const CASES: [Case; 2] = [
    Case { name: "chain", bar: 1.02, ours: chain::ours, hand: chain::by_hand },
    Case { name: "retry", bar: 1.3, ours: retry::ours, hand: retry::by_hand },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.is_empty() {
        CASES.iter().for_each(|case| println!("{} {}", case.name, case.bar));
        return ExitCode::SUCCESS;
    }
    match asked_for(&arguments) {
        Some((run, writes)) => {
            run(writes);
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("usage: outflow-instructions [CASE ours|hand WRITES]");
            ExitCode::FAILURE
        }
    }
}

fn asked_for(arguments: &[String]) -> Option<(fn(u64), u64)> {
    let [name, side, writes] = arguments else {
        return None;
    };
    let case = CASES.iter().find(|case| case.name == name)?;
    let run = match side.as_str() {
        "ours" => case.ours,
        "hand" => case.hand,
        _ => return None,
    };
    Some((run, writes.parse().ok()?))
}

/// Writes to a sink whose type the optimiser knows, as a caller would: an event that comes back is looked at.
#[inline(never)]
fn write_all<S: Sink<u64>>(sink: &S, writes: u64) {
    for event in 0..writes {
        if let Err(refused) = sink.write(black_box(event)) {
            black_box(refused.into_event());
        }
    }
}
