//! How many events may be in a bounded buffer: counted permits, and a line of writers that wait for one.
//!
//! Free permits are in two places, so that writers and readers do not take each other's cache line at each event: `free`,
//! from which writers take, and `released`, to which readers add. A writer that finds none in `free` collects those that
//! were released; under the lock of the line, so that none is on the way from one place to the other when it says that
//! there is no room.
//!
//! # Why no writer waits for ever, and none overtakes
//!
//! The permits that were released, and the bit that says that writers wait, are one word, so its changes have one order. A
//! writer that joins the line sets the bit and then looks at the permits itself. A permit that was released before the bit
//! was set is there for that look; one that is released later finds the bit, and its release serves the line. The bit is
//! set and cleared, and the line served, under the lock.
//!
//! While the line is not empty, `free` is: what is collected goes to the front of the line, or is `spare` for the next in
//! it. So a writer that comes later looks under the lock, and finds the line. What is left when the line is empty goes to
//! `free`.
//!
//! A permit is handed over to the waiter, which no longer is in the line then. One that gives up, or is dropped, either is
//! in the line still and leaves it, or has been granted a permit and uses it or gives it back.
//!
//! # Weights
//!
//! If events are weighed, all free permits are `spare`, and both bounds are looked at together, under the lock. The weight of
//! an event that is sent is kept in the order in which events are sent: what is taken out may have changed since it was
//! weighed. Of two events that are taken out at the same time one may release the weight of the other; when both are
//! out, both weights are.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::task::{Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use parking_lot::Mutex;

use super::caught::{drop_caught, wake_caught};
use super::spin::spin_then_yield;

#[derive(Debug)]
pub(crate) struct Permits {
    free: Word,
    /// Each `ONE`, and `WRITERS_WAIT`.
    released: Word,
    capacity: usize,
    max_weight: Option<u64>,
    /// Nothing waits any more. Changed under the lock of the line, before those that wait are woken.
    stopped: AtomicBool,
    line: Mutex<Line>,
}

#[derive(Debug)]
#[repr(align(128))] // A cache line of its own.
struct Word(AtomicUsize);

/// Set if and only if the line is not empty, whenever its lock is free.
const WRITERS_WAIT: usize = 1;
const ONE: usize = 2;

#[derive(Debug, Default)]
struct Line {
    /// In the order in which they came.
    waiting: VecDeque<(Arc<Waiter>, Waker)>,
    /// Free permits: for the line while there is one, or all of them if events are weighed.
    spare: usize,
    /// What all permits that are taken weigh.
    weight: u64,
    /// What each event weighs that was sent and not taken out.
    sent: VecDeque<u64>,
}

#[derive(Debug)]
struct Waiter {
    weight: u64,
    /// One of the three below; changed once, under the lock of the line.
    state: AtomicU8,
}

const WAITS: u8 = 0;
const GRANTED: u8 = 1;
const STOPPED: u8 = 2;

/// What came of waiting for a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waited {
    Acquired,
    Stopped,
    TimedOut,
}

impl Permits {
    pub(crate) fn new(capacity: usize, max_weight: Option<u64>) -> Self {
        // No memory holds more events than that.
        let capacity = capacity.min(usize::MAX / ONE);
        let (free, spare) = if max_weight.is_none() { (capacity, 0) } else { (0, capacity) };
        Self {
            free: Word(AtomicUsize::new(free)),
            released: Word(AtomicUsize::new(0)),
            capacity,
            max_weight,
            stopped: AtomicBool::new(false),
            line: Mutex::new(Line { spare, ..Line::default() }),
        }
    }

    /// Takes a permit for an event of that weight, if there is one that no waiting writer is to have.
    #[inline]
    pub(crate) fn try_acquire(&self, weight: u64) -> bool {
        if self.max_weight.is_none() {
            return self.try_acquire_up_to(1) == 1;
        }
        let mut line = self.line.lock();
        line.waiting.is_empty() && self.take(&mut line, weight)
    }

    /// Takes permits, but no more than `most`: some, if there are any. Where events are not weighed.
    #[inline]
    pub(crate) fn try_acquire_up_to(&self, most: usize) -> usize {
        match self.take_free(most) {
            0 => self.collect_up_to(most),
            taken => taken,
        }
    }

