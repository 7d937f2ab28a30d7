//! The log against its peers, everything delivered.
//!
//! ```text
//! cargo run --release --manifest-path benches/peers/Cargo.toml              # `-- --quick` for a first look,
//!                                                                           # `--only=latency` for some
//! ```
//!
//! Ours and the peer run in turn, and what is shown is the median of the pairwise ratios, so that what else
//! the machine does hits both. Events are `Arc`s, made before the clock starts. Readers are threads, started
//! before it too; it stops when the last of them has read the last event.

mod cursors;
mod fan_out;
mod latency;

use std::time::Duration;

/// Runs once and answers what it measured, in nanoseconds of whatever unit the case is in.
pub type Run = Box<dyn FnMut() -> f64>;

pub struct Case {
    pub name: String,
    pub unit: &'static str,
    pub ours: Run,
    /// What it is held against: another program, or a number that was measured once.
    pub peer: Peer,
    /// The ratio, or where there is no peer the figure, that it must not exceed.
    pub bar: Option<f64>,
}

pub enum Peer {
    Run(Run),
    Fixed(f64),
    None,
}

pub fn nanos_per(duration: Duration, events: u64) -> f64 {
    duration.as_nanos() as f64 / events as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--print-memory") {
        return cursors::print_memory();
    }
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only="));
    let rounds = if quick { 3 } else { 15 };

    let cases = fan_out::cases(quick).into_iter().chain(latency::cases(quick)).chain(cursors::cases());
    println!("| | unit | log | peer | ratio | bar | |\n| --- | --- | --- | --- | --- | --- | --- |");
    let mut missed = 0;
    for mut case in cases.filter(|case| only.is_none_or(|only| case.name.contains(only))) {
        let (mut ours, mut peers) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push((case.ours)());
            match &mut case.peer {
                Peer::Run(run) => peers.push(run()),
                Peer::Fixed(figure) => peers.push(*figure),
                Peer::None => {}
            }
        }
        let ratio = median(ours.iter().zip(&peers).map(|(ours, peer)| ours / peer).collect());
        let (ours, peer) = (median(ours), median(peers));
        let against = if ratio.is_nan() { ours } else { ratio };
        let verdict = match case.bar {
            None => "",
            Some(bar) if against <= bar => "met",
            Some(_) => {
                missed += 1;
                "MISSED"
            }
        };
        println!(
            "| {} | {} | {} | {} | {} | {} | {verdict} |",
            case.name,
            case.unit,
            figure(ours),
            figure(peer),
            figure(ratio),
            case.bar.map_or(String::new(), |bar| bar.to_string()),
        );
    }
    println!(
        "\nbars missed: {missed}{}",
        if quick { " (a quick look: too short to be held to)" } else { "" }
    );
}

fn figure(figure: f64) -> String {
    match figure {
        nan if nan.is_nan() => String::new(),
        small if small < 10.0 => format!("{small:.2}"),
        large => format!("{large:.0}"),
    }
}
