//! The same tests over `AsyncHttpSink`, whose writes are driven on a current-thread runtime.

use outflow::http::{AsyncHttpSink, BuildError, Encode, HttpError, HttpSinkBuilder};
use outflow::{AsyncSink, Closing, Flushing, Sink, WriteError};
use tokio::runtime::{Builder, Runtime};

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
mod many;
#[path = "../options.rs"]
mod options;
mod runtime;
#[path = "../secrets.rs"]
mod secrets;
#[path = "../signing.rs"]
mod signing;
#[path = "../tls.rs"]
mod tls;

type Face<E> = OnRuntime<E>;

/// The client logs nothing.
const LOGS: &str = "";

/// How often an event is cloned when it is written by reference, which an asynchronous sink cannot do.
const CLONES: u64 = 1;

#[derive(Debug)]
struct OnRuntime<E> {
    sink: AsyncHttpSink<E>,
    runtime: Runtime,
}

impl<E> OnRuntime<E> {
    fn endpoint(&self) -> &str {
        self.sink.endpoint()
    }
}

impl<E> Sink<E> for OnRuntime<E>
where
    E: Send,
{
    type Error = HttpError;

    fn write(&self, event: E) -> Result<(), WriteError<E, HttpError>> {
        self.runtime.block_on(self.sink.write(event))
    }

    fn flush(&self) -> Flushing {
        self.sink.flush()
    }

    fn close(&self) -> Closing {
        self.sink.close()
    }

    fn is_closed(&self) -> bool {
        self.sink.is_closed()
    }
}

trait BuildFace<E> {
    fn build_face(self) -> Result<Face<E>, BuildError>;
}

impl<E, C> BuildFace<E> for HttpSinkBuilder<E, C>
where
    C: Encode<E> + Send + Sync + 'static,
{
    fn build_face(self) -> Result<Face<E>, BuildError> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sink = {
            let _entered = runtime.enter();
            self.build_async()?
        };
        Ok(OnRuntime { sink, runtime })
    }
}
