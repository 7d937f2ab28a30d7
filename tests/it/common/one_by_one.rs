//! A sink of batches over a sink of events, on both faces.

use outflow::{AsyncSink, Closing, Flushing, Sink, WriteError};

/// Writes the events of a batch one by one. When one is refused, it hands back that one and those after it.
pub struct OneByOne<S>(pub S);

impl<E, S: Sink<E>> Sink<Vec<E>> for OneByOne<S> {
    type Error = S::Error;

    fn write(&self, batch: Vec<E>) -> Result<(), WriteError<Vec<E>, S::Error>> {
        let mut events = batch.into_iter();
        while let Some(event) = events.next() {
            if let Err(refused) = self.0.write(event) {
                return Err(refused.map_event(|event| std::iter::once(event).chain(events).collect()));
            }
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl<E: Send, S: AsyncSink<E>> AsyncSink<Vec<E>> for OneByOne<S> {
    type Error = S::Error;

    async fn write(&self, batch: Vec<E>) -> Result<(), WriteError<Vec<E>, S::Error>> {
        let mut events = batch.into_iter();
        while let Some(event) = events.next() {
            if let Err(refused) = self.0.write(event).await {
                return Err(refused.map_event(|event| std::iter::once(event).chain(events).collect()));
            }
        }
        Ok(())
    }

    fn flush(&self) -> Flushing {
        self.0.flush()
    }

    fn close(&self) -> Closing {
        self.0.close()
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}
