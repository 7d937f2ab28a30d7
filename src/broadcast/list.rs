use std::sync::Arc;

use crate::contract::SharedSink;
use crate::lifecycle::close_caught;
use crate::lifecycle::completion::Completion;
use crate::lifecycle::ended::{EndedEntry, Refusals};
use crate::pipe::{Pipe, ReadEnd};
use crate::sync::{Label, SinkId};

/// The sinks that a write goes to. Never changed: an add or a remove puts another list in its place.
///
/// They are in chunks that two lists share. A changed list copies the pointers to the chunks and the entries of one chunk,
/// so of `n` sinks about the square root of `n` of each.
pub(super) struct List<E> {
    /// In the order in which the sinks were added; none is empty.
    chunks: Vec<Chunk<E>>,
    len: usize,
    /// The same in every list of a broadcaster; dropped after the entries.
    quiesced: Arc<QuiescedWhenDropped>,
}

struct Chunk<E> {
    entries: Arc<[Entry<E>]>,
    /// The lowest and the highest id in it. Ids ascend, but for threads that add at the same time: few chunks are
    /// looked through for one.
    ids: (SinkId, SinkId),
}

/// How many entries a chunk has at most before the next one is begun, if the list is short.
const SHORT: usize = 16;

impl<E> List<E> {
    pub(super) fn new(quiesced: Arc<QuiescedWhenDropped>) -> Self {
        Self { chunks: Vec::new(), len: 0, quiesced }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<E>> {
        self.chunks().flatten()
    }

    /// The entries in pieces, none of them empty.
    pub(super) fn chunks(&self) -> impl DoubleEndedIterator<Item = &[Entry<E>]> {
        self.chunks.iter().map(|chunk| &*chunk.entries)
    }

    pub(super) fn contains(&self, id: SinkId) -> bool {
        self.find(id, |_| true).is_some()
    }

    /// With other sinks behind these.
    pub(super) fn with(&self, mut added: &[Entry<E>]) -> Self {
        let mut list = self.with_len(self.len + added.len());
        while !added.is_empty() {
            let room = list.chunks.last().map_or(0, |last| list.full().saturating_sub(last.entries.len()));
            let last = if room > 0 { list.chunks.pop() } else { None };
            if last.is_none() {
                (0..list.chunks.len()).rev().for_each(|at| list.merge(at));
            }
            let before = last.as_ref().map_or(&[][..], |last| &last.entries);
            let (new, rest) = added.split_at(added.len().min(list.full() - before.len()));
            list.chunks.push(Chunk::new(before, new));
            added = rest;
        }
        list
    }

    /// Without this sink, if `is_it` says so of the one that has the id.
    pub(super) fn without(&self, id: SinkId, is_it: impl Fn(&Entry<E>) -> bool) -> Option<(Self, Entry<E>)> {
        let (at, within) = self.find(id, is_it)?;
        let mut list = self.with_len(self.len - 1);
        let (before, after) = self.chunks[at].entries.split_at(within);
        let (removed, after) = after.split_first()?;
        if before.is_empty() && after.is_empty() {
            list.chunks.remove(at);
        } else {
            list.chunks[at] = Chunk::new(before, after);
            list.merge(at);
        }
        if let Some(before) = at.checked_sub(1) {
            list.merge(before);
        }
        Some((list, removed.clone()))
    }

    /// With another sink in the place of the one that has the id; and that one.
    pub(super) fn replacing(
        &self,
        id: SinkId,
        by: impl FnOnce(&Entry<E>) -> Entry<E>,
    ) -> Option<(Self, Entry<E>)> {
        let (at, within) = self.find(id, |_| true)?;
        let mut list = self.with_len(self.len);
        let mut entries = self.chunks[at].entries.to_vec();
        let new = by(&entries[within]);
        let old = std::mem::replace(&mut entries[within], new);
        list.chunks[at] = Chunk { entries: entries.into(), ids: self.chunks[at].ids };
        Some((list, old))
    }

    /// The same chunks, to be changed.
    fn with_len(&self, len: usize) -> Self {
        Self { chunks: self.chunks.clone(), len, quiesced: Arc::clone(&self.quiesced) }
    }

    fn find(&self, id: SinkId, is_it: impl Fn(&Entry<E>) -> bool) -> Option<(usize, usize)> {
        let may_have =
            self.chunks.iter().enumerate().filter(|(_, chunk)| chunk.ids.0 <= id && id <= chunk.ids.1);
        may_have
            .filter_map(|(at, chunk)| Some((at, chunk.entries.iter().position(|entry| entry.id() == id)?)))
            .find(|(at, within)| is_it(&self.chunks[*at].entries[*within]))
    }

    /// How many entries a chunk has at most before the next one is begun.
    fn full(&self) -> usize {
        self.len.isqrt().max(SHORT)
    }

    /// Makes one chunk of this one and the next, if it is at most half full: removals leave few chunks behind.
    fn merge(&mut self, at: usize) {
        if let Some([chunk, next]) = self.chunks.get(at..at + 2) {
            if chunk.entries.len() + next.entries.len() <= self.full() / 2 {
                self.chunks[at] = Chunk::new(&chunk.entries, &next.entries);
                self.chunks.remove(at + 1);
            }
        }
    }
}

impl<E> Chunk<E> {
    /// Of these entries; at least one.
    fn new(first: &[Entry<E>], rest: &[Entry<E>]) -> Self {
        let entries: Arc<[_]> = first.iter().chain(rest).cloned().collect();
        let ids = entries.iter().map(Entry::id);
        let (lowest, highest) =
            ids.fold((SinkId::MAX, SinkId::MIN), |(low, high), id| (low.min(id), high.max(id)));
        Self { entries, ids: (lowest, highest) }
    }
}

impl<E> Clone for Chunk<E> {
    fn clone(&self) -> Self {
        Self { entries: Arc::clone(&self.entries), ids: self.ids }
    }
}

/// Dropped when the gate is shut and the last write has left.
pub(super) struct QuiescedWhenDropped(pub(super) Arc<Completion>);

impl Drop for QuiescedWhenDropped {
    fn drop(&mut self) {
        self.0.complete(Ok(()));
    }
}

pub(super) struct Entry<E> {
    pub(super) sink: SharedSink<E>,
    pub(super) label: Label,
    pub(super) refusals: Arc<Refusals>,
    pub(super) subscription: Option<Arc<dyn Subscribed>>,
}

impl<E> Entry<E> {
    pub(super) fn new(sink: SharedSink<E>, name: Option<Arc<str>>) -> Self {
        Self { sink, label: Label::new(name), refusals: Arc::default(), subscription: None }
    }

