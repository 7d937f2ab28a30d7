//! What a registry posts to a webhook: an envelope of events.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

/// The content type of an envelope.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.docker.distribution.events.v1+json";

/// One notification. Queues share it, so that its clone is a count.
pub(crate) type Event = Arc<Notification>;

pub(crate) struct Notification {
    pub(crate) id: String,
    pub(crate) action: String,
    #[allow(dead_code, reason = "`registry_relay` filters by it")]
    pub(crate) repository: Option<String>,
    #[allow(dead_code, reason = "`registry_relay` filters by it")]
    pub(crate) media_type: Option<String>,
    /// An envelope with this event alone: its text as it came in, fields that nobody here knows included.
    pub(crate) envelope: String,
}

/// What stands before the events of an envelope, and after them.
const FRAME: [&str; 2] = [r#"{"events":["#, "]}"];

impl Notification {
    /// The event's own text, as it came in.
    #[allow(dead_code, reason = "`registry_relay` puts several into one envelope")]
    pub(crate) fn text(&self) -> &str {
        &self.envelope[FRAME[0].len()..self.envelope.len() - FRAME[1].len()]
    }
}

/// An envelope with these events.
#[allow(dead_code, reason = "as `text`")]
pub(crate) fn envelope_of(events: &[Event]) -> String {
    if let [event] = events {
        return event.envelope.clone();
    }
    let texts: Vec<&str> = events.iter().map(|event| event.text()).collect();
    format!("{}{}{}", FRAME[0], texts.join(","), FRAME[1])
}

/// What is wrong with an envelope, and at which byte of it, counted from 1.
#[derive(Debug)]
pub(crate) struct Malformed {
    pub(crate) column: usize,
    pub(crate) reason: String,
}

impl Malformed {
    /// The same of a text in which this one begins at `offset`.
    pub(crate) fn at(self, offset: usize) -> Self {
        Self { column: offset + self.column, ..self }
    }
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    events: Vec<&'a RawValue>,
}

/// What is read of an event; the rest of it passes as it is.
#[derive(Deserialize)]
struct Head {
    id: String,
    action: String,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Default, Deserialize)]
struct Target {
    repository: Option<String>,
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
}

/// The events of an envelope: all of them, or what is wrong with the first that is not one.
pub(crate) fn parse(text: &str) -> Result<Vec<Event>, Malformed> {
    events(text)?.collect()
}

/// As [`parse`], one after the other.
pub(crate) fn events(text: &str) -> Result<impl Iterator<Item = Result<Event, Malformed>>, Malformed> {
    let envelope: Envelope<'_> = object("an envelope", text)?;
    Ok(envelope.events.into_iter().map(|event| notification(text, event.get())))
}

/// Where `part`, which is a part of `text`, begins in it.
pub(crate) fn offset(text: &str, part: &str) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

/// `event` is the part of `text` that is one.
pub(crate) fn notification(text: &str, event: &str) -> Result<Event, Malformed> {
    let located = |malformed: Malformed| malformed.at(offset(text, event));

    let Head { id, action, target } = object("an event", event).map_err(located)?;
    for (name, value) in [("id", &id), ("action", &action)] {
        if value.is_empty() {
            return Err(located(Malformed {
                column: 1,
                reason: format!("the `{name}` of this event is empty"),
            }));
        }
    }
    let Target { repository, media_type } = target.unwrap_or_default();
    // Exactly as long as it is: many of them may wait.
    let envelope = [FRAME[0], event, FRAME[1]].concat();
    Ok(Arc::new(Notification { id, action, repository, media_type, envelope }))
}

/// Serde takes an array for a struct, too; a registry never writes one.
fn object<'a, T>(what: &str, text: &'a str) -> Result<T, Malformed>
where
    T: Deserialize<'a>,
{
    let begins_at = text.len() - text.trim_ascii_start().len();
    if !text[begins_at..].starts_with('{') {
        return Err(Malformed { column: begins_at + 1, reason: format!("{what} is a JSON object") });
    }
    serde_json::from_str(text).map_err(|error| Malformed { column: error.column(), reason: reason(&error) })
}

/// Serde's own words, less its line and column: those are of the text that it was given. They may show a string of
/// it, however long, of which the beginning will do.
fn reason(error: &serde_json::Error) -> String {
    const LONGEST: usize = 200;

    let mut text = error.to_string();
    if let Some(end) = text.rfind(" at line ") {
        text.truncate(end);
    }
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
