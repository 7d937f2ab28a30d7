use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::sync::{Label, SinkId};

/// The outcome of a [`Closing`](crate::Closing) when not everything was delivered.
///
/// Every caller of `close` gets the same one. Errors of nested and fanned-out sinks add up:
/// [`undelivered`](CloseError::undelivered) is the sum.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{CloseError, Sink, SinkExt, retry::Constant, sink};
///
/// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
/// let queue = dead.retry(Constant::new(Duration::from_secs(3600))).queued();
/// for event in 0..3 {
///     queue.write(event).unwrap();
/// }
///
/// let error = queue.close().within(Duration::from_millis(10)).unwrap_err();
/// assert_eq!(error.undelivered(), 3);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum CloseError {
    /// The close was aborted.
    Undelivered {
        /// How many events were left: spilled or dropped, as the buffer says.
        events: u64,
        /// How many were in a write that had not come back when the close ended.
        in_flight: u64,
    },
    /// A sink panicked under its queue.
    Panicked {
        /// What it panicked with.
        message: Arc<str>,
        /// How many events were not delivered, that on which it panicked among them.
        events: u64,
    },
    /// A sink was closed under its queue or broadcaster.
    DownstreamClosed {
        /// How many events were not delivered for it.
        events: u64,
    },
    /// A follower of a log was further behind than its `max_lag`, and was closed.
    Lagged {
        /// How many events were not delivered for it.
        events: u64,
    },
    /// One side of a tee was closed before the other.
    Missed {
        /// How many events reached the other alone.
        events: u64,
    },
    /// What became of one sink of a broadcaster, or one follower of a log.
    Sink {
        /// Which sink.
        id: SinkId,
        /// What it was called when it was added, if anything.
        name: Option<Arc<str>>,
        /// Its own error.
        error: Arc<CloseError>,
    },
    /// More than one error.
    Several(Arc<[CloseError]>),
    /// An error of a sink's author: see [`CloseError::other`].
    Other(Arc<dyn Error + Send + Sync>),
    /// The close was aborted, and the sink does not know what was left.
    Aborted,
    /// What was to end the close was dropped before it did: see [`Closing::pending`](crate::Closing::pending).
    Abandoned,
    /// This thread is inside what it would wait for. Nothing was aborted, and other callers still get the
    /// outcome.
    WouldDeadlock,
}

