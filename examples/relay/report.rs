//! What is told at the end.

use std::io::{self, Write};
use std::process::ExitCode;

use outflow::CloseError;

use crate::check::Check;
use crate::ending::{Ending, INTERRUPTED};
use crate::out_of_time::is_out_of_time;
use crate::progress::Notes;
use crate::receiver::Receiver;
use crate::table::Table;
use crate::{Leg, Reading, Waiting};

/// Prints the table and what its own receivers got, and says how it went.
pub(crate) fn conclude(ending: &Ending, legs: &[Leg], receivers: &[Receiver], notes: &Notes) -> ExitCode {
    let mut report = Table::new(COLUMNS, legs.iter().map(row)).to_string();
    let mut good = true;
    let mut complain = |what: String| {
        notes.say(what);
        good = false;
    };
    if let Some(Reading { malformed: malformed @ 1.., .. }) = &ending.reading {
        complain(format!("malformed and not relayed: {malformed}"));
    }
    if !ending.reading.as_ref().is_some_and(|reading| reading.whole) {
        complain("the input was not read to its end".to_string());
    }
    for leg in legs {
        if let left @ 1.. = leg.on_disk() {
            notes.say(format_args!("on disk for {}: {left}, for the next run with --durable", leg.endpoint));
        }
    }
    if let Err(error) = &ending.outcome {
        let stays = |leg: &Leg| matches!(leg.queue, Waiting::OnDisk(_));
        if !(legs.iter().all(stays) && is_out_of_time(error)) {
            complain(undelivered(error, legs));
        }
    } else if let Some(Reading { whole: true, relayed, .. }) = &ending.reading {
        for (receiver, leg) in receivers.iter().zip(legs) {
            let arrivals = receiver.arrivals();
            let check = Check::new(relayed, &arrivals);
            good &= check.passed();
            report += &format!("{}: {check}\n", leg.endpoint);
        }
    }
    // Nobody may be reading, as behind `head`; how it went stands in the exit status, too.
    let _ = io::stdout().write_all(report.as_bytes());
    match (ending.interrupted, good) {
        (true, _) => ExitCode::from(INTERRUPTED),
        (false, true) => ExitCode::SUCCESS,
        (false, false) => ExitCode::FAILURE,
    }
}

/// How many events were not delivered, and to whom.
fn undelivered(error: &CloseError, legs: &[Leg]) -> String {
    let mut text = format!("not delivered: {}", error.undelivered());
    for (id, error) in error.sinks() {
        let is_its = |leg: &&Leg| matches!(leg.queue, Waiting::InMemory(_, own) if own == id);
        let Some(leg) = legs.iter().find(is_its) else { continue };
        text += &format!("\n  {} to {}", error.undelivered(), leg.endpoint);
        match error {
            CloseError::Undelivered { in_flight: 0, .. } => {}
            CloseError::Undelivered { in_flight, .. } => {
                text += &format!(", {in_flight} of them posted and not answered");
            }
            error => text += &format!(": {error}"),
        }
    }
    text
}

/// What became of the events of one endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Tally {
    /// Taken into its queue.
    pub(crate) accepted: u64,
    /// Requests, repeated ones included.
    pub(crate) posted: u64,
    /// Requests that were not answered with a 2xx.
    pub(crate) failed: u64,
    /// Events that are not acknowledged.
    pub(crate) pending: u64,
    /// Events answered with a 2xx.
    pub(crate) acknowledged: u64,
}

const COLUMNS: [&str; 5] = ["accepted", "posted", "failed attempts", "pending", "acknowledged"];

fn row(leg: &Leg) -> (String, [u64; 5]) {
    let Tally { accepted, posted, failed, pending, acknowledged } = leg.tally();
    (leg.endpoint.to_string(), [accepted, posted, failed, pending, acknowledged])
}
