//! The log against a plain `Vec`: random programs of append, alone and many at once, subscribe, read, skip, detach, close, on one
//! thread, where every answer is known.

use std::time::Duration;

use crate::common::rounds;
use outflow::log::{
    Cursor, FollowerHandle, Lag, Log, LogOptions, Start, StartError, SubscribeOptions, TryRecvError,
};
use outflow::{CloseError, Sink, SinkExt, sink};

/// A cursor, and what is known of it.
struct Reader {
    cursor: Cursor<u64>,
    position: u64,
    max_lag: Option<(u64, Lag)>,
    /// How many it had missed when it was closed for that.
    closed: Option<u64>,
}

struct Following {
    follower: FollowerHandle<u64>,
    delivered: sink::Collector<u64>,
    start: u64,
    /// Where it was closed alone, if it was.
    end: Option<u64>,
}

struct Model {
    log: Log<u64>,
    /// The events: each is its number times 3.
    events: Vec<u64>,
    closed: bool,
    retain: u64,
    readers: Vec<Reader>,
    followers: Vec<Following>,
}

/// What a reader is expected to find.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    Events,
    Empty,
    Ended,
    Lagged(u64),
    Closed(u64),
}

impl Reader {
    /// What a read finds, and where it leaves the reader but for the events read.
    fn expect(&mut self, head: u64, log_closed: bool) -> Expected {
        if let Some(missed) = self.closed {
            return Expected::Closed(missed);
        }
        match self.max_lag {
            Some((n, Lag::Skip)) if head - self.position > n => {
                let missed = head - n - self.position;
                self.position += missed;
                Expected::Lagged(missed)
            }
            Some((n, Lag::Close)) if head - self.position > n => {
                self.closed = Some(head - self.position);
                Expected::Closed(head - self.position)
            }
            _ if self.position < head => Expected::Events,
            _ if log_closed => Expected::Ended,
            _ => Expected::Empty,
        }
    }
}

fn found<T>(answer: &Result<T, TryRecvError>) -> Expected {
    match answer {
        Ok(_) => Expected::Events,
        Err(TryRecvError::Empty) => Expected::Empty,
        Err(TryRecvError::Ended) => Expected::Ended,
        Err(TryRecvError::Lagged(lagged)) => Expected::Lagged(lagged.missed),
        Err(TryRecvError::Closed(lagged)) => Expected::Closed(lagged.missed),
        Err(other) => panic!("{other:?}"),
    }
}

impl Model {
    fn head(&self) -> u64 {
        self.events.len() as u64
    }

    fn append(&mut self) {
        // A reader that writers wait for, and that only this thread could move on.
        let head = self.head();
        let full = self.readers.iter().any(|reader| match reader.max_lag {
            Some((n, Lag::Block)) => head - reader.position >= n,
            _ => false,
        });
        if full && !self.closed {
            return;
        }
        let event = head * 3;
        match self.log.append(event) {
            Ok(seq) => {
                assert!(!self.closed);
                assert_eq!(seq, head);
                self.events.push(event);
            }
            Err(refused) => {
                assert!(self.closed);
                assert_eq!(refused.into_event(), event);
            }
        }
    }

    /// Many at once, as far as no reader that writers wait for is in the way.
    fn append_all(&mut self, random: &mut fastrand::Rng) {
        let head = self.head();
        let room = |reader: &Reader| match reader.max_lag {
            Some((n, Lag::Block)) => Some(n.saturating_sub(head - reader.position)),
            _ => None,
        };
        let room = self.readers.iter().filter_map(room).min().unwrap_or(u64::MAX);
        let longest = if random.u32(0..10) == 0 { 3000 } else { 100 };
        let events = random.u64(0..longest).min(room);
        let known = random.u64(0..events + 1);
        let run = (head..head + known).chain((head + known..head + events).filter(|_| true)).map(|n| n * 3);
        if self.closed && events > 0 {
            let stopped = self.log.append_all(run).unwrap_err();
            assert_eq!(stopped.refused.into_event(), head * 3);
            assert!(stopped.rest.eq((head + 1..head + events).map(|n| n * 3)));
            return;
        }
        if random.bool() {
            assert_eq!(self.log.append_all(run.clone()).unwrap(), head..head + events);
        } else {
            self.log.write_all(run.clone()).unwrap();
        }
        self.events.extend(run);
        assert_eq!(self.log.head(), self.head());
    }

    fn subscribe(&mut self, random: &mut fastrand::Rng) {
        let head = self.head();
        let start = match random.u32(0..3) {
            0 => Start::Now,
            1 => Start::Oldest,
            _ => Start::At(random.u64(0..head + 3)),
        };
        let max_lag = match random.u32(0..5) {
            0 => Some((random.u64(1..60), Lag::Skip)),
            1 => Some((random.u64(1..60), Lag::Close)),
            // Wide enough for the program to get on.
            2 => Some((random.u64(200..400), Lag::Block)),
            _ => None,
        };
        let mut options = SubscribeOptions::new().start(start);
        if let Some((n, lag)) = max_lag {
            options = options.max_lag(n, lag);
        }
        let oldest = self.log.oldest();
        assert!(oldest <= head - head.min(self.retain), "less is held than is retained");
        match (self.log.subscribe_with(options), start) {
            (Ok(cursor), _) => {
                let position = cursor.position();
                match start {
                    Start::Now => assert_eq!(position, head),
                    // Followers move the log on in the meantime.
                    Start::Oldest => assert!(position >= oldest && position <= head),
                    Start::At(seq) => assert!(position == seq && seq >= oldest && seq <= head),
                }
                self.readers.push(Reader { cursor, position, max_lag, closed: None });
            }
            (Err(StartError::NotHeld { seq, oldest: named }), Start::At(at)) => {
                assert!(seq == at && at < named && named >= oldest);
                assert!(named <= head - head.min(self.retain));
            }
            (Err(StartError::Ahead { seq, next }), Start::At(at)) => {
                assert!(seq == at && next == head && at > head)
            }
            (Err(error), _) => panic!("{error}"),
        }
    }

