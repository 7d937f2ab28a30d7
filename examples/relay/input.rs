//! What is to be relayed: envelopes, or what a relay did not deliver, one a line.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::str;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::envelope::{self, Event, Malformed};

/// 251 notifications of a real registry. They are for receivers of our own.
const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/registry-notifications.ndjson");

/// Iterates over the lines of a file or of standard input: the events of each, or what is wrong with it.
pub(crate) struct Input {
    name: String,
    lines: Box<dyn BufRead + Send>,
    line: usize,
}

impl Input {
    pub(crate) fn samples() -> Result<Self, InputError> {
        Self::open(Path::new(SAMPLES))
    }

    /// `-` is standard input.
    pub(crate) fn open(file: &Path) -> Result<Self, InputError> {
        if file == Path::new("-") {
            return Ok(Self::standard());
        }
        let name = file.display().to_string();
        match File::open(file) {
            Ok(file) => Ok(Self { name, lines: Box::new(BufReader::new(file)), line: 0 }),
            Err(error) => Err(InputError::Unreadable { name, error }),
        }
    }

    pub(crate) fn standard() -> Self {
        let lines = Box::new(BufReader::new(io::stdin()));
        Self { name: "standard input".to_string(), lines, line: 0 }
    }

    /// The next line that is not blank, without its end.
    fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            let mut line = Vec::new();
            if self.lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(None);
            }
            self.line += 1;
            line.truncate(line.trim_ascii_end().len());
            if !line.is_empty() {
                return Ok(Some(line));
            }
        }
    }
}

impl Iterator for Input {
    type Item = Result<Vec<Event>, InputError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.next_line() {
            Ok(line) => line?,
            Err(error) => {
                self.lines = Box::new(io::empty());
                return Some(Err(InputError::Unreadable { name: self.name.clone(), error }));
            }
        };
        let events = match str::from_utf8(&line) {
            Ok(text) => parse(text),
            Err(error) => {
                Err(Malformed { column: error.valid_up_to() + 1, reason: "this is not UTF-8".to_string() })
            }
        };
        Some(events.map_err(|malformed| InputError::Malformed {
            name: self.name.clone(),
            line: self.line,
            malformed,
        }))
    }
}

/// What stands in the line of an event that a relay did not deliver, or of an envelope that it could not relay,
/// and, of an envelope itself, only that.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    events: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    envelope: Option<&'a RawValue>,
    base64: Option<&'a RawValue>,
}

/// The events of a line.
fn parse(line: &str) -> Result<Vec<Event>, Malformed> {
    // An array would be taken for a struct, too.
    let parts = line.trim_ascii_start().starts_with('{').then(|| serde_json::from_str(line));
    match parts {
        Some(Ok(Line { events: None, event: Some(event), .. })) => {
            Ok(vec![envelope::notification(line, event.get())?])
        }
        Some(Ok(Line { events: None, envelope: Some(inner), .. })) => envelope::parse(inner.get())
            .map_err(|malformed| malformed.at(envelope::offset(line, inner.get()))),
        Some(Ok(Line { events: None, base64: Some(_), .. })) => {
            Err(Malformed { column: 1, reason: "a body that was no JSON: it has no events".to_string() })
        }
        _ => envelope::parse(line),
    }
}

/// What is wrong with the input, and where.
#[derive(Debug)]
pub(crate) enum InputError {
    Unreadable { name: String, error: io::Error },
    Malformed { name: String, line: usize, malformed: Malformed },
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { name, error } => write!(f, "{name}: {error}"),
            Self::Malformed { name, line, malformed: Malformed { column, reason } } => {
                write!(f, "{name}:{line}:{column}: {reason}")
            }
        }
    }
}

impl Error for InputError {}
