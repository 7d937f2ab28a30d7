//! Runs programs: each in this process, and many of them in processes of their own, so that a crash and a hang have a seed.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use outflow::Closing;

use crate::event::{Bomb, World};
use crate::graph::{Entry, Graph};
use crate::operations::Operator;
use crate::oracle::{self, Accounts, Books};
use crate::plan::{End, Program, Trait};
use crate::watchdog::{self, ANSWER, eventually, says};

type Broken = Vec<(&'static str, String)>;

/// Runs a program to its end and answers the promises that it found broken.
pub fn run(program: &Program) -> Broken {
    watchdog::begins();
    says(|| "builds the graph".into());
    let threads_before = watchdog::threads();
    let world = Arc::new(World::default());
    let graph = Graph::build(&program.plan, &world);
    operate(program, &graph);
    let accounts = end(program, &graph);

    says(|| "drops the graph".into());
    let nodes = graph.all_nodes();
    let readers = std::mem::take(&mut *graph.readers.lock().unwrap());
    let runtime = graph.runtime.lock().unwrap().take();
    let idle = std::mem::take(&mut *graph.idle.lock().unwrap());
    // What is dropped may panic.
    for source in idle {
        let _ = catch_unwind(AssertUnwindSafe(|| drop(source)));
    }
    nodes.iter().for_each(|node| drop(node.stats.lock().unwrap().take()));
    let _ = catch_unwind(AssertUnwindSafe(|| drop(graph)));
    for (at, reader) in readers.into_iter().enumerate() {
        says(|| format!("waits for reader {at}"));
        let _ = reader.join();
    }

    says(|| "waits until nothing is left".into());
    // The compiler leaks what a function returns when the destructor of an argument panics after it:
    // rust-lang/rust#47949.
    let events = || if program.bomb == Bomb::Drop { 0 } else { world.live.load(Ordering::SeqCst) };
    let sinks = || -> Vec<usize> {
        let left = nodes.iter().filter(|node| node.edge.sinks.load(Ordering::SeqCst) > 0);
        left.map(|node| node.id).collect()
    };
    if !eventually(|| events() == 0 && sinks().is_empty()) {
        world.broke(
            "no byte is left",
            format!("{} events are, and the sinks of nodes {:?}", events(), sinks()),
        );
    }
    says(|| "shuts the runtime down".into());
    drop(runtime);
    // Of a pool, threads stay for some seconds.
    let dedicated = env::var_os("OUTFLOW_TEST_DEDICATED").is_some_and(|value| value == "1");
    if dedicated && !eventually(|| watchdog::threads() <= threads_before) {
        world
            .broke("no thread is left", format!("{} more than before", watchdog::threads() - threads_before));
    }
    let books = Books { program, nodes: &nodes, accounts: &accounts };
    books.check(&mut |promise, detail| world.broke(promise, detail));
    if !world.broken().is_empty() {
        for node in nodes.iter().filter(|node| node.late) {
            eprintln!("  added while it ran: node {}: {:?} over {:?}", node.id, node.make, node.below);
        }
    }
    for panic in watchdog::unplanned() {
        world.broke("nothing of the library panics", panic);
    }
    world.broken()
}

fn operate(program: &Program, graph: &Arc<Graph>) {
    let (running, barrier) = (AtomicUsize::new(program.threads.len()), Barrier::new(program.threads.len()));
    let waits_for_abort = program.needs_abort();
    thread::scope(|scope| {
        for (at, ops) in program.threads.iter().enumerate() {
            let (running, barrier) = (&running, &barrier);
            let thread = thread::Builder::new().name(format!("thread {at}"));
            let operator = move || {
                barrier.wait();
                Operator { graph, program }.run(ops);
                running.fetch_sub(1, Ordering::SeqCst);
            };
            thread.spawn_scoped(scope, operator).expect("a thread");
        }
        if waits_for_abort {
            let patience = Instant::now() + Duration::from_millis(20);
            while running.load(Ordering::SeqCst) > 0 && Instant::now() < patience {
                thread::sleep(Duration::from_micros(200));
            }
            abort_all(program, graph);
        }
        says(|| "waits for the threads".into());
    });
}

fn abort_all(program: &Program, graph: &Graph) {
    let entries = graph.handles.iter().filter_map(|handle| handle.lock().unwrap().entry.clone());
    let mut entries: Vec<_> = entries.collect();
    if program.traits.has(Trait::Idle) {
        // An abort waits for the spills of what it sheds, and does not reach into them: no write may wait for a reader
        // that reads nothing by then.
        entries.reverse();
        entries.iter().for_each(|entry| _ = close(graph, entry));
    }
    for entry in entries {
        if let Some(closing) = close(graph, &entry) {
            says(|| format!("aborts node {}", entry.edge.node));
            let _ = closing.abort();
        }
    }
}

fn close(graph: &Graph, entry: &Entry) -> Option<Closing> {
    let closing = catch_unwind(AssertUnwindSafe(|| entry.close())).ok()?;
    graph.closings.lock().unwrap().push((entry.edge.node, closing.clone()));
    Some(closing)
}

fn end(program: &Program, graph: &Arc<Graph>) -> Accounts {
    let Some(root) = graph.handle(0).entry.filter(|_| program.end != End::Drop) else {
        return Accounts::new();
    };
    says(|| "closes the root".into());
    let closing = close(graph, &root);
    let again = close(graph, &root);
    if program.needs_abort() {
        abort_all(program, graph);
    }
    if let (Some(closing), End::Abort) = (&closing, program.end) {
        says(|| "aborts the root".into());
        let _ = closing.abort();
    }
    close_orphans(graph);
    let outcomes = oracle::closed(graph);
    // A sink may have taken another out meanwhile.
    close_orphans(graph);
    says(|| "looks for sinks that are open".into());
    if again.is_some() {
        oracle::all_are_closed(graph);
    }
    for target in graph.ring_targets() {
        says(|| format!("closes node {}, which a ring leads to", target.edge.node));
        if let Some(closing) = close(graph, &target) {
            let _ = closing.within(Duration::from_millis(500));
        }
    }
    says(|| "asks for the accounts".into());
    let accounts = oracle::accounts(graph, program);
    if let Some(Ok(())) = outcomes.get(&0) {
        oracle::is_told(graph, program, &accounts);
    }
    accounts
}

fn close_orphans(graph: &Graph) {
    let orphans = std::mem::take(&mut *graph.orphans.lock().unwrap());
    for orphan in orphans {
        says(|| "closes what was taken out".into());
        // Its destructor is a user's as well.
        let _ = catch_unwind(AssertUnwindSafe(move || orphan.close().within(Duration::from_millis(500))));
    }
}

/// What a run is asked for, in the environment.
pub struct Settings {
    pub time: Duration,
    pub seed: Option<u64>,
    pub rounds: u64,
    pub keep_going: bool,
    /// How often a new program that failed is run again to see it fail once more, which is what counts: a thread of a
    /// busy machine can be late by seconds.
    pub confirm: u64,
    pub without: Vec<String>,
    pub patience: Duration,
}

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} makes no sense")))
}

