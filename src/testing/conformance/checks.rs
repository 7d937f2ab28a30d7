use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::trial::{Trial, WriteOutcome, Written};
use super::{Law, Plan, Violation};
use crate::lifecycle::{CloseError, Closing, FlushError};
use crate::sync::caught::panic_message;
use crate::testing::Stamp;

/// How many threads close at the same time.
const CLOSERS: u32 = 3;

pub(super) fn run<E>(plan: &Arc<Plan<E>>) -> Result<(), Violation>
where
    E: Clone + Send + 'static,
{
    within_limit(plan, by_itself)?;
    for round in 0..plan.rounds {
        within_limit(plan, move |trial| race(trial, round))?;
    }
    // Each of these is about one law. The other laws that it looks at are checked above.
    if plan.laws.contains(&Law::CloseIsShared) {
        within_limit(plan, held)?;
    }
    if plan.laws.contains(&Law::ClosedBelow) {
        within_limit(plan, closed_below)?;
    }
    if plan.laws.contains(&Law::CalledFromWithin) {
        within_limit(plan, from_within)?;
    }
    if plan.laws.contains(&Law::SurvivesPanic) {
        within_limit(plan, panics)?;
    }
    Ok(())
}

/// Runs a check on a thread of its own, which is left behind if it hangs.
fn within_limit<E, F>(plan: &Arc<Plan<E>>, check: F) -> Result<(), Violation>
where
    E: Clone + Send + 'static,
    F: FnOnce(&Arc<Trial<E>>) + Send + 'static,
{
    let trial = Arc::new(Trial::new(plan));
    let (sender, ended) = mpsc::channel();
    let inside = Arc::clone(&trial);
    thread::spawn(move || {
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&inside)));
        // The receiver may have stopped waiting.
        let _ = sender.send(outcome.map_err(panic_message));
    });
    let outcome = ended.recv_timeout(plan.limit);
    trial.verdict()?;
    let (law, step) = trial.current_step();
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(Violation::new(law, format!("it panicked ({message}), {step}"))),
        Err(_) => Err(Violation::new(law, format!("it hangs, {step}"))),
    }
}

/// How many events a close reports as not delivered.
fn undelivered(outcome: &Result<(), CloseError>) -> u64 {
    outcome.as_ref().err().map_or(0, CloseError::undelivered)
}

/// As [`undelivered`], of a close that was aborted. `Aborted` sets no bound.
fn undelivered_at_most(error: &CloseError) -> u64 {
    match error {
        CloseError::Aborted => u64::MAX,
        CloseError::Sink { error, .. } => undelivered_at_most(error),
        CloseError::Several(errors) => errors.iter().map(undelivered_at_most).fold(0, u64::saturating_add),
        error => error.undelivered(),
    }
}

/// Closes, and returns the outcome; `None` if the close hangs.
fn close_and_wait<E>(trial: &Trial<E>) -> Option<Result<(), CloseError>>
where
    E: Clone + Send + 'static,
{
    let outcome = trial.outcome(&trial.close());
    if outcome.is_none() {
        trial.found(trial.current_step().0, "a close does not complete");
    }
    outcome
}

/// Reports a law that could not be checked.
fn not_checked<E>(trial: &Trial<E>, law: Law, writes: &str)
where
    E: Clone + Send + 'static,
{
    trial.found(law, format!("it could not be checked, since {writes} reached the downstream"));
}

