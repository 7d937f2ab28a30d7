//! What arrived at a receiver, against what was relayed to it.

use std::collections::{HashMap, HashSet};
use std::fmt;

/// The comparison of two lists of event ids.
pub(crate) struct Check<'a> {
    relayed: usize,
    missing: Vec<&'a str>,
    unexpected: Vec<&'a str>,
    /// The first that arrived after one that was relayed later.
    out_of_order: Option<&'a str>,
    /// Arrived more often than they were relayed: their request was cut off after it had arrived.
    repeated: Vec<&'a str>,
}

impl<'a> Check<'a> {
    pub(crate) fn new(relayed: &'a [String], arrived: &'a [String]) -> Self {
        let due = count(relayed);
        let came = count(arrived);
        let times = |counts: &HashMap<&str, usize>, id: &str| counts.get(id).copied().unwrap_or(0);

        let first_relayed = firsts(relayed);
        let first_arrived = firsts(arrived);
        let place: HashMap<&str, usize> = first_relayed.iter().copied().zip(0..).collect();
        let (expected, unexpected): (Vec<_>, Vec<_>) =
            first_arrived.into_iter().partition(|id| due.contains_key(id));
        Self {
            relayed: relayed.len(),
            missing: first_relayed.into_iter().filter(|id| times(&came, id) < due[id]).collect(),
            unexpected,
            out_of_order: expected
                .windows(2)
                .find(|pair| place[pair[0]] > place[pair[1]])
                .map(|pair| pair[1]),
            repeated: expected.into_iter().filter(|id| times(&came, id) > due[id]).collect(),
        }
    }

    /// Whether every event arrived and their first arrivals are in order. Repeats are no failure: an
    /// endpoint that went down in the middle of a request is sent it again.
    pub(crate) fn passed(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.out_of_order.is_none()
    }
}

impl fmt::Display for Check<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.passed() {
            write!(f, "all {} events arrived, in order", self.relayed)?;
        } else {
            write!(f, "CHECK FAILED")?;
        }
        list(f, "never arrived", &self.missing)?;
        list(f, "arrived, but were not relayed", &self.unexpected)?;
        list(f, "arrived out of order", self.out_of_order.as_slice())?;
        list(f, "arrived more than once (a request was cut off)", &self.repeated)
    }
}

fn list(f: &mut fmt::Formatter<'_>, what: &str, ids: &[&str]) -> fmt::Result {
    if ids.is_empty() {
        return Ok(());
    }
    write!(f, "\n  {} {what}:", ids.len())?;
    ids.iter().try_for_each(|id| write!(f, "\n    {id}"))
}

fn count(ids: &[String]) -> HashMap<&str, usize> {
    let mut counts = HashMap::new();
    for id in ids {
        *counts.entry(id.as_str()).or_default() += 1;
    }
    counts
}

/// Each id once, where it is first.
fn firsts(ids: &[String]) -> Vec<&str> {
    let mut seen = HashSet::new();
    ids.iter().map(String::as_str).filter(|id| seen.insert(*id)).collect()
}