impl Settings {
    pub fn of_environment() -> Self {
        Self {
            time: Duration::from_secs_f64(asked("OUTFLOW_SOAK_SECONDS").unwrap_or(3.0)),
            seed: asked("OUTFLOW_SOAK_SEED"),
            rounds: asked("OUTFLOW_SOAK_ROUNDS").unwrap_or(200),
            keep_going: asked::<u8>("OUTFLOW_SOAK_KEEP_GOING") == Some(1),
            confirm: asked("OUTFLOW_SOAK_CONFIRM").unwrap_or(50),
            without: env::var("OUTFLOW_SOAK_WITHOUT")
                .map(|names| names.split(',').filter(|name| !name.is_empty()).map(str::to_string).collect())
                .unwrap_or_default(),
            patience: Duration::from_secs_f64(asked("OUTFLOW_SOAK_PATIENCE").unwrap_or(10.0)),
        }
    }
}

/// Runs the programs of the seeds on standard input, in a process of their own.
pub fn child() {
    let settings = Settings::of_environment();
    watchdog::start(settings.patience);
    for line in std::io::stdin().lines() {
        let seed = line.expect("a line").parse().expect("a seed");
        let program = Program::of(seed, &settings.without);
        let broken = run(&program);
        for (promise, detail) in &broken {
            eprintln!("  {promise}\n    {detail}");
        }
        match broken.first() {
            // What is left of it would be found again in the next program.
            Some((promise, _)) => {
                println!("{ANSWER}{promise}");
                std::process::exit(1);
            }
            None => println!("{ANSWER}"),
        }
    }
}

