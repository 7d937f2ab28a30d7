//! Several workers as one future, for an executor that is asked only once.
//!
//! # Why no wake-up is lost
//!
//! A worker that is woken, or added, is in a list before the waker of the future is looked for, under the lock under which the
//! future takes the list and leaves its waker. So either the list is taken after that, or the waker is called.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

use super::life::WorkerFuture;
use crate::sync::caught::{drop_caught, wake_caught};

/// Polls workers, those that were woken. Ready when all have ended, and none is added any more. Dropped, it drops them.
pub(crate) struct Together {
    shared: Arc<Shared>,
    workers: Vec<Option<(WorkerFuture, Arc<Woken>)>>,
    /// Places of workers that have ended.
    free: Vec<usize>,
}

/// Adds workers to a [`Together`].
#[derive(Clone)]
pub(crate) struct Add(Arc<Shared>);

#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    added: Vec<WorkerFuture>,
    woken: Vec<usize>,
    waker: Option<Waker>,
    ended: bool,
}

/// Wakes one of them.
struct Woken {
    shared: Arc<Shared>,
    place: usize,
    /// Whether it is in the list of the woken.
    listed: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // SeqCst: the worker is polled after it is taken off the list, and finds what it is woken for.
        if !self.listed.swap(true, Ordering::SeqCst) {
            self.shared.change(|state| state.woken.push(self.place));
        }
    }
}

impl Shared {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.0.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        waker.into_iter().for_each(wake_caught);
    }
}

impl Add {
    /// If it has ended, the worker is dropped.
    pub(crate) fn add(&self, worker: WorkerFuture) {
        let mut worker = Some(worker);
        self.0.change(|state| {
            if !state.ended {
                state.added.extend(worker.take());
            }
        });
        drop_caught(worker);
    }
}

impl Together {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), workers: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn adds(&self) -> Add {
        Add(Arc::clone(&self.shared))
    }

    fn insert(&mut self, worker: WorkerFuture) -> usize {
        let place = self.free.pop().unwrap_or(self.workers.len());
        // Polled for the first time as if it were woken.
        let woken = Woken { shared: Arc::clone(&self.shared), place, listed: AtomicBool::new(true) };
        let worker = Some((worker, Arc::new(woken)));
        match self.workers.get_mut(place) {
            Some(free) => *free = worker,
            None => self.workers.push(worker),
        }
        place
    }

    fn poll_one(&mut self, place: usize) {
        let Some(slot) = self.workers.get_mut(place) else {
            return;
        };
        let Some((worker, woken)) = slot else {
            return;
        };
        woken.listed.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(woken));
        if worker.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            drop_caught(slot.take());
            self.free.push(place);
        }
    }
}

impl Future for Together {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = context.waker().clone();
        let mut state = self.shared.0.lock();
        let before = state.waker.replace(waker);
        let added = std::mem::take(&mut state.added);
        let woken = std::mem::take(&mut state.woken);
        drop(state);
        drop_caught(before);
        // Each once: one that gives way is polled with the next.
        woken.into_iter().for_each(|place| self.poll_one(place));
        for worker in added {
            let place = self.insert(worker);
            self.poll_one(place);
        }
        if self.free.len() < self.workers.len() {
            return Poll::Pending;
        }
        let mut state = self.shared.0.lock();
        state.ended = state.added.is_empty();
        if state.ended { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Together {
    fn drop(&mut self) {
        let mut state = self.shared.0.lock();
        state.ended = true;
        let added = std::mem::take(&mut state.added);
        let waker = state.waker.take();
        drop(state);
        drop_caught(waker);
        added.into_iter().for_each(drop_caught);
        self.workers.drain(..).for_each(drop_caught);
    }
}