    pub(super) fn id(&self) -> SinkId {
        self.label.id
    }

    pub(super) fn close(&self) -> EndedEntry {
        let closing = close_caught(|| self.sink.close());
        EndedEntry { label: self.label.clone(), refusals: Arc::clone(&self.refusals), closing }
    }
}

impl<E> Clone for Entry<E> {
    fn clone(&self) -> Self {
        Self {
            sink: Arc::clone(&self.sink),
            label: self.label.clone(),
            refusals: Arc::clone(&self.refusals),
            subscription: self.subscription.clone(),
        }
    }
}

/// The pipe of a subscription, without its type.
pub(super) trait Subscribed: Send + Sync {
    /// Wakes the writes that wait in it.
    fn stop_waiting(&self);

    /// It was closed and missed an event, which is counted unless nothing reads it any more.
    fn missed(&self);
}

impl<E, R> Subscribed for Pipe<E, R>
where
    E: Send,
    R: ReadEnd<E> + Send + Sync,
{
    fn stop_waiting(&self) {
        Pipe::stop_waiting(self);
    }

    fn missed(&self) {
        if self.is_read() {
            self.shed.count_dropped(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leaf::discard;

    fn entry() -> Entry<u32> {
        Entry::new(Arc::new(discard()), None)
    }

    fn empty() -> List<u32> {
        List::new(Arc::new(QuiescedWhenDropped(Completion::new())))
    }

    fn ids(list: &List<u32>) -> Vec<SinkId> {
        assert_eq!(list.iter().count(), list.len());
        assert!(list.chunks().all(|chunk| !chunk.is_empty()));
        list.iter().map(Entry::id).collect()
    }

    /// How many pointers and entries a change of the list copies at most.
    fn copied(list: &List<u32>) -> usize {
        list.chunks.len() + list.chunks().map(<[_]>::len).max().unwrap_or(0)
    }

    #[test]
    fn a_change_of_ten_thousand_copies_about_the_square_root() {
        let mut list = empty();
        for _ in 0..10_000 {
            list = list.with(&[entry()]);
        }
        assert!(copied(&list) <= 4 * 100, "{} are copied", copied(&list));
        let at_once = empty().with(&ids(&list).iter().map(|_| entry()).collect::<Vec<_>>());
        assert!(copied(&at_once) <= 2 * 100, "{} are copied", copied(&at_once));
    }

    #[test]
    fn sinks_that_come_and_go_leave_few_chunks_and_the_order() {
        let mut random = 1_u64;
        let mut below = |n: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % n
        };
        let mut list = empty();
        let mut expected: Vec<SinkId> = Vec::new();
        // Grows to some thousands, stays there for long, and shrinks; again and again.
        for (round, growing) in (0..30_000).map(|round| (round, round % 10_000)) {
            let adds = match growing {
                0..3000 => 95,
                3000..7000 => 50,
                _ => 10,
            };
            if below(100) < adds || expected.is_empty() {
                let added: Vec<_> = (0..=below(3)).map(|_| entry()).collect();
                expected.extend(added.iter().map(Entry::id));
                list = list.with(&added);
            } else {
                let at = below(expected.len());
                let id = expected[at];
                assert!(list.without(id, |_| false).is_none());
                if below(4) == 0 {
                    let replaced = list.replacing(id, |old| Entry { label: old.label.clone(), ..entry() });
                    list = replaced.expect("it is there").0;
                } else {
                    expected.remove(at);
                    let (without, removed) = list.without(id, |entry| entry.id() == id).expect("it is there");
                    assert_eq!(removed.id(), id);
                    list = without;
                    assert!(!list.contains(id));
                }
            }
            if round % 50 == 0 {
                assert_eq!(ids(&list), expected);
                let least = expected.len().isqrt().max(SHORT);
                // A chunk that was full when the list was long stays as it is.
                assert!(list.chunks.len() <= 8 * least, "{} chunks of {}", list.chunks.len(), list.len());
            }
        }
    }

    #[test]
    fn ids_that_do_not_ascend_are_found() {
        // Two threads that add at the same time.
        let mut entries: Vec<_> = (0..200).map(|_| entry()).collect();
        entries.rotate_left(70);
        let mut list = empty();
        for entry in &entries {
            list = list.with(std::slice::from_ref(entry));
        }
        for entry in &entries {
            assert!(list.contains(entry.id()));
            list = list.without(entry.id(), |_| true).expect("it is there").0;
        }
        assert_eq!((list.len(), list.chunks.len()), (0, 0));
    }
}
