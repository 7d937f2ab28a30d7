//! What is told now and then, however often it happens.

use std::fmt::Display;
use std::mem;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long it is between one and the next.
const BETWEEN_NOTES: Duration = Duration::from_secs(10);

/// Notes of one kind.
#[derive(Default)]
pub(crate) struct Notes(Mutex<State>);

/// How many nobody was told of, and when it is time again.
#[derive(Default)]
struct State {
    untold: u64,
    next: Option<Instant>,
}

impl Notes {
    /// Tells of the first, and then, once in a while, of the last and how many there were since.
    pub(crate) fn say(&self, note: impl Display) {
        let mut state = self.0.lock();
        state.untold += 1;
        if state.next.is_none_or(|next| Instant::now() >= next) {
            let others = match mem::take(&mut state.untold) {
                1 => String::new(),
                untold => format!(" (and {} before)", untold - 1),
            };
            crate::say(format_args!("{note}{others}"));
            state.next = Some(Instant::now() + BETWEEN_NOTES);
        }
    }
}
