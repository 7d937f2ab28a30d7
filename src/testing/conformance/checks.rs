use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::trial::{Answer, Trial, Written};
use super::{Law, Plan, Violation};
use crate::lifecycle::{CloseError, Closing, FlushError};
use crate::sync::caught::panic_message;
use crate::testing::Stamp;

/// How many close at once.
const CLOSERS: u32 = 3;

pub(super) fn run<E>(plan: &Arc<Plan<E>>) -> Result<(), Violation>
where
    E: Clone + Send + 'static,
{
    within_limit(plan, by_itself)?;
    for round in 0..plan.rounds {
        within_limit(plan, move |trial| race(trial, round))?;
    }
    // What these are about is one law each; the others they look at are checked above.
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

/// Runs a check on a thread of its own, which stays behind if it hangs.
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
        // Whoever waits may have gone.
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

/// How many events a close says were not delivered.
fn undelivered(outcome: &Result<(), CloseError>) -> u64 {
    outcome.as_ref().err().map_or(0, CloseError::undelivered)
}

/// The same of a close that was aborted: there is one that does not know, and says so.
fn undelivered_at_most(error: &CloseError) -> u64 {
    match error {
        CloseError::Aborted => u64::MAX,
        CloseError::Sink { error, .. } => undelivered_at_most(error),
        CloseError::Several(errors) => errors.iter().map(undelivered_at_most).fold(0, u64::saturating_add),
        error => error.undelivered(),
    }
}

/// Closes, and answers what the close tells; `None` if it hangs.
fn close_and_wait<E>(trial: &Trial<E>) -> Option<Result<(), CloseError>>
where
    E: Clone + Send + 'static,
{
    let outcome = trial.outcome(&trial.close());
    if outcome.is_none() {
        trial.found(trial.current_step().0, "a close is not through");
    }
    outcome
}

/// How a law is reported that a check had to leave open.
fn not_checked<E>(trial: &Trial<E>, law: Law, writes: &str)
where
    E: Clone + Send + 'static,
{
    trial.found(law, format!("it could not be checked, since {writes} came to the downstream"));
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
        if trial.write(Stamp::new(0, n), &mut written) == Answer::Closed {
            trial.found(Law::ClosedRefuses, "a write was refused as Closed, and nobody has closed it");
            return;
        }
    }
    trial.step(Law::Accounted, "at the flush");
    let flushed = trial.sink().flush().within(trial.plan.limit / 2);
    match &flushed {
        Ok(()) => {}
        Err(FlushError::TimedOut) => {
            trial.found(Law::Accounted, "the flush is not through");
            return;
        }
        Err(error) => trial.found(Law::Accounted, format!("the flush failed ({error})")),
    }
    if trial.close_is_barrier && flushed.is_ok() && trial.accounted(0) < trial.accepted() {
        let (there, accepted) = (trial.accounted(0), trial.accepted());
        trial.found(
            Law::Accounted,
            format!("the flush was through with {there} of {accepted} events accounted for"),
        );
    }

    trial.step(Law::CloseIsShared, "at the close");
    let closing = trial.close();
    let Some(outcome) = trial.outcome(&closing) else {
        trial.found(Law::CloseIsShared, "the close is not through");
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
        None => trial.found(Law::CloseIsShared, "the second close is not through"),
        Some(second) => same_outcome(trial, &[outcome.clone(), second]),
    }

    trial.step(Law::Accounted, "after one writer, a flush and a close");
    trial.account(&Written::join([written, elsewhere]), undelivered(&outcome), Law::Accounted);
    trial.drop_all();
}