impl CloseError {
    /// Wraps an error of your own.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::CloseError;
    ///
    /// let error = CloseError::other("the file could not be synced");
    /// assert_eq!(error.to_string(), "the file could not be synced");
    /// ```
    pub fn other<X>(error: X) -> Self
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::Other(Arc::from(error.into()))
    }

    /// How many events were not delivered: what was left, what was in flight and what was lost to a panic,
    /// added up over all sinks on the way of the close.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Closing, CloseError};
    ///
    /// let both = Closing::all([
    ///     Closing::failed(CloseError::Undelivered { events: 2, in_flight: 1 }),
    ///     Closing::failed(CloseError::DownstreamClosed { events: 4 }),
    /// ]);
    /// assert_eq!(both.wait().unwrap_err().undelivered(), 7);
    /// ```
    pub fn undelivered(&self) -> u64 {
        match self {
            Self::Undelivered { events, in_flight } => events.saturating_add(*in_flight),
            Self::Panicked { events, .. }
            | Self::DownstreamClosed { events }
            | Self::Lagged { events }
            | Self::Missed { events } => *events,
            Self::Sink { error, .. } => error.undelivered(),
            Self::Several(errors) => {
                errors.iter().fold(0, |sum, error| sum.saturating_add(error.undelivered()))
            }
            Self::Other(_) | Self::Aborted | Self::Abandoned | Self::WouldDeadlock => 0,
        }
    }

    /// The sinks of a broadcaster, or followers of a log, that this error names, each with its own error, in order.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use outflow::{Broadcaster, Sink, SinkExt, retry::Constant, sink};
    ///
    /// let broadcaster = Broadcaster::new();
    /// broadcaster.add(sink::discard().queued())?;
    /// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
    /// let id = broadcaster.add(dead.retry(Constant::new(Duration::from_secs(3600))).queued())?;
    /// broadcaster.write(1).unwrap();
    ///
    /// let error = broadcaster.close().within(Duration::from_millis(10)).unwrap_err();
    /// let named: Vec<_> = error.sinks().map(|(id, error)| (id, error.undelivered())).collect();
    /// assert_eq!(named, [(id, 1)]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn sinks(&self) -> impl Iterator<Item = (SinkId, &CloseError)> {
        let mut named = Vec::new();
        self.gather_sinks(&mut named);
        named.into_iter()
    }

    fn gather_sinks<'a>(&'a self, named: &mut Vec<(SinkId, &'a CloseError)>) {
        match self {
            Self::Sink { id, error, .. } => named.push((*id, &**error)),
            Self::Several(errors) => errors.iter().for_each(|error| error.gather_sinks(named)),
            _ => {}
        }
    }

    pub(crate) fn of_sink(self, label: &Label) -> Self {
        Self::Sink { id: label.id, name: label.name.clone(), error: Arc::new(self) }
    }

    /// Several errors as one; there is at least one.
    pub(super) fn join(errors: Vec<Self>) -> Self {
        let mut flat: Vec<Self> = Vec::with_capacity(errors.len());
        let mut sum: Option<(usize, u64, u64)> = None;
        let mut add = |error: Self| {
            if let Self::Undelivered { events, in_flight } = error {
                let (at, left, flying) = sum.get_or_insert((flat.len(), 0, 0));
                (*left, *flying) = (left.saturating_add(events), flying.saturating_add(in_flight));
                let error = Self::Undelivered { events: *left, in_flight: *flying };
                match flat.get_mut(*at) {
                    Some(slot) => *slot = error,
                    None => flat.push(error),
                }
            } else {
                flat.push(error);
            }
        };
        for error in errors {
            match error {
                Self::Several(several) => several.iter().cloned().for_each(&mut add),
                error => add(error),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { Self::Several(flat.into()) }
    }
}

/// Errors of a sink's author are equal if they are the same one.
impl PartialEq for CloseError {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Undelivered { events, in_flight },
                Self::Undelivered { events: other, in_flight: other_flying },
            ) => (events, in_flight) == (other, other_flying),
            (Self::Panicked { message, events }, Self::Panicked { message: other, events: other_events }) => {
                (message, events) == (other, other_events)
            }
            (Self::DownstreamClosed { events }, Self::DownstreamClosed { events: other })
            | (Self::Lagged { events }, Self::Lagged { events: other })
            | (Self::Missed { events }, Self::Missed { events: other }) => events == other,
            (Self::Sink { id, error, .. }, Self::Sink { id: other, error: other_error, .. }) => {
                (id, error) == (other, other_error)
            }
            (Self::Several(errors), Self::Several(other)) => errors == other,
            (Self::Other(error), Self::Other(other)) => Arc::ptr_eq(error, other),
            (Self::Aborted, Self::Aborted)
            | (Self::Abandoned, Self::Abandoned)
            | (Self::WouldDeadlock, Self::WouldDeadlock) => true,
            _ => false,
        }
    }
}

