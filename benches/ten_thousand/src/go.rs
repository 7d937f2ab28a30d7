//! The Go program of `benches/go`, and how a process is asked for its figures.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::contest::{Peer, Run};

/// Where Debian puts the sources of Go packages.
const DEBIAN: &str = "/usr/share/gocode";

/// The program, built on the first call; or why there is none.
pub fn events() -> Result<&'static Path, &'static str> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(build).as_deref().map_err(String::as_str)
}

/// Go without modules, which would want a network.
fn go() -> Command {
    let mut go = Command::new("go");
    let path = env::var("GOPATH").map_or(DEBIAN.into(), |own| format!("{own}:{DEBIAN}"));
    go.env("GOPATH", path).env("GO111MODULE", "off").env("CGO_ENABLED", "0").env_remove("GOFLAGS");
    go.stdin(Stdio::null());
    go
}

fn build() -> Result<PathBuf, String> {
    let package = "github.com/docker/go-events";
    match go().args(["list", package]).output() {
        Err(error) => return Err(format!("there is no Go ({error})")),
        Ok(listed) if !listed.status.success() => return Err(format!("Go does not find {package}")),
        Ok(_) => {}
    }
    let program = env::current_exe().expect("a program has a path").with_file_name("outflow-go-events");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../go/main.go");
    let built = go().arg("build").arg("-o").arg(&program).arg(source).status().expect("it ran before");
    // Not skipped: what it needs is there.
    assert!(built.success(), "benches/go does not build");
    Ok(program)
}

/// Runs `program`, which prints its figures.
pub fn figures(program: &Path, arguments: &[String]) -> Vec<f64> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .expect("the program can be run");
    assert!(output.status.success(), "{} {arguments:?}: {}", program.display(), output.status);
    let printed = String::from_utf8(output.stdout).expect("it prints figures");
    printed.split_whitespace().map(|figure| figure.parse().expect("it prints figures")).collect()
}

/// go-events as a peer: its program, run with these arguments.
pub fn peer(arguments: Vec<String>) -> Peer {
    match events() {
        Ok(program) => Peer::Run(Box::new(move || figures(program, &arguments)) as Run),
        Err(_) => Peer::Skipped,
    }
}
