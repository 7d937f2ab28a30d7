//! The queues on disk.

#![allow(dead_code, reason = "each of the two relays uses a part of it")]

use std::error::Error;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::str;
use std::thread;
use std::time::Duration;

use outflow::durable::{CommitError, Durable, DurableOptions, Encoding, Sync, inspect};
use outflow::{Closing, Never, Sink, SinkExt, WriteAllError, WriteError};

use super::DurableArgs;
use super::options::WhenSynced;
use crate::endpoint::Endpoint;
use crate::envelope::{self, Event};

/// An event as it came in, in UTF-8. Another encoding takes another schema.
const SCHEMA: &str = "registry-notification/1";

/// How many events may come twice after a crash, for each endpoint, unless more are posted together.
pub(crate) const UNCONFIRMED: u64 = 256;

/// How long to wait for room on a disk that is full before the next attempt.
const ROOM: Duration = Duration::from_secs(1);

/// A directory with one for each endpoint.
pub(crate) struct Stores {
    directory: PathBuf,
    sync: Sync,
    max_bytes: Option<u64>,
}

impl Stores {
    /// Makes the directory if it is not there; the one that it is in has to be. `None` without `--durable`.
    pub(crate) fn open(args: &DurableArgs, endpoints: &[Endpoint]) -> Result<Option<Self>, String> {
        let Some(directory) = args.durable.clone() else { return Ok(None) };
        make(&directory).map_err(|error| format!("--durable {}: {error}", directory.display()))?;
        let sync = match args.durable_sync {
            WhenSynced::Always => Sync::Always,
            WhenSynced::Within(interval) => Sync::Every(interval),
            WhenSynced::BySystem => Sync::Os,
        };
        for (number, endpoint) in (1..).zip(endpoints) {
            let same = |other: &Endpoint| name(other) == name(endpoint);
            if let Some(first) = endpoints[..number - 1].iter().position(same) {
                let first = first + 1;
                return Err(format!(
                    "--to number {number} is that number {first} again ({endpoint}), and a queue on disk has one endpoint"
                ));
            }
        }
        Ok(Some(Self { directory, sync, max_bytes: args.durable_bytes }))
    }

    /// A queue on disk before the sink of this endpoint.
    pub(crate) fn queue<S>(&self, endpoint: &Endpoint, sink: S) -> Result<OnDisk, Box<dyn Error>>
    where
        S: Sink<Event> + Send + std::marker::Sync + 'static,
        S::Error: Never,
    {
        self.queue_with(endpoint, sink, |options| options)
    }

    /// As [`queue`](Stores::queue), with these options besides.
    pub(crate) fn queue_with<S>(
        &self,
        endpoint: &Endpoint,
        sink: S,
        configure: impl FnOnce(DurableOptions<Event>) -> DurableOptions<Event>,
    ) -> Result<OnDisk, Box<dyn Error>>
    where
        S: Sink<Event> + Send + std::marker::Sync + 'static,
        S::Error: Never,
    {
        let mut options = DurableOptions::with_encoding(self.directory.join(name(endpoint)), AsItCameIn)
            .schema(SCHEMA)
            .sync(self.sync)
            .unconfirmed(UNCONFIRMED)
            .name(endpoint.to_string());
        if let Some(bytes) = self.max_bytes {
            options = options.max_bytes(bytes);
        }
        let queue = sink.durable_with(configure(options))?;
        let begins_at = queue.stats().next;
        Ok(OnDisk { queue, begins_at })
    }

    /// A line for each directory of an endpoint that is none of these.
    pub(crate) fn others(&self, endpoints: &[Endpoint]) -> io::Result<Vec<String>> {
        let mut lines = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let (file, path) = (entry.file_name(), entry.path());
            if endpoints.iter().any(|endpoint| *file == *name(endpoint)) || !entry.file_type()?.is_dir() {
                continue;
            }
            let path = path.display();
            lines.push(match inspect(entry.path()) {
                Ok(found) => {
                    format!(
                        "{path} is of no endpoint that is given: {} events stay on disk there",
                        found.pending
                    )
                }
                Err(error) => format!("{path} is of no endpoint that is given, and left alone: {error}"),
            });
        }
        lines.sort();
        Ok(lines)
    }
}

/// The queue of one endpoint. Clones share.
#[derive(Clone)]
pub(crate) struct OnDisk {
    queue: Durable<Event>,
    /// The number of the first event of this run.
    begins_at: u64,
}