/// A process that runs programs, one after the other.
struct Worker {
    process: std::process::Child,
    answers: BufReader<std::process::ChildStdout>,
}

impl Worker {
    fn start() -> Self {
        let mut process = Command::new(env::current_exe().expect("the test"))
            .args(["--exact", "child", "--nocapture", "--test-threads=1"])
            .env("OUTFLOW_SOAK_CHILD", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let answers = BufReader::new(process.stdout.take().expect("it is piped"));
        Self { process, answers }
    }

    /// Runs one program: `Err` is the broken promise and the report.
    fn run(&mut self, seed: u64) -> Result<(), (String, String)> {
        let sent = writeln!(self.process.stdin.as_mut().expect("it is piped"), "{seed}");
        let mut line = String::new();
        while sent.is_ok() && self.answers.read_line(&mut line).unwrap_or(0) > 0 {
            if let Some(at) = line.find(ANSWER) {
                match line[at + ANSWER.len()..].trim() {
                    "" => return Ok(()),
                    promise => return Err((promise.to_string(), self.report())),
                }
            }
            line.clear();
        }
        let status = self.process.wait().expect("it was started");
        Err((format!("nothing ends the process: {status}"), self.report()))
    }

    fn report(&mut self) -> String {
        let mut report = String::new();
        let _ = self.process.wait();
        let _ = self.process.stderr.take().map(|mut errors| errors.read_to_string(&mut report));
        report
    }
}

/// Runs the kept seeds, then new ones for as long as was asked. Answers what failed, by promise.
pub fn soak(settings: &Settings, kept: &[u64]) -> BTreeMap<String, Vec<u64>> {
    let base = settings.seed.unwrap_or_else(|| fastrand::u64(..));
    let seeds: Box<dyn Iterator<Item = u64>> = match settings.seed {
        Some(seed) => Box::new(std::iter::repeat_n(seed, settings.rounds as usize)),
        None => Box::new(kept.iter().copied().chain((0..).map(|next| base.wrapping_add(next)))),
    };
    println!("the first seed is {base}");
    let (begun, mut programs) = (Instant::now(), 0_usize);
    let mut failures: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut worker = Worker::start();
    for seed in seeds {
        if settings.seed.is_none() && programs >= kept.len() && begun.elapsed() > settings.time {
            break;
        }
        programs += 1;
        let Err((promise, report)) = worker.run(seed) else { continue };
        let is_new = settings.seed.is_none() && programs > kept.len();
        worker = Worker::start();
        let mut again = (0..settings.confirm).map(|_| worker.run(seed));
        if is_new && settings.confirm > 0 && !again.any(|outcome| outcome.is_err()) {
            println!(
                "seed {seed} broke a promise, and not in {} more runs: {promise}\n{report}",
                settings.confirm
            );
            continue;
        }
        let seen = failures.entry(promise.clone()).or_default();
        if seen.len() < 3 {
            let program = Program::of(seed, &settings.without);
            println!("seed {seed} broke a promise: {promise}\n{report}{}", program.words());
            println!(
                "  again: OUTFLOW_SOAK_SEED={seed} cargo test --all-features --test soak -- --nocapture\n"
            );
        }
        seen.push(seed);
        if !settings.keep_going {
            break;
        }
        worker = Worker::start();
    }
    println!("{programs} programs in {:.1?}", begun.elapsed());
    failures
}
