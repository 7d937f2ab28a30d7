//! The tests over `HttpSink`.

use outflow::http::{BuildError, Encode, HttpSink, HttpSinkBuilder};

#[path = "../building.rs"]
mod building;
#[path = "../connecting.rs"]
mod connecting;
#[path = "../delivery.rs"]
mod delivery;
#[path = "../hostile.rs"]
mod hostile;
#[path = "../logging.rs"]
mod logging;
#[path = "../options.rs"]
mod options;
#[path = "../secrets.rs"]
mod secrets;
#[path = "../signing.rs"]
mod signing;
mod threads;
#[path = "../tls.rs"]
mod tls;

type Face<E> = HttpSink<E>;

/// What the client logs has this in it.
const LOGS: &str = "ureq";

/// How often an event is cloned when it is written by reference.
const CLONES: u64 = 0;

trait BuildFace<E> {
    fn build_face(self) -> Result<Face<E>, BuildError>;
}

impl<E, C> BuildFace<E> for HttpSinkBuilder<E, C>
where
    C: Encode<E> + Send + Sync + 'static,
{
    fn build_face(self) -> Result<Face<E>, BuildError> {
        self.build()
    }
}
