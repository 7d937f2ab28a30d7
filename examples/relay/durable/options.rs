//! Its part of the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use clap::builder::{PathBufValueParser, TypedValueParser};

use crate::endpoint::is_like_a_url;

/// Less has no room for a few segments of the largest envelopes that a registry posts.
const FEWEST_BYTES: u64 = 16 << 20;

#[derive(Args)]
pub(crate) struct DurableArgs {
    /// Keeps events on disk until the endpoint has them, in this directory, which is made if it is not there: a queue for
    /// each endpoint, in a directory of its own that is named by scheme, host and port, and a checksum of its whole URL.
    /// Killed and started again, it delivers what was accepted before; what is on disk for an endpoint that is not given
    /// any more stays there, and is told at the start. One that has another URL now gets it if its directory is renamed
    /// while no relay runs.
    #[arg(long, value_name = "DIR", value_parser = PathBufValueParser::new().try_map(directory))]
    pub(crate) durable: Option<PathBuf>,

    /// When an accepted event survives the machine, and not only the process: `always`; at most so long after, as in
    /// `100ms`; or when the system sees fit, `os`
    #[arg(long, value_name = "WHEN", default_value = "always", requires = "durable", value_parser = sync)]
    pub(crate) durable_sync: WhenSynced,

    /// How many bytes may be on disk for each endpoint, at least 16 MiB; what comes beyond is not accepted. [default: as
    /// many as there is room for]
    #[arg(long, value_name = "BYTES", requires = "durable",
        value_parser = clap::value_parser!(u64).range(FEWEST_BYTES..))]
    pub(crate) durable_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "durable"), allow(dead_code))]
pub(crate) enum WhenSynced {
    Always,
    Within(Duration),
    BySystem,
}

fn sync(text: &str) -> Result<WhenSynced, String> {
    match text {
        "always" => Ok(WhenSynced::Always),
        "os" => Ok(WhenSynced::BySystem),
        text => match humantime::parse_duration(text) {
            Ok(Duration::ZERO) => Err("that is `always`".to_string()),
            Ok(interval) => Ok(WhenSynced::Within(interval)),
            Err(error) => Err(format!("neither `always`, `os` nor a duration: {error}")),
        },
    }
}

fn directory(path: PathBuf) -> Result<PathBuf, &'static str> {
    if cfg!(not(feature = "durable")) {
        Err("this was built without it: build it with --features durable")
    } else if is_like_a_url(&path.to_string_lossy()) {
        Err("it is a URL")
    } else {
        Ok(path)
    }
}
