use std::error::Error;
use std::fmt;

use serde::Serialize;

/// An event as the body of a request, or why it cannot be one.
pub(super) type Encoded = Result<Vec<u8>, Box<dyn Error + Send + Sync>>;

/// Makes the body of a request out of an event: sealed, implemented by [`Json`] and by what
/// [`encode`](super::HttpSinkBuilder::encode) makes of a closure.
///
/// # Examples
///
/// ```compile_fail,E0277
/// use outflow::http::HttpSink;
///
/// struct Push;
///
/// let sink = HttpSink::<Push>::post("https://hooks.example/").build(); // error: how does it become a body?
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

/// Events as JSON, by their `serde::Serialize`: the default.
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

/// Events as a closure encodes them. Made by [`encode`](super::HttpSinkBuilder::encode).
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
