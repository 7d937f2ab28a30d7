//! What the pipe of a queue of several workers asks of them: the events that they have received, and that still wait.

/// Implemented by the lanes, without the type of their keys.
pub(super) trait Received<E>: Send + Sync {
    /// How many events wait here.
    fn waiting(&self) -> usize;

    /// Takes the oldest event out that holds a permit of the buffer, and returns what it weighs; if there is none here, what
    /// `receive` takes out of the channel.
    fn evict(&self, receive: &mut dyn FnMut() -> Option<E>) -> Option<(E, Option<u64>)>;

    /// Takes the oldest event out, and what it weighs if it holds a permit.
    fn take_oldest(&self) -> Option<(E, Option<u64>)>;

    /// Calls `keep` with how many events have left the channel, while none does.
    fn keep(&self, keep: &mut dyn FnMut(u64));
}
