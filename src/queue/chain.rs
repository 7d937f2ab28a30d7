/// A list in which anything can be found and removed by its place: what is in it is in one vector, linked by indices.
///
/// Places are used again. The vector is given back when the list is empty and it was long.
pub(super) struct Chain<T> {
    places: Vec<Place<T>>,
    len: usize,
    first: u32,
    last: u32,
    /// The first of the places that are free, linked by `next`.
    free: u32,
}

struct Place<T> {
    value: Option<T>,
    before: u32,
    next: u32,
}

pub(super) const NONE: u32 = u32::MAX;

/// How long it may become: 32 bits are half the size of links, and so more of them are in a processor's cache.
pub(super) const MOST: usize = u32::MAX as usize - 1;

/// The length of a vector that is kept by an empty list.
const KEPT: usize = 1024;

impl<T> Chain<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), len: 0, first: NONE, last: NONE, free: NONE }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    pub(super) fn after(&self, place: u32) -> Option<u32> {
        self.place(place).map(|place| place.next).filter(|next| *next != NONE)
    }

    pub(super) fn get(&self, place: u32) -> Option<&T> {
        self.place(place)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.place_mut(place)?.value.as_mut()
    }

    /// Adds it at the end, and returns its place.
    pub(super) fn push(&mut self, value: T) -> u32 {
        let entry = Place { value: Some(value), before: self.last, next: NONE };
        let place = match self.places.get_mut(self.free as usize) {
            Some(free) => {
                let place = std::mem::replace(&mut self.free, free.next);
                *free = entry;
                place
            }
            None => {
                debug_assert!(self.len < MOST, "its owner sees to that");
                self.places.push(entry);
                (self.places.len() - 1) as u32
            }
        };
        self.link(self.last, place);
        self.last = place;
        self.len += 1;
        place
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let entry = self.places.get_mut(place as usize)?;
        let value = entry.value.take()?;
        let (before, next) = (entry.before, std::mem::replace(&mut entry.next, self.free));
        self.free = place;
        self.link(before, next);
        match self.place_mut(next) {
            Some(next) => next.before = before,
            None => self.last = before,
        }
        self.len -= 1;
        if self.len == 0 && self.places.capacity() > KEPT {
            *self = Self::new();
        }
        Some(value)
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        self.remove(self.first)
    }

    fn place(&self, place: u32) -> Option<&Place<T>> {
        self.places.get(place as usize)
    }

    fn place_mut(&mut self, place: u32) -> Option<&mut Place<T>> {
        self.places.get_mut(place as usize)
    }

    fn link(&mut self, before: u32, next: u32) {
        match self.place_mut(before) {
            Some(before) => before.next = next,
            None => self.first = next,
        }
    }

    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.places.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_same_as_a_vector_from_which_anything_is_removed() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut chain = Chain::new();
        let mut model: Vec<(u32, u32)> = Vec::new();
        for value in 0..20_000 {
            let grows = value % 4000 < 2000;
            if model.is_empty() || random.u32(0..3) < if grows { 2 } else { 1 } {
                model.push((chain.push(value), value));
            } else {
                let (place, value) = model.remove(random.usize(0..model.len()));
                assert_eq!(chain.remove(place), Some(value));
                assert_eq!(chain.remove(place), None);
            }
            assert_eq!(chain.first(), model.first().map(|(place, _)| *place));
            if let [.., (before, _), (last, value)] = &*model {
                assert_eq!((chain.after(*before), chain.after(*last)), (Some(*last), None));
                assert_eq!(chain.get(*last), Some(value));
            }
        }
        while let Some(value) = chain.pop() {
            assert_eq!(model.remove(0).1, value);
        }
        assert!(model.is_empty() && chain.is_empty() && chain.room() <= KEPT);
    }
}