/// Several writers against several closers, one of which aborts every third time.
fn race<E>(trial: &Arc<Trial<E>>, round: u32)
where
    E: Clone + Send + 'static,
{
    let aborts = round % 3 == 2;
    trial.step(Law::CloseIsShared, "while writers race with closers");
    let writers = trial.plan.writers;
    let threads = usize::try_from(writers).unwrap_or(usize::MAX).saturating_add(CLOSERS as usize);
    let barrier = Barrier::new(threads);
    let (written, told) = thread::scope(|scope| {
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
    let outcomes: Vec<_> = told.iter().map(|(_, _, outcome)| outcome.clone()).collect();
    same_outcome(trial, &outcomes);
    trial.step(Law::Accounted, "after a race of writers and closers");
    let given_up = match outcomes.first() {
        Some(Err(error)) if aborts => undelivered_at_most(error),
        first => first.map_or(0, undelivered),
    };
    trial.account(&written, given_up, Law::Accounted);
    // Only now, since what is not there by the end was not told too early but is lost.
    for (before, there, _) in told {
        if trial.close_is_barrier && !aborts {
            told_too_early(trial, before, there);
        }
    }
    trial.drop_all();
}

/// A close while a write is held up downstream: it begins and comes back, and nobody is told too early.
fn held<E>(trial: &Arc<Trial<E>>)
where
    E: Clone + Send + 'static,
{
    if !trial.uses_end() {
        return;
    }
    trial.step(Law::CloseIsShared, "while a write is held up downstream");
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
    // The write of a sink without a queue does not come back, that of one with a queue does.
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
        trial.found(Law::CloseIsShared, "close itself waits for a write that is held up");
    }
    for (before, closing) in &begun {
        if trial.close_is_barrier && closing.is_done() && trial.accounted(0) < *before {
            told_too_early(trial, *before, trial.accounted(undelivered(&closing.wait())));
        }
    }
    hold.open();
    let outcomes: Vec<_> = begun.iter().filter_map(|(_, closing)| trial.outcome(closing)).collect();
    if outcomes.len() < begun.len() {
        trial.found(Law::CloseIsShared, "a close is not through, though the write was let go");
        return;
    }
    same_outcome(trial, &outcomes);
    let written = match writer.join() {
        Ok(written) => written,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    trial.step(Law::Accounted, "after a close while a write was held up");
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
    if write_on(trial, 4, &mut written, |_| false) != Answer::Closed {
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
            format!("{stamp} was accepted, and refused by the downstream, and the close tells nothing of it"),
        );
    }
    trial.drop_all();
}

/// One writer writes, from this event on, until what is waited for has happened, or it is refused as `Closed`, or
/// a quarter of the time is over. How much of what is written comes to the downstream, and when, is the sink's.
fn write_on<E>(
    trial: &Trial<E>,
    first: u64,
    written: &mut Written,
    mut has_happened: impl FnMut(u64) -> bool,
) -> Answer
where
    E: Clone + Send + 'static,
{
    let deadline = Instant::now() + trial.plan.limit / 4;
    let mut sequence = first;
    loop {
        let answer = trial.write(Stamp::new(0, sequence), written);
        sequence += 1;
        if answer == Answer::Closed || has_happened(sequence) || Instant::now() > deadline {
            return answer;
        }
        if sequence - first > 100 {
            thread::sleep(Duration::from_micros(100));
        }
    }
}

/// What is to happen with this write of one writer that comes to the downstream, if there are as many.
const ECHOED: u64 = 2;
const CLOSED: u64 = 5;

/// How many events are written from within if hardly any of them is to come to the downstream.
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
            // At least some that are to come to the downstream in their turn.
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
    // What was accepted is delivered, or given up, by then.
    let Some(outcome) = close_and_wait(trial) else { return };
    if !closes(&came) {
        let writes = format!("{} writes, fewer than {CLOSED},", came.load(Ordering::SeqCst));
        not_checked(trial, Law::CalledFromWithin, &writes);
    }
    trial.end.call(None);
    // A call that is under way holds the sender until it is through.
    let inside: Vec<Written> = from_inside.iter().collect();
    let written = Written::join(inside.into_iter().chain([written]));
    trial.account(&written, undelivered(&outcome), Law::Accounted);
    trial.drop_all();
}

/// The downstream panics, once, in the middle of what comes to it.
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
    // Not all of that needs to have come, and what comes after the panic is what this is about.
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

/// Of the events that were accepted before a close began, so many are there when it was told to be through.
fn told_too_early<E>(trial: &Trial<E>, before: u64, there: u64)
where
    E: Clone + Send + 'static,
{
    if there < before {
        trial.found(
            Law::CloseIsShared,
            format!("a closer was told that all is done with {there} of {before} events there"),
        );
    }
}

fn same_outcome<E>(trial: &Trial<E>, outcomes: &[Result<(), CloseError>])
where
    E: Clone + Send + 'static,
{
    let told: Vec<String> = outcomes.iter().map(|outcome| format!("{outcome:?}")).collect();
    if let Some(pair) = told.windows(2).find(|pair| pair[0] != pair[1]) {
        trial.found(Law::CloseIsShared, format!("one closer is told {} and another {}", pair[0], pair[1]));
    }
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    match thread.join() {
        Ok(answer) => answer,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// A different time every round, from nothing to some microseconds.
fn spin(round: u32) {
    // Knuth's multiplicative hash.
    for _ in 0..(round.wrapping_mul(2_654_435_761) >> 20) % 3000 {
        std::hint::spin_loop();
    }
}
