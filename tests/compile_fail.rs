//! What must not compile does not, with the message that was meant for it and no other; beside each stands a twin
//! that compiles.
//!
//! The programs are in `tests/compile_fail/src/bin`. One that must fail has a comment `//~ CODE: message` above the
//! line of its one error. What is compared is the error itself and its notes, not the compiler's rendering, which
//! changes from version to version.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// An error of the compiler: its code, line, message, and the messages of its notes.
#[derive(Debug)]
struct Diagnostic {
    code: String,
    line: u64,
    message: String,
    notes: Vec<String>,
}

/// What `//~` says of a program.
#[derive(Debug)]
struct Expected {
    code: String,
    line: u64,
    message: String,
}

/// The errors of each program, by its name; no entry is no error.
fn check(package: &Path) -> BTreeMap<String, Vec<Diagnostic>> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    // The versions that this crate was built with are there already, so nothing has to be fetched.
    let lock = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.lock");
    fs::copy(lock, package.join("Cargo.lock")).expect("this crate has a lock file");
    let output = Command::new(env!("CARGO"))
        .args(["check", "--bins", "--keep-going", "--offline", "--message-format=json", "--manifest-path"])
        .arg(package.join("Cargo.toml"))
        .env("CARGO_TARGET_DIR", target)
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs: it runs this test");
    let _ = fs::remove_file(package.join("Cargo.lock"));

    let stdout = String::from_utf8(output.stdout).expect("cargo's messages are UTF-8");
    let mut errors: BTreeMap<String, Vec<Diagnostic>> = BTreeMap::new();
    let mut built = 0;
    for line in stdout.lines() {
        let message: Value = serde_json::from_str(line).expect("cargo's messages are JSON");
        let diagnostic = &message["message"];
        if message["reason"] == "compiler-artifact" {
            built += 1;
        }
        // The last one of a program that failed, "aborting due to ...", has no place.
        let span =
            diagnostic["spans"].as_array().and_then(|spans| spans.iter().find(|s| s["is_primary"] == true));
        let (Some("error"), Some(span)) = (diagnostic["level"].as_str(), span) else { continue };
        let text = |value: &Value| value["message"].as_str().unwrap_or_default().to_string();
        errors.entry(message["target"]["name"].as_str().unwrap_or_default().to_string()).or_default().push(
            Diagnostic {
                code: diagnostic["code"]["code"].as_str().unwrap_or_default().to_string(),
                line: span["line_start"].as_u64().unwrap_or_default(),
                message: text(diagnostic),
                notes: diagnostic["children"].as_array().into_iter().flatten().map(text).collect(),
            },
        );
    }
    assert!(built > 0, "nothing was compiled: {}", String::from_utf8_lossy(&output.stderr));
    errors
}

fn expected(program: &Path) -> Option<Expected> {
    let text = fs::read_to_string(program).expect("a program of this test");
    let (number, comment) = (1..).zip(text.lines()).find(|(_, line)| line.trim_start().starts_with("//~"))?;
    let (code, message) = comment.trim_start()[3..].trim().split_once(": ").expect("`//~ CODE: message`");
    Some(Expected { code: code.to_string(), line: number + 1, message: message.to_string() })
}

/// What an error with this message has to offer.
fn remedies(message: &str) -> &'static [&'static str] {
    let kinds: [(&str, &[&str]); 8] = [
        ("this sink may block", &["&Workers", "sink::from_async_fn(", "use outflow::AsyncSinkExt"]),
        (
            "runs no workers",
            &["tokio::runtime::Handle::current()", "returns `()`: `.on(|worker: WorkerFuture|"],
        ),
        ("may wait for room", &["Buffer::unbounded()", ".drop_oldest()", ".drop_newest()", ".reject()"]),
        ("nowhere to put the event", &["Buffer::bounded(n)", ".drop_oldest()", ".drop_newest()"]),
        ("blocks an executor", &[".queued()", ".queued_with(buffer)"]),
        ("is not a sink of", &["sink::for_each(", "sink::from_fn(", "use outflow::AsyncSinkExt"]),
        ("is not an asynchronous sink of", &["sink::from_async_fn(", ".queued()"]),
        ("this sink can fail", &[".dead_letter(sink)", ".fallback(sink)", ".lossy()", ".retry(", "gives up"]),
    ];
    let kind = kinds.iter().find(|(says, _)| message.contains(says));
    kind.unwrap_or_else(|| panic!("no message of this crate: {message}")).1
}

#[test]
fn what_must_not_compile_says_why_and_its_twin_compiles() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut errors = check(&package);

    let mut failing = 0;
    let programs = fs::read_dir(package.join("src/bin")).expect("the programs of this test");
    for program in programs.map(|entry| entry.expect("a file").path()) {
        let name = program.file_stem().expect("a program").to_string_lossy().into_owned();
        let errors = errors.remove(&name).unwrap_or_default();
        let Some(expected) = expected(&program) else {
            assert!(name.ends_with("_twin"), "{name} says neither how it fails nor that it compiles");
            assert!(errors.is_empty(), "{name} does not compile: {errors:#?}");
            continue;
        };
        failing += 1;
        assert!(
            program.with_file_name(format!("{name}_twin.rs")).exists(),
            "{name} has no twin that compiles"
        );
        let [error] = &errors[..] else { panic!("{name} has not one error but {errors:#?}") };
        assert_eq!(error.code, expected.code, "{name}: {error:#?}");
        assert_eq!(error.line, expected.line, "{name}: {error:#?}");
        assert!(error.message.starts_with(&expected.message), "{name}: {error:#?}");
        if error.code == "E0277" {
            for remedy in remedies(&error.message) {
                assert!(
                    error.notes.iter().any(|note| note.contains(remedy)),
                    "{name}: no {remedy} in {error:#?}"
                );
            }
        }
    }
    assert!(errors.is_empty(), "errors elsewhere: {errors:#?}");
    assert!(failing >= 40, "{failing} programs that must fail");
}
