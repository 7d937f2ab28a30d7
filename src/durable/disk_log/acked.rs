//! Which events are done with, and how often the others were tried.

use std::collections::BTreeMap;
use std::ops::Range;

/// A set of event numbers: all below a watermark, and ranges above it, which neither touch it nor each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acked {
    below: u64,
    /// From a start to its end.
    above: BTreeMap<u64, u64>,
}

impl Acked {
    pub(super) fn insert(&mut self, Range { mut start, mut end }: Range<u64>) {
        if start >= end || end <= self.below {
            return;
        }
        // What overlaps or touches becomes one range with it.
        while let Some((&from, &to)) = self.above.range(..=end).next_back() {
            if to < start {
                break;
            }
            self.above.remove(&from);
            (start, end) = (start.min(from), end.max(to));
        }
        if start <= self.below {
            self.below = end;
        } else {
            self.above.insert(start, end);
        }
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number < self.below || self.above.range(..=number).next_back().is_some_and(|(_, &to)| number < to)
    }

    pub(super) fn covers(&self, range: Range<u64>) -> bool {
        self.missing(range).next().is_none()
    }

    /// What of the range is not in the set, in order.
    pub(super) fn missing(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut from = range.start.max(self.below);
        let before = self.above.range(..from).next_back().map(|(_, &to)| to);
        from = from.max(before.unwrap_or(0));
        let mut ranges = self.above.range(from..);
        std::iter::from_fn(move || {
            while from < range.end {
                let (next, end) = ranges.next().map_or((range.end, range.end), |(&next, &end)| (next, end));
                let gap = from..next.min(range.end);
                from = end;
                if !gap.is_empty() {
                    return Some(gap);
                }
            }
            None
        })
    }

    pub(super) fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        std::iter::once(0..self.below).chain(self.above.iter().map(|(&from, &to)| from..to))
    }

    /// The number after the highest.
    pub(super) fn end(&self) -> u64 {
        self.above.last_key_value().map_or(self.below, |(_, &to)| to)
    }

    /// How many of the numbers below `next` are not in the set.
    pub(super) fn pending(&self, next: u64) -> u64 {
        self.missing(0..next).map(|range| range.end - range.start).sum()
    }
}

/// All that is known of events but for the events: what a state record holds, each a complete one, so that the last that
/// can be read is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) acked: Acked,
    /// Of events that are not acknowledged.
    pub(super) attempts: BTreeMap<u64, u32>,
    /// How many of those that are done with were given up to make room.
    pub(super) dropped: u64,
}

impl Progress {
    pub(super) fn acknowledge(&mut self, range: Range<u64>) {
        self.acked.insert(range.clone());
        if !self.attempts.is_empty() {
            self.attempts.retain(|number, _| !range.contains(number));
        }
    }

    pub(super) fn attempts_of(&self, number: u64) -> u32 {
        self.attempts.get(&number).copied().unwrap_or(0)
    }

    /// How many bytes it is encoded as.
    pub(super) fn len(&self) -> usize {
        8 * (4 + 2 * self.acked.above.len() + 2 * self.attempts.len())
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let counts = [self.acked.above.len(), self.attempts.len()].map(|count| count as u64);
        let ranges = self.acked.above.iter().flat_map(|(&from, &to)| [from, to]);
        let attempts = self.attempts.iter().flat_map(|(&number, &count)| [number, u64::from(count)]);
        let numbers =
            [self.acked.below].into_iter().chain(counts).chain(ranges).chain(attempts).chain([self.dropped]);
        numbers.flat_map(u64::to_le_bytes).collect()
    }

    /// `None` if the bytes are none of a state record; a checksum has been over them already.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut numbers =
            bytes.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("8 bytes")));
        let mut progress = Self::default();
        progress.acked.below = numbers.next()?;
        let (ranges, attempts) = (numbers.next()?, numbers.next()?);
        for _ in 0..ranges {
            progress.acked.insert(numbers.next()?..numbers.next()?);
        }
        for _ in 0..attempts {
            progress.attempts.insert(numbers.next()?, numbers.next()?.try_into().ok()?);
        }
        progress.dropped = numbers.next()?;
        Some(progress)
    }
}
