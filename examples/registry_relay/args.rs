//! The command line, and the secrets of the environment.

use std::env::{self, VarError};
use std::error::Error;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{NonEmptyStringValueParser, PathBufValueParser, RangedU64ValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use glob::{MatchOptions, Pattern};
use subtle::ConstantTimeEq;

use crate::durable::DurableArgs;
use crate::endpoint::{is_like_a_url, shows_a_url};
use crate::envelope::Notification;

/// The token that clients bring.
pub(crate) const TOKEN: &str = "REGISTRY_RELAY_TOKEN";

/// The secrets that what is posted is signed with.
pub(crate) const SIGNING: &str = "REGISTRY_RELAY_SIGNING_SECRETS";

/// A backlog has room for all its events from the start: of so many, for 160 MB an endpoint.
const MOST_EVENTS: u64 = 10_000_000;

/// More than any envelope of a registry has.
const LARGEST_BODY: u64 = 1 << 30;

/// More than a process has file descriptors for, unless it was asked for them.
const MOST_CONNECTIONS: u64 = 100_000;

/// Takes a Docker Registry's notifications and relays each of them to webhooks.
///
/// What is secret stands in the environment: REGISTRY_RELAY_TOKEN is what a client has to bring as
/// `Authorization: Bearer`, if it is set; REGISTRY_RELAY_SIGNING_SECRETS, one or several `whsec_...` with
/// spaces between them, is what each request is signed with, as Standard Webhooks has it.
#[derive(Parser)]
#[command(name = "registry_relay")]
pub(crate) struct Args {
    /// Where to listen: beyond loopback only with a token; without one, clients also have to call it by a
    /// loopback address or `localhost`
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:5056")]
    pub(crate) listen: SocketAddr,

    /// Posts to this endpoint, http or https; repeat it for more of them
    #[arg(long, value_name = "URL", required_unless_present = "self_test")]
    pub(crate) to: Vec<String>,

    /// Relays only events of these actions, as in `push,delete`
    #[arg(long, value_name = "ACTIONS", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub(crate) only: Vec<String>,

    /// Relays only events of repositories like this one: `*` is any part of one path component, `**` any
    /// number of components, as in `library/*`; repeat it for more of them
    #[arg(long, value_name = "GLOB", value_parser = Pattern::new)]
    pub(crate) repository: Vec<Pattern>,

    /// Does not relay events of targets of this media type; repeat it for more of them
    #[arg(long, value_name = "TYPE", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) ignore_media_type: Vec<String>,

    #[command(flatten)]
    pub(crate) durable: DurableArgs,

    /// What to do when the backlog of an endpoint is at its limit: answer 503, so that the registry keeps the
    /// envelope; or go on, and drop the oldest events of that endpoint
    #[arg(long, value_name = "CHOICE", value_enum, default_value_t = WhenFull::Refuse,
        conflicts_with = "durable")]
    pub(crate) when_full: WhenFull,

    /// How many events may wait for an endpoint, at most ten million
    #[arg(long, value_name = "EVENTS", default_value = "50000", value_parser = up_to(MOST_EVENTS),
        conflicts_with = "durable")]
    pub(crate) backlog: usize,

    /// How many events, at most, one request carries; more than one only while more than one wait
    #[arg(long, value_name = "EVENTS", default_value = "100", value_parser = up_to(MOST_EVENTS))]
    pub(crate) batch: usize,

    /// How many bytes an envelope may have that is relayed, decompressed; at most 1 GiB. A larger one is written to
    /// --undelivered, up to 32 MiB
    #[arg(long, value_name = "BYTES", default_value = "65536", value_parser = up_to(LARGEST_BODY))]
    pub(crate) max_body: usize,

    /// How many clients may be connected at a time, at most 100,000; others wait for their turn
    #[arg(long, value_name = "CONNECTIONS", default_value = "256", value_parser = up_to(MOST_CONNECTIONS))]
    pub(crate) max_connections: usize,

    /// How long a client may take to send the head of a request, to send its body, and to begin another one
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    pub(crate) client_timeout: Duration,

    /// How long a request to an endpoint may take
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = timeout)]
    pub(crate) timeout: Duration,

    /// After how many failures in a row to leave an endpoint alone for a while
    #[arg(long, value_name = "FAILURES", default_value = "10")]
    pub(crate) threshold: u32,

    /// For how long to leave it alone
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) backoff: Duration,

    /// How long SIGTERM waits for what is not delivered yet
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = humantime::parse_duration)]
    pub(crate) grace: Duration,

    /// Writes what was not delivered to this file, one JSON object a line. It is made when there is something to
    /// write, anew if it was moved away or removed; what an earlier run has left there stays. With it, events that
    /// an endpoint refuses for good go there, and what is posted and cannot be relayed; without it the ones are
    /// tried again for ever, and the others are refused, and posted again
    #[arg(long, value_name = "FILE", value_parser = PathBufValueParser::new().try_map(no_url))]
    pub(crate) undelivered: Option<PathBuf>,

    /// Does not start unless REGISTRY_RELAY_TOKEN is set
    #[arg(long)]
    pub(crate) token: bool,

    /// Sends the user and password of a URL over plain http to hosts beyond this one
    #[arg(long)]
    pub(crate) allow_plaintext: bool,

    /// Relays 251 real events to two receivers of its own, one that fails a third of its requests and one
    /// that goes down for a second, checks that every event reached both, and exits
    #[arg(long, conflicts_with_all = ["listen", "to", "only", "repository", "ignore_media_type", "batch", "threshold",
        "backoff", "grace"])]
    pub(crate) self_test: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhenFull {
    Refuse,
    DropOldest,
}

