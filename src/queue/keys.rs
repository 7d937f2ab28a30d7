//! The keys of a keyed queue of which events wait, or are with a lane. Only the lane that sorts events reads and changes
//! them.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hash, Hasher, RandomState};

use super::chain::{Chain, NONE};

/// Gives each key a number, as long as it is here. Numbers are used again.
pub(super) struct Keys<K> {
    keys: Chain<Key<K>>,
    /// The first key of those with a hash.
    by_hash: HashMap<u32, u32, BuildHasherDefault<Hashed>>,
    hasher: RandomState,
}

struct Key<K> {
    key: K,
    /// A part of it.
    hash: u32,
    same_hash: u32,
}

/// What is hashed already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u32(&mut self, hash: u32) {
        // The table looks at the uppermost bits and at the lowest ones.
        self.0 = u64::from(hash) << 32 | u64::from(hash);
    }
}

/// The size of a table that is kept while it is empty.
const KEPT: usize = 1024;

impl<K> Keys<K> {
    pub(super) fn new() -> Self {
        Self { keys: Chain::new(), by_hash: HashMap::default(), hasher: RandomState::new() }
    }

    /// The number of a key, which is added if it is not here; or else is returned too, to be dropped. If `Hash` or `Eq`
    /// panics, which are a user's, nothing has changed.
    pub(super) fn find_or_add(&mut self, key: K) -> (u32, Option<K>)
    where
        K: Hash + Eq,
    {
        let hash = self.hasher.hash_one(&key) as u32;
        let first = self.by_hash.get(&hash).copied().unwrap_or(NONE);
        let mut place = first;
        while let Some(other) = self.keys.get(place) {
            if other.key == key {
                return (place, Some(key));
            }
            place = other.same_hash;
        }
        let place = self.keys.push(Key { key, hash, same_hash: first });
        self.by_hash.insert(hash, place);
        (place, None)
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<K> {
        let removed = self.keys.remove(place)?;
        let first = self.by_hash.get(&removed.hash).copied().unwrap_or(NONE);
        if first == place {
            match removed.same_hash {
                NONE => _ = self.by_hash.remove(&removed.hash),
                next => _ = self.by_hash.insert(removed.hash, next),
            }
        } else {
            let mut before = first;
            while let Some(key) = self.keys.get_mut(before) {
                if key.same_hash == place {
                    key.same_hash = removed.same_hash;
                    break;
                }
                before = key.same_hash;
            }
        }
        if self.by_hash.is_empty() && self.by_hash.capacity() > KEPT {
            self.by_hash = HashMap::default();
        }
        Some(removed.key)
    }

    pub(super) fn into_iter(self) -> impl Iterator<Item = K> {
        let mut keys = self.keys;
        std::iter::from_fn(move || keys.pop()).map(|key| key.key)
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.keys.room().max(self.by_hash.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key of which many have the same hash.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Collides(u32);

    impl Hash for Collides {
        fn hash<H: Hasher>(&self, state: &mut H) {
            (self.0 % 5).hash(state);
        }
    }

    #[test]
    fn a_key_has_one_number_while_it_is_here_though_its_hash_is_that_of_others() {
        let mut random = fastrand::Rng::with_seed(3);
        let mut keys = Keys::new();
        let mut model: Vec<(Collides, u32)> = Vec::new();
        for _ in 0..20_000 {
            let key = Collides(random.u32(0..60));
            match model.iter().position(|(other, _)| *other == key) {
                Some(at) if random.bool() => {
                    let (key, number) = model.swap_remove(at);
                    assert_eq!(keys.remove(number), Some(key));
                    assert_eq!(keys.remove(number), None);
                }
                Some(at) => assert_eq!(keys.find_or_add(key.clone()), (model[at].1, Some(key))),
                None => {
                    let (number, unused) = keys.find_or_add(key.clone());
                    assert_eq!(unused, None);
                    assert!(model.iter().all(|(_, other)| *other != number));
                    model.push((key, number));
                }
            }
        }
        for (key, number) in model {
            assert_eq!(keys.remove(number), Some(key));
        }
        assert_eq!(keys.into_iter().count(), 0);
    }

    #[test]
    fn many_keys_once_each_leave_no_room_behind() {
        let mut keys = Keys::new();
        let numbers: Vec<u32> = (0..100_000_u32).map(|key| keys.find_or_add(key).0).collect();
        numbers.into_iter().for_each(|number| _ = keys.remove(number));
        assert!(keys.room() <= KEPT * 2, "{}", keys.room());
    }
}
