use std::error::Error;
use std::fmt;

use serde::Serialize;

/// The body of a request, or the encoder's error.
pub(super) type Encoded = Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

/// Encodes an event as the body of a request. Sealed; implemented by [`Json`], and by [`EncodeWith`] for the closure that
/// [`encode`](super::HttpSinkBuilder::encode) is given.
///
/// # Examples
///
/// Without an encoder, the event has to be `Serialize`:
///
/// ```compile_fail,E0277
/// use outflow::http::HttpSink;
///
/// struct Push;
///
/// let sink = HttpSink::<Push>::post("https://hooks.example/").build(); // error: `Push` is not `Serialize`
/// ```
///
/// ```
/// use outflow::http::HttpSink;
///
/// #[derive(serde::Serialize)]
/// struct Push;
///
/// let sink = HttpSink::<Push>::post("https://hooks.example/").build();
/// assert!(sink.is_ok());
/// ```
pub trait Encode<E>: sealed::Encode<E> {}

impl<E> Encode<E> for Json where E: Serialize {}

impl<E, F, X> Encode<E> for EncodeWith<F>
where
    F: Fn(&E) -> Result<Vec<u8>, X>,
    X: Into<Box<dyn Error + Send + Sync>>,
{
}

pub(super) mod sealed {
    pub trait Encode<E> {
        #[doc(hidden)]
        fn encode(&self, event: &E) -> super::Encoded;
    }
}

/// Encodes events as JSON, with `serde::Serialize`: the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl<E> sealed::Encode<E> for Json
where
    E: Serialize,
{
    fn encode(&self, event: &E) -> Encoded {
        Ok(serde_json::to_vec(event)?)
    }
}

/// Encodes events with a closure. Made by [`encode`](super::HttpSinkBuilder::encode).
#[derive(Clone, Copy)]
pub struct EncodeWith<F>(pub(super) F);

impl<E, F, X> sealed::Encode<E> for EncodeWith<F>
where
    F: Fn(&E) -> Result<Vec<u8>, X>,
    X: Into<Box<dyn Error + Send + Sync>>,
{
    fn encode(&self, event: &E) -> Encoded {
        (self.0)(event).map_err(Into::into)
    }
}

impl<F> fmt::Debug for EncodeWith<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodeWith(..)")
    }
}
