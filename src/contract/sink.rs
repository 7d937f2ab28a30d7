use std::sync::Arc;
use std::vec;

use crate::contract::WriteError;
use crate::lifecycle::{Closing, Flushing};

/// Accepts events of type `E`.
///
/// Every method takes `&self`: a sink is shared by its writers. What the sinks of this crate promise beyond
/// the signatures are the laws in [`docs::guarantees`](crate::docs::guarantees). To keep them, an
/// implementation of your own does three things:
///
/// - a write that fails hands back the event that was passed in;
/// - once `close` has returned, every write answers [`WriteError::Closed`];
/// - `flush` and `close` begin something and return at once; the caller waits for what they return.
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
/// This sink never refuses an event as closed; [`closeable`](crate::SinkExt::closeable) makes one that does.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a sink of `{E}`",
    label = "needs a sink: an implementation of `Sink<{E}>`",
    note = "make a sink of a closure: `sink::for_each(|event| ..)`, or `sink::from_fn(|event| ..)` if it can fail",
    note = "an asynchronous sink is none: await its writes, `sink.write(event).await`; its combinators have the same \
            names, and come with `use outflow::AsyncSinkExt`",
    note = "make a sink of other events fit: `.map(|event| ..)`, `.filter_map(|event| ..)`"
)]
pub trait Sink<E> {
    /// Why a write can fail while the sink is open. [`Infallible`](std::convert::Infallible) marks a
    /// *reliable* sink, which refuses an event only by being closed.
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
    /// sink.close().wait()?;
    /// assert_eq!(sink.write(3), Err(WriteError::Closed(3)));
    /// # Ok::<(), outflow::CloseError>(())
    /// ```
    fn write(&self, event: E) -> Result<(), WriteError<E, Self::Error>>;

    /// Writes an event that the caller keeps.
    ///
    /// The provided method clones the event and calls [`write`](Sink::write). Combinators, and sinks that
    /// only look at an event, override it, so that an event is cloned only where something must own it.
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

    /// Writes the events of `run`, in order, and takes them out of it. Provided: [`write`](Sink::write)s one after the
    /// other. A sink to which many at once cost less overrides this and [`longest_run`](Sink::longest_run).
    ///
    /// # Errors
    ///
    /// The first that is not written, with the reason. The events after it are left in `run`.
    fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, Self::Error>> {
        run.try_for_each(|event| self.write(event))
    }

    /// How many events [`write_all`](crate::SinkExt::write_all) gathers at most before it writes them by one
    /// [`write_run`](Sink::write_run). Provided: 1, which gathers none, and calls [`write`](Sink::write) for each.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Log, Sink, sink};
    ///
    /// assert_eq!(Sink::<u64>::longest_run(&Log::new()), 1024);
    /// assert_eq!(Sink::<u64>::longest_run(&sink::discard()), 1);
    /// ```
    fn longest_run(&self) -> usize {
        1
    }

    /// Begins to deliver everything accepted so far, and returns what waits for it.
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

    /// Refuses writes from now on, begins to deliver what was accepted and then to close what is downstream,
    /// and returns what waits for that. Does not wait itself, and may be called any number of times.
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
    fn is_closed(&self) -> bool {
        false
    }

    /// Whether `event` is meant for this sink. Provided: `true`.
    ///
    /// What writes to a sink asks this about an event to which the sink, being closed, answered
    /// [`Closed`](WriteError::Closed): if a [`filter`](crate::SinkExt::filter) would have rejected the event
    /// anyhow, it is not counted as undelivered. Writes nothing, and does not depend on whether the sink is
    /// closed. The closures of filters and maps are called for it once more.
    ///
    /// A sink that wraps another passes the question on; one that ignores some of its events answers `false`
    /// for those.
    ///
    /// # Examples
    ///
    /// ```
    /// use outflow::{Sink, SinkExt, sink};
    ///
    /// let pushes = sink::discard().filter(|event: &&str| event.starts_with("push"));
    /// assert!(pushes.wants(&"push alpine") && !pushes.wants(&"pull alpine"));
    /// ```
    fn wants(&self, event: &E) -> bool {
        let _ = event;
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

            fn write_run(&self, run: &mut vec::IntoIter<E>) -> Result<(), WriteError<E, Self::Error>> {
                (**self).write_run(run)
            }

            fn longest_run(&self) -> usize {
                (**self).longest_run()
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
