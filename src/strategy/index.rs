//! Finds the place of an id without a lock: two loads, and the place itself.
//!
//! ```text
//!                      table: as many words as a power of two   places, which never move
//!       hash           ┌──────────────────────────┐             ┌ 0 ───────────┐
//! id ────────▶ tag ──▶ │ tag (32) │ number + 1    │ ──────────▶ │ id · …       │
//!                      │ 0: nobody                │             ├ 1 ───────────┤
//!                      │ tag (32) │ number + 1    │             │ id · …       │
//!                      └──────────────────────────┘             └──────────────┘
//! ```
//!
//! The tag is the high half of the hash. Its first bits say where a search begins, and it goes on from there until an
//! empty word; the rest of the bits tell most strangers without a look at their place. The place has the id, and that
//! decides.
//!
//! Those who insert take turns. When the table gets full, they make one of twice the size, copy the words, and publish
//! it. An old table stays for as long as the index, because somebody may still search in it: all of them together are
//! no larger than the latest. Nothing is ever taken out, so a search needs no protection.
//!
//! What orders what: a place is filled before its word is stored (release), and a table before its number is. Whoever
//! loads these (acquire) sees the rest.

use std::sync::{OnceLock, atomic::Ordering};

use uuid::Uuid;

use super::{
    arena::Arena,
    hash::hash,
    sync::{Mutex, Primitives, Word},
};

/// What an index finds.
pub(super) trait Place: Default + Send + Sync {
    /// Whether it is that of this id. Called when it is filled.
    fn is_of(&self, id: Uuid) -> bool;
}

/// See the module. `FIRST` is the number of places in the first segment, and of words in the first table.
pub(super) struct Index<P: Primitives, T, const FIRST: usize> {
    finding: Apart<Finding<P, T, FIRST>>,
    inserting: Apart<Inserting<P>>,
}

/// On cache lines of its own: an insertion does not slow down those who only search.
#[repr(align(64))]
struct Apart<T>(T);

struct Finding<P: Primitives, T, const FIRST: usize> {
    /// How many tables there have been; the last one is in use.
    tables_made: P::Word,
    tables: [OnceLock<Box<[P::Word]>>; TABLES],
    places: Arena<T, FIRST>,
}

struct Inserting<P: Primitives> {
    turn: P::Mutex<Turn>,
    /// How many places are filled, for those who visit all of them.
    visible: P::Word,
}

/// What is known to whoever has the turn. The words that others load are only written, or exchanged: a checker that
/// remembers the last load of a word alone would forget theirs.
struct Turn {
    filled: u32,
    tables: usize,
}

/// More than enough: 2³² places, and as many words again.
const TABLES: usize = 34;
/// The word of nobody.
const NOBODY: u64 = 0;

fn entry(tag: u32, number: u32) -> u64 {
    u64::from(tag) << 32 | (u64::from(number) + 1)
}

fn tag_of(id: Uuid) -> u32 {
    (hash(id) >> 32) as u32
}

/// Where in a table of so many words the search for a tag begins: the tag's first bits.
fn begin(tag: u32, words: usize) -> usize {
    (u64::from(tag) * words as u64 >> 32) as usize
}

/// The words of a table, each once, in the order in which they are searched.
fn search<W>(table: &[W], tag: u32) -> impl Iterator<Item = &W> {
    let (before, after) = table.split_at(begin(tag, table.len()));
    after.iter().chain(before)
}

/// Writes an entry into the first free word of its search.
fn claim<W: Word>(table: &[W], entry: u64, order: Ordering) {
    let claimed = search(table, (entry >> 32) as u32)
        .any(|word| word.compare_exchange(NOBODY, entry, order, Ordering::Relaxed).is_ok());
    assert!(claimed, "a quarter of the table is free");
}

impl<P: Primitives, T: Place, const FIRST: usize> Default for Index<P, T, FIRST> {
    fn default() -> Self {
        let finding = Finding {
            tables_made: Word::new(0),
            tables: std::array::from_fn(|_| OnceLock::new()),
            places: Arena::default(),
        };
        let turn = Turn { filled: 0, tables: 0 };
        let inserting = Inserting { turn: Mutex::new(turn), visible: Word::new(0) };
        Self { finding: Apart(finding), inserting: Apart(inserting) }
    }
}

