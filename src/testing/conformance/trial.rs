use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::subject::{Refused, Tested};
use super::{Downstream, Law, Plan, Subject, Violation};
use crate::lifecycle::{CloseError, Closing};
use crate::sync::caught::panic_message;
use crate::testing::Stamp;
use crate::testing::probe::Census;

/// One sink under test, from its making to its drop, and the violations found.
pub(super) struct Trial<E> {
    pub(super) plan: Arc<Plan<E>>,
    pub(super) end: Downstream<E>,
    /// Taken and dropped at the end, with everything that it holds.
    subject: Mutex<Option<Arc<Subject<E>>>>,
    /// Whether its close completes only when everything is delivered.
    pub(super) close_is_barrier: bool,
    census: Census,
    /// A call of `close` has returned.
    close_returned: AtomicBool,
    /// It was aborted, so that its downstream may have been closed at once.
    aborted: AtomicBool,
    /// Incremented at the beginning and at the end of every write.
    ticks: AtomicU64,
    /// How many events that must arrive were accepted.
    accepted: AtomicU64,
    found: Mutex<Vec<Violation>>,
    step: Mutex<(Law, &'static str)>,
}

/// What became of the writes of one or more writers.
#[derive(Default)]
pub(super) struct Written {
    accepted: Vec<Accepted>,
    handed_back: BTreeSet<Stamp>,
    pub(super) panicked: u64,
}

#[derive(Clone, Copy)]
struct Accepted {
    stamp: Stamp,
    began: u64,
    ended: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    Accepted,
    Failed,
    Closed,
    Panicked,
}

impl Written {
    pub(super) fn join(parts: impl IntoIterator<Item = Self>) -> Self {
        parts.into_iter().fold(Self::default(), |mut all, part| {
            all.accepted.extend(part.accepted);
            all.handed_back.extend(part.handed_back);
            all.panicked += part.panicked;
            all
        })
    }
}

impl<E> Trial<E>
where
    E: Clone + Send + 'static,
{
    pub(super) fn new(plan: &Arc<Plan<E>>) -> Self {
        let end = Downstream::new(Arc::clone(&plan.stamp));
        let subject = (plan.make)(end.clone());
        let close_is_barrier = subject.drained.lock().is_none();
        Self {
            plan: Arc::clone(plan),
            end,
            close_is_barrier,
            subject: Mutex::new(Some(Arc::new(subject))),
            census: Census::default(),
            close_returned: AtomicBool::new(false),
            aborted: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            found: Mutex::default(),
            step: Mutex::new((Law::Accounted, "at the beginning")),
        }
    }

    fn subject(&self) -> Arc<Subject<E>> {
        match &*self.subject.lock() {
            Some(subject) => Arc::clone(subject),
            None => unreachable!("the subject is taken by the last step of a check"),
        }
    }

    pub(super) fn sink(&self) -> Arc<dyn Tested<E>> {
        Arc::clone(&self.subject().sink)
    }

    /// Whether it delivers to the downstream.
    pub(super) fn uses_end(&self) -> bool {
        self.subject().delivered.is_none()
    }

    /// Whether this event must arrive if it is accepted.
    pub(super) fn delivers(&self, stamp: Stamp) -> bool {
        (self.subject().delivers)(stamp)
    }

    /// Names the step that begins, and the law that is broken if it hangs.
    pub(super) fn step(&self, law: Law, what: &'static str) {
        *self.step.lock() = (law, what);
    }

    pub(super) fn current_step(&self) -> (Law, &'static str) {
        *self.step.lock()
    }

    pub(super) fn found(&self, law: Law, what: impl Into<String>) {
        if self.plan.laws.contains(&law) {
            let (_, step) = self.current_step();
            self.found.lock().push(Violation::new(law, format!("{}, {step}", what.into())));
        }
    }

    pub(super) fn verdict(&self) -> Result<(), Violation> {
        match self.found.lock().first() {
            None => Ok(()),
            Some(first) => Err(first.clone()),
        }
    }

    /// How many events that must arrive have been accepted so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) -> Closing {
        let closing = self.sink().close();
        self.close_returned.store(true, Ordering::SeqCst);
        if !self.sink().is_closed() {
            self.found(Law::ClosedRefuses, "is_closed() is false after close has returned");
        }
        closing
    }

    pub(super) fn abort(&self, closing: &Closing) {
        self.aborted.store(true, Ordering::SeqCst);
        // The threads that wait for the close get the same outcome.
        let _ = closing.abort();
    }

