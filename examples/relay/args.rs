//! The command line.

use std::error::Error;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::durable::DurableArgs;
use crate::endpoint::{is_like_a_url, shows_a_url};
use crate::input::Input;

/// Relays Docker Registry notifications to webhooks, losing none of them.
///
/// Without `--to` it starts two webhook receivers of its own, one that fails a third of its requests and one
/// that goes down for a second, and checks that every event reached both. Samples go to these alone.
#[derive(Parser)]
#[command(name = "relay")]
pub(crate) struct Args {
    /// Notification envelopes, or what `registry_relay` did not deliver, one JSON object a line; `-` is standard
    /// input [default: standard input, unless it is a terminal; without `--to` 251 samples, which no `--to` gets]
    file: Option<PathBuf>,

    /// Posts to this endpoint, http or https; repeat it for more of them
    #[arg(long, value_name = "URL")]
    pub(crate) to: Vec<String>,

    /// Relays only events of these actions, as in `push,delete`
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    only: Vec<String>,

    /// How long a request may take [default: 1s, with receivers of its own 250ms]
    #[arg(long, value_name = "DURATION", value_parser = timeout)]
    timeout: Option<Duration>,

    /// After how many failures in a row to back off [default: 10, with receivers of its own 3]
    #[arg(long, value_name = "FAILURES")]
    threshold: Option<u32>,

    /// How long to back off [default: 1s, with receivers of its own 100ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    backoff: Option<Duration>,

    /// How long Ctrl-C waits for what is not delivered yet
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    pub(crate) grace: Duration,

    #[command(flatten)]
    pub(crate) durable: DurableArgs,
}

impl Args {
    /// As [`Parser::parse`], which would show a URL that stands in the wrong place.
    pub(crate) fn of_command_line() -> Self {
        match Self::try_parse() {
            Ok(args) if !args.file.as_ref().is_some_and(|file| is_like_a_url(&file.to_string_lossy())) => {
                args
            }
            Err(error) if !error.use_stderr() || !shows_a_url(&error.to_string()) => error.exit(),
            _ => {
                let what = "a URL where none belongs: each endpoint is given with a --to of its own";
                Self::command().error(ErrorKind::UnknownArgument, what).exit()
            }
        }
    }

    /// What is to be relayed. The samples go to no endpoint that somebody gave.
    pub(crate) fn input(&self) -> Result<Input, Box<dyn Error>> {
        match &self.file {
            Some(file) => Ok(Input::open(file)?),
            None if self.to.is_empty() => Ok(Input::samples()?),
            None if io::stdin().is_terminal() => {
                Err("nothing to post to --to: name a file of envelopes, or pipe them in \
                     (the samples go to receivers of its own, without --to)"
                    .into())
            }
            None => Ok(Input::standard()),
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let usual = if self.to.is_empty() { Settings::OF_OWN_RECEIVERS } else { Settings::OF_THE_REGISTRY };
        Settings {
            timeout: self.timeout.unwrap_or(usual.timeout),
            threshold: self.threshold.unwrap_or(usual.threshold),
            backoff: self.backoff.unwrap_or(usual.backoff),
        }
    }

    /// Whether events of this action are relayed.
    pub(crate) fn wants(&self, action: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == action)
    }
}

/// What a registry's configuration says of each endpoint.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) timeout: Duration,
    pub(crate) threshold: u32,
    pub(crate) backoff: Duration,
}

impl Settings {
    const OF_THE_REGISTRY: Self =
        Self { timeout: Duration::from_secs(1), threshold: 10, backoff: Duration::from_secs(1) };

    const OF_OWN_RECEIVERS: Self =
        Self { timeout: Duration::from_millis(250), threshold: 3, backoff: Duration::from_millis(100) };
}

/// A request that may take no time at all, or for ever, is a mistake.
fn timeout(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

    match humantime::parse_duration(text).map_err(|error| error.to_string())? {
        Duration::ZERO => Err("a request needs some time".to_string()),
        timeout if timeout > LONGEST => Err("a day is the longest that a request may take".to_string()),
        timeout => Ok(timeout),
    }
}
