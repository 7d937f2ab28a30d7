//! What is told at the end.

use std::io::{self, Write};

use crate::books::Account;
use crate::durable::OnDisk;
use crate::leg::{Leg, Tally};
use crate::out_of_time::is_out_of_time;
use crate::service::Ended;
use crate::table::Table;

/// Prints the table, and answers whether nothing was lost, and everything lasted until it was stopped.
pub(crate) fn conclude(ended: &Ended) -> bool {
    let legs = &ended.relay.legs;
    let mut good = true;
    let mut complain = |what: String| {
        crate::say(what);
        good = false;
    };
    if let Err(error) = &ended.file {
        complain(format!("the file of what was not delivered is not safe on the disk: {error}"));
    }
    for leg in legs {
        let Account { lost, .. } = leg.tally().account;
        if lost > 0 {
            let why = leg.file_error().map_or(String::new(), |error| format!(", and not written: {error}"));
            complain(format!("not delivered to {}: {lost}{why}", leg.endpoint));
        }
    }
    if let Some(failed) = ended.relay.failed() {
        complain(format!(
            "a queue has failed, and reads its files when the relay is started again: {failed}"
        ));
    }
    for leg in legs {
        if let Some(left @ 1..) = leg.on_disk().map(OnDisk::pending) {
            crate::say(format_args!("on disk for {}: {left}, for the next start", leg.endpoint));
        }
    }
    if let parked @ 1.. = ended.relay.parked() {
        crate::say(format_args!("posted, but not relayed, and written down: {parked}"));
    }
    if let Err(error) = &ended.server {
        complain(format!("the server did not last until its end: {error}"));
    }
    match &ended.outcome {
        Ok(()) => {}
        Err(error) if is_out_of_time(error) && ended.relay.is_on_disk() => {}
        Err(error) if is_out_of_time(error) => {
            crate::say(format_args!("the grace was over before everything was delivered: {error}"));
        }
        Err(error) => complain(format!("the relay did not last until its end: {error}")),
    }
    // Nobody may be reading; how it went stands in the exit status, too.
    let table = if ended.relay.is_on_disk() {
        Table::new(ON_DISK, legs.iter().map(row_on_disk)).to_string()
    } else {
        Table::new(COLUMNS, legs.iter().map(row)).to_string()
    };
    let _ = io::stdout().write_all(table.as_bytes());
    good
}

const COLUMNS: [&str; 8] =
    ["accepted", "posted", "failed attempts", "delivered", "refused", "dropped", "written", "lost"];

fn row(leg: &Leg) -> (String, [u64; 8]) {
    let Tally { accepted, posted, failed, account } = leg.tally();
    let Account { delivered, refused, dropped, written, lost } = account;
    (leg.endpoint.to_string(), [accepted, posted, failed, delivered, refused, dropped, written, lost])
}

/// What is left of `recovered` and `accepted` when `delivered` and `refused` are taken off is on disk; but what is delivered
/// twice is counted twice.
const ON_DISK: [&str; 7] =
    ["recovered", "accepted", "posted", "failed attempts", "delivered", "refused", "on disk"];

fn row_on_disk(leg: &Leg) -> (String, [u64; 7]) {
    let Tally { accepted, posted, failed, account: Account { delivered, refused, .. } } = leg.tally();
    let (recovered, pending) = leg.on_disk().map_or((0, 0), |queue| (queue.recovered(), queue.pending()));
    (leg.endpoint.to_string(), [recovered, accepted, posted, failed, delivered, refused, pending])
}