    #[inline]
    fn take_free(&self, most: usize) -> usize {
        let mut free = self.free.0.load(Ordering::Relaxed);
        loop {
            let taken = free.min(most);
            if taken == 0 {
                return 0;
            }
            let rest = free - taken;
            // Acquire: pairs with the release of `settle`, so that an event goes in after the one that made room is out.
            match self.free.0.compare_exchange_weak(free, rest, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return taken,
                Err(changed) => free = changed,
            }
        }
    }

    #[cold]
    fn collect_up_to(&self, most: usize) -> usize {
        loop {
            let mut line = self.line.lock();
            if line.waiting.is_empty() {
                line.spare += self.collect();
                self.settle(&mut line);
                match self.take_free(most) {
                    // Released since, or another writer was faster: only if there is none in either place, there is none.
                    0 if self.released.0.load(Ordering::Relaxed) >= ONE => continue,
                    taken => return taken,
                }
            }
            drop(line);
            if !self.serve() {
                return 0;
            }
        }
    }

    /// The permits that were released. Under the lock of the line.
    fn collect(&self) -> usize {
        // Acquire: pairs with `release`.
        self.released.0.fetch_and(WRITERS_WAIT, Ordering::Acquire) / ONE
    }

    /// Leaves nothing behind for the line, and clears the bit, if the line is empty.
    fn settle(&self, line: &mut Line) {
        if !line.waiting.is_empty() {
            return;
        }
        if self.released.0.load(Ordering::Relaxed) & WRITERS_WAIT != 0 {
            self.released.0.fetch_and(!WRITERS_WAIT, Ordering::Relaxed);
        }
        if self.max_weight.is_none() && line.spare > 0 {
            self.free.0.fetch_add(std::mem::take(&mut line.spare), Ordering::Release);
        }
    }

    /// Sends an event of that weight, for which a permit was acquired, by `send`.
    #[inline]
    pub(crate) fn send<T>(&self, weight: u64, send: impl FnOnce() -> T) -> T {
        if self.max_weight.is_none() {
            return send();
        }
        let mut line = self.line.lock();
        line.sent.push_back(weight);
        send()
    }

    /// Releases the permit of an event that was taken out.
    #[inline]
    pub(crate) fn release(&self) {
        if self.max_weight.is_none() {
            let before = self.released.0.fetch_add(ONE, Ordering::Release);
            if before & WRITERS_WAIT == 0 {
                return;
            }
        } else {
            let mut line = self.line.lock();
            self.take_out(&mut line);
            if line.waiting.is_empty() {
                return;
            }
        }
        self.serve();
    }

    /// Takes an event out by `receive` that keeps its permit, and what it weighs. It is [released](Self::release_of) later,
    /// in any order.
    pub(crate) fn receive<T>(&self, f: impl FnOnce(&mut dyn FnMut() -> u64) -> T) -> T {
        if self.max_weight.is_none() {
            return f(&mut || 0);
        }
        let mut line = self.line.lock();
        f(&mut || line.sent.pop_front().unwrap_or_default())
    }

    /// Releases the permit of an event that was [received](Self::receive).
    #[inline]
    pub(crate) fn release_of(&self, weight: u64) {
        if self.max_weight.is_none() {
            return self.release();
        }
        let mut line = self.line.lock();
        self.give_back(&mut line, weight);
        let waits = !line.waiting.is_empty();
        drop(line);
        if waits {
            self.serve();
        }
    }

    /// Takes the permit of an event that `evict` takes out, or of as many as it takes. Whether it got one: it does not if
    /// there is nothing to take out. `evict` says what the event weighs if it was [received](Self::receive) before. What is
    /// free then is to be [served](Permits::serve).
    pub(crate) fn acquire_evicting(
        &self,
        weight: u64,
        mut evict: impl FnMut() -> Option<Option<u64>>,
    ) -> bool {
        if self.max_weight.is_none() {
            return evict().is_some();
        }
        let mut line = self.line.lock();
        loop {
            if self.take(&mut line, weight) {
                return true;
            }
            match evict() {
                None => return false,
                Some(None) => self.take_out(&mut line),
                Some(Some(weight)) => self.give_back(&mut line, weight),
            }
        }
    }

