//! On a disk of this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::error::OpenError;
use super::super::format::{Header, Place};
use super::super::inspect;
use super::super::options::{Options, Sync};
use super::super::reader::Next;
use super::super::store::Store;
use super::events;

/// A directory of its own, removed at the end.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name =
            format!("outflow-durable-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("store")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, Options { schema: "push/1".to_owned(), ..Options::default() })
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    for sync in [Sync::Always, Sync::Every(std::time::Duration::from_millis(5)), Sync::Os] {
        let directory = Directory::new();
        let options = Options { sync, ..Options::default() };
        let store = Store::open(&directory.store(), options.clone()).unwrap();
        assert_eq!(store.write_all([&b"one"[..]]).unwrap(), 0);
        assert_eq!(store.write_all([b"two".as_slice(), b"three"]).unwrap(), 1);
        let mut reader = store.reader();
        assert_eq!(events(&mut reader).len(), 3);
        store.acknowledge(0..1).unwrap();
        assert_eq!(store.attempt(1, false).unwrap(), 1);
        assert_eq!(store.write_all([&b"four"[..]]).unwrap(), 3);
        assert_eq!(events(&mut reader), [(3, b"four".to_vec())], "a reader goes on");
        assert_eq!(store.stats().pending, 3);
        store.close().unwrap();
        assert!(store.write_all([&b"five"[..]]).is_err());
        drop(store);

        let store = Store::open(&directory.store(), options).unwrap();
        assert_eq!(store.recovered().pending, 3);
        let next = store.reader().next().unwrap();
        assert!(matches!(next, Some(Next::Event { number: 1, attempts: 1, .. })), "{next:?}");
    }
}

#[test]
fn a_second_open_fails_at_once() {
    let directory = Directory::new();
    let store = open(&directory.store()).unwrap();
    let error = open(&directory.store()).err().unwrap();
    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    store.write_all([&b"goes on"[..]]).unwrap();
    drop(store);
    assert_eq!(open(&directory.store()).unwrap().recovered().pending, 1);
}

/// The files of a directory, with what is in them.
fn content(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let mut content: Vec<_> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    content.sort();
    content
}

#[test]
fn what_is_something_else_is_not_touched() {
    let directory = Directory::new();
    let file = directory.0.join("file");
    fs::write(&file, "text").unwrap();
    let error = open(&file).err().unwrap();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");

    let error = open(&directory.0).err().unwrap();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(content(&directory.0), [(file, b"text".to_vec())]);

    let error = open(&directory.0.join("no/such")).err().unwrap();
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
}

#[test]
fn another_schema_a_newer_format_and_a_foreign_file_are_not_touched() {
    let directory = Directory::new();
    let path = directory.store();
    open(&path).unwrap().write_all([&b"one"[..]]).unwrap();
    let segment = path.join("0000000000000000.events");
    let before = content(&path);

    let error =
        Store::open(&path, Options { schema: "push/2".to_owned(), ..Options::default() }).err().unwrap();
    assert!(
        matches!(&error, OpenError::OtherSchema { found, wanted, .. } if found == "push/1" && wanted == "push/2"),
        "{error}"
    );
    assert_eq!(content(&path), before);

    let mut newer = fs::read(&segment).unwrap();
    (newer[8], newer[2048 + 8]) = (2, 2);
    fs::write(&segment, &newer).unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, OpenError::NewerFormat { version: 2, newest: 1, .. }), "{error}");
    assert_eq!(fs::read(&segment).unwrap(), newer);

    fs::write(&segment, "not one of ours").unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error}");
    assert_eq!(fs::read(&segment).unwrap(), b"not one of ours");
}

#[cfg(unix)]
#[test]
fn files_are_private_and_no_link_is_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let directory = Directory::new();
    let path = directory.store();
    open(&path).unwrap().write_all([&b"one"[..]]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o700);
    for (file, _) in content(&path) {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }

    let link = directory.0.join("link");
    symlink(&path, &link).unwrap();
    let error = open(&link).err().unwrap();
    assert!(matches!(error, OpenError::Symlink { .. }), "{error}");

    for name in ["0000000000000000.events", "lock"] {
        let (file, moved) = (path.join(name), directory.0.join(name));
        fs::rename(&file, &moved).unwrap();
        symlink(&moved, &file).unwrap();
        let error = open(&path).err().unwrap();
        assert!(matches!(error, OpenError::Symlink { .. }), "{error}");
        fs::remove_file(&file).unwrap();
        fs::rename(&moved, &file).unwrap();
    }
    assert_eq!(open(&path).unwrap().recovered().pending, 1);
}

