//! Calls that would nest as deep as sinks do, made one after the other instead.
//!
//! When the last write of a broadcaster has left, its sinks are closed; one of them may be a broadcaster, whose last
//! write has left too. So that a thousand of them in each other do not need a stack for a thousand, a thread that is
//! in such a call puts the next one off until the first is over, or until it is about to wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use crate::sync::caught::run_caught;

type Call = Box<dyn FnOnce() + Send>;

thread_local! {
    static RUNNING: Cell<bool> = const { Cell::new(false) };
    static DEFERRED: RefCell<VecDeque<Call>> = const { RefCell::new(VecDeque::new()) };
}

/// Calls `f`: now, or when this thread is out of the one that it is in.
pub(super) fn run(f: impl FnOnce() + Send + 'static) {
    // Of a thread that is being torn down nothing can be put off.
    if RUNNING.try_with(Cell::get) != Ok(true) {
        let _ = RUNNING.try_with(|running| running.set(true));
        run_caught(f);
        run_all();
        let _ = RUNNING.try_with(|running| running.set(false));
        return;
    }
    let mut call: Option<Call> = Some(Box::new(f));
    let _ = DEFERRED.try_with(|deferred| deferred.borrow_mut().extend(call.take()));
    call.into_iter().for_each(run_caught);
}

/// Makes the calls that this thread has put off, for which it must not wait.
pub(super) fn run_all() {
    while let Some(call) = DEFERRED.try_with(|deferred| deferred.borrow_mut().pop_front()).ok().flatten() {
        run_caught(call);
    }
}