    /// Writes, every other event by reference, and checks what is handed back.
    pub(super) fn write(&self, stamp: Stamp, written: &mut Written) -> WriteOutcome {
        let sink = self.sink();
        let event = (self.plan.event)(stamp, &self.census);
        let close_returned = self.close_returned.load(Ordering::SeqCst);
        let began = self.ticks.fetch_add(1, Ordering::SeqCst);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if stamp.sequence % 2 == 1 {
                sink.write_ref(&event).map_err(|Refused { closed, .. }| Refused { event, closed })
            } else {
                sink.write(event)
            }
        }));
        let ended = self.ticks.fetch_add(1, Ordering::SeqCst);
        match outcome {
            Ok(Ok(())) => {
                if close_returned {
                    self.found(Law::ClosedRefuses, format!("{stamp} was accepted after close had returned"));
                }
                written.accepted.push(Accepted { stamp, began, ended });
                if self.delivers(stamp) {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                }
                WriteOutcome::Accepted
            }
            Ok(Err(refused)) => {
                let back = (self.plan.stamp)(&refused.event);
                if back != stamp {
                    self.found(Law::HandedBack, format!("{stamp} was written and {back} was handed back"));
                } else if (self.plan.is_copy)(&refused.event) {
                    self.found(Law::HandedBack, format!("{stamp} was written and a copy was handed back"));
                }
                if close_returned && !refused.closed {
                    self.found(
                        Law::ClosedRefuses,
                        format!("{stamp} failed, and was not refused as Closed, after close had returned"),
                    );
                }
                written.handed_back.insert(stamp);
                if refused.closed { WriteOutcome::Closed } else { WriteOutcome::Failed }
            }
            Err(panic) => {
                written.panicked += 1;
                if written.panicked > self.end.panicked() {
                    let message = panic_message(panic);
                    let law = match self.current_step().0 {
                        law @ Law::CalledFromWithin => law,
                        _ => Law::SurvivesPanic,
                    };
                    self.found(law, format!("the write of {stamp} panicked ({message})"));
                }
                WriteOutcome::Panicked
            }
        }
    }

    /// Waits until a close completes; `None` if it hangs.
    pub(super) fn outcome(&self, closing: &Closing) -> Option<Result<(), CloseError>> {
        self.poll(|| closing.is_done()).then(|| closing.wait())
    }

    /// Polls for a condition that no event signals; `false` if it does not hold within half the time limit, which leaves
    /// time to report that.
    pub(super) fn poll(&self, holds: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + self.plan.limit / 2;
        let mut pause = Duration::from_micros(1);
        while !holds() {
            if Instant::now() > deadline {
                return false;
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(2));
        }
        true
    }

    fn delivered(&self) -> Vec<Stamp> {
        match &self.subject().delivered {
            None => self.end.delivered(),
            Some(read) => read(),
        }
    }

    fn spilled(&self) -> Vec<Stamp> {
        self.subject().spilled.as_ref().map_or_else(Vec::new, |read| read())
    }

    /// How many events are accounted for: delivered, spilled, and counted by the sink or `reported` by the close.
    pub(super) fn accounted(&self, reported: u64) -> u64 {
        self.delivered().len() as u64 + self.spilled().len() as u64 + self.undelivered(reported)
    }

    fn undelivered(&self, reported: u64) -> u64 {
        self.subject().counted.as_ref().map_or(reported, |counted| counted())
    }

    /// Whether the number of undelivered events is only an upper bound, since it comes from an aborted close. That
    /// counts an event once for each of several sinks that miss it, and one in flight that may still arrive.
    fn is_upper_bound(&self) -> bool {
        self.aborted.load(Ordering::SeqCst) && self.subject().counted.is_none()
    }

    /// An event that was accepted, and that the downstream, which had closed by itself, refused.
    pub(super) fn refused_unseen(&self, written: &Written) -> Option<Stamp> {
        let there: BTreeSet<Stamp> = self.delivered().into_iter().chain(self.spilled()).collect();
        let refused: BTreeSet<Stamp> = self.end.refused().into_iter().collect();
        let accepted = written.accepted.iter().map(|event| event.stamp);
        accepted.filter(|stamp| refused.contains(stamp) && !there.contains(stamp)).min()
    }

    /// Accounts for every event, after everything has ended. `blame` is the law that a missing event breaks, and
    /// `reported` how many the close reported as not delivered.
    pub(super) fn account(&self, written: &Written, reported: u64, blame: Law) {
        let drained = self.subject().drained.lock().take();
        if let Some(wait) = drained {
            wait();
        }
        if self.plan.laws.contains(&Law::ClosesDownstream) {
            self.check_closed(written);
        }
        self.account_for_each(written, reported, blame);
        self.check_order(written);
    }

    fn check_closed(&self, written: &Written) {
        let aborted = self.aborted.load(Ordering::SeqCst);
        if self.uses_end() {
            let accepted: BTreeSet<Stamp> = written.accepted.iter().map(|event| event.stamp).collect();
            let late = self.end.late().into_iter().find(|stamp| accepted.contains(stamp));
            if let Some(late) = late.filter(|_| !aborted) {
                self.found(
                    Law::ClosesDownstream,
                    format!("{late} was accepted, and written downstream after that was closed"),
                );
            }
            // A close that has completed has closed it. An aborted one may not have done so yet.
            if !(self.end.was_closed() || aborted && self.poll(|| self.end.was_closed())) {
                self.found(Law::ClosesDownstream, "the downstream was not closed");
            }
        }
        // Polled, since an abort waits for none of these.
        if !self.subject().closes.iter().all(|is_closed| self.poll(is_closed)) {
            self.found(Law::ClosesDownstream, "another sink that it was handed was not closed");
        }
    }

    fn account_for_each(&self, written: &Written, reported: u64, blame: Law) {
        let subject = self.subject();
        let expected: BTreeSet<Stamp> = {
            let accepted = written.accepted.iter().map(|event| event.stamp);
            accepted.filter(|stamp| (subject.delivers)(*stamp)).collect()
        };
        // Polled, since an event that an abort left in flight may still arrive.
        if self.plan.laws.contains(&blame) {
            self.poll(|| match self.missing(&expected) as u64 {
                missing if self.is_upper_bound() => missing <= reported,
                missing => missing == self.undelivered(reported),
            });
        }

        let (delivered, spilled) = (self.delivered(), self.spilled());
        let mut seen = BTreeSet::new();
        for stamp in delivered.iter().chain(&spilled) {
            if !seen.insert(*stamp) {
                self.found(Law::Accounted, format!("{stamp} arrived twice"));
            }
            if written.handed_back.contains(stamp) {
                self.found(Law::Accounted, format!("{stamp} was handed back, and arrived all the same"));
            }
        }
        if let Some(stamp) = delivered.iter().find(|stamp| !(subject.delivers)(**stamp)) {
            self.found(Law::Accounted, format!("{stamp} arrived, and must not"));
        }
        let missing: Vec<Stamp> = expected.difference(&seen).copied().collect();
        let undelivered = self.undelivered(reported);
        if missing.len() as u64 > undelivered {
            let (first, n) = (missing[0], missing.len());
            self.found(
                blame,
                format!("{first} was accepted and is missing: {n} are missing, {undelivered} are counted"),
            );
        } else if (missing.len() as u64) < undelivered && !self.is_upper_bound() {
            let n = missing.len();
            self.found(blame, format!("{undelivered} events are counted as undelivered, {n} are missing"));
        }
    }

    fn missing(&self, expected: &BTreeSet<Stamp>) -> usize {
        let seen: BTreeSet<Stamp> = self.delivered().into_iter().chain(self.spilled()).collect();
        expected.difference(&seen).count()
    }

    /// Checks that an event whose write had returned when another's began precedes it. The order of one writer is a case
    /// of that.
    fn check_order(&self, written: &Written) {
        let of: BTreeMap<Stamp, Accepted> =
            written.accepted.iter().map(|event| (event.stamp, *event)).collect();
        let mut latest: Option<Accepted> = None;
        for stamp in self.delivered() {
            // A write that failed or panicked orders nothing.
            let Some(event) = of.get(&stamp).copied() else { continue };
            if let Some(latest) = latest.filter(|latest| event.ended < latest.began) {
                self.found(
                    Law::InOrder,
                    format!("{stamp} arrived after {}, before which it was written", latest.stamp),
                );
                return;
            }
            if latest.is_none_or(|latest| latest.began < event.began) {
                latest = Some(event);
            }
        }
    }

    /// Drops the sink, and checks that no event is alive afterwards.
    pub(super) fn drop_all(&self) {
        self.end.call(None);
        let subject = self.subject.lock().take();
        // The closures of the subject hold the readers, and drop the events that these keep.
        drop(subject);
        if !self.poll(|| self.census.alive() == 0) {
            self.found(Law::Accounted, format!("{} events were leaked", self.census.alive()));
        }
    }
}
