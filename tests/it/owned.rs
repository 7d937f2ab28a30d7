//! What a chain owns is dropped before its close is done: a closure has no other moment to write out what it holds.

use std::io::{BufWriter, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::common::{in_time, rounds};
use outflow::{Broadcaster, Buffer, Sink, SinkExt, channel, sink};

/// What is written to a file.
#[derive(Clone, Default)]
struct File(Arc<Mutex<Vec<u8>>>);

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl File {
    fn lines(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|byte| **byte == b'\n').count()
    }

    /// Writes a line for each event, which comes into the file when this is dropped, if not before.
    fn sink(&self) -> impl Sink<u32, Error = std::convert::Infallible> + Send + Sync + use<> {
        let writer = Mutex::new(BufWriter::new(self.clone()));
        sink::for_each(move |event: u32| writeln!(writer.lock().unwrap(), "{event}").unwrap())
    }
}

/// How many writes were accepted before the close.
fn writes_until_closed<S: Sink<u32>>(sink: &S) -> usize {
    std::iter::repeat_with(|| sink.write(1)).take_while(Result::is_ok).count()
}

#[test]
fn the_spill_of_a_queue() {
    in_time("the close", || {
        let file = File::default();
        let dead = sink::collector();
        drop(dead.close());
        let queue = dead.queued_with(Buffer::unbounded().spill(file.sink()));
        while queue.write(1).is_ok() {}
        let error = queue.close().wait().unwrap_err();
        assert_eq!(file.lines() as u64, queue.stats().spilled, "{error}");
        assert!(file.lines() > 0);
    });
}

#[test]
fn the_sink_and_the_spill_of_a_queue_that_evicts() {
    in_time("the close", || {
        for _ in 0..rounds(200) {
            let (delivered, spilled) = (File::default(), File::default());
            let queue = delivered.sink().queued_with(Buffer::bounded(1).drop_oldest().spill(spilled.sink()));
            thread::scope(|scope| {
                scope.spawn(|| while queue.write(1).is_ok() {});
                queue.write(2).ok();
                queue.close().wait().unwrap();
                let stats = queue.stats();
                assert_eq!(
                    (delivered.lines() as u64, spilled.lines() as u64),
                    (stats.delivered, stats.spilled),
                    "{stats:?}"
                );
            });
        }
    });
}

#[test]
fn the_sinks_of_a_broadcaster_that_is_closed_while_another_thread_writes() {
    in_time("the close", || {
        for round in 0..rounds(200) {
            let (file, queued) = (File::default(), File::default());
            let broadcaster = Broadcaster::new();
            broadcaster.add(file.sink()).unwrap();
            broadcaster.add(queued.sink().queued()).unwrap();
            thread::scope(|scope| {
                let writer = scope.spawn(|| writes_until_closed(&broadcaster));
                broadcaster.write(2).unwrap();
                // Changed meanwhile, so that lists are still walked that are no longer there.
                let id = broadcaster.add(sink::discard()).unwrap();
                drop(broadcaster.remove(id));
                broadcaster.close().wait().unwrap();
                let lines = (file.lines(), queued.lines());
                let written = writer.join().unwrap() + 1;
                assert_eq!(lines, (written, written), "in round {round}");
            });
        }
    });
}

#[test]
fn the_spill_of_a_channel() {
    in_time("the close", || {
        for _ in 0..rounds(200) {
            let file = File::default();
            let (sink, events) = channel::with(Buffer::bounded(1).drop_oldest().spill(file.sink()));
            thread::scope(|scope| {
                let writer = scope.spawn(|| writes_until_closed(&sink));
                sink.write(2).unwrap();
                drop(events);
                sink.close().wait().unwrap();
                let lines = file.lines();
                assert_eq!(lines, writer.join().unwrap() + 1);
            });
        }
    });
}

#[test]
fn the_spill_of_a_subscription() {
    in_time("the close", || {
        for _ in 0..rounds(200) {
            let file = File::default();
            let broadcaster = Broadcaster::new();
            let watcher = broadcaster.subscribe(Buffer::bounded(1).drop_oldest().spill(file.sink()));
            thread::scope(|scope| {
                let writer = scope.spawn(|| writes_until_closed(&broadcaster));
                broadcaster.write(2).unwrap();
                let closing = broadcaster.close();
                let read = watcher.iter().count();
                drop(watcher);
                closing.wait().unwrap();
                let lines = file.lines();
                assert_eq!(lines + read, writer.join().unwrap() + 1);
            });
        }
    });
}
