//! SwarmKit's watch queue on a log: watch with a filter, a limit, a timeout, a callback, a cancel; view and
//! watch; watch from a version.
//!
//! ```text
//! cargo run --release --example watch
//! ```
//!
//! Real notifications of a registry are watched, and every watcher is checked against the file at the end.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use outflow::log::{
    Cursor, FollowerHandle, Lag, Log, LogOptions, Seq, Start, StartError, SubscribeOptions, TryRecvError,
};
use outflow::{Sink, SinkExt, sink};
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct Change {
    pub(crate) id: String,
    pub(crate) action: String,
    pub(crate) target: Target,
}

#[derive(Deserialize)]
pub(crate) struct Target {
    pub(crate) repository: String,
}

#[derive(Deserialize)]
struct Envelope {
    events: Vec<Change>,
}

pub(crate) type Filter = fn(&Change) -> bool;

/// Everything that happens goes through here, and everybody may watch it.
pub(crate) struct WatchQueue {
    pub(crate) log: Log<Arc<Change>>,
}

impl WatchQueue {
    /// The changes from now on that pass.
    pub(crate) fn watch(&self, filter: Filter) -> Watch {
        Watch { cursor: self.log.subscribe(), filter }
    }

    /// The same, but a watcher that is more than `limit` changes behind is closed, and told to resume.
    fn watch_with_limit(&self, limit: u64, filter: Filter) -> Result<Watch, StartError> {
        let options = SubscribeOptions::new().max_lag(limit, Lag::Close);
        Ok(Watch { cursor: self.log.subscribe_with(options)?, filter })
    }

    /// The changes from a version on.
    fn watch_from(&self, version: Seq, filter: Filter) -> Result<Watch, StartError> {
        Ok(Watch { cursor: self.log.subscribe_with(Start::At(version))?, filter })
    }

    /// What `view` sees, and every change that it does not.
    fn view_and_watch<T>(&self, view: impl FnOnce() -> T) -> (T, Watch) {
        let (state, cursor) = self.log.subscribe_with_snapshot(view);
        (state, Watch { cursor, filter: all })
    }

    /// Counts the changes that pass, on a thread of its own, until that is cancelled.
    fn count(&self, filter: Filter, counter: &Arc<AtomicU64>) -> FollowerHandle<Arc<Change>> {
        let counter = Arc::clone(counter);
        let callback = sink::for_each(move |_| _ = counter.fetch_add(1, Ordering::SeqCst));
        self.log.follow(callback.filter(move |change: &Arc<Change>| filter(change)))
    }
}

/// One watcher. To cancel it is to drop it.
pub(crate) struct Watch {
    cursor: Cursor<Arc<Change>>,
    filter: Filter,
}

impl Watch {
    /// The next change that passes the filter; `Empty` when `timeout` has passed without any. Changes that do not
    /// pass do not prolong it; one change at least is looked at, if it is there.
    pub(crate) fn next(&mut self, timeout: Duration) -> Result<Arc<Change>, TryRecvError> {
        // Only what passes is cloned.
        let look = |change: &Arc<Change>| (self.filter)(change).then(|| Arc::clone(change));
        // A timeout too long for the clock has no end.
        let deadline = Instant::now().checked_add(timeout);
        let mut left = timeout;
        loop {
            if let Some(change) = self.cursor.recv_timeout_with(left, look)? {
                return Ok(change);
            }
            if let Some(deadline) = deadline {
                left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(TryRecvError::Empty);
                }
            }
        }
    }

    fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.next(Duration::from_secs(5)).ok())
            .map(|change| change.id.clone())
            .collect()
    }
}

fn all(_: &Change) -> bool {
    true
}

fn is_push(change: &Change) -> bool {
    change.action == "push"
}

fn notifications() -> Result<Vec<Arc<Change>>, Box<dyn Error>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/registry-notifications.ndjson");
    let mut changes = Vec::new();
    for line in std::fs::read_to_string(path)?.lines() {
        changes.extend(serde_json::from_str::<Envelope>(line)?.events.into_iter().map(Arc::new));
    }
    Ok(changes)
}

fn ids<'a>(changes: impl IntoIterator<Item = &'a Arc<Change>>) -> Vec<String> {
    changes.into_iter().map(|change| change.id.clone()).collect()
}

/// How often each repository changed.
fn tally(changes: &[Arc<Change>], mut tally: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    changes.iter().for_each(|change| *tally.entry(change.target.repository.clone()).or_default() += 1);
    tally
}

fn check(what: &str, holds: bool) -> Result<(), Box<dyn Error>> {
    println!("{} {what}", if holds { "ok    " } else { "WRONG " });
    holds.then_some(()).ok_or_else(|| what.into())
}

fn main() -> Result<(), Box<dyn Error>> {
    let changes = notifications()?;
    let half = changes.len() / 2;
    // Remembers the last changes, for those who resume.
    let queue = WatchQueue { log: Log::with(LogOptions::new().retain(64)) };

    let pushes = queue.watch(is_push);
    let mut lazy = queue.watch_with_limit(32, all)?;
    let cancelled = queue.watch(all);
    let (called, calls) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let callback = queue.count(is_push, &called);
    queue.count(all, &calls);

    // A filter, on a thread that watches while the changes come in.
    let watching = thread::spawn(move || pushes.rest());
    for change in &changes[..half] {
        queue.log.write_ref(change)?;
    }

    // A cancel: what is cancelled keeps nothing alive, and a callback that is cancelled is called no more.
    drop(cancelled);
    queue.log.flush().wait()?;
    check("a callback can be cancelled", callback.detach().is_some())?;
    let before = called.load(Ordering::SeqCst);

    // A view and the changes after it fit together.
    let (mut view, mut rest) =
        queue.view_and_watch(|| tally(&changes[..queue.log.head() as usize], BTreeMap::new()));

    // A timeout: nothing comes.
    check("a watch times out", matches!(rest.next(Duration::from_millis(20)), Err(TryRecvError::Empty)))?;

    for change in &changes[half..] {
        queue.log.write_ref(change)?;
    }
    queue.log.close().wait()?;

    // A limit: it is far behind, is told so, and resumes where that is still possible.
    let limited = lazy.next(Duration::ZERO);
    check("a watch over its limit is closed", matches!(limited, Err(TryRecvError::Closed(_))))?;
    let resumed = queue.watch_from(lazy.cursor.position(), all);
    let Err(StartError::NotHeld { oldest, .. }) = resumed.map(drop) else {
        return Err("a version that is long gone is still held".into());
    };
    check(
        "and resumes from the version it is told",
        queue.watch_from(oldest, all)?.rest() == ids(&changes[oldest as usize..]),
    )?;

    while let Ok(change) = rest.next(Duration::from_secs(5)) {
        view = tally(&[change], view);
    }
    check("a view and its watch add up", view == tally(&changes, BTreeMap::new()))?;

    let watched = watching.join().map_err(|_| "the watcher panicked")?;
    let pushed = ids(changes.iter().filter(|change| is_push(change)));
    check("a filtered watch saw every push, in order", watched == pushed)?;
    let first_half = changes[..half].iter().filter(|change| is_push(change)).count() as u64;
    let (then, now) = (before == first_half, called.load(Ordering::SeqCst) == before);
    check("a cancelled callback saw the first half", then && now)?;
    check("a callback saw everything", calls.load(Ordering::SeqCst) == changes.len() as u64)?;
    println!("{} changes, {} of them pushes", changes.len(), pushed.len());
    Ok(())
}