#[test]
fn many_writers_keep_their_order() {
    let directory = Directory::new();
    for sync in [Sync::Always, Sync::Os] {
        let store = Store::open(&directory.store(), Options { sync, ..Options::default() }).unwrap();
        let from = store.stats().next;
        std::thread::scope(|scope| {
            for writer in 0..8_u8 {
                let store = &store;
                scope.spawn(move || {
                    for n in 0..50_u8 {
                        store.write_all([&[writer, n][..]]).unwrap();
                    }
                });
            }
        });
        let events = events(&mut store.reader());
        for writer in 0..8 {
            let of_writer: Vec<_> =
                events.iter().filter(|(_, event)| event[0] == writer).map(|(_, event)| event[1]).collect();
            assert_eq!(of_writer, (0..50).collect::<Vec<_>>());
        }
        store.acknowledge(from..from + 400).unwrap();
        assert_eq!(store.stats().pending, 0);
    }
}

#[test]
fn a_store_is_inspected_while_it_is_open() {
    let directory = Directory::new();
    let store = open(&directory.store()).unwrap();
    store.write_all([b"one".as_slice(), b"two", b"three"]).unwrap();
    store.acknowledge(0..1).unwrap();
    store.attempt(1, false).unwrap();
    let before = content(&directory.store());

    let found = inspect(directory.store()).unwrap();
    assert_eq!((found.schema.as_str(), found.pending, found.next), ("push/1", 2, 3));
    assert_eq!(found.oldest.unwrap().0, 1);
    assert!(found.newest.unwrap().as_secs() < 3600);
    assert_eq!(found.attempts, [(1, 1)]);
    assert_eq!((found.segments, found.damage.len(), found.lost, found.aside.len()), (1, 0, 0, 0));
    assert_eq!(found.bytes, store.stats().bytes);
    assert_eq!(content(&directory.store()), before);
    drop(store);

    let segment = directory.store().join("0000000000000000.events");
    let mut bytes = fs::read(&segment).unwrap();
    let two = bytes.windows(3).position(|window| window == b"two").unwrap();
    bytes[two] = b'd';
    fs::write(&segment, &bytes).unwrap();
    let found = inspect(directory.store()).unwrap();
    assert_eq!(found.damage.len(), 1);
    assert_eq!((found.damage[0].events.clone(), found.pending), (1..2, 1));
    drop(open(&directory.store()).unwrap());
    let found = inspect(directory.store()).unwrap();
    assert_eq!((found.damage.len(), found.lost, found.aside.len(), found.pending), (0, 1, 1, 1));
}

/// Beside writers, acknowledgements and segments that come and go.
#[test]
fn an_inspection_races_a_process_that_works() {
    // With `Always`, over zeros that are there already.
    for (sync, segment_bytes) in [(Sync::Os, 10_000), (Sync::Always, 10_000), (Sync::Always, 600_000)] {
        let directory = Directory::new();
        let options = Options { sync, segment_bytes, ..Options::default() };
        let store = Store::open(&directory.store(), options).unwrap();
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                for _ in 0..500 {
                    let number = store.write_all([[7; 500].as_slice(); 10]).unwrap();
                    store.acknowledge(number..number + 10).unwrap();
                }
            });
            while !working.is_finished() {
                let found = inspect(directory.store()).unwrap();
                assert_eq!((found.damage.as_slice(), found.lost), ([].as_slice(), 0));
            }
        });
    }
}

#[test]
fn a_schema_that_is_too_long_is_refused() {
    let directory = Directory::new();
    let schema = "x".repeat(1_025);
    let error = Store::open(&directory.store(), Options { schema, ..Options::default() }).err().unwrap();
    assert!(error.to_string().contains("1,024"), "{error}");
    let longest =
        Header { place: Place { salt: 1, index: 2 }, first: 3, below: 3, schema: "x".repeat(1_024) };
    assert_eq!(longest.encode().len(), 4_096);
}
