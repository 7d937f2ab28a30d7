//! Ours and its peer, in turn.

use std::fmt;
use std::time::{Duration, Instant};

/// Runs once and answers a figure for each row.
pub type Run = Box<dyn FnMut() -> Vec<f64>>;

pub struct Contest {
    pub rows: Vec<Row>,
    pub ours: Run,
    pub peer: Peer,
    /// How long its rounds may take; the last one to begin within that time is finished.
    pub time: Duration,
}

pub struct Row {
    pub name: String,
    pub unit: &'static str,
    /// The ratio, or where there is no peer the figure, that it must not exceed.
    pub bar: Option<f64>,
}

pub enum Peer {
    Run(Run),
    /// It has one, but not on this machine.
    Skipped,
    /// It has none: the figure itself has a bar.
    None,
}

/// The medians of a row.
pub struct Outcome {
    pub row: Row,
    ours: f64,
    peer: Option<f64>,
    ratio: Option<f64>,
    /// What the bar is for: the ratio or the figure. `None` if it was not measured.
    judged: Option<f64>,
    rounds: usize,
}

const MAX_ROUNDS: usize = 41;

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

impl Contest {
    pub fn new(name: impl Into<String>, unit: &'static str, bar: Option<f64>, ours: Run, peer: Peer) -> Self {
        let rows = vec![Row { name: name.into(), unit, bar }];
        Self { rows, ours, peer, time: Duration::from_secs(4) }
    }

    pub fn run(mut self, quick: bool) -> Vec<Outcome> {
        let time = if quick { self.time / 10 } else { self.time };
        let start = Instant::now();
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        while ours.is_empty() || (start.elapsed() < time && ours.len() <= MAX_ROUNDS) {
            // Each goes first in every other round, so that neither has the warmer machine.
            let ours_first = ours.len() % 2 == 0;
            if ours_first {
                ours.push((self.ours)());
            }
            if let Peer::Run(peer) = &mut self.peer {
                peers.push(peer());
            }
            if !ours_first {
                ours.push((self.ours)());
            }
        }
        // The first round is to warm up, and counts only where there are few.
        if ours.len() > 3 {
            ours.remove(0);
            peers.drain(..peers.len().min(1));
        }
        let outcome = |(index, row)| {
            let of = |rounds: &[Vec<f64>]| rounds.iter().map(|figures| figures[index]).collect::<Vec<_>>();
            let ratios = of(&ours).into_iter().zip(of(&peers)).map(|(ours, peer)| ours / peer).collect();
            let figure = median(of(&ours));
            let (peer, ratio, judged) = match self.peer {
                Peer::Run(_) => {
                    let ratio = median(ratios);
                    (Some(median(of(&peers))), Some(ratio), Some(ratio))
                }
                Peer::Skipped => (None, None, None),
                Peer::None => (None, None, Some(figure)),
            };
            // There is no figure of the memory, say, where the system does not tell it.
            let judged = judged.filter(|judged| !judged.is_nan());
            Outcome { row, ours: figure, peer, ratio, judged, rounds: ours.len() }
        };
        self.rows.into_iter().enumerate().map(outcome).collect()
    }
}

impl Outcome {
    pub fn is_missed(&self) -> bool {
        self.row.bar.is_some_and(|bar| self.judged.is_some_and(|judged| judged > bar))
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match (self.row.bar, self.judged) {
            (None, _) => "",
            (Some(_), None) => "skipped",
            (Some(_), Some(_)) if self.is_missed() => "MISSED",
            (Some(_), Some(_)) => "met",
        };
        write!(
            f,
            "| {} | {} | {} | {} | {} | {} | {verdict} | {} |",
            self.row.name,
            self.row.unit,
            figure(self.ours),
            self.peer.map_or(String::new(), figure),
            self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            self.row.bar.map_or(String::new(), |bar| bar.to_string()),
            self.rounds,
        )
    }
}

fn figure(figure: f64) -> String {
    match figure {
        nan if nan.is_nan() => String::new(),
        small if small < 10.0 => format!("{small:.2}"),
        medium if medium < 100.0 => format!("{medium:.1}"),
        large => format!("{large:.0}"),
    }
}
