//! Places that are numbered, made when they are needed, and never moved: a list that grows without copying.
//!
//! ```text
//! segments, each twice the one before:   [0 1] [2 3 4 5] [6 7 8 9 10 11 12 13] …
//! ```
//!
//! A checker of interleavings does not see the `OnceLock` of a segment. So what is in a segment has to be found by way
//! of an atomic that was written after the segment was made, or the segment has to be there before any thread is.

use std::sync::OnceLock;

/// See the module. `FIRST` is the number of places in the first segment.
pub(super) struct Arena<T, const FIRST: usize> {
    segments: [OnceLock<Box<[T]>>; SEGMENTS],
}

/// More than enough for the places that 32 bits can number.
const SEGMENTS: usize = 33;

impl<T, const FIRST: usize> Default for Arena<T, FIRST> {
    fn default() -> Self {
        Self { segments: std::array::from_fn(|_| OnceLock::new()) }
    }
}

impl<T: Default, const FIRST: usize> Arena<T, FIRST> {
    /// The place, if it has been made.
    #[inline]
    pub(super) fn get(&self, number: u32) -> Option<&T> {
        let (segment, place) = Self::locate(number);
        self.segments.get(segment)?.get()?.get(place)
    }

    /// The place, and with it its whole segment, made if it has to be.
    pub(super) fn make(&self, number: u32) -> &T {
        let (segment, place) = Self::locate(number);
        &self.segments[segment]
            .get_or_init(|| std::iter::repeat_with(T::default).take(FIRST << segment).collect())[place]
    }

    /// Which segment a place is in, and where.
    pub(super) fn locate(number: u32) -> (usize, usize) {
        let chunk = number as usize / FIRST + 1;
        let segment = chunk.ilog2() as usize;
        (segment, number as usize - FIRST * ((1 << segment) - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_follow_one_another_through_the_segments() {
        let places: Vec<_> = (0..15).map(Arena::<u8, 2>::locate).collect();
        let places_of = |(segment, places)| (0..places).map(move |place| (segment, place));
        let expected: Vec<_> = [2, 4, 8, 1].into_iter().enumerate().flat_map(places_of).collect();
        assert_eq!(places, expected);
    }

    #[test]
    fn the_last_number_has_a_segment_even_where_the_first_has_one_place() {
        let (segment, _) = Arena::<u8, 1>::locate(u32::MAX);
        assert!(segment < SEGMENTS, "{segment}");
    }

    #[test]
    fn a_slot_that_was_not_made_is_absent() {
        let arena = Arena::<u8, 2>::default();
        assert_eq!(arena.get(3), None);
        arena.make(3);
        assert_eq!(
            (arena.get(0), arena.get(2), arena.get(6)),
            (None, Some(&0), None),
            "its segment is there"
        );
    }
}
