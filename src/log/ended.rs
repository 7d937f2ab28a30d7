use std::collections::VecDeque;

use crate::{Closing, Ended, EndedSink, SinkId};

/// How many ended followers are kept by name; those before are counted.
const KEPT: usize = 64;

/// The followers that have ended by themselves, and what they did not deliver.
#[derive(Default)]
pub(super) struct EndedFollowers {
    recent: VecDeque<(SinkId, Closing)>,
    older: u64,
    older_undelivered: u64,
}

impl EndedFollowers {
    /// Answers the one that is kept by name no longer, to be dropped without a lock.
    pub(super) fn push(&mut self, id: SinkId, closing: Closing) -> Option<Closing> {
        self.recent.push_back((id, closing));
        if self.recent.len() <= KEPT {
            return None;
        }
        let (_, closing) = self.recent.pop_front()?;
        self.older += 1;
        self.older_undelivered += undelivered(&closing);
        Some(closing)
    }

    /// What a close has to wait for, and how many events others did not deliver.
    pub(super) fn recent(&self) -> (Vec<(SinkId, Closing)>, u64) {
        (self.recent.iter().cloned().collect(), self.older_undelivered)
    }

    pub(super) fn list(&self) -> Ended {
        let recent = self
            .recent
            .iter()
            .map(|(id, closing)| EndedSink { id: *id, error: closing.0.outcome().and_then(Result::err) });
        Ended {
            count: self.older + self.recent.len() as u64,
            undelivered: self.older_undelivered
                + self.recent.iter().map(|(_, closing)| undelivered(closing)).sum::<u64>(),
            recent: recent.collect(),
        }
    }
}

fn undelivered(closing: &Closing) -> u64 {
    match closing.0.outcome() {
        Some(Err(error)) => error.undelivered(),
        _ => 0,
    }
}

/// The same with its follower's name to the error.
pub(super) fn named(closing: &Closing, id: SinkId) -> Closing {
    closing.map(move |outcome| outcome.map_err(|error| error.of_sink(id)))
}