/// One writer, a flush, a close, writes after it, another close.
fn by_itself<E>(trial: &Arc<Trial<E>>)
where
    E: Clone + Send + 'static,
{
    let mut written = Written::default();
    trial.step(Law::Accounted, "while one writer writes");
    let events = trial.plan.events;
    for n in 0..events {
        if trial.write(Stamp::new(0, n), &mut written) == WriteOutcome::Closed {
            trial.found(Law::ClosedRefuses, "a write was refused as Closed before any close");
            return;
        }
    }
    trial.step(Law::Accounted, "at the flush");
    let flushed = trial.sink().flush().within(trial.plan.limit / 2);
    match &flushed {
        Ok(()) => {}
        Err(FlushError::TimedOut) => {
            trial.found(Law::Accounted, "the flush does not complete");
            return;
        }
        Err(error) => trial.found(Law::Accounted, format!("the flush failed ({error})")),
    }
    if trial.close_is_barrier && flushed.is_ok() && trial.accounted(0) < trial.accepted() {
        let (there, accepted) = (trial.accounted(0), trial.accepted());
        trial.found(
            Law::Accounted,
            format!("the flush completed with {there} of {accepted} events accounted for"),
        );
    }

    trial.step(Law::CloseIsShared, "at the close");
    let closing = trial.close();
    let Some(outcome) = trial.outcome(&closing) else {
        trial.found(Law::CloseIsShared, "the close does not complete");
        return;
    };
    trial.step(Law::ClosedRefuses, "after the close");
    for n in 0..4 {
        trial.write(Stamp::new(0, events + n), &mut written);
    }
    let elsewhere = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = Written::default();
            (0..4).for_each(|n| _ = trial.write(Stamp::new(1, n), &mut written));
            written
        });
        joined(writer)
    });
    trial.step(Law::CloseIsShared, "at the second close");
    match trial.outcome(&trial.close()) {
        None => trial.found(Law::CloseIsShared, "the second close does not complete"),
        Some(second) => same_outcome(trial, &[outcome.clone(), second]),
    }

    trial.step(Law::Accounted, "after one writer, a flush and a close");
    trial.account(&Written::join([written, elsewhere]), undelivered(&outcome), Law::Accounted);
    trial.drop_all();
}

/// Several writers race with several closers; every third round, one of these aborts.
fn race<E>(trial: &Arc<Trial<E>>, round: u32)
where
    E: Clone + Send + 'static,
{
    let aborts = round % 3 == 2;
    trial.step(Law::CloseIsShared, "while writers race with closers");
    let writers = trial.plan.writers;
    let threads = usize::try_from(writers).unwrap_or(usize::MAX).saturating_add(CLOSERS as usize);
    let barrier = Barrier::new(threads);
    let (written, closes) = thread::scope(|scope| {
        let closers: Vec<_> = (0..CLOSERS)
            .map(|closer| {
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    spin(round.wrapping_mul(CLOSERS).wrapping_add(closer));
                    let before = trial.accepted();
                    let closing = trial.close();
                    if aborts && closer == 0 {
                        trial.abort(&closing);
                    }
                    let outcome = closing.wait();
                    (before, trial.accounted(undelivered(&outcome)), outcome)
                })
            })
            .collect();
        let writers: Vec<_> = (0..writers)
            .map(|writer| {
                let barrier = &barrier;
                scope.spawn(move || {
                    let mut written = Written::default();
                    barrier.wait();
                    for n in 0..trial.plan.events {
                        trial.write(Stamp::new(writer, n), &mut written);
                    }
                    written
                })
            })
            .collect();
        let written = Written::join(writers.into_iter().map(joined));
        (written, closers.into_iter().map(joined).collect::<Vec<_>>())
    });
    let outcomes: Vec<_> = closes.iter().map(|(_, _, outcome)| outcome.clone()).collect();
    same_outcome(trial, &outcomes);
    trial.step(Law::Accounted, "after a race of writers and closers");
    let reported = match outcomes.first() {
        Some(Err(error)) if aborts => undelivered_at_most(error),
        first => first.map_or(0, undelivered),
    };
    trial.account(&written, reported, Law::Accounted);
    // After the accounting: an event that never arrives is lost, and no sign of a close that completed too early.
    for (before, there, _) in closes {
        if trial.close_is_barrier && !aborts {
            completed_too_early(trial, before, there);
        }
    }
    trial.drop_all();
}

