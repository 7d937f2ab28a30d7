//! A disk that fills: as one, a limit on the size of files, under which a process starts this test once more.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::durable::{CommitError, DurableOptions, Sync};
use outflow::retry::Constant;
use outflow::{Sink, SinkExt, sink};

use crate::scratch::Scratch;

#[test]
fn a_full_disk_hands_events_back_and_works_again_once_there_is_room() {
    if std::env::var_os("OUTFLOW_DURABLE_FULL").is_none() {
        // In blocks of 512 bytes or of 1,024, as the shell has it.
        let script = "trap '' XFSZ; ulimit -f 128; exec \"$0\" --exact \"$1\"";
        let test = "full::a_full_disk_hands_events_back_and_works_again_once_there_is_room";
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(test);
        let output = shell.env("OUTFLOW_DURABLE_FULL", "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let scratch = Scratch::new();
    let up = Arc::new(AtomicBool::new(false));
    let (is_up, delivered) = (Arc::clone(&up), sink::collector());
    let into = delivered.clone();
    let below = sink::from_fn(move |event: &(u32, String)| {
        if !is_up.load(Ordering::Relaxed) {
            return Err("down");
        }
        into.write(event.0).map_err(|_| "closed")
    });
    // Segments of 128 KiB: one that is half full is left for another when all in it is delivered.
    let options = DurableOptions::new(scratch.store()).sync(Sync::Os).max_bytes(1 << 20);
    let queue = below.retry(Constant::new(Duration::from_millis(1))).durable_with(options).unwrap();
    let event = |number| (number, "x".repeat(1000));
    let mut next = 0;
    let error = loop {
        match queue.write(event(next)) {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(next > 20, "{next}");
    assert!(matches!(error.error(), Some(CommitError::DiskFull(_))), "{error:?}");
    assert_eq!(error.into_event(), event(next));
    assert!(!queue.is_closed());

    up.store(true, Ordering::Relaxed);
    let end = Instant::now() + Duration::from_secs(10);
    while queue.write(event(next)).is_err() {
        assert!(Instant::now() < end, "it did not work again: {queue:?}");
        thread::sleep(Duration::from_millis(1));
    }
    queue.close().wait().unwrap();
    assert_eq!(queue.left_on_disk(), 0);
    assert_eq!(delivered.events(), (0..=next).collect::<Vec<_>>());
    assert!(outflow::durable::inspect(scratch.store()).unwrap().damage.is_empty());
}
