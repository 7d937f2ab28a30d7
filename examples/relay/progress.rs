//! What is told on standard error while events are on their way.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::Leg;
use crate::report::Tally;

/// How far apart the lines are that stand for the bars where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// A bar for each endpoint on a terminal, and else a line now and then.
pub(crate) struct Progress {
    notes: Notes,
    bars: Vec<ProgressBar>,
    lines_at: Instant,
}

impl Progress {
    pub(crate) fn new(legs: &[Leg]) -> Self {
        let style = ProgressStyle::with_template("{prefix}  {bar:20}  {pos}/{len} acknowledged{wide_msg}")
            .expect("the template is a literal, and a good one");
        let width = legs.iter().map(|leg| leg.endpoint.to_string().len()).max().unwrap_or(0);
        let notes = Notes(MultiProgress::new());
        let bars = legs.iter().map(|leg| {
            let bar = ProgressBar::new(0).with_style(style.clone());
            notes.0.add(bar.with_prefix(format!("{:width$}", leg.endpoint)))
        });
        Self { bars: bars.collect(), notes, lines_at: Instant::now() + BETWEEN_LINES }
    }

    pub(crate) fn notes(&self) -> Notes {
        self.notes.clone()
    }

    pub(crate) fn show(&mut self, legs: &[Leg]) {
        if self.notes.0.is_hidden() {
            return self.show_lines(legs);
        }
        for (leg, bar) in legs.iter().zip(&self.bars) {
            let tally = leg.tally();
            bar.set_length(tally.accepted);
            bar.set_position(tally.acknowledged);
            bar.set_message(failures(leg, tally));
        }
    }

    fn show_lines(&mut self, legs: &[Leg]) {
        if Instant::now() < self.lines_at {
            return;
        }
        self.lines_at = Instant::now() + BETWEEN_LINES;
        for leg in legs {
            let tally = leg.tally();
            let Tally { accepted, acknowledged, .. } = tally;
            let failures = failures(leg, tally);
            self.notes
                .say(format_args!("{}: {acknowledged}/{accepted} acknowledged{failures}", leg.endpoint));
        }
    }

    /// Leaves the bars as they are.
    pub(crate) fn end(mut self, legs: &[Leg]) {
        if !self.notes.0.is_hidden() {
            self.show(legs);
            self.bars.iter().for_each(ProgressBar::abandon);
        }
    }
}

fn failures(leg: &Leg, tally: Tally) -> String {
    match leg.last_failure() {
        Some(last) => format!(", {} failed ({last})", tally.failed),
        None => String::new(),
    }
}

/// Messages that come between the bars and not into them. Clones share.
#[derive(Clone)]
pub(crate) struct Notes(MultiProgress);

impl Notes {
    pub(crate) fn say(&self, message: impl Display) {
        // Where standard error cannot be written to there is nobody to tell.
        self.0.suspend(|| {
            let _ = writeln!(io::stderr(), "relay: {message}");
        });
    }
}