impl fmt::Display for CloseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undelivered { events, in_flight: 0 } => {
                write!(f, "the close was aborted: {} not delivered", Events(*events))
            }
            Self::Undelivered { events, in_flight } => {
                write!(
                    f,
                    "the close was aborted: {} not delivered and {in_flight} in flight",
                    Events(*events)
                )
            }
            Self::Panicked { message, events } => {
                write!(f, "a sink panicked ({message}): {} not delivered", Events(*events))
            }
            Self::DownstreamClosed { events } => {
                write!(f, "a sink was closed by itself: {} not delivered", Events(*events))
            }
            Self::Lagged { events } => {
                write!(f, "a follower fell behind and was closed: {} not delivered", Events(*events))
            }
            Self::Missed { events } => {
                write!(f, "one side of a tee was closed before the other: it missed {}", Events(*events))
            }
            Self::Sink { name: Some(name), error, .. } => write!(f, "{name}: {error}"),
            Self::Sink { id, error, .. } => write!(f, "{id}: {error}"),
            Self::Several(errors) => separated(f, errors.iter()),
            Self::Other(error) => error.fmt(f),
            Self::Aborted => f.write_str("the close was aborted"),
            Self::Abandoned => f.write_str("what was to end the close was dropped"),
            Self::WouldDeadlock => f.write_str("this thread is inside what it would wait for"),
        }
    }
}

impl Error for CloseError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Sink { error, .. } => Some(&**error),
            Self::Several(errors) => errors.first().map(|error| error as &(dyn Error + 'static)),
            Self::Other(error) => error.source(),
            _ => None,
        }
    }
}

/// The outcome of a [`Flushing`](crate::Flushing) when not everything was delivered.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use outflow::{FlushError, Sink, SinkExt, retry::Constant, sink};
///
/// let dead = sink::from_fn(|_: &u32| Err("no route to host"));
/// let queue = dead.retry(Constant::new(Duration::from_secs(3600))).queued();
/// queue.write(1).unwrap();
///
/// let error = queue.flush().within(Duration::from_millis(10)).unwrap_err();
/// assert!(matches!(error, FlushError::TimedOut));
/// # let _ = queue.close().abort();
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FlushError {
    /// The time given to [`Flushing::within`](crate::Flushing::within) was up. The flush goes on.
    TimedOut,
    /// Not everything was delivered, and why: the sink was closed or panicked meanwhile, an event was refused further
    /// down, or its author says so.
    NotDelivered(CloseError),
    /// This thread is inside what it would wait for. Other callers still get the outcome.
    WouldDeadlock,
}

impl FlushError {
    /// Wraps an error of your own.
    pub fn other<X>(error: X) -> Self
    where
        X: Into<Box<dyn Error + Send + Sync>>,
    {
        Self::NotDelivered(CloseError::other(error))
    }
}

impl From<CloseError> for FlushError {
    fn from(error: CloseError) -> Self {
        match error {
            CloseError::WouldDeadlock => Self::WouldDeadlock,
            CloseError::Other(other) => match other.downcast_ref::<Self>() {
                Some(error) => error.clone(),
                None => Self::NotDelivered(CloseError::Other(other)),
            },
            error => Self::NotDelivered(error),
        }
    }
}

impl From<FlushError> for CloseError {
    fn from(error: FlushError) -> Self {
        match error {
            FlushError::NotDelivered(error) => error,
            FlushError::WouldDeadlock => Self::WouldDeadlock,
            FlushError::TimedOut => Self::other(error),
        }
    }
}

impl fmt::Display for FlushError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the flush did not end in time"),
            Self::NotDelivered(error) => write!(f, "not everything was delivered: {error}"),
            Self::WouldDeadlock => CloseError::WouldDeadlock.fmt(f),
        }
    }
}

impl Error for FlushError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NotDelivered(error) => Some(error),
            Self::TimedOut | Self::WouldDeadlock => None,
        }
    }
}

struct Events(u64);

impl fmt::Display for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 event"),
            n => write!(f, "{n} events"),
        }
    }
}

fn separated<T>(f: &mut fmt::Formatter<'_>, errors: impl Iterator<Item = T>) -> fmt::Result
where
    T: fmt::Display,
{
    for (i, error) in errors.enumerate() {
        if i > 0 {
            f.write_str("; ")?;
        }
        error.fmt(f)?;
    }
    Ok(())
}
