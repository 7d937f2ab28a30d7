//! Writing many: to a sink that takes runs and to one that does not, everything is written in order or handed back.

use std::sync::{Arc, Mutex};

use outflow::{Closing, Flushing, Log, Sink, SinkExt, WriteError, sink};

/// Takes runs of three, fails at one event, and notes how it was called.
struct Runs {
    fails_at: u32,
    calls: Mutex<Vec<Vec<u32>>>,
}

impl Runs {
    fn new(fails_at: u32) -> Self {
        Self { fails_at, calls: Mutex::default() }
    }

    fn calls(&self) -> Vec<Vec<u32>> {
        self.calls.lock().unwrap().clone()
    }
}

impl Sink<u32> for Runs {
    type Error = &'static str;

    fn write(&self, event: u32) -> Result<(), WriteError<u32, Self::Error>> {
        self.write_run(&mut vec![event].into_iter())
    }

    fn write_run(&self, run: &mut std::vec::IntoIter<u32>) -> Result<(), WriteError<u32, Self::Error>> {
        let mut written = Vec::new();
        let result = run.try_for_each(|event| {
            if event == self.fails_at {
                return Err(WriteError::failed(event, "no"));
            }
            written.push(event);
            Ok(())
        });
        self.calls.lock().unwrap().push(written);
        result
    }

    fn longest_run(&self) -> usize {
        3
    }

    fn flush(&self) -> Flushing {
        Flushing::done()
    }

    fn close(&self) -> Closing {
        Closing::done()
    }
}

#[test]
fn a_sink_that_takes_runs_gets_them_through_every_pointer() {
    let sink = Arc::new(Runs::new(u32::MAX));
    sink.write_all(0..4).unwrap();
    (&&*sink).write_all(4..6).unwrap();
    Box::new(Arc::clone(&sink)).write_all([6, 7]).unwrap();
    let erased: Arc<dyn Sink<u32, Error = &'static str>> = sink.clone();
    erased.write_all(vec![8, 9]).unwrap();
    // It is not said how many there are.
    erased.write_all((10..12).filter(|_| true)).unwrap();
    let calls = [vec![0, 1, 2], vec![3], vec![4, 5], vec![6, 7], vec![8, 9], vec![10], vec![11]];
    assert_eq!(sink.calls(), calls);
}

#[test]
fn what_is_not_written_is_handed_back_in_order_wherever_it_stops() {
    for fails_at in 0..10 {
        let runs = Runs::new(fails_at);
        let fails = sink::from_fn(move |event: &u32| if *event == fails_at { Err("no") } else { Ok(()) });
        for stopped in [runs.write_all(0..10).unwrap_err(), fails.write_all(0..10).unwrap_err()] {
            assert_eq!(stopped.refused, WriteError::failed(fails_at, "no"));
            assert!(stopped.rest.eq(fails_at + 1..10));
        }
        assert!(runs.calls().concat().into_iter().eq(0..fails_at));
    }
}

#[test]
fn a_sink_that_takes_no_runs_is_written_before_the_iterator_goes_on() {
    let delivered = sink::collector();
    let count = delivered.clone();
    delivered.write_all((0..5).inspect(|n| assert_eq!(count.len(), *n))).unwrap();
}

#[test]
fn a_run_can_be_written_by_hand_to_any_sink() {
    let sink = sink::from_fn(|event: &u32| if *event == 2 { Err("no") } else { Ok(()) });
    let mut run = vec![0, 1, 2, 3].into_iter();
    assert_eq!(sink.write_run(&mut run), Err(WriteError::failed(2, "no")));
    assert_eq!(run.as_slice(), [3]);
    let log = Log::new();
    let mut cursor = log.subscribe();
    assert!(log.write_run(&mut run).is_ok() && run.len() == 0);
    assert!(log.write_run(&mut run).is_ok());
    assert_eq!((cursor.recv(), log.head()), (Ok(3), 1));
    log.close().wait().unwrap();
    assert_eq!(log.write_run(&mut vec![4, 5].into_iter()), Err(WriteError::Closed(4)));
}
