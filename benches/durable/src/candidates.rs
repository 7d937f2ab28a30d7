//! The candidates, each used for what a durable queue does.
//!
//! redb, SQLite and fjall have no group commit of their own: a lock around them is what their writers queue at, so that
//! their row of 8 writers is that of one. (With a leader over them it would be at best that of one commit for 8, which
//! is in the table.)

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use fjall::{Database as FjallDatabase, Keyspace, KeyspaceCreateOptions, PersistMode};
use persistent_queue::{Builder, Consumer, Durability as QueueDurability, Producer, RedbStore};
use redb::{Database, Durability, ReadableDatabase, TableDefinition};
use rusqlite::Connection;

use crate::Sync as Policy;

pub trait Candidate: Send + Sync {
    fn open(path: &Path, sync: Policy) -> Self;
    /// Appends a run with one commit.
    fn append(&self, run: &[Vec<u8>]);
    /// Reads all events in order, acknowledges each `group` of them and gives their space back. Answers how many.
    fn deliver(&self, group: usize) -> usize;
}

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");

pub struct Redb {
    database: Database,
    next: AtomicU64,
    durability: Durability,
}

impl Redb {
    fn commit(&self, write: redb::WriteTransaction) {
        write.commit().expect("a commit");
    }

    fn begin(&self) -> redb::WriteTransaction {
        let mut write = self.database.begin_write().expect("a transaction");
        write.set_durability(self.durability).expect("no savepoint");
        write
    }
}

impl Candidate for Redb {
    fn open(path: &Path, sync: Policy) -> Self {
        let durability = if sync != Policy::Os { Durability::Immediate } else { Durability::None };
        let this =
            Self { database: Database::create(path).expect("a store"), next: AtomicU64::new(0), durability };
        let write = this.begin();
        write.open_table(EVENTS).expect("a table");
        this.commit(write);
        this
    }

    fn append(&self, run: &[Vec<u8>]) {
        let write = self.begin();
        {
            let mut table = write.open_table(EVENTS).expect("the table");
            for event in run {
                table.insert(self.next.fetch_add(1, Ordering::Relaxed), event.as_slice()).expect("room");
            }
        }
        self.commit(write);
    }

    fn deliver(&self, group: usize) -> usize {
        let (mut from, mut count) = (0, 0);
        loop {
            let read = self.database.begin_read().expect("a transaction");
            let table = read.open_table(EVENTS).expect("the table");
            let mut taken = 0;
            for entry in table.range(from..).expect("a range").take(group) {
                let (number, event) = entry.expect("an entry");
                std::hint::black_box(event.value().to_vec());
                (from, taken) = (number.value() + 1, taken + 1);
            }
            if taken == 0 {
                return count;
            }
            count += taken;
            let write = self.begin();
            {
                let mut table = write.open_table(EVENTS).expect("the table");
                table.retain_in(..from, |_, _| false).expect("a range");
            }
            self.commit(write);
        }
    }
}

pub struct Sqlite(Mutex<Connection>);

impl Candidate for Sqlite {
    fn open(path: &Path, sync: Policy) -> Self {
        let connection = Connection::open(path).expect("a store");
        let synchronous = if sync != Policy::Os { "FULL" } else { "OFF" };
        connection
            .execute_batch(&format!(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
                 CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, event BLOB NOT NULL);"
            ))
            .expect("a table");
        Self(Mutex::new(connection))
    }

    fn append(&self, run: &[Vec<u8>]) {
        let mut connection = self.0.lock().expect("no panic");
        let write = connection.transaction().expect("a transaction");
        {
            let mut insert =
                write.prepare_cached("INSERT INTO events (event) VALUES (?1)").expect("a statement");
            for event in run {
                insert.execute([event]).expect("room");
            }
        }
        write.commit().expect("a commit");
    }

    fn deliver(&self, group: usize) -> usize {
        let connection = self.0.lock().expect("no panic");
        let (mut from, mut count) = (0_i64, 0);
        loop {
            let mut select = connection
                .prepare_cached("SELECT number, event FROM events WHERE number > ?1 ORDER BY number LIMIT ?2")
                .expect("a statement");
            let mut rows = select.query([from, group as i64]).expect("rows");
            let mut taken = 0;
            while let Some(row) = rows.next().expect("a row") {
                std::hint::black_box(row.get::<_, Vec<u8>>(1).expect("bytes"));
                (from, taken) = (row.get(0).expect("a number"), taken + 1);
            }
            if taken == 0 {
                return count;
            }
            count += taken;
            connection
                .prepare_cached("DELETE FROM events WHERE number <= ?1")
                .expect("a statement")
                .execute([from])
                .expect("a commit");
        }
    }
}

pub struct Fjall {
    database: FjallDatabase,
    events: Keyspace,
    next: AtomicU64,
    sync: Policy,
}

impl Fjall {
    fn commit(&self, batch: fjall::OwnedWriteBatch) {
        let mode = if self.sync != Policy::Os { PersistMode::SyncData } else { PersistMode::Buffer };
        batch.durability(Some(mode)).commit().expect("a commit");
    }
}

impl Candidate for Fjall {
    fn open(path: &Path, sync: Policy) -> Self {
        let database = FjallDatabase::builder(path).open().expect("a store");
        let events = database.keyspace("events", KeyspaceCreateOptions::default).expect("a keyspace");
        Self { database, events, next: AtomicU64::new(0), sync }
    }

    fn append(&self, run: &[Vec<u8>]) {
        let mut batch = self.database.batch();
        for event in run {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            batch.insert(&self.events, number.to_be_bytes(), event.as_slice());
        }
        self.commit(batch);
    }

    fn deliver(&self, group: usize) -> usize {
        let (mut from, mut count) = (0_u64, 0);
        loop {
            let mut batch = self.database.batch();
            let mut taken = 0;
            for entry in self.events.range(from.to_be_bytes()..).take(group) {
                let (key, event) = entry.into_inner().expect("an entry");
                std::hint::black_box(event.to_vec());
                from = u64::from_be_bytes(key.as_ref().try_into().expect("8 bytes")) + 1;
                batch.remove(&self.events, key);
                taken += 1;
            }
            if taken == 0 {
                return count;
            }
            count += taken;
            self.commit(batch);
        }
    }
}

pub struct PersistentQueue {
    producer: Producer<RedbStore>,
    consumer: Consumer<RedbStore>,
}

impl Candidate for PersistentQueue {
    fn open(path: &Path, sync: Policy) -> Self {
        let durability = if sync != Policy::Os { QueueDurability::Group } else { QueueDurability::None };
        let store = RedbStore::open(path).expect("a store");
        // Without this a push waits for room after 1,024 events.
        let builder = Builder::new(store).capacity(usize::MAX);
        let (producer, consumer) = builder.durability(durability).open().expect("a queue");
        Self { producer, consumer }
    }

    fn append(&self, run: &[Vec<u8>]) {
        for event in run {
            self.producer.push(event).expect("room");
        }
    }

    fn deliver(&self, _: usize) -> usize {
        let mut count = 0;
        while self.producer.len() > 0 {
            let reserved = self.consumer.reserve().expect("a store").expect("an event");
            std::hint::black_box(reserved.to_vec());
            reserved.ack().expect("a store");
            count += 1;
        }
        count
    }
}
