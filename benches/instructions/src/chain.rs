//! `inspect`, `filter` and `map` over a leaf.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};

use outflow::{Closing, Flushing, Sink, SinkExt, WriteError, sink};

fn look(event: &u64) {
    black_box(*event);
}

fn keep(event: &u64) -> bool {
    event % 16 != 15
}

fn bump(event: &u64) -> u64 {
    event.wrapping_mul(3)
}

fn deliver(event: u64) {
    black_box(event);
}

pub fn ours(writes: u64) {
    crate::write_all(&sink::for_each(deliver).map(bump).filter(keep).inspect(look), writes);
}

pub fn by_hand(writes: u64) {
    crate::write_all(&ByHand { closed: AtomicBool::new(false) }, writes);
}

/// Once it is closed each event is handed back, the one that came in, also one that the filter would reject.
struct ByHand {
    closed: AtomicBool,
}

impl Sink<u64> for ByHand {
    type Error = Infallible;

    #[inline]
    fn write(&self, event: u64) -> Result<(), WriteError<u64, Infallible>> {
        look(&event);
        if !keep(&event) {
            return if self.is_closed() { Err(WriteError::Closed(event)) } else { Ok(()) };
        }
        let bumped = bump(&event);
        if self.is_closed() {
            return Err(WriteError::Closed(event));
        }
        deliver(bumped);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.closed.store(true, Ordering::Release);
        Closing::done()
    }

    #[inline]
    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}
