//! What is told at the end.

use std::io::{self, Write};

use crate::books::{self, Account};
use crate::leg::{Leg, Tally};
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
    if let parked @ 1.. = ended.relay.parked() {
        crate::say(format_args!("posted, but not relayed, and written down: {parked}"));
    }
    if let Err(error) = &ended.server {
        complain(format!("the server did not last until its end: {error}"));
    }
    match &ended.outcome {
        Ok(()) => {}
        Err(error) if books::is_out_of_time(error) => {
            crate::say(format_args!("the grace was over before everything was delivered: {error}"));
        }
        Err(error) => complain(format!("the relay did not last until its end: {error}")),
    }
    // Nobody may be reading; how it went stands in the exit status, too.
    let _ = io::stdout().write_all(Table::new(COLUMNS, legs.iter().map(row)).to_string().as_bytes());
    good
}

const COLUMNS: [&str; 8] =
    ["accepted", "posted", "failed attempts", "delivered", "refused", "dropped", "written", "lost"];

fn row(leg: &Leg) -> (String, [u64; 8]) {
    let Tally { accepted, posted, failed, account } = leg.tally();
    let Account { delivered, refused, dropped, written, lost } = account;
    (leg.endpoint.to_string(), [accepted, posted, failed, delivered, refused, dropped, written, lost])
}
