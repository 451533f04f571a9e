//! Who is next: work in the order in which it came, of which some may not begin before its time.
//!
//! What becomes of a piece of work is in its [`Row`]; the queue only knows when to look at it. Nothing is taken out of
//! the middle: what no longer holds is found out when it comes up, so that every call costs the logarithm of how much
//! there is, whatever is done and whatever is held.

use std::{cmp::Reverse, collections::BinaryHeap};

use uuid::Uuid;

use crate::{protocol::Timestamp, strategy::IdMap};

/// Work that waits for its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// How much has come so far.
    came: u64,
    /// What may be free, in the order in which it came.
    ready: BinaryHeap<Reverse<(u64, Uuid)>>,
    /// What is not free before this time, unless the clock is set back.
    later: BinaryHeap<Reverse<(Timestamp, u64, Uuid)>>,
}

/// Where a piece of work is in its queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    number: u64,
    /// Under which time it is filed; none: among those that may be free.
    due: Option<Timestamp>,
}

/// Whether a piece of work may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    NotBefore(Timestamp),
    Over,
}

/// A piece of work.
pub(super) trait Row {
    fn place(&mut self) -> &mut Place;
    fn turn(&self, now: Timestamp) -> Turn;
}

impl Queue {
    /// Comes last.
    pub(super) fn add(&mut self, id: Uuid) -> Place {
        let place = Place { number: self.came, due: None };
        self.came += 1;
        self.ready.push(Reverse((place.number, id)));
        place
    }

    /// The oldest that is free. It is not in the queue any more until somebody [puts it off](Self::put_off).
    pub(super) fn next<T, R: Row>(
        &mut self,
        rows: &mut IdMap<T>,
        row: fn(&mut T) -> Option<&mut R>,
        now: Timestamp,
    ) -> Option<Uuid> {
        while let Some(Reverse((at, number, id))) = self.later.peek().copied()
            && at <= now
        {
            self.later.pop();
            let row = rows.get_mut(&id).and_then(row);
            if let Some(place) = row.map(Row::place).filter(|place| place.due == Some(at)) {
                place.due = None;
                self.ready.push(Reverse((number, id)));
            }
        }
        while let Some(Reverse((_, id))) = self.ready.pop() {
            let Some(row) = rows.get_mut(&id).and_then(row) else { continue };
            if row.place().due.is_some() {
                continue;
            }
            match row.turn(now) {
                Turn::Now => return Some(id),
                Turn::NotBefore(at) => self.file(id, row.place(), at),
                Turn::Over => {}
            }
        }
        None
    }

    /// What was next is not free before `until`.
    pub(super) fn put_off(&mut self, id: Uuid, place: &mut Place, until: Timestamp) {
        self.file(id, place, until);
    }

    /// What is not free before some time is now not free before `until`.
    pub(super) fn moved(&mut self, id: Uuid, place: &mut Place, until: Timestamp) {
        // When it comes up earlier than that it is filed again.
        if place.due.is_some_and(|due| until < due) {
            self.file(id, place, until);
        }
    }

    fn file(&mut self, id: Uuid, place: &mut Place, at: Timestamp) {
        place.due = Some(at);
        self.later.push(Reverse((at, place.number, id)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Work {
        place: Place,
        turn: Turn,
    }

    impl Row for Work {
        fn place(&mut self) -> &mut Place {
            &mut self.place
        }

        fn turn(&self, now: Timestamp) -> Turn {
            match self.turn {
                Turn::NotBefore(at) if at <= now => Turn::Now,
                turn => turn,
            }
        }
    }

    #[derive(Default)]
    struct Desk {
        queue: Queue,
        rows: IdMap<Work>,
    }

    impl Desk {
        fn add(&mut self, id: u128) {
            let id = Uuid::from_u128(id);
            let place = self.queue.add(id);
            self.rows.insert(id, Work { place, turn: Turn::Now });
        }

        /// The next one, held for ten.
        fn next(&mut self, now: u64) -> Option<u128> {
            let id = self.queue.next(&mut self.rows, |work| Some(work), Timestamp(now))?;
            let work = self.rows.get_mut(&id).expect("it is there");
            work.turn = Turn::NotBefore(Timestamp(now + 10));
            self.queue.put_off(id, &mut work.place, Timestamp(now + 10));
            Some(id.as_u128())
        }

        fn hold(&mut self, id: u128, until: u64) {
            let id = Uuid::from_u128(id);
            let work = self.rows.get_mut(&id).expect("it is there");
            work.turn = Turn::NotBefore(Timestamp(until));
            self.queue.moved(id, &mut work.place, Timestamp(until));
        }
    }

    #[test]
    fn the_oldest_that_is_free_is_next() {
        let mut desk = Desk::default();
        (1..=3).for_each(|id| desk.add(id));
        assert_eq!([0, 1, 2, 3].map(|now| desk.next(now)), [Some(1), Some(2), Some(3), None]);
        assert_eq!([11, 11, 11, 12].map(|now| desk.next(now)), [Some(1), Some(2), None, Some(3)]);
        // All three run out, and the one that ran out last came first.
        assert_eq!(desk.next(30), Some(1));
        assert_eq!(desk.next(30), Some(2));
    }

    #[test]
    fn what_is_over_never_comes_up_again() {
        let mut desk = Desk::default();
        (1..=2).for_each(|id| desk.add(id));
        assert_eq!(desk.next(0), Some(1));
        desk.rows.get_mut(&Uuid::from_u128(1)).expect("it is there").turn = Turn::Over;
        assert_eq!([50, 50, 60].map(|now| desk.next(now)), [Some(2), None, Some(2)]);
        desk.rows.clear();
        assert_eq!(desk.next(100), None);
    }

    #[test]
    fn what_is_held_longer_or_shorter_comes_up_when_it_is_free() {
        let mut desk = Desk::default();
        desk.add(1);
        assert_eq!(desk.next(0), Some(1));
        desk.hold(1, 25);
        assert_eq!([10, 24, 25].map(|now| desk.next(now)), [None, None, Some(1)]);
        desk.hold(1, 28);
        assert_eq!([27, 28].map(|now| desk.next(now)), [None, Some(1)]);
        // Filed under three times by now; it is one piece of work all the same.
        assert_eq!([36, 38, 38].map(|now| desk.next(now)), [None, Some(1), None]);
    }

    #[test]
    fn a_clock_that_is_set_back_frees_nothing() {
        let mut desk = Desk::default();
        (1..=2).for_each(|id| desk.add(id));
        assert_eq!([0, 0, 10].map(|now| desk.next(now)), [Some(1), Some(2), Some(1)]);
        assert_eq!([5, 9, 10, 19, 20].map(|now| desk.next(now)), [None, None, Some(2), None, Some(1)]);
    }
}
