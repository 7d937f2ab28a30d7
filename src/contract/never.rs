use std::convert::Infallible;

use super::WriteError;

/// The error of a sink that cannot fail: implemented for [`Infallible`] alone.
///
/// Where a failure could not be reported to the writer (behind a queue, a broadcaster or a tee), the bound is
/// `S::Error: Never`. A sink that can fail is made reliable by saying what happens to an event that fails:
///
/// - [`retry`](crate::SinkExt::retry): it is tried again, until it is written;
/// - [`dead_letter`](crate::SinkExt::dead_letter): it goes elsewhere, with the error;
/// - [`fallback`](crate::SinkExt::fallback): it goes elsewhere;
/// - [`lossy`](crate::SinkExt::lossy): it is dropped, and counted;
/// - [`close_on_failure`](crate::SinkExt::close_on_failure): it comes back, and the sink is closed.
///
/// A retry that gives up, after [`max_attempts`](crate::retry::Retry::max_attempts) or by
/// [`give_up_when`](crate::retry::Retry::give_up_when), can fail: one of the others has to follow it.
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
    note = "send what fails elsewhere: `.dead_letter(sink)`, `.fallback(sink)`",
    note = "or drop what fails, counted: `.lossy()`",
    note = "or close the sink at its first failure: `.close_on_failure()`",
    note = "or try again until it is written: `.retry(Breaker::new(5, Duration::from_secs(1)))`; a retry with \
            `.max_attempts(n)` or `.give_up_when(f)` gives up, and needs one of the above after it"
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

/// The event of a reliable sink's error, which can only be `Closed`.
pub(crate) fn refused<E, X>(error: WriteError<E, X>) -> E
where
    X: Never,
{
    match error {
        WriteError::Closed(event) => event,
        WriteError::Failed { error, .. } => error.absurd(),
    }
}
