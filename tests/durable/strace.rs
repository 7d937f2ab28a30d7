//! The order of the system calls, as strace sees them: this test once more, in a process that is traced.
//!
//! Skipped where strace is missing or may not trace; with `OUTFLOW_TEST_STRACE=1` it fails there.

use std::io::{Write, stderr};
use std::path::Path;
use std::process::Command;
use std::{env, fs};

use outflow::durable::DurableOptions;
use outflow::retry::Constant;
use outflow::{Sink, SinkExt, sink};

use crate::scratch::Scratch;

const WRITES: usize = 3;

fn child(store: &Path) {
    let dead =
        sink::from_fn(|_: &String| Err("down")).retry(Constant::new(std::time::Duration::from_secs(3600)));
    let queue = dead.durable_with(DurableOptions::new(store)).unwrap();
    // A system call each, so that they have their place among the others.
    stderr().write_all(b"opened").unwrap();
    for number in 0..WRITES {
        queue.write(format!("event-{number}")).unwrap();
        stderr().write_all(format!("returned-{number}").as_bytes()).unwrap();
    }
}

/// The first call at or after `from` whose line contains all of `parts`.
#[track_caller]
fn find(calls: &[&str], from: usize, parts: &[&str]) -> usize {
    let found = calls[from..].iter().position(|call| parts.iter().all(|part| call.contains(part)));
    from + found.unwrap_or_else(|| panic!("no {parts:?} after line {from} of:\n{}", calls.join("\n")))
}

#[test]
fn a_write_returns_after_its_sync_and_what_is_created_is_synced_with_its_directory() {
    if let Some(store) = env::var_os("OUTFLOW_DURABLE_TRACED") {
        return child(Path::new(&store));
    }
    let works = Command::new("strace")
        .args(["-o", "/dev/null", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !works {
        assert!(env::var_os("OUTFLOW_TEST_STRACE").is_none(), "strace cannot be run");
        eprintln!("skipped: strace cannot be run");
        return;
    }
    let scratch = Scratch::new();
    let (store, trace) = (scratch.store(), scratch.path().join("trace"));
    let test = "strace::a_write_returns_after_its_sync_and_what_is_created_is_synced_with_its_directory";
    let mut traced = Command::new("strace");
    // `-y`: with the paths of files.
    traced.args([
        "-f",
        "-y",
        "-e",
        "trace=mkdir,mkdirat,rename,renameat,renameat2,write,pwrite64,fsync,fdatasync",
    ]);
    traced.arg("-o").arg(&trace).arg(env::current_exe().unwrap()).args(["--exact", test, "--nocapture"]);
    let output = traced.env("OUTFLOW_DURABLE_TRACED", &store).output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let trace = fs::read_to_string(trace).unwrap();
    let calls: Vec<&str> = trace.lines().collect();
    let [within, of_store] = [scratch.path(), &store].map(|path| format!("<{}>)", path.display()));
    let opened = find(&calls, 0, &["write(2", "opened"]);
    // The directory, its entry, and the first segment's.
    let made = find(&calls, 0, &["mkdir", store.to_str().unwrap()]);
    assert!(find(&calls, made, &["fsync(", &within, "= 0"]) < opened);
    let filled = find(&calls, made, &["pwrite64(", "outflowq"]);
    let synced = find(&calls, filled, &["fdatasync(", "= 0"]);
    let named = find(&calls, synced, &["rename", ".events"]);
    assert!(find(&calls, named, &["fsync(", &of_store, "= 0"]) < opened);

    let mut from = opened;
    for number in 0..WRITES {
        let written = find(&calls, from, &["pwrite64(", ".events>"]);
        let synced = find(&calls, written, &["fdatasync(", ".events>", "= 0"]);
        let returned = find(&calls, from, &["write(2", &format!("returned-{number}")]);
        assert!(
            synced < returned,
            "event {number} was not synced before its write returned:\n{}",
            calls.join("\n")
        );
        from = returned;
    }
}
