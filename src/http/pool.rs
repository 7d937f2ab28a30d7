use std::collections::VecDeque;
use std::mem;
use std::time::Instant;

use http::uri::{Authority, Scheme, Uri};
use parking_lot::Mutex;

use super::client_options::IDLE;

/// The idle connections of a client, the one that was used last at the back.
pub(super) struct Pool<C> {
    most: usize,
    idle: Mutex<Idle<C>>,
}

struct Idle<C> {
    connections: VecDeque<(Origin, Instant, C)>,
    /// How often all connections were forgotten.
    generation: u64,
}

/// What a connection leads to.
type Origin = (Option<Scheme>, Option<Authority>);

fn origin(url: &Uri) -> Origin {
    (url.scheme().cloned(), url.authority().cloned())
}

impl<C> Pool<C> {
    pub(super) fn new(most: usize) -> Self {
        Self { most, idle: Mutex::new(Idle { connections: VecDeque::new(), generation: 0 }) }
    }

    /// Takes out a connection to where `url` leads, if one is idle, with the time since when it is. Says of which
    /// generation a connection is that is made now.
    pub(super) fn take(&self, url: &Uri) -> (Option<(C, Instant)>, u64) {
        let origin = origin(url);
        let mut idle = self.idle.lock();
        let old = idle.connections.iter().take_while(|(_, since, _)| since.elapsed() >= IDLE).count();
        let old: Vec<_> = idle.connections.drain(..old).collect();
        let found = idle.connections.iter().rposition(|(to, ..)| *to == origin);
        let found = found.and_then(|at| idle.connections.remove(at));
        let generation = idle.generation;
        drop(idle);
        drop(old);
        (found.map(|(_, since, connection)| (connection, since)), generation)
    }

    /// Keeps a connection of this generation for a later request.
    pub(super) fn put(&self, url: &Uri, generation: u64, connection: C) {
        let mut idle = self.idle.lock();
        if idle.generation != generation || self.most == 0 {
            return;
        }
        let oldest = if idle.connections.len() == self.most { idle.connections.pop_front() } else { None };
        idle.connections.push_back((origin(url), Instant::now(), connection));
        drop(idle);
        drop(oldest);
    }

    /// Forgets all connections of this generation, those in use too. Returns the generation of those that are made now.
    pub(super) fn forget(&self, generation: u64) -> u64 {
        let mut idle = self.idle.lock();
        let mut forgotten = VecDeque::new();
        if idle.generation == generation {
            idle.generation += 1;
            forgotten = mem::take(&mut idle.connections);
        }
        let generation = idle.generation;
        drop(idle);
        drop(forgotten);
        generation
    }
}
