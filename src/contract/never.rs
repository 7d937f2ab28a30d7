use std::convert::Infallible;

use super::WriteError;

/// The error of a sink that cannot fail: implemented for [`Infallible`] alone.
///
/// Combinators that have no way to report a failure (a queue, a broadcaster, a tee) ask for `S::Error:
/// Never`. A sink that can fail is made reliable by saying what happens to what fails:
///
/// - [`retry`](crate::SinkExt::retry): it is tried again;
/// - [`dead_letter`](crate::SinkExt::dead_letter): it goes elsewhere, with the error;
/// - [`fallback`](crate::SinkExt::fallback): it goes elsewhere;
/// - [`lossy`](crate::SinkExt::lossy): it is dropped, and counted.
///
/// # Examples
///
/// ```compile_fail,E0277
/// use outflow::{SinkExt, sink};
///
/// let fallible = sink::from_fn(|_: &u32| Err("no route to host"));
/// let queue = fallible.queued(); // error: this sink can fail
/// ```
///
/// ```
/// use outflow::{Sink, SinkExt, sink};
///
/// let fallible = sink::from_fn(|_: &u32| Err("no route to host"));
/// let queue = fallible.lossy().queued();
/// assert!(queue.write(1).is_ok());
/// # queue.close().wait().unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "this sink can fail with `{Self}`, and nothing says what happens to an event that does",
    label = "needs a sink that cannot fail",
    note = "try again: `.retry(Breaker::new(5, Duration::from_secs(1)))`",
    note = "or send what fails elsewhere: `.dead_letter(sink)`, `.fallback(sink)`",
    note = "or drop what fails, counted: `.lossy()`"
)]
pub trait Never: sealed::Never {}

impl Never for Infallible {}

mod sealed {
    use std::convert::Infallible;

    pub trait Never {
        #[doc(hidden)]
        fn absurd<T>(self) -> T;
    }

    impl Never for Infallible {
        fn absurd<T>(self) -> T {
            match self {}
        }
    }
}

/// `WriteError<E, Infallible>` has one variant that can be: the event of a closed sink.
pub(crate) fn refused<E, X>(error: WriteError<E, X>) -> E
where
    X: Never,
{
    match error {
        WriteError::Closed(event) => event,
        WriteError::Failed { error, .. } => error.absurd(),
    }
}
