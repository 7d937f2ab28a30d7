//! A backoff for each container: what the CRI plugin of containerd wrote a queue of its own for.
//!
//! ```text
//! cargo run --example container_backoff
//! ```
//!
//! A runtime's exit events are handled by calls to that runtime, which fail for a container that is busy. Each container has
//! its own order and its own backoff: one that fails holds up none of the others, and its later events wait for it.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use outflow::queue::QueueOptions;
use outflow::retry::ExponentialBackoff;
use outflow::{Buffer, Sink, SinkExt, sink};

#[derive(Clone, Debug, PartialEq)]
struct Event {
    container: &'static str,
    what: &'static str,
}

/// A runtime in which one container does not answer for the first few calls.
#[derive(Default)]
struct Runtime {
    calls: Mutex<HashMap<&'static str, Vec<Instant>>>,
}

impl Runtime {
    fn handle(&self, event: &Event) -> Result<(), &'static str> {
        let mut calls = self.calls.lock().map_err(|_| "poisoned")?;
        let calls = calls.entry(event.container).or_default();
        calls.push(Instant::now());
        if event.container == "stuck" && calls.len() < 6 { Err("deadline exceeded") } else { Ok(()) }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begun = Instant::now();
    let runtime = std::sync::Arc::new(Runtime::default());
    let handled = sink::collector();

    let (calls, done) = (runtime.clone(), handled.clone());
    // In containerd: 1 s at first, 5 min at most.
    let backoff = ExponentialBackoff::default()
        .base(Duration::ZERO)
        .factor(Duration::from_millis(10))
        .max(Duration::from_millis(100));
    let queue = sink::from_fn(move |event: &Event| {
        calls.handle(event)?;
        done.write((event.clone(), begun.elapsed())).map_err(|_| "closed")
    })
    // The failures of a write count for that write alone, and 8 containers are handled at once.
    .retry(backoff.per_write())
    .queued_with(QueueOptions::new(Buffer::bounded(10_000)).keyed(8, |event: &Event| event.container));

    let containers = ["stuck", "web", "db", "cache", "mail", "cron", "proxy", "auth", "logs", "queue"];
    for what in ["start", "oom", "exit"] {
        for container in containers {
            queue.write(Event { container, what })?;
        }
    }
    queue.close().wait()?;

    let handled = handled.events();
    for container in containers {
        let whats =
            handled.iter().filter(|(event, _)| event.container == container).map(|(event, _)| event.what);
        assert!(whats.eq(["start", "oom", "exit"]), "{container}: each in order");
    }
    for (Event { container, what }, after) in &handled {
        println!("{:>6.1} ms  {container:<6} {what}", after.as_secs_f64() * 1e3);
    }
    let stuck = handled.iter().position(|(event, _)| event.container == "stuck");
    println!(
        "{} events of other containers came before the first of the one that was stuck",
        stuck.unwrap_or(0)
    );
    let calls = runtime.calls.lock().map_err(|_| "poisoned")?;
    // Five failures and three successes, and one call for each event of the others.
    assert_eq!((calls["stuck"].len(), calls["web"].len()), (8, 3));
    Ok(())
}
