use super::{AsyncSink, Sink};

/// The error of a sink, whichever its face: for methods of a type that serves both. `Face` is inferred, since a type is a
/// [`Sink`] or an [`AsyncSink`].
pub trait AnySink<E, Face> {
    type Error;
}

/// The face of a [`Sink`].
#[derive(Debug)]
pub struct Called;

/// The face of an [`AsyncSink`].
#[derive(Debug)]
pub struct Awaited;

impl<E, S> AnySink<E, Called> for S
where
    S: Sink<E>,
{
    type Error = S::Error;
}

impl<E, S> AnySink<E, Awaited> for S
where
    S: AsyncSink<E>,
{
    type Error = S::Error;
}
