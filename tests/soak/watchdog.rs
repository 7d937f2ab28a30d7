//! Ends the process when a program makes no progress, and says what each of its threads did last.

use std::collections::BTreeMap;
use std::fs;
use std::panic;
use std::process;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use crate::event::PLANNED;

/// The exit status of a process that hangs.
pub const HANGS: i32 = 86;

/// Begins the line that says which promise a program broke, if any.
pub const ANSWER: &str = "soak: ";

static SAID: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
static PROGRESS: Mutex<Option<Instant>> = Mutex::new(None);
static UNPLANNED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes what this thread is about to do.
pub fn says(what: impl FnOnce() -> String) {
    let name = thread::current().name().unwrap_or("a thread").to_string();
    SAID.lock().unwrap().insert(name, what());
    *PROGRESS.lock().unwrap() = Some(Instant::now());
}

/// Forgets the threads of the last program.
pub fn begins() {
    SAID.lock().unwrap().clear();
    UNPLANNED.lock().unwrap().clear();
}

/// Watches this process from now on, and every panic in it.
pub fn start(patience: Duration) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&PLANNED) {
            UNPLANNED.lock().unwrap().push(info.to_string());
            before(info);
        }
    }));
    says(|| "begins".into());
    let watch = move || loop {
        thread::sleep(patience / 10);
        let since = *PROGRESS.lock().unwrap();
        if since.is_some_and(|since| since.elapsed() > patience) {
            let said = SAID.lock().unwrap();
            let phase = said
                .get("child")
                .and_then(|said| said.split(|c: char| !c.is_alphabetic() && c != ' ').next());
            println!("{ANSWER}nothing hangs: {}", phase.unwrap_or_default());
            eprintln!("  no progress for {patience:?}; what each thread did last:");
            for (name, what) in &*said {
                eprintln!("    {name}: {what}");
            }
            process::exit(HANGS);
        }
    };
    thread::Builder::new().name("watchdog".into()).spawn(watch).expect("a thread");
}

/// What panicked that was not planned.
pub fn unplanned() -> Vec<String> {
    UNPLANNED.lock().unwrap().clone()
}

/// How many threads this process has, where the system says so; but for that of the timers, which stays for a second.
pub fn threads() -> usize {
    let is_timers = |task: &fs::DirEntry| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|name| name.trim() == "outflow-timers")
    };
    fs::read_dir("/proc/self/task").map_or(0, |tasks| tasks.flatten().filter(|task| !is_timers(task)).count())
}

/// Waits for what nothing signals, as short a time as a watchdog allows.
pub fn eventually(holds: impl Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut pause = Duration::from_micros(20);
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(5));
    }
    true
}
