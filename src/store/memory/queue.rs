//! A queue of the teams' work, some of which may not begin before a given time: the teams are served in turns, each team's
//! work in order of arrival.
//!
//! The state of a piece of work is stored by its owner, next to its [`Place`]; the queue only knows when to check it.
//! Nothing is removed from the middle: a ticket that no longer applies is recognised when it comes up, so that every
//! call costs the logarithm of the queue's length.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use uuid::Uuid;

use crate::protocol::Timestamp;

/// Work in order of its turns.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue {
    /// Number of tickets issued.
    came: u64,
    /// The turn that was served last.
    served: u64,
    /// The last turn of each team.
    turns: BTreeMap<Uuid, u64>,
    /// Tickets that may be free, in order of their turns.
    ready: BinaryHeap<Reverse<Ticket>>,
    /// Tickets that are not free before this time, unless the clock is reset.
    later: BinaryHeap<Reverse<(Timestamp, Ticket)>>,
}

/// Position of a piece of work in its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    turn: u64,
    number: u64,
    /// From when on it may be free; none: it always was.
    due: Option<Timestamp>,
}

/// A piece of work to be checked. Until it is [filed](Queue::file) again, the queue does not return it to another
/// worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    place: Place,
    pub(super) id: Uuid,
}

impl Ticket {
    /// True for the latest ticket of this piece of work; earlier tickets are stale.
    pub(super) fn is_for(self, place: Place) -> bool {
        self.place == place
    }
}

impl Queue {
    /// Comes after the team's other work, and not before what was served last.
    pub(super) fn add(&mut self, id: Uuid, team: Uuid) -> Place {
        let turn = self.turns.get(&team).map_or(self.served, |last| self.served.max(last + 1));
        self.turns.insert(team, turn);
        let place = Place { turn, number: self.came, due: None };
        self.came += 1;
        self.ready.push(Reverse(Ticket { place, id }));
        place
    }

    /// Files work again that was passed over, in its old place.
    pub(super) fn add_again(&mut self, id: Uuid, place: Place) {
        self.ready.push(Reverse(Ticket { place, id }));
    }

    /// The work of this ticket was begun.
    pub(super) fn serve(&mut self, ticket: Ticket) {
        self.served = self.served.max(ticket.place.turn);
    }

    /// The one whose turn it is, of those that may be free by now.
    pub(super) fn next(&mut self, now: Timestamp) -> Option<Ticket> {
        while let Some(Reverse((at, ticket))) = self.later.peek().copied()
            && at <= now
        {
            self.later.pop();
            self.ready.push(Reverse(ticket));
        }
        self.ready.pop().map(|Reverse(ticket)| ticket)
    }

    /// Files work that is not free before `at`.
    pub(super) fn file(&mut self, id: Uuid, place: &mut Place, at: Timestamp) {
        place.due = Some(at);
        self.later.push(Reverse((at, Ticket { place: *place, id })));
    }
}

impl Place {
    /// True if the ticket would come up after `at`, too late for work that is free from then on. A ticket that comes up
    /// too early is filed again.
    pub(super) fn is_after(self, at: Timestamp) -> bool {
        self.due.is_some_and(|due| at < due)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    struct Work {
        place: Place,
        /// `None` once finished.
        free_from: Option<u64>,
    }

    #[derive(Default)]
    struct Desk {
        queue: Queue,
        work: BTreeMap<Uuid, Work>,
    }

    impl Desk {
        fn add(&mut self, id: u128) {
            let id = Uuid::from_u128(id);
            let place = self.queue.add(id, Uuid::nil());
            self.work.insert(id, Work { place, free_from: Some(0) });
        }

        /// The next one, held for ten.
        fn next(&mut self, now: u64) -> Option<u128> {
            while let Some(ticket) = self.queue.next(Timestamp(now)) {
                let found = self.work.get_mut(&ticket.id).filter(|work| ticket.is_for(work.place));
                let Some(work) = found else { continue };
                let Some(free_from) = work.free_from else { continue };
                let until = if free_from <= now { now + 10 } else { free_from };
                work.free_from = Some(until);
                self.queue.file(ticket.id, &mut work.place, Timestamp(until));
                if free_from <= now {
                    return Some(ticket.id.as_u128());
                }
            }
            None
        }

        fn hold(&mut self, id: u128, until: u64) {
            let id = Uuid::from_u128(id);
            let work = self.work.get_mut(&id).expect("it is there");
            work.free_from = Some(until);
            if work.place.is_after(Timestamp(until)) {
                self.queue.file(id, &mut work.place, Timestamp(until));
            }
        }
    }

    #[test]
    fn the_oldest_that_is_free_is_next() {
        let mut desk = Desk::default();
        (1..=3).for_each(|id| desk.add(id));
        assert_eq!([0, 1, 2, 3].map(|now| desk.next(now)), [Some(1), Some(2), Some(3), None]);
        assert_eq!([11, 11, 11, 12].map(|now| desk.next(now)), [Some(1), Some(2), None, Some(3)]);
        // All three expire; the last to expire arrived first.
        assert_eq!(desk.next(30), Some(1));
        assert_eq!(desk.next(30), Some(2));
    }

    #[test]
    fn what_is_over_never_comes_up_again() {
        let mut desk = Desk::default();
        (1..=2).for_each(|id| desk.add(id));
        assert_eq!(desk.next(0), Some(1));
        desk.work.get_mut(&Uuid::from_u128(1)).expect("it is there").free_from = None;
        assert_eq!([50, 50, 60].map(|now| desk.next(now)), [Some(2), None, Some(2)]);
        desk.work.clear();
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
        // Filed under three times by now, and still one piece of work.
        assert_eq!([36, 38, 38].map(|now| desk.next(now)), [None, Some(1), None]);
    }

    #[test]
    fn teams_are_served_in_turns() {
        let (many, few) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut queue = Queue::default();
        let id = |number: u128| Uuid::from_u128(number);
        (10..14).for_each(|number| {
            queue.add(id(number), many);
        });
        let served = |queue: &mut Queue| {
            let ticket = queue.next(Timestamp(0)).expect("there is work");
            queue.serve(ticket);
            ticket.id.as_u128()
        };
        assert_eq!(served(&mut queue), 10);
        queue.add(id(20), few);
        assert_eq!(served(&mut queue), 20);
        // One that always comes back does not keep the others from their turns.
        queue.add(id(21), few);
        assert_eq!([served(&mut queue), served(&mut queue)], [11, 21]);
        queue.add(id(22), few);
        assert_eq!([served(&mut queue), served(&mut queue), served(&mut queue)], [12, 22, 13]);
    }

    #[test]
    fn a_clock_reset_frees_nothing() {
        let mut desk = Desk::default();
        (1..=2).for_each(|id| desk.add(id));
        assert_eq!([0, 0, 10].map(|now| desk.next(now)), [Some(1), Some(2), Some(1)]);
        assert_eq!([5, 9, 10, 19, 20].map(|now| desk.next(now)), [None, None, Some(2), None, Some(1)]);
    }
}