/// Why events were not taken into a queue on disk.
pub(crate) enum Refusal {
    /// It was closed.
    Closed,
    /// There is no room, or none for now.
    NoRoom(String),
    /// It takes none any more, before it is opened again.
    Broken(String),
}

impl OnDisk {
    /// Returns when all of them are on disk. Waits for room and `tell`s of it. `false` if that is not to be any more.
    pub(crate) fn commit(&self, mut events: Vec<Event>, tell: impl Fn(String)) -> bool {
        let mut told = false;
        loop {
            match self.write_all(events) {
                Ok(()) => return true,
                Err((Refusal::NoRoom(why), rest)) => {
                    if !told {
                        tell(format!("waits for room: {why}"));
                    }
                    (told, events) = (true, rest);
                    thread::sleep(ROOM);
                }
                Err((Refusal::Broken(why), _)) => {
                    tell(why);
                    return false;
                }
                Err((Refusal::Closed, _)) => return false,
            }
        }
    }

    /// Returns when all of them are on disk, or with those that are not.
    pub(crate) fn write_all(&self, events: Vec<Event>) -> Result<(), (Refusal, Vec<Event>)> {
        self.queue.write_all(events).map_err(|WriteAllError { refused, rest }| {
            let (event, refusal) = match refused {
                WriteError::Closed(event) => (event, Refusal::Closed),
                WriteError::Failed { event, error } if is_final(&error) => {
                    (event, Refusal::Broken(error.to_string()))
                }
                WriteError::Failed { event, error } => (event, Refusal::NoRoom(error.to_string())),
            };
            (refusal, std::iter::once(event).chain(rest).collect())
        })
    }

    /// What to say of it at the start.
    pub(crate) fn found(&self, endpoint: &Endpoint) -> Vec<String> {
        let recovered = self.queue.recovered();
        let mut lines = vec![format!("on disk for {endpoint}: {} events of before", recovered.pending)];
        for damage in &recovered.damage {
            let (count, file) = (damage.events.end - damage.events.start, &damage.file);
            lines.push(format!(
                "on disk for {endpoint}: {count} events are damaged and lost; their {} bytes of {file} are kept aside",
                damage.bytes
            ));
        }
        lines
    }

    /// Events that were on disk at the start.
    pub(crate) fn recovered(&self) -> u64 {
        self.queue.recovered().pending
    }

    /// Events that were accepted since.
    pub(crate) fn accepted(&self) -> u64 {
        self.queue.stats().next - self.begins_at
    }

    /// Events that are on disk.
    pub(crate) fn pending(&self) -> u64 {
        self.queue.left_on_disk()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.queue.stats().bytes
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Delivers what is on disk. What is there when that is aborted stays.
    pub(crate) fn close(&self) -> Closing {
        self.queue.close()
    }
}

fn is_final(error: &CommitError) -> bool {
    !matches!(error, CommitError::DiskFull(_) | CommitError::MaxBytes { .. })
}

/// Stable, and another for each URL. It shows no more of one than `Endpoint` does: 32 bits are no secret.
fn name(Endpoint { url, .. }: &Endpoint) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let port = url.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    let host: String = url.host().unwrap_or_default().chars().take(200).collect();
    let checksum = crc32fast::hash(url.to_string().as_bytes());
    let name = format!("{scheme}_{host}_{port}_{checksum:08x}");
    // Such as the colons of an address: not every file system takes them.
    name.replace(|other: char| !(other.is_ascii_alphanumeric() || ".-".contains(other)), "_")
}

/// So that it is there after a power failure, too.
fn make(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(directory) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && directory.is_dir() => Ok(()),
        Err(error) => Err(error),
        #[cfg(unix)]
        Ok(()) => {
            let parent = directory.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
        }
        #[cfg(not(unix))]
        Ok(()) => Ok(()),
    }
}

struct AsItCameIn;

impl Encoding<Event> for AsItCameIn {
    fn encode(
        &self,
        event: &Event,
        bytes: &mut Vec<u8>,
    ) -> Result<(), Box<dyn Error + Send + std::marker::Sync>> {
        bytes.extend_from_slice(event.text().as_bytes());
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<Event, Box<dyn Error + Send + std::marker::Sync>> {
        let text = str::from_utf8(bytes)?;
        let malformed = |envelope::Malformed { column, reason }| format!("at byte {column}, {reason}");
        Ok(envelope::notification(text, text).map_err(malformed)?)
    }
}