    fn read(&mut self, random: &mut fastrand::Rng) {
        let (head, closed) = (self.head(), self.closed);
        let Some(at) = (!self.readers.is_empty()).then(|| random.usize(0..self.readers.len())) else {
            return;
        };
        let reader = &mut self.readers[at];
        assert_eq!(
            (reader.cursor.position(), reader.cursor.lag()),
            (reader.position, head - reader.position)
        );
        let expected = reader.expect(head, closed);
        match random.u32(0..4) {
            0 => {
                let answer = reader.cursor.try_next_chunk();
                assert_eq!(found(&answer), expected);
                if let Ok(chunk) = answer {
                    assert!(!chunk.is_empty());
                    assert_eq!(chunk.first_seq(), reader.position);
                    let past = reader.position as usize + chunk.len();
                    assert_eq!(*chunk, self.events[reader.position as usize..past]);
                    reader.position = past as u64;
                }
                return;
            }
            1 => {
                let answer = reader.cursor.recv_timeout(Duration::ZERO);
                assert_eq!(found(&answer), expected);
                if let Ok(event) = answer {
                    assert_eq!(event, self.events[reader.position as usize]);
                    reader.position += 1;
                }
            }
            _ => {
                let answer = reader.cursor.try_recv();
                assert_eq!(found(&answer), expected);
                if let Ok(event) = answer {
                    assert_eq!(event, self.events[reader.position as usize]);
                    reader.position += 1;
                }
            }
        }
        assert_eq!(reader.cursor.position(), reader.position);
    }

    fn follow(&mut self) {
        let (delivered, start) = (sink::collector(), self.log.oldest());
        // Unless a follower has just moved on, and the log with it.
        let Ok(follower) = self.log.follow_with(Start::At(start), delivered.clone()) else {
            return;
        };
        self.followers.push(Following { follower, delivered, start, end: None });
    }

    fn flush(&self) {
        self.log.flush().wait().unwrap();
        for following in self.followers.iter().filter(|following| following.end.is_none()) {
            assert_eq!(following.delivered.events(), self.events[following.start as usize..]);
        }
    }

    /// Everything that may still be read is held, and of what need not be, no more than the segments that the
    /// rest stands in.
    fn check_held(&self) {
        let head = self.head();
        let first = self
            .readers
            .iter()
            .filter(|reader| !matches!(reader.max_lag, Some((_, Lag::Skip | Lag::Close))))
            .map(|reader| reader.position)
            .chain(self.followers.is_empty().then(|| self.log.oldest()))
            .min()
            .unwrap_or(head);
        assert!(self.log.held().events >= head - first, "{:?}, but {first} is to be read", self.log.held());
        if self.readers.is_empty() && self.followers.is_empty() {
            assert_eq!(self.log.held().events, head - self.log.oldest());
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.log.close().wait().unwrap();
        for following in &self.followers {
            let end = following.end.unwrap_or(self.head());
            assert_eq!(following.delivered.events(), self.events[following.start as usize..end as usize]);
            assert!(following.delivered.is_closed());
        }
    }

    fn step(&mut self, random: &mut fastrand::Rng) {
        match random.u32(0..100) {
            0..10 => self.append_all(random),
            10..50 => {
                for _ in 0..random.u64(1..20) {
                    self.append();
                }
            }
            50..80 => {
                for _ in 0..random.u64(1..30) {
                    self.read(random);
                }
            }
            80..87 => self.subscribe(random),
            87..90 if !self.readers.is_empty() => {
                self.readers.swap_remove(random.usize(0..self.readers.len()));
            }
            90..91 if self.followers.len() < 3 => self.follow(),
            91..93 if !self.closed => self.flush(),
            93 if !self.followers.is_empty() => {
                // Detached, it has delivered everything up to its position, and nothing behind it.
                let following = self.followers.swap_remove(random.usize(0..self.followers.len()));
                drop(following.follower.close());
                if let Some(sink) = following.follower.detach() {
                    assert!(!sink.is_closed());
                }
                match following.follower.close().wait() {
                    Ok(()) | Err(CloseError::Undelivered { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
                let position = following.follower.position();
                let events = &self.events[following.start as usize..position as usize];
                assert_eq!(following.delivered.events(), events);
            }
            94 => {
                let head = self.head();
                if let Some(following) = self.followers.iter_mut().find(|following| following.end.is_none()) {
                    following.follower.close().wait().unwrap();
                    following.end = Some(head);
                }
            }
            95 if random.u32(0..20) == 0 => self.close(),
            _ => self.check_held(),
        }
    }
}

#[test]
fn random_programs_read_what_a_plain_vector_holds() {
    for seed in 0..rounds(1500) {
        let mut random = fastrand::Rng::with_seed(seed);
        let retain = if random.bool() { 0 } else { random.u64(0..300) };
        let mut model = Model {
            log: Log::with(LogOptions::new().retain(retain)),
            events: Vec::new(),
            closed: false,
            retain,
            readers: Vec::new(),
            followers: Vec::new(),
        };
        let program = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..120 {
                model.step(&mut random);
            }
            if !model.closed {
                model.close();
            }
        }));
        if let Err(panic) = program {
            eprintln!("the program with seed {seed} fails");
            std::panic::resume_unwind(panic);
        }
    }
}
