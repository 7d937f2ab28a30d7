//! A getter runs no user's code: no close, no destructor, no spill, whatever ends at the same time.

use std::cell::Cell;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::common::rounds;
use outflow::{Broadcaster, Buffer, Closing, Flushing, Sink, SinkExt, SinkId, WriteError, channel, sink};

thread_local! {
    static IN_A_GETTER: Cell<bool> = const { Cell::new(false) };
}

/// How often a user's code ran in a getter.
#[derive(Clone, Default)]
struct Trespasses(Arc<AtomicUsize>);

impl Trespasses {
    fn check(&self) {
        if IN_A_GETTER.with(Cell::get) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[track_caller]
    fn assert_none(&self) {
        assert_eq!(self.0.load(Ordering::SeqCst), 0, "a getter ran a user's code");
    }
}

fn get<T>(f: impl FnOnce() -> T) -> T {
    IN_A_GETTER.with(|inside| inside.set(true));
    let got = f();
    IN_A_GETTER.with(|inside| inside.set(false));
    got
}

/// A sink, and an event, of a user who looks where he is called.
struct Watched(Trespasses);

impl Sink<Thing> for Watched {
    type Error = Infallible;

    fn write(&self, thing: Thing) -> Result<(), WriteError<Thing, Infallible>> {
        self.0.check();
        drop(thing);
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.0.check();
        Flushing::done()
    }

    fn close(&self) -> Closing {
        self.0.check();
        Closing::done()
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.0.check();
    }
}

#[derive(Clone)]
struct Thing(Trespasses);

impl Drop for Thing {
    fn drop(&mut self) {
        self.0.check();
    }
}

/// Runs `get` again and again on a thread of its own while `f` does what ends things.
fn while_asked(asked: impl Fn() + Sync, f: impl FnOnce()) {
    let (begun, ends) = (Barrier::new(2), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            begun.wait();
            while !ends.load(Ordering::SeqCst) {
                get(&asked);
            }
        });
        begun.wait();
        f();
        ends.store(true, Ordering::SeqCst);
    });
}

#[test]
fn of_a_broadcaster_that_is_closed_and_changed() {
    let trespasses = Trespasses::default();
    for round in 0..rounds(1000) {
        let broadcaster = Broadcaster::new();
        let watched = || Watched(trespasses.clone());
        let ids: Vec<SinkId> = (0..3).map(|_| broadcaster.add(watched()).unwrap()).collect();
        let ends = sink::collector();
        broadcaster.add(ends.clone()).unwrap();
        let asked = || {
            let _ = (broadcaster.len(), broadcaster.is_closed(), broadcaster.ids(), broadcaster.ended());
            let _ = (broadcaster.contains(ids[0]), broadcaster.is_empty(), broadcaster.unheard());
            let _ = format!("{broadcaster:?}");
        };
        while_asked(asked, || {
            broadcaster.write(Thing(trespasses.clone())).unwrap();
            drop(broadcaster.remove(ids[0]));
            drop(broadcaster.replace(ids[1], watched()));
            if round % 2 == 0 {
                drop(ends.close());
                broadcaster.write(Thing(trespasses.clone())).unwrap();
            }
            let closing = broadcaster.close();
            // What was taken by the collector is dropped here.
            drop(ends.take());
            if round % 3 == 0 {
                let _ = closing.abort();
            }
        });
    }
    trespasses.assert_none();
}

#[test]
fn of_a_queue_that_ends() {
    let trespasses = Trespasses::default();
    for round in 0..rounds(1000) {
        let buffer = Buffer::bounded(2).drop_oldest().spill(Watched(trespasses.clone()));
        let queue = Watched(trespasses.clone()).queued_with(buffer);
        let other = queue.clone();
        let closing = std::sync::Mutex::new(None::<Closing>);
        let asked = || {
            let _ = (queue.len(), queue.is_closed(), queue.stats(), queue.capacity(), queue.is_empty());
            let _ = format!("{queue:?}");
            let closing = closing.lock().unwrap().clone();
            // It looks at what is left in the queue.
            let _ = closing.map(|closing| (format!("{closing:?}"), closing.is_done()));
        };
        while_asked(asked, || {
            for _ in 0..5 {
                other.write(Thing(trespasses.clone())).unwrap();
            }
            let begun = other.close();
            *closing.lock().unwrap() = Some(begun.clone());
            let _ = if round % 2 == 0 { begun.abort() } else { begun.wait() };
            drop(other);
        });
    }
    trespasses.assert_none();
}

#[test]
fn of_a_closing_whose_queue_is_gone() {
    let trespasses = Trespasses::default();
    for _ in 0..rounds(3000) {
        let buffer = Buffer::unbounded().spill(Watched(trespasses.clone()));
        let queue = Watched(trespasses.clone()).queued_with(buffer);
        queue.write(Thing(trespasses.clone())).unwrap();
        let closing = queue.close();
        while_asked(|| drop((format!("{closing:?}"), closing.is_done())), move || drop(queue));
        closing.wait().unwrap();
    }
    trespasses.assert_none();
}

#[test]
fn of_a_channel_whose_reader_goes() {
    let trespasses = Trespasses::default();
    for _ in 0..rounds(1500) {
        let buffer = Buffer::bounded(3).drop_oldest().spill(Watched(trespasses.clone()));
        let (sink, events) = channel::with(buffer);
        let other = sink.clone();
        let asked = || {
            let _ = (sink.is_closed(), sink.dropped());
            let _ = format!("{sink:?}");
        };
        while_asked(asked, || {
            for _ in 0..5 {
                other.write(Thing(trespasses.clone())).unwrap();
            }
            let _ = (events.len(), events.is_empty(), events.dropped());
            drop(events);
            drop(other.close());
        });
    }
    trespasses.assert_none();
}

#[test]
fn of_a_subscription_whose_broadcaster_ends() {
    let trespasses = Trespasses::default();
    for round in 0..rounds(3000) {
        let broadcaster = Broadcaster::new();
        let buffer = Buffer::bounded(2).drop_oldest().spill(Watched(trespasses.clone()));
        let watcher = broadcaster.subscribe(buffer);
        let id = watcher.id();
        let asked = || {
            let _ = (watcher.len(), watcher.is_empty(), watcher.dropped(), watcher.id());
            let _ = format!("{watcher:?}");
            let _ = broadcaster.len();
        };
        while_asked(asked, || {
            for _ in 0..5 {
                broadcaster.write(Thing(trespasses.clone())).unwrap();
            }
            if round % 2 == 0 {
                drop(broadcaster.remove(id));
            }
            drop(broadcaster.close());
        });
    }
    trespasses.assert_none();
}
