//! What reads: the ends of channels, subscriptions and cursors, on threads of their own.

use std::sync::Mutex;

use futures::StreamExt as _;
use futures::executor::block_on;
use outflow::Subscription;
use outflow::channel::Events;
use outflow::log::{Cursor, RecvError};

use crate::event::Event;
use crate::probe::Edge;

/// The reading end of something.
pub enum Source {
    Events(Events<Event>),
    Subscription(Subscription<Event>),
    Cursor(Cursor<Event>),
}

impl Source {
    pub fn read(mut self, most: u64, stream: bool, edge: &Edge, read_all: &Mutex<Option<u64>>) {
        for _ in 0..most {
            match self.next(stream) {
                Some(event) => edge.took(event),
                None => {
                    *read_all.lock().unwrap() = Some(match &self {
                        Self::Events(events) => events.dropped(),
                        Self::Subscription(events) => events.dropped(),
                        Self::Cursor(_) => 0,
                    });
                    break;
                }
            }
        }
    }

    fn next(&mut self, stream: bool) -> Option<Event> {
        match self {
            Self::Events(events) if stream => block_on(events.next()),
            Self::Events(events) => events.recv().ok(),
            Self::Subscription(events) if stream => block_on(events.next()),
            Self::Subscription(events) => events.recv().ok(),
            Self::Cursor(cursor) if stream => block_on(cursor.next()),
            Self::Cursor(cursor) => loop {
                match cursor.recv() {
                    Err(RecvError::Lagged(_)) => {}
                    read => break read.ok(),
                }
            },
        }
    }
}
