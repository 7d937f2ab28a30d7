use std::error::Error;
use std::fmt;

/// Why a write was refused, with the event handed back.
///
/// The event is the one that was passed in, itself: not a copy and not a mapped one. Nothing is asked of
/// `E` to print the error, so a failed write can be reported whatever the event is.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, WriteError, sink};
///
/// let sink = sink::from_fn(|event: &u32| if *event > 9 { Err("too large") } else { Ok(()) });
/// match sink.write(10) {
///     Err(WriteError::Failed { event, error }) => assert_eq!((event, error), (10, "too large")),
///     other => panic!("{other:?}"),
/// }
///
/// sink.close();
/// assert_eq!(sink.write(1).unwrap_err().into_event(), 1);
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum WriteError<E, X> {
    /// The sink is closed; it will refuse every event from now on.
    Closed(E),
    /// The sink is open, and this write failed.
    Failed {
        /// The event that was not written.
        event: E,
        /// Why it was not.
        error: X,
    },
}

impl<E, X> WriteError<E, X> {
    /// Makes the error of a write that failed on an open sink.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::WriteError;
    ///
    /// let refused = WriteError::failed("event", "no route to host");
    /// assert_eq!(refused.error(), Some(&"no route to host"));
    /// ```
    pub fn failed(event: E, error: X) -> Self {
        Self::Failed { event, error }
    }

    /// Takes the event back.
    ///
    /// # Examples
    ///
    /// ```
    /// # use outflow::WriteError;
    /// let refused: WriteError<&str, ()> = WriteError::Closed("event");
    /// assert_eq!(refused.into_event(), "event");
    /// ```
    pub fn into_event(self) -> E {
        match self {
            Self::Closed(event) | Self::Failed { event, .. } => event,
        }
    }

    /// The event that was refused.
    ///
    /// # Examples
    ///
    /// ```
    /// # use outflow::WriteError;
    /// assert_eq!(*WriteError::failed(7, "full").event(), 7);
    /// ```
    pub fn event(&self) -> &E {
        match self {
            Self::Closed(event) | Self::Failed { event, .. } => event,
        }
    }

    /// Why the write failed; `None` if the sink is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use outflow::WriteError;
    /// assert_eq!(WriteError::failed(7, "full").error(), Some(&"full"));
    /// assert_eq!(WriteError::<_, &str>::Closed(7).error(), None);
    /// ```
    pub fn error(&self) -> Option<&X> {
        match self {
            Self::Closed(_) => None,
            Self::Failed { error, .. } => Some(error),
        }
    }

    /// Whether the sink is closed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use outflow::WriteError;
    /// assert!(WriteError::<_, &str>::Closed(7).is_closed());
    /// assert!(!WriteError::failed(7, "full").is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }

    /// Replaces the event by what `f` makes of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use outflow::WriteError;
    /// let refused = WriteError::failed(7, "full").map_event(|event| event.to_string());
    /// assert_eq!(refused, WriteError::failed("7".to_string(), "full"));
    /// ```
    pub fn map_event<F, T>(self, f: F) -> WriteError<T, X>
    where
        F: FnOnce(E) -> T,
    {
        match self {
            Self::Closed(event) => WriteError::Closed(f(event)),
            Self::Failed { event, error } => WriteError::Failed { event: f(event), error },
        }
    }

    /// Replaces the reason by what `f` makes of it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use outflow::WriteError;
    /// let refused = WriteError::failed(7, 503).map_error(|status| format!("status {status}"));
    /// assert_eq!(refused.error().unwrap(), "status 503");
    /// ```
    pub fn map_error<F, Y>(self, f: F) -> WriteError<E, Y>
    where
        F: FnOnce(X) -> Y,
    {
        match self {
            Self::Closed(event) => WriteError::Closed(event),
            Self::Failed { event, error } => WriteError::Failed { event, error: f(error) },
        }
    }
}

impl<E, X> fmt::Debug for WriteError<E, X>
where
    X: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("Closed(..)"),
            Self::Failed { error, .. } => {
                f.debug_struct("Failed").field("error", error).finish_non_exhaustive()
            }
        }
    }
}

impl<E, X> fmt::Display for WriteError<E, X>
where
    X: fmt::Display,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed(_) => f.write_str("the sink is closed"),
            Self::Failed { error, .. } => write!(f, "the write failed: {error}"),
        }
    }
}

impl<E, X> Error for WriteError<E, X>
where
    X: Error + 'static,
{
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Closed(_) => None,
            Self::Failed { error, .. } => Some(error),
        }
    }
}