    /// What the events weigh that hold a permit.
    pub(crate) fn weight(&self) -> Option<u64> {
        self.max_weight.map(|_| self.line.lock().weight)
    }

    /// Waits for a permit on this thread.
    pub(crate) fn wait(&self, weight: u64, deadline: Option<Instant>) -> Waited {
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if !self.stopped.load(Ordering::Relaxed) && left().is_none_or(|left| !left.is_zero()) {
            // Not in line yet: a reader that is busy makes room for many by then, and need not wake this thread for one.
            spin_then_yield(|| self.has_room(weight));
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut acquire = self.acquire(weight);
        loop {
            match acquire.poll(&waker) {
                Poll::Ready(true) => return Waited::Acquired,
                Poll::Ready(false) => return Waited::Stopped,
                Poll::Pending => {}
            }
            match left() {
                None => thread::park(),
                Some(left) if left.is_zero() => return acquire.give_up(),
                Some(left) => thread::park_timeout(left),
            }
        }
    }

    /// A wait for a permit that is polled.
    pub(crate) fn acquire(&self, weight: u64) -> Acquire<'_> {
        Acquire { permits: self, weight, waiter: None }
    }

    /// Gives a permit back for which nothing was sent.
    pub(crate) fn give_back_unused(&self, weight: u64) {
        self.give_back(&mut self.line.lock(), weight);
        self.serve();
    }

    /// Ends all waits, and lets no other begin. A permit that is free can still be taken.
    pub(crate) fn stop(&self) {
        let mut line = self.line.lock();
        self.stopped.store(true, Ordering::Relaxed);
        let waiting = std::mem::take(&mut line.waiting);
        self.settle(&mut line);
        for (waiter, _) in &waiting {
            waiter.state.store(STOPPED, Ordering::Release);
        }
        drop(line);
        waiting.into_iter().for_each(|(_, waker)| wake_caught(waker));
    }

    /// Hands permits that are free over to those that wait, first come first served. Whether none waits then.
    pub(crate) fn serve(&self) -> bool {
        loop {
            let mut line = self.line.lock();
            let Some(weight) = line.waiting.front().map(|(waiter, _)| waiter.weight) else {
                return true;
            };
            let front = if self.take(&mut line, weight) { line.waiting.pop_front() } else { None };
            let Some((waiter, waker)) = front else {
                return false;
            };
            waiter.state.store(GRANTED, Ordering::Release);
            self.settle(&mut line);
            drop(line);
            wake_caught(waker);
        }
    }

    /// Takes a permit for the front of the line, or for any if events are weighed.
    fn take(&self, line: &mut Line, weight: u64) -> bool {
        if line.spare == 0 && self.max_weight.is_none() {
            line.spare = self.free.0.swap(0, Ordering::Acquire) + self.collect();
        }
        let Some(weight) = self.weight_with(line, weight) else {
            return false;
        };
        line.weight = weight;
        line.spare -= 1;
        true
    }

    /// What the events weigh once there is one more, if there is room for it. An event that is too heavy fits alone.
    fn weight_with(&self, line: &Line, weight: u64) -> Option<u64> {
        let empty = line.spare == self.capacity;
        let max = if empty { u64::MAX } else { self.max_weight.unwrap_or(u64::MAX) };
        if line.spare == 0 { None } else { line.weight.checked_add(weight).filter(|weight| *weight <= max) }
    }

    /// An event that was sent is out.
    fn take_out(&self, line: &mut Line) {
        let weight = line.sent.pop_front().unwrap_or_default();
        self.give_back(line, weight);
    }

    fn give_back(&self, line: &mut Line, weight: u64) {
        line.weight -= weight;
        line.spare += 1;
        self.settle(line);
    }

    fn has_room(&self, weight: u64) -> bool {
        if self.max_weight.is_none() {
            let released = self.released.0.load(Ordering::Relaxed);
            return released & WRITERS_WAIT == 0 && (released > 0 || self.free.0.load(Ordering::Relaxed) > 0);
        }
        let line = self.line.lock();
        line.waiting.is_empty() && self.weight_with(&line, weight).is_some()
    }
}

