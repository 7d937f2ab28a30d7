//! What is logged on a thread.

use std::cell::RefCell;
use std::sync::Once;

thread_local! {
    /// What was logged at level `debug` and above on this thread, on which requests are made.
    static LOGGED: RefCell<String> = const { RefCell::new(String::new()) };
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        let _ = LOGGED.try_with(|logged| logged.borrow_mut().push_str(&line));
    }

    fn flush(&self) {}
}

/// What `f` returned, and what was logged while it ran, which has `expected` in it.
pub(crate) fn logged<T>(expected: &str, f: impl FnOnce() -> T) -> (T, String) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Logger).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
    });
    LOGGED.take();
    let answer = f();
    let logged = LOGGED.take();
    assert!(logged.contains(expected), "nothing was logged, so that nothing can be searched");
    (answer, logged)
}