impl Args {
    /// As [`Parser::parse`], which would show a URL that stands in the wrong place.
    pub(crate) fn of_command_line() -> Self {
        Self::try_parse().unwrap_or_else(|error| {
            if error.use_stderr() && shows_a_url(&error.to_string()) {
                let what = "a URL where none belongs: each endpoint is given with a --to of its own";
                Self::command().error(ErrorKind::UnknownArgument, what).exit();
            }
            error.exit()
        })
    }

    /// Whether this event is relayed.
    pub(crate) fn wants(&self, event: &Notification) -> bool {
        const COMPONENTWISE: MatchOptions = MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };

        let Notification { action, repository, media_type, .. } = event;
        let repository = repository.as_deref().unwrap_or_default();
        let is_like = |glob: &Pattern| glob.matches_with(repository, COMPONENTWISE);

        (self.only.is_empty() || self.only.contains(action))
            && (self.repository.is_empty() || self.repository.iter().any(is_like))
            && media_type.as_ref().is_none_or(|media_type| !self.ignore_media_type.contains(media_type))
    }

    /// The secrets, and whether these may be used with them.
    pub(crate) fn secrets(&self) -> Result<Secrets, BadSecret> {
        let token = match secret(TOKEN)? {
            Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic()) => {
                return Err(BadSecret::new(TOKEN, "has a character in it that is not visible ASCII"));
            }
            token => token.map(Token),
        };
        if self.token && token.is_none() {
            return Err(BadSecret::new(TOKEN, "is not set, and --token asks for it"));
        }
        if token.is_none() && !self.listen.ip().to_canonical().is_loopback() {
            return Err(BadSecret::new(TOKEN, "is not set, so that --listen cannot be beyond loopback"));
        }
        let signing = secret(SIGNING)?.unwrap_or_default();
        Ok(Secrets { token, signing: signing.split_whitespace().map(str::to_string).collect() })
    }
}

/// It prints nothing, so that no derive of another type shows one.
pub(crate) struct Secrets {
    pub(crate) token: Option<Token>,
    pub(crate) signing: Vec<String>,
}

/// What a client has to bring.
pub(crate) struct Token(String);

impl Token {
    /// Takes as long for any that is as long as the token.
    pub(crate) fn is(&self, brought: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(brought).into()
    }

    /// For a client of our own.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

/// An empty one is a mistake: it looks as if there were one.
fn secret(variable: &'static str) -> Result<Option<String>, BadSecret> {
    match env::var(variable) {
        Ok(secret) if secret.trim().is_empty() => Err(BadSecret::new(variable, "is set and empty")),
        Ok(secret) => Ok(Some(secret)),
        Err(VarError::NotPresent) => Ok(None),
        // Which shows what is in it.
        Err(VarError::NotUnicode(_)) => Err(BadSecret::new(variable, "is not UTF-8")),
    }
}

/// What is wrong with a secret, which is not shown.
#[derive(Debug)]
pub(crate) struct BadSecret {
    variable: &'static str,
    reason: &'static str,
}

impl BadSecret {
    fn new(variable: &'static str, reason: &'static str) -> Self {
        Self { variable, reason }
    }
}

impl fmt::Display for BadSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.variable, self.reason)
    }
}

impl Error for BadSecret {}

/// One that stands in the wrong place, of which a file of that name would tell.
fn no_url(path: PathBuf) -> Result<PathBuf, &'static str> {
    if is_like_a_url(&path.to_string_lossy()) { Err("it is a URL") } else { Ok(path) }
}

/// Of none nothing comes, and of more than can be had, a panic.
fn up_to(most: u64) -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..=most)
}

/// What may take no time at all, or for ever, is a mistake.
fn timeout(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(60 * 60);

    match humantime::parse_duration(text).map_err(|error| error.to_string())? {
        timeout if timeout < SHORTEST => Err("it takes a millisecond at least".to_string()),
        timeout if timeout > LONGEST => Err("an hour is the longest that it may take".to_string()),
        timeout => Ok(timeout),
    }
}
