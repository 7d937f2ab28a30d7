//! The reading end as a `Stream`: how a task that has nothing to read is woken.
//!
//! # Why no wake-up is lost
//!
//! A reader that finds nothing registers its waker, then looks again. A writer sends, then looks for a
//! waker. Each has a sequentially consistent fence between its two steps, so they cannot both miss: if the
//! writer does not see `asleep`, its fence comes before the reader's, and the reader's second look sees what
//! was sent. If the writer sees it and another has taken the waker meanwhile, that one wakes the task, and
//! the task, should it find nothing, registers anew: the same holds for that round. The end is news like any
//! other: whoever drops the last sender looks for a waker after that.
//!
//! On x86-64 no test can tell whether the fences are there. Miri can: without the writer's, the tests in
//! `tests/weak_memory.rs` come to a deadlock. (The reader's stands in crossbeam's look at a channel as well.)
//!
//! # Why a write pays little for a stream that nobody polls
//!
//! The fence and the look make a write of 20 ns one of 25 (x86-64), so a write through a door that is not
//! `watched` does without, for 1 ns. The first poll that finds nothing replaces that door by one that is,
//! and only then registers. Writes that found the old door have not fenced, but the last of them to leave
//! drops it, and the drop looks for a waker, after everything that was sent through it. Nobody stays at a
//! door for long: a write that may wait, for room or in a spill, leaves it first, and looks for a waker
//! whichever door it came through. So a sleeper depends on no write that waits.
//!
//! # Why a writer that waits is found
//!
//! A writer that finds no room looks for a waker before it waits. If the channel holds something, that is
//! there for the reader to see, as above. A rendezvous holds nothing: a reader finds the event only when the
//! writer is already waiting, and one that it woke may come too early. So a writer is counted before it
//! looks for a waker, until it is through. A reader that has registered and finds nothing, at a rendezvous,
//! looks at that count, and if it is not zero, asks to be polled again. Between the two there is the same
//! pair of fences: either the reader sees the count or the writer the waker. The reader is polled again and
//! again only while a writer is on its way in or out, a few instructions of its thread; a writer that waits
//! is found.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::{Context, Poll, Waker};

use crossbeam_channel::TryRecvError;
use futures_core::{FusedStream, Stream};
use parking_lot::Mutex;

use crate::broadcast::Subscription;
use crate::channel::Events;
use crate::sync::caught::{drop_caught, wake_caught};

/// Where the one reader of a pipe leaves its waker. See the module for why this is right.
pub(crate) struct Sleeper {
    waker: Mutex<Option<Waker>>,
    /// Whether there is a waker. Changed with it, under its lock; `Relaxed`, since the fences order it.
    asleep: AtomicBool,
    /// How many writers wait, or are about to.
    waiting: AtomicUsize,
}

impl Sleeper {
    pub(crate) fn new() -> Self {
        Self { waker: Mutex::new(None), asleep: AtomicBool::new(false), waiting: AtomicUsize::new(0) }
    }

    /// To be called by the reader, who must then look once more.
    pub(crate) fn register(&self, waker: &Waker) {
        let waker = waker.clone();
        let mut slot = self.waker.lock();
        let before = slot.replace(waker);
        self.asleep.store(true, Ordering::Relaxed);
        drop(slot);
        // Pairs with the one in `wake`.
        fence(Ordering::SeqCst);
        // Without the lock: it may be the last that keeps a task.
        drop(before);
    }

    fn take(&self) -> Option<Waker> {
        let mut slot = self.waker.lock();
        self.asleep.store(false, Ordering::Relaxed);
        slot.take()
    }

    /// To be called after there is something new to find.
    #[inline]
    pub(crate) fn wake(&self) {
        // Pairs with the one in `register`.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) {
            self.wake_it();
        }
    }

    #[cold]
    fn wake_it(&self) {
        if let Some(waker) = self.take() {
            wake_caught(waker);
        }
    }

    /// How many writers wait, or are about to, or have done so a moment ago.
    pub(crate) fn waiting(&self) -> usize {
        // Relaxed: a reader's fence orders it, see the module.
        self.waiting.load(Ordering::Relaxed)
    }

    /// To be called by a writer before it waits, and kept until it is through.
    pub(crate) fn announce(&self) -> Announced<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.wake();
        Announced { sleeper: self }
    }
}