/// Wakes a thread that parks.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A wait for a permit. Dropped, it waits no more; a permit that it was granted meanwhile goes to the next.
#[derive(Debug)]
pub(crate) struct Acquire<'a> {
    permits: &'a Permits,
    weight: u64,
    /// Once it is in line.
    waiter: Option<Arc<Waiter>>,
}

impl Acquire<'_> {
    /// Whether it has a permit; it has none if waits were stopped. Not to be polled after that.
    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<bool> {
        let Some(waiter) = &self.waiter else {
            return self.join(waker.clone());
        };
        if waiter.state.load(Ordering::Acquire) == WAITS {
            let mut waker = waker.clone();
            let mut line = self.permits.line.lock();
            let entry = line.waiting.iter_mut().find(|(entry, _)| Arc::ptr_eq(entry, waiter));
            let waits = entry.map(|(_, before)| std::mem::swap(before, &mut waker)).is_some();
            drop(line);
            drop_caught(waker);
            if waits {
                return Poll::Pending;
            }
        }
        let granted = waiter.state.load(Ordering::Acquire) == GRANTED;
        self.waiter = None;
        Poll::Ready(granted)
    }

    fn join(&mut self, waker: Waker) -> Poll<bool> {
        let permits = self.permits;
        let mut line = permits.line.lock();
        if permits.stopped.load(Ordering::Relaxed) {
            drop(line);
            drop_caught(waker);
            return Poll::Ready(permits.try_acquire(self.weight));
        }
        let waiter = Arc::new(Waiter { weight: self.weight, state: AtomicU8::new(WAITS) });
        line.waiting.push_back((Arc::clone(&waiter), waker));
        // Before the look at the permits in `serve`: see the module.
        permits.released.0.fetch_or(WRITERS_WAIT, Ordering::Relaxed);
        drop(line);
        permits.serve();
        match waiter.state.load(Ordering::Acquire) {
            WAITS => {
                self.waiter = Some(waiter);
                Poll::Pending
            }
            state => Poll::Ready(state == GRANTED),
        }
    }

    /// Leaves the line, unless it was granted a permit meanwhile.
    fn give_up(mut self) -> Waited {
        let Some(waiter) = self.waiter.take() else {
            return Waited::TimedOut;
        };
        match self.leave(&waiter) {
            GRANTED => Waited::Acquired,
            STOPPED => Waited::Stopped,
            _ => Waited::TimedOut,
        }
    }

    /// Leaves the line if it is in it, and says in which state it was.
    fn leave(&self, waiter: &Arc<Waiter>) -> u8 {
        let mut line = self.permits.line.lock();
        let state = waiter.state.load(Ordering::Acquire);
        let position = line.waiting.iter().position(|(entry, _)| Arc::ptr_eq(entry, waiter));
        let left = position.and_then(|position| line.waiting.remove(position));
        self.permits.settle(&mut line);
        drop(line);
        if left.is_some() {
            // The next may be lighter.
            self.permits.serve();
        }
        drop_caught(left);
        state
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(waiter) = self.waiter.take() else {
            return;
        };
        if self.leave(&waiter) == GRANTED {
            self.permits.give_back_unused(self.weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writers that wait, in the order in which they came, each with the number of times that it was woken.
    fn waiting(permits: &Permits, weights: impl IntoIterator<Item = u64>) -> Vec<(Acquire<'_>, Arc<Wakes>)> {
        let wait = |weight| {
            let wakes = Arc::new(Wakes::default());
            let mut acquire = permits.acquire(weight);
            assert!(acquire.poll(&Waker::from(Arc::clone(&wakes))).is_pending());
            (acquire, wakes)
        };
        weights.into_iter().map(wait).collect()
    }

    fn woken(waiting: &[(Acquire<'_>, Arc<Wakes>)]) -> Vec<u32> {
        waiting.iter().map(|(_, wakes)| wakes.0.load(Ordering::Relaxed)).collect()
    }

    fn ask(acquire: &mut Acquire<'_>) -> Poll<bool> {
        acquire.poll(Waker::noop())
    }

    #[test]
    fn writers_that_wait_are_woken_in_order_and_none_overtakes() {
        let permits = Permits::new(1, None);
        assert!(permits.try_acquire(0));
        let mut waiting = waiting(&permits, [0; 3]);
        permits.release();
        assert_eq!(woken(&waiting), [1, 0, 0]);
        assert!(!permits.try_acquire(0));
        permits.release();
        assert_eq!(woken(&waiting), [1, 1, 0]);
        // Polled with another waker, it is that one that is woken, and its place is the same.
        assert_eq!(ask(&mut waiting[2].0), Poll::Pending);
        permits.release();
        assert_eq!(woken(&waiting), [1, 1, 0]);
        assert!(waiting.iter_mut().all(|(acquire, _)| ask(acquire) == Poll::Ready(true)));
        permits.release();
        assert!(permits.try_acquire(0) && !permits.try_acquire(0));
    }

    #[test]
    fn a_writer_that_gives_up_passes_its_permit_on() {
        let permits = Permits::new(1, None);
        assert!(permits.try_acquire(0));
        let mut waiting = waiting(&permits, [0; 3]);
        // Before it is granted one, and after.
        drop(waiting.remove(1));
        permits.release();
        drop(waiting.remove(0));
        assert_eq!(woken(&waiting), [1]);
        assert_eq!(ask(&mut waiting[0].0), Poll::Ready(true));
        drop(waiting);
        permits.release();
        assert_eq!(permits.try_acquire_up_to(5), 1);
    }

    #[test]
    fn a_stop_ends_the_waits_and_lets_none_begin() {
        let permits = Permits::new(1, None);
        assert!(permits.try_acquire(0));
        let mut waiting = waiting(&permits, [0; 2]);
        permits.stop();
        assert_eq!(woken(&waiting), [1, 1]);
        assert!(waiting.iter_mut().all(|(acquire, _)| ask(acquire) == Poll::Ready(false)));
        assert_eq!(permits.wait(0, None), Waited::Stopped);
        permits.release();
        assert_eq!(permits.wait(0, None), Waited::Acquired);
    }

    #[test]
    fn a_heavy_writer_at_the_front_holds_up_lighter_ones_until_it_gives_up() {
        let permits = Permits::new(10, Some(10));
        assert!(permits.try_acquire(6));
        permits.send(6, || ());
        let mut waiting = waiting(&permits, [5, 4]);
        assert!(!permits.try_acquire(1), "it overtook those that wait");
        drop(waiting.remove(0));
        assert_eq!(woken(&waiting), [1]);
        assert_eq!((ask(&mut waiting[0].0), permits.weight()), (Poll::Ready(true), Some(10)));
    }

    #[test]
    fn what_is_too_heavy_is_alone() {
        let permits = Permits::new(10, Some(10));
        assert!(permits.try_acquire(0));
        permits.send(0, || ());
        assert!(!permits.try_acquire(11), "there is one that weighs nothing");
        permits.release();
        assert!(permits.try_acquire(u64::MAX));
        permits.send(u64::MAX, || ());
        assert!(!permits.try_acquire(0) && !permits.try_acquire(u64::MAX));
        assert_eq!(permits.weight(), Some(u64::MAX));
        permits.release();
        assert_eq!(permits.weight(), Some(0));
    }

    #[test]
    fn a_wait_that_is_timed_out_leaves_no_trace() {
        let permits = Permits::new(2, None);
        assert_eq!(permits.try_acquire_up_to(9), 2);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(permits.wait(0, Some(soon)), Waited::TimedOut);
        permits.release();
        permits.release();
        assert_eq!(permits.try_acquire_up_to(9), 2);
    }

    #[test]
    fn no_permit_is_lost_or_made_between_threads() {
        const CAPACITY: usize = 2;
        let permits = &Permits::new(CAPACITY, None);
        let inside = &AtomicUsize::new(0);
        let rounds = if cfg!(miri) { 3 } else { 3000 };
        thread::scope(|scope| {
            for writer in 0..4_u64 {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let deadline = (writer == 0).then(|| Instant::now() + Duration::from_micros(round));
                        if permits.wait(0, deadline) == Waited::Acquired {
                            assert!(inside.fetch_add(1, Ordering::Relaxed) < CAPACITY);
                            inside.fetch_sub(1, Ordering::Relaxed);
                            permits.release();
                        }
                    }
                });
            }
        });
        assert_eq!((0..9).filter(|_| permits.try_acquire(0)).count(), CAPACITY);
    }
}
