use std::sync::Arc;

use crate::contract::WriteError;
use crate::lifecycle::{Closing, Flushing};

/// Accepts events of type `E`.
///
/// Every method takes `&self`: a sink is shared by its writers. What a sink of this crate promises beyond
/// the signatures are the laws in [`docs::guarantees`](crate::docs::guarantees); what an implementation of
/// your own must do to keep them is little:
///
/// - a write that fails hands back the event that was passed in;
/// - once `close` has returned, every write answers [`WriteError::Closed`];
/// - `flush` and `close` begin something and return; waiting is the caller's business.
///
/// # Examples
///
/// A sink that posts to a connection that may fail:
///
/// ```
/// use outflow::{Closing, Flushing, Sink, WriteError};
/// # struct Connection;
/// # impl Connection { fn send(&self, _: &str) -> std::io::Result<()> { Ok(()) } }
///
/// struct Post {
///     connection: Connection,
/// }
///
/// impl Sink<String> for Post {
///     type Error = std::io::Error;
///
///     fn write(&self, event: String) -> Result<(), WriteError<String, Self::Error>> {
///         match self.connection.send(&event) {
///             Ok(()) => Ok(()),
///             Err(error) => Err(WriteError::failed(event, error)),
///         }
///     }
///
///     fn flush(&self) -> Flushing {
///         Flushing::done()
///     }
///
///     fn close(&self) -> Closing {
///         Closing::done()
///     }
/// }
///
/// let sink = Post { connection: Connection };
/// assert!(sink.write("pushed".to_string()).is_ok());
/// ```
///
/// That one stays open whatever is asked of it; [`closeable`](crate::SinkExt::closeable) gives it a closed
/// state.
pub trait Sink<E> {
    /// Why a write can fail while the sink is open. [`Infallible`] marks a *reliable* sink: the only way
    /// it refuses an event is by being closed.
    type Error;

    /// Writes an event, or hands it back with the reason.
    ///
    /// # Errors
    ///
    /// [`WriteError::Closed`] once the sink is closed, [`WriteError::Failed`] when this write failed. Both
    /// carry the event.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, WriteError, sink};
    ///
    /// let sink = sink::from_fn(|event: &u32| if *event < 2 { Ok(()) } else { Err("too large") });
    /// assert!(sink.write(1).is_ok());
    /// assert_eq!(sink.write(2), Err(WriteError::Failed { event: 2, error: "too large" }));
    /// sink.close();
    /// assert_eq!(sink.write(3), Err(WriteError::Closed(3)));
    /// ```
    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>>;

    /// Writes an event that the caller keeps.
    ///
    /// The provided method clones the event and calls [`write`](Sink::write). Sinks that only look at an
    /// event, and combinators, override it, so that nothing is cloned until something must own the event.
    ///
    /// # Errors
    ///
    /// As [`write`](Sink::write), with nothing to hand back.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// struct Large;
    /// impl Clone for Large {
    ///     fn clone(&self) -> Self {
    ///         panic!("a filter that rejects clones nothing")
    ///     }
    /// }
    /// let sink = sink::discard().filter(|_: &Large| false);
    /// assert!(sink.write_ref(&Large).is_ok());
    /// ```
    fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
    where
        E: Clone,
    {
        self.write(event.clone()).map_err(|refused| refused.map_event(drop))
    }

    /// Begins to deliver everything accepted so far; the answer waits for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().queued();
    /// queue.write(1).unwrap();
    /// queue.flush().wait()?;
    /// assert_eq!(delivered.events(), [1]);
    /// # queue.close().wait().unwrap();
    /// # Ok::<(), outflow::FlushError>(())
    /// ```
    fn flush(&self) -> Flushing;

    /// Refuses writes from now on and begins to deliver what was accepted, then to close what is
    /// downstream; the answer waits for it. Never waits itself, and may be called any number of times.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let delivered = sink::collector();
    /// let queue = delivered.clone().queued();
    /// queue.write(1).unwrap();
    /// let closing = queue.close(); // Refuses writes from here on.
    /// assert!(queue.write(2).is_err());
    /// closing.wait()?;
    /// assert_eq!(delivered.events(), [1]);
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn close(&self) -> Closing;

    /// Whether writes are refused. Provided: `false`.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, sink};
    ///
    /// let sink = sink::discard::<u32>();
    /// assert!(!sink.is_closed());
    /// sink.close();
    /// assert!(sink.is_closed());
    /// ```
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether the event is meant for this sink. Provided: `true`.
    ///
    /// Asked of an event that a closed sink refused, so that what a filter would have rejected does not count as
    /// undelivered.
    fn wants(&self, _event: &E) -> bool {
        true
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<E, S> Sink<E> for $pointer
        where
            S: Sink<E> + ?Sized,
        {
            type Error = S::Error;

            fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>> {
                (**self).write(event)
            }

            fn write_ref(&self, event: &E) -> Result<(), WriteError<(), Self::Error>>
            where
                E: Clone,
            {
                (**self).write_ref(event)
            }

            fn flush(&self) -> Flushing {
                (**self).flush()
            }

            fn close(&self) -> Closing {
                (**self).close()
            }

            fn is_closed(&self) -> bool {
                (**self).is_closed()
            }

            fn wants(&self, event: &E) -> bool {
                (**self).wants(event)
            }
        }
    )*};
}

forward!(&S, Box<S>, Arc<S>);
