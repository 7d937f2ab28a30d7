use std::fmt;

use crate::contract::{AsyncSink, Sink, WriteError, delegate};

/// Writes a batch that is refused again in halves, until what is refused is alone. Made by
/// [`split_on`](crate::SinkExt::split_on).
///
/// `predicate` is called with the error of a batch and returns whether it is due to the batch: it is too large, or an
/// event in it is malformed. Then its two halves are written, in order, and each is split in the same way. A batch of
/// `n` events of which `k` are refused takes at most `1 + 2k * ⌈log₂ n⌉` writes, and never more than `2n - 1`: with one
/// bad event among 500, 19. A batch that would be too large is better not written at all: see
/// [`Batch::weighing`](crate::queue::Batch::weighing).
///
/// # Errors
///
/// The events that were not accepted, in order; those that were accepted are not handed back, and not written again.
///
/// - If single events were refused, it is those and no others, with the error of the first of them.
/// - At any other failure, and when the sink is closed, nothing more is written: a sink that is down is not asked about
///   every half. It is the events refused so far and all that were not written yet, with that failure.
///
/// So it goes with a retry on either side. *Below* it (`http.retry(..).give_up_when(..).split_on(..)`) the retry gives up
/// what is due to the batch, and writes again each half by itself; that is the better side. *Above* it, the retry writes
/// again what is handed back.
///
/// Nothing is cloned by `write`. `write_ref` clones the batch, and its error cannot say which events were accepted: put
/// [`catch_panic`](crate::SinkExt::catch_panic), which writes by reference, below.
///
/// # Panics
///
/// A panic of the sink or of the predicate unwinds to the writer. The events of the batch that were not accepted by then
/// are dropped.
///
/// # Examples
///
/// ```
/// use outflow::{Sink, SinkExt, queue::Batch, sink};
///
/// let accepted = sink::collector();
/// let table = accepted.clone();
/// let insert = sink::from_fn(move |rows: &Vec<i32>| {
///     if rows.iter().any(|row| *row < 0) {
///         return Err("violates a constraint");
///     }
///     rows.iter().for_each(|row| table.write(*row).unwrap());
///     Ok(())
/// });
/// let dead = sink::collector();
/// let rows = insert
///     .split_on(|error| *error == "violates a constraint")
///     .dead_letter(dead.clone())
///     .batched(Batch::of(100));
/// rows.write_all([1, 2, -3, 4]).unwrap();
/// rows.close().wait()?;
/// assert_eq!(accepted.events(), [1, 2, 4]);
/// assert_eq!(dead.events()[0].event, [-3]);
/// # Ok::<(), outflow::CloseError>(())
/// ```
#[derive(Clone)]
#[must_use = "sinks do nothing unless written to"]
pub struct SplitOn<S, P> {
    sink: S,
    predicate: P,
}

impl<S, P> SplitOn<S, P> {
    pub(crate) fn new(sink: S, predicate: P) -> Self {
        Self { sink, predicate }
    }
}

impl<E, S, P> Sink<Vec<E>> for SplitOn<S, P>
where
    S: Sink<Vec<E>>,
    P: Fn(&S::Error) -> bool,
{
    type Error = S::Error;

    fn write(&self, batch: Vec<E>) -> Result<(), WriteError<Vec<E>, S::Error>> {
        let mut split = Split::of(batch);
        while let Some(part) = split.next_part() {
            split.note(self.sink.write(part), &self.predicate)?;
        }
        split.finish()
    }

    fn wants(&self, batch: &Vec<E>) -> bool {
        self.sink.wants(batch)
    }

    delegate!(sink: flush, close, is_closed);
}

impl<E, S, P> AsyncSink<Vec<E>> for SplitOn<S, P>
where
    E: Send,
    S: AsyncSink<Vec<E>>,
    S::Error: Send,
    P: Fn(&S::Error) -> bool + Send + Sync,
{
    type Error = S::Error;

    async fn write(&self, batch: Vec<E>) -> Result<(), WriteError<Vec<E>, S::Error>> {
        let mut split = Split::of(batch);
        while let Some(part) = split.next_part() {
            split.note(self.sink.write(part).await, &self.predicate)?;
        }
        split.finish()
    }

    fn wants(&self, batch: &Vec<E>) -> bool {
        self.sink.wants(batch)
    }

    delegate!(sink: flush, close, is_closed);
}

/// A batch on its way.
struct Split<E, X> {
    /// The part to be written next, and those after it, from the last one to the first.
    next: Option<Vec<E>>,
    rest: Vec<Vec<E>>,
    /// The events that were refused alone.
    refused: Vec<E>,
    first_error: Option<X>,
}

impl<E, X> Split<E, X> {
    fn of(batch: Vec<E>) -> Self {
        Self { next: Some(batch), rest: Vec::new(), refused: Vec::new(), first_error: None }
    }

    fn next_part(&mut self) -> Option<Vec<E>> {
        self.next.take().or_else(|| self.rest.pop())
    }

    /// Notes what became of a part. An error ends the write.
    fn note(
        &mut self,
        written: Result<(), WriteError<Vec<E>, X>>,
        predicate: impl Fn(&X) -> bool,
    ) -> Result<(), WriteError<Vec<E>, X>> {
        match written {
            Ok(()) => Ok(()),
            Err(WriteError::Failed { event: mut part, error }) if predicate(&error) => {
                if part.len() > 1 {
                    self.rest.push(part.split_off(part.len().div_ceil(2)));
                    self.next = Some(part);
                } else {
                    self.refused.append(&mut part);
                    self.first_error.get_or_insert(error);
                }
                Ok(())
            }
            Err(other) => Err(other.map_event(|part| {
                let mut back = std::mem::take(&mut self.refused);
                back.extend(part);
                back.extend(std::mem::take(&mut self.rest).into_iter().rev().flatten());
                back
            })),
        }
    }

    fn finish(self) -> Result<(), WriteError<Vec<E>, X>> {
        match self.first_error {
            None => Ok(()),
            Some(error) => Err(WriteError::failed(self.refused, error)),
        }
    }
}

impl<S, P> fmt::Debug for SplitOn<S, P>
where
    S: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitOn").field("sink", &self.sink).finish_non_exhaustive()
    }
}
