//! Asynchronous sinks as nodes of a graph, what makes them synchronous for operations, and the runtime that some run on.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};

use outflow::buffer::{Block, BlockFor, DropNewest, DropOldest, Policy, Reject, Unbounded};
use outflow::sink::ImmediateSink;
use outflow::testing::block_on;
use outflow::{
    AsyncSink, AsyncSinkExt, Closing, Flushing, Queue, SharedAsyncSink, SharedSink, Sink, SinkExt, WriteError,
};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::event::Event;
use crate::graph::Sorted;
use crate::probe::{Edge, Fail, From, Probe, Unify};

/// An asynchronous sink that can fail, or one that cannot.
#[derive(Clone)]
pub enum Awaited {
    Sure(SharedAsyncSink<Event>),
    May(SharedAsyncSink<Event, Fail>),
}

impl Awaited {
    pub fn sure(self) -> SharedAsyncSink<Event> {
        match self {
            Self::Sure(sink) => sink,
            Self::May(_) => unreachable!("planned as a sink that cannot fail"),
        }
    }

    pub fn may(self) -> SharedAsyncSink<Event, Fail> {
        match self {
            Self::May(sink) => sink,
            Self::Sure(_) => unreachable!("planned as a sink that can fail"),
        }
    }
}

/// An asynchronous sink as the one above sees it, and as operations do.
pub struct ProbedAsync {
    pub above: Awaited,
    pub aside: Sorted,
}

pub fn probed_async<S>(sink: S, edge: &Arc<Edge>) -> ProbedAsync
where
    S: AsyncSink<Event> + 'static,
    S::Error: Unify,
{
    let sink = Arc::new(sink);
    let aside = Blocking(Probe::new(Arc::clone(&sink), edge, From::Aside));
    let above = AsyncSinkExt::shared(Probe::new(sink, edge, From::Above));
    ProbedAsync {
        above: <S::Error as Unify>::awaited(above),
        aside: <S::Error as Unify>::sorted(Arc::new(aside)),
    }
}

/// Polls each write on the thread that writes.
struct Blocking<S>(S);

pub fn blocking(sink: SharedAsyncSink<Event>) -> SharedSink<Event> {
    Blocking(sink).shared()
}

impl<S: AsyncSink<Event>> Sink<Event> for Blocking<S> {
    type Error = S::Error;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, S::Error>> {
        block_on(self.0.write(event))
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

/// A sink that was planned as one whose writes do not wait.
pub struct Quick(pub SharedSink<Event>);

impl Sink<Event> for Quick {
    type Error = Infallible;

    fn write(&self, event: Event) -> Result<(), WriteError<Event, Infallible>> {
        self.0.write(event)
    }

    fn write_ref(&self, event: &Event) -> Result<(), WriteError<(), Infallible>> {
        self.0.write_ref(event)
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

impl ImmediateSink<Event> for Quick {}

/// Writes of a task, which waits for room without a thread if that is the policy.
pub trait ByTask: Policy {
    /// What a write that gives up was to write is handed back, too.
    fn write(queue: &Queue<Event, Self>, event: Event, edge: &Edge) -> Result<(), Event>;
}

macro_rules! by_task_at_once {
    ($($policy:ty),*) => {$(
        impl ByTask for $policy {
            fn write(queue: &Queue<Event, Self>, event: Event, edge: &Edge) -> Result<(), Event> {
                let key = (event.id, event.stream, event.seq);
                edge.observed(From::Aside, key, || Sink::write(queue, event)).map_err(WriteError::into_event)
            }
        }
    )*};
}

by_task_at_once!(Unbounded, BlockFor, DropNewest, DropOldest, Reject);

impl ByTask for Block {
    fn write(queue: &Queue<Event, Self>, event: Event, edge: &Edge) -> Result<(), Event> {
        let key = (event.id, event.stream, event.seq);
        let (number, mut event) = (event.seq, Some(event));
        let reserves = number % 3 == 0;
        let write = async {
            if !reserves {
                return queue.write_async(event.take().expect("it is there")).await;
            }
            match queue.reserve().await {
                Ok(permit) => permit.send(event.take().expect("it is there")),
                Err(_) => Err(WriteError::Closed(event.take().expect("it is there"))),
            }
        };
        let written = {
            let mut write = pin!(edge.awaited(From::Aside, key, write));
            if number % 2 == 0 {
                Some(block_on(write))
            } else {
                // Gives up after some polls.
                let mut polls = (0..number % 8).map(|_| {
                    thread::yield_now();
                    write.as_mut().poll(&mut Context::from_waker(Waker::noop()))
                });
                polls.find_map(|polled| match polled {
                    Poll::Ready(written) => Some(written),
                    Poll::Pending => None,
                })
            }
        };
        match written {
            Some(written) => written.map_err(WriteError::into_event),
            // One that waited in `write_async` is dropped.
            None => event.map_or(Ok(()), Err),
        }
    }
}

/// What asynchronous sinks run on, of one program.
pub enum Runtime {
    Threads(tokio::runtime::Runtime),
    /// A current-thread runtime, and what drives it.
    Driven(Handle, Option<(oneshot::Sender<()>, JoinHandle<()>)>),
}

impl Runtime {
    /// Of so many threads; 0 is a current-thread runtime.
    pub fn new(threads: usize) -> Self {
        if threads > 0 {
            return Self::Threads(
                Builder::new_multi_thread().worker_threads(threads).build().expect("threads"),
            );
        }
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let driver = thread::spawn(move || drop(runtime.block_on(stopped)));
        Self::Driven(handle, Some((stop, driver)))
    }

    pub fn handle(&self) -> &Handle {
        match self {
            Self::Threads(runtime) => runtime.handle(),
            Self::Driven(handle, _) => handle,
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if let Self::Driven(_, driver) = self {
            if let Some((stop, driver)) = driver.take() {
                drop(stop);
                driver.join().expect("it catches what its tasks panic with");
            }
        }
    }
}