impl<P: Primitives, T: Place, const FIRST: usize> Index<P, T, FIRST> {
    /// The place of an id.
    pub(super) fn get(&self, id: Uuid) -> Option<&T> {
        let Finding { tables_made, tables, places } = &self.finding.0;
        // Acquire: the words that were copied into the table are there.
        let latest = (tables_made.load(Ordering::Acquire) as usize).checked_sub(1)?;
        let tag = tag_of(id);
        for word in search(tables.get(latest)?.get()?, tag) {
            // Acquire: the place was filled before.
            let found = word.load(Ordering::Acquire);
            if found == NOBODY {
                return None;
            }
            if found >> 32 == u64::from(tag) {
                let place = places.get((found as u32).wrapping_sub(1))?;
                if place.is_of(id) {
                    return Some(place);
                }
            }
        }
        None
    }

    /// Fills a place for an id that has none yet. Whoever learns of the id afterwards finds it.
    ///
    /// # Panics
    /// When there are more than 32 bits can number.
    pub(super) fn insert(&self, id: Uuid, fill: impl FnOnce(&T)) {
        let Inserting { turn, visible } = &self.inserting.0;
        let mut turn = turn.lock();
        // The very last number would look like nobody's.
        let number = Some(turn.filled).filter(|number| *number < u32::MAX);
        let number = number.expect("fewer approvals than 32 bits can number");
        fill(self.finding.0.places.make(number));
        let table = self.table_with_room(&mut turn);
        // Release: publishes the place.
        claim(table, entry(tag_of(id), number), Ordering::Release);
        turn.filled += 1;
        // Release: publishes the place to those who visit all of them.
        visible.store(turn.filled.into(), Ordering::Release);
        drop(turn);
    }

    /// The table, with room for one more than there are.
    fn table_with_room(&self, turn: &mut Turn) -> &[P::Word] {
        let Finding { tables_made, tables, .. } = &self.finding.0;
        let latest = turn.tables.checked_sub(1).and_then(|latest| tables[latest].get());
        if let Some(table) = latest
            && (turn.filled as usize + 1) * 4 <= table.len() * 3
        {
            return table;
        }
        let words = latest.map_or(FIRST.next_power_of_two().max(2), |table| table.len() * 2);
        let larger: Box<[P::Word]> = std::iter::repeat_with(|| Word::new(NOBODY)).take(words).collect();
        for word in latest.into_iter().flatten() {
            // Relaxed, both: written by an earlier turn; and nobody searches before the table's number is published.
            let entry = word.load(Ordering::Relaxed);
            if entry != NOBODY {
                claim(&larger, entry, Ordering::Relaxed);
            }
        }
        let table = tables[turn.tables].get_or_init(|| larger);
        turn.tables += 1;
        // Release: publishes the table, and what was copied into it.
        tables_made.store(turn.tables as u64, Ordering::Release);
        table
    }

    /// Visits every place, in the order in which they were filled.
    pub(super) fn for_each(&self, visit: impl FnMut(&T)) {
        // Acquire: so many places are filled.
        let filled = self.inserting.0.visible.load(Ordering::Acquire) as u32;
        (0..filled).filter_map(|number| self.finding.0.places.get(number)).for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::strategy::sync::Std;

    #[test]
    fn a_search_meets_every_word_once_and_begins_where_the_tag_says() {
        let table: Vec<usize> = (0..8).collect();
        for (tag, first) in [(0, 0), (1 << 29, 1), (u32::MAX, 7)] {
            let mut met: Vec<usize> = search(&table, tag).copied().collect();
            assert_eq!(met[0], first);
            met.sort_unstable();
            assert_eq!(met, table);
        }
    }

    /// Has only its id.
    #[derive(Default)]
    struct Named(OnceLock<Uuid>);

    impl Place for Named {
        fn is_of(&self, id: Uuid) -> bool {
            self.0.get() == Some(&id)
        }
    }

    /// Two ids, the second of which differs in its hash's low half alone: its tag is the same.
    fn two_of_one_tag() -> [Uuid; 2] {
        let mut seen = std::collections::BTreeMap::new();
        (0_u128..)
            .map(|number| Uuid::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834)))
            .find_map(|id| seen.insert(tag_of(id), id).map(|other| [other, id]))
            .expect("there are more ids than tags")
    }

    #[test]
    fn two_ids_of_one_tag_are_told_apart() {
        let [one, other] = two_of_one_tag();
        let index = Index::<Std, Named, 2>::default();
        let insert = |id| index.insert(id, |place| place.0.set(id).expect("it is a new place"));
        insert(one);
        assert!(index.get(other).is_none(), "the tag alone does not decide");
        insert(other);
        for id in [one, other] {
            assert_eq!(index.get(id).and_then(|place| place.0.get()), Some(&id));
        }
    }
}
