use super::Pipe;
use crate::lifecycle::Closing;
use crate::sync::scope::Scope;

/// What a pipe asks of the reader that it was made for: a queue's worker, or the `Events` of a channel.
pub(crate) trait ReadEnd<E>: Sized {
    /// Whether a write finds the reader itself on its thread, with events that wait to be written in order.
    fn is_reentrant(&self) -> bool;

    /// Keeps an event for which the reader's own write found no room, since no other thread makes any; gives it back
    /// on any other thread.
    fn keep(&self, pipe: &Pipe<E, Self>, event: E) -> Result<(), E>;

    /// Takes back an event that was kept.
    fn take_kept(&self) -> Option<E>;

    /// What a thread must have left before the close can complete, besides the spill.
    fn scope(&self) -> Option<Scope>;

    /// Hands `event` to a reader that takes it at once; gives it back if there is none.
    fn hand_over(&self, pipe: &Pipe<E, Self>, event: E) -> Option<E>;

    /// A write is about to wait; what this returns is dropped when it has waited.
    fn announce(&self) -> impl Sized;

    /// There is something new to find: an event, or the end.
    fn notify(&self);

    /// Writes are refused from now on.
    fn shut(&self);

    /// The last write has left: has to leave the parties for the writers.
    fn writers_finished(&self, pipe: &Pipe<E, Self>);

    /// The reader and the writers have left, and the spill is closed: completes the close.
    fn conclude(&self, pipe: &Pipe<E, Self>, spill: Closing);
}