impl fmt::Debug for Sleeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleeper").field("asleep", &self.asleep).finish_non_exhaustive()
    }
}

pub(crate) struct Announced<'a> {
    sleeper: &'a Sleeper,
}

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        self.sleeper.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Events are moved, never pinned.
impl<E> Unpin for Events<E> {}

impl<E> Events<E> {
    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<E>> {
        match self.receiver.try_recv() {
            Err(TryRecvError::Empty) => {}
            found => return self.found(found),
        }
        if !self.watched {
            self.watched = true;
            self.pipe.watch();
        }
        let sleeper = &self.pipe.sleeper;
        sleeper.register(context.waker());
        match self.receiver.try_recv() {
            Err(TryRecvError::Empty) => {
                if self.pipe.capacity() == Some(0) && sleeper.waiting() > 0 {
                    std::thread::yield_now();
                    context.waker().wake_by_ref();
                }
                Poll::Pending
            }
            found => {
                // Dropped here, so that the next write has nobody to wake.
                drop_caught(sleeper.take());
                self.found(found)
            }
        }
    }

    fn found(&mut self, found: Result<E, TryRecvError>) -> Poll<Option<E>> {
        self.ended = found.is_err();
        Poll::Ready(found.ok())
    }

    /// The reader is gone, and its task, if it has one, need not be kept for it.
    pub(crate) fn forget_waker(&self) {
        drop_caught(self.pipe.sleeper.take());
    }
}

/// Yields the events, and ends when the sink is closed and everything accepted is read. With the feature
/// `futures`.
///
/// A task that finds nothing is woken by the next write, on the writer's thread. Nothing is lost when the
/// future of a `next` is dropped. `recv` and the iterators may be used in between, on the same events.
///
/// A poll does not wait, with one exception: at a [`rendezvous`](crate::channel::rendezvous), and there alone,
/// it waits for the thread of the writer it meets to hand its event over.
/// [`try_write`](crate::channel::ChannelSink::try_write) finds no reader there in a task that sleeps.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use outflow::{Sink, channel};
///
/// let (sink, events) = channel::bounded(1);
/// let writer = std::thread::spawn(move || {
///     for event in 0..100 {
///         sink.write(event).unwrap();
///     }
/// });
/// let read: Vec<u32> = futures::executor::block_on(events.collect());
/// assert_eq!(read, (0..100).collect::<Vec<_>>());
/// # writer.join().unwrap();
/// ```
impl<E> Stream for Events<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().poll_event(context)
    }

    /// Nothing is promised until the end: what waits now may be taken by a clone of the receiver.
    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, self.ended.then_some(0))
    }
}

impl<E> FusedStream for Events<E> {
    fn is_terminated(&self) -> bool {
        self.ended
    }
}

/// As [`Events`]: ends when the broadcaster is closed or the subscription removed, and everything is read.
///
/// # Examples
///
/// ```
/// use futures::StreamExt;
/// use outflow::{Broadcaster, Buffer, Sink};
///
/// let broadcaster = Broadcaster::new();
/// let mut watcher = broadcaster.subscribe(Buffer::unbounded());
/// broadcaster.write("pushed").unwrap();
/// assert_eq!(futures::executor::block_on(watcher.next()), Some("pushed"));
///
/// broadcaster.close();
/// assert_eq!(futures::executor::block_on(watcher.next()), None);
/// ```
impl<E> Stream for Subscription<E> {
    type Item = E;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<E>> {
        self.get_mut().events.poll_event(context)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        Stream::size_hint(&self.events)
    }
}

impl<E> FusedStream for Subscription<E> {
    fn is_terminated(&self) -> bool {
        self.events.is_terminated()
    }
}