/// Closes while a write is blocked downstream: `close` returns, and no close completes before the write.
fn held<E>(trial: &Arc<Trial<E>>)
where
    E: Clone + Send + 'static,
{
    if !trial.uses_end() {
        return;
    }
    trial.step(Law::CloseIsShared, "while a write is blocked downstream");
    let hold = trial.end.hold();
    let (sender, wrote) = mpsc::channel();
    let inside = Arc::clone(trial);
    let writer = thread::spawn(move || {
        let mut written = Written::default();
        for n in 0..4 {
            inside.write(Stamp::new(0, n), &mut written);
            let _ = sender.send(());
        }
        written
    });
    // Without a queue, the write does not return; with one, it does.
    let deadline = Instant::now() + trial.plan.limit / 4;
    while hold.arrivals() == 0 && Instant::now() < deadline {
        thread::sleep(Duration::from_micros(100));
    }
    let _ = wrote.recv_timeout(Duration::from_millis(20));

    let (sender, closings) = mpsc::channel::<(u64, Closing)>();
    for _ in 0..CLOSERS {
        let (inside, sender) = (Arc::clone(trial), sender.clone());
        thread::spawn(move || {
            let before = inside.accepted();
            let _ = sender.send((before, inside.close()));
        });
    }
    let patience = trial.plan.limit / 4;
    let begun: Vec<_> = (0..CLOSERS).map_while(|_| closings.recv_timeout(patience).ok()).collect();
    if begun.len() < CLOSERS as usize {
        trial.found(Law::CloseIsShared, "close itself waits for a write that is blocked");
    }
    for (before, closing) in &begun {
        if trial.close_is_barrier && closing.is_done() && trial.accounted(0) < *before {
            completed_too_early(trial, *before, trial.accounted(undelivered(&closing.wait())));
        }
    }
    hold.open();
    let outcomes: Vec<_> = begun.iter().filter_map(|(_, closing)| trial.outcome(closing)).collect();
    if outcomes.len() < begun.len() {
        trial.found(Law::CloseIsShared, "a close does not complete, though the write was unblocked");
        return;
    }
    same_outcome(trial, &outcomes);
    let written = match writer.join() {
        Ok(written) => written,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    trial.step(Law::Accounted, "after a close while a write was blocked");
    trial.account(&written, outcomes.first().map_or(0, undelivered), Law::Accounted);
    trial.drop_all();
}

/// The downstream closes by itself.
fn closed_below<E>(trial: &Arc<Trial<E>>)
where
    E: Clone + Send + 'static,
{
    if !trial.uses_end() {
        return;
    }
    trial.step(Law::ClosedBelow, "after the downstream has closed by itself");
    let mut written = Written::default();
    (0..4).for_each(|n| _ = trial.write(Stamp::new(0, n), &mut written));
    trial.end.end();
    if write_on(trial, 4, &mut written, |_| false) != WriteOutcome::Closed {
        trial.found(Law::ClosedBelow, "it still accepts, or fails, what is written to it");
    }
    if !trial.poll(|| trial.sink().is_closed()) {
        trial.found(Law::ClosedBelow, "is_closed() is false");
    }
    let Some(outcome) = close_and_wait(trial) else { return };
    trial.account(&written, undelivered(&outcome), Law::ClosedBelow);
    if let Some(stamp) = trial.refused_unseen(&written).filter(|_| outcome.is_ok()) {
        trial.found(
            Law::ClosedBelow,
            format!("{stamp} was accepted, the downstream refused it, and the close does not report it"),
        );
    }
    trial.drop_all();
}

/// One writer writes, beginning with event `first`, until `has_happened` holds, a write is refused as `Closed`, or a
/// quarter of the time limit is over. How many of the writes reach the downstream, and when, depends on the sink.
fn write_on<E>(
    trial: &Trial<E>,
    first: u64,
    written: &mut Written,
    mut has_happened: impl FnMut(u64) -> bool,
) -> WriteOutcome
where
    E: Clone + Send + 'static,
{
    let deadline = Instant::now() + trial.plan.limit / 4;
    let mut sequence = first;
    loop {
        let outcome = trial.write(Stamp::new(0, sequence), written);
        sequence += 1;
        if outcome == WriteOutcome::Closed || has_happened(sequence) || Instant::now() > deadline {
            return outcome;
        }
        if sequence - first > 100 {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

/// The write that reaches the downstream as this one, counted from 1, makes it write to the sink.
const ECHOED: u64 = 2;
/// This one makes it close the sink.
const CLOSED: u64 = 5;

/// How many events are written from within at most, where few of them are to reach the downstream.
const MOST_ECHOES: u64 = 1000;

/// The downstream writes to the sink, flushes it and closes it.
fn from_within<E>(trial: &Arc<Trial<E>>)
where
    E: Clone + Send + 'static,
{
    if !trial.uses_end() {
        return;
    }
    trial.step(Law::CalledFromWithin, "while the downstream calls the sink");
    let (sender, from_inside) = mpsc::channel();
    let came = Arc::new(AtomicU64::new(0));
    let (weak, count) = (Arc::downgrade(trial), Arc::clone(&came));
    trial.end.call(Some(Arc::new(move |event| {
        let Some(trial) = weak.upgrade() else { return };
        if (trial.plan.stamp)(event).writer > 0 {
            return;
        }
        let nth = count.fetch_add(1, Ordering::SeqCst) + 1;
        if nth == ECHOED {
            let mut written = Written::default();
            // At least two that are to reach the downstream in turn.
            let enough = |n: u64| n >= 4 && (0..n).filter(|n| trial.delivers(Stamp::new(1, *n))).count() >= 2;
            let echoes = (4..=MOST_ECHOES).find(|n| enough(*n)).unwrap_or(MOST_ECHOES);
            (0..echoes).for_each(|n| _ = trial.write(Stamp::new(1, n), &mut written));
            let _ = trial.sink().is_closed();
            drop(trial.sink().flush());
            let _ = sender.send(written);
        }
        if nth == CLOSED {
            drop(trial.close());
            let mut written = Written::default();
            trial.write(Stamp::new(2, 0), &mut written);
            drop(trial.sink().flush());
            let _ = sender.send(written);
        }
    })));
    let mut written = Written::default();
    let closes = |came: &AtomicU64| came.load(Ordering::SeqCst) >= CLOSED;
    write_on(trial, 0, &mut written, |sequence| sequence >= 8 && closes(&came));
    // When the close has completed, every accepted event is delivered or reported.
    let Some(outcome) = close_and_wait(trial) else { return };
    if !closes(&came) {
        let writes = format!("{} writes, fewer than {CLOSED},", came.load(Ordering::SeqCst));
        not_checked(trial, Law::CalledFromWithin, &writes);
    }
    trial.end.call(None);
    // A call under way holds a sender until it returns.
    let inside: Vec<Written> = from_inside.iter().collect();
    let written = Written::join(inside.into_iter().chain([written]));
    trial.account(&written, undelivered(&outcome), Law::Accounted);
    trial.drop_all();
}

/// The downstream panics once, halfway through the events.
fn panics<E>(trial: &Arc<Trial<E>>)
where
    E: Clone + Send + 'static,
{
    if !trial.uses_end() {
        return;
    }
    trial.step(Law::SurvivesPanic, "when the downstream panics");
    trial.end.panic_after(trial.plan.events / 2);
    let written = thread::scope(|scope| {
        let writers: Vec<_> = (0..trial.plan.writers)
            .map(|writer| {
                scope.spawn(move || {
                    let mut written = Written::default();
                    for n in 0..trial.plan.events {
                        trial.write(Stamp::new(writer, n), &mut written);
                    }
                    written
                })
            })
            .collect();
        Written::join(writers.into_iter().map(joined))
    });
    // Some of these events may not have reached the downstream. The point of the check is the events after the panic.
    trial.end.panic_next();
    let mut after = Written::default();
    let mut due = None;
    write_on(trial, trial.plan.events, &mut after, |_| {
        if due.is_none() && trial.end.panicked() > 0 {
            due = Some(trial.accepted() + trial.plan.events / 2);
        }
        due.is_some_and(|due| trial.accepted() >= due)
    });
    let written = Written::join([written, after]);
    if written.panicked > trial.end.panicked() {
        trial.found(Law::SurvivesPanic, format!("{} writes panicked for one panic", written.panicked));
    }
    let Some(outcome) = close_and_wait(trial) else { return };
    if trial.end.panicked() == 0 {
        not_checked(trial, Law::SurvivesPanic, "no write");
    }
    trial.account(&written, undelivered(&outcome), Law::SurvivesPanic);
    trial.drop_all();
}

/// Reports a close that completed when only `there` of the `before` events accepted before it were accounted for.
fn completed_too_early<E>(trial: &Trial<E>, before: u64, there: u64)
where
    E: Clone + Send + 'static,
{
    if there < before {
        trial.found(Law::CloseIsShared, format!("a close completed with {there} of {before} events there"));
    }
}

fn same_outcome<E>(trial: &Trial<E>, outcomes: &[Result<(), CloseError>])
where
    E: Clone + Send + 'static,
{
    let shown: Vec<String> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    if let Some(pair) = shown.windows(2).find(|pair| pair[0] != pair[1]) {
        trial.found(Law::CloseIsShared, format!("one closer gets {} and another {}", pair[0], pair[1]));
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Spins for a time that differs from round to round, up to some microseconds.
fn spin(round: u32) {
    // Knuth's multiplicative hash.
    for _ in 0..(round.wrapping_mul(2_654_435_761) >> 20) % 3000 {
        std::hint::spin_loop();
    }
}
