//! A lock-free index: a lookup of an id costs two loads, and the slot itself.
//!
//! ```text
//!              table: two entries a word                slots, which never move
//!       hash   ┌────────────────┬────────────────┐       ┌ 0 ───────────┐
//! id ────────▶ │ tag │ number+1 │ 0: empty       │ ────▶ │ id · …       │
//!              ├────────────────┼────────────────┤       ├ 1 ───────────┤
//!              │ tag │ number+1 │ tag │ number+1 │       │ id · …       │
//!              └────────────────┴────────────────┘       └──────────────┘
//! ```
//!
//! The high half of the hash selects where a search begins; the search proceeds to the first empty entry. An entry has
//! as many bits for the number as the table needs, and the rest come from the low half of the hash: this tag rules out
//! most other ids without a load of their slot. The id in the slot decides. Small entries make the lookup fast: with a
//! million approvals it is bound by the table's cache misses.
//!
//! There are three entries for every two slots. Insertions are serialised by a lock. When the slots are full, the
//! inserting thread builds a table of twice the size, enters all ids, and publishes it. Old tables stay for the index's
//! lifetime, because a concurrent search may still use them: together they are no larger than the latest. Entries are
//! never removed, so a search needs no protection.
//!
//! Ordering: a slot is filled before its entry is written (release), and a table before its number is. A thread that
//! loads these (acquire) sees the rest.

use std::sync::{OnceLock, atomic::Ordering};

use uuid::Uuid;

use super::{
    arena::Arena,
    hash::hash,
    sync::{Mutex, Primitives, Word},
};

/// A slot of the index.
pub(super) trait Place: Default + Send + Sync {
    /// The id of a slot that has been filled.
    fn id(&self) -> Uuid;
}

/// See the module. `FIRST` is the number of places in the first segment, for which there is the first table.
pub(super) struct Index<P: Primitives, T, const FIRST: usize> {
    finding: Apart<Finding<P, T, FIRST>>,
    inserting: Apart<Inserting<P>>,
}

/// Separate cache lines: an insertion does not slow down concurrent searches.
#[repr(align(64))]
struct Apart<T>(T);

struct Finding<P: Primitives, T, const FIRST: usize> {
    /// Number of tables so far; the last one is in use.
    tables_made: P::Word,
    tables: [OnceLock<Box<[P::Word]>>; TABLES],
    places: Arena<T, FIRST>,
}

struct Inserting<P: Primitives> {
    /// Number of filled slots. The holder of the lock only writes or exchanges the words that others load: loom, which
    /// remembers only a word's last load, would forget theirs.
    turn: P::Mutex<u32>,
    /// The same number, for `for_each`.
    visible: P::Word,
}

/// One for each segment of places.
const TABLES: usize = 33;
/// The empty entry.
const NOBODY: u32 = 0;

/// The entry of a slot in a table of `words` words.
fn entry(hash: u64, number: u32, words: usize) -> u32 {
    // Fewer numbers than entries, so that one more than a number has room.
    hash as u32 & !number_bits(words) | (number + 1)
}

/// The bits of an entry that hold its number.
fn number_bits(words: usize) -> u32 {
    let bits = (words * 2).ilog2() + 1;
    ((1_u64 << bits) - 1) as u32
}

/// The words of a table, each once, in the order in which they are searched for a hash.
#[inline]
fn search<W>(table: &[W], hash: u64) -> impl Iterator<Item = &W> {
    let mut next = (((hash >> 32) * table.len() as u64) >> 32) as usize;
    (0..table.len()).filter_map(move |_| {
        let word = table.get(next);
        next = if next + 1 == table.len() { 0 } else { next + 1 };
        word
    })
}

/// Writes the entry of a place where its search will find it.
fn enter<W: Word>(table: &[W], id: Uuid, number: u32, order: Ordering) {
    let hash = hash(id);
    let entry = u64::from(entry(hash, number, table.len()));
    let exchange = |word: &W, seen, new| word.compare_exchange(seen, new, order, Ordering::Relaxed);
    let entered = search(table, hash).any(|word| match exchange(word, 0, entry) {
        Ok(_) => true,
        Err(seen) => seen >> 32 == 0 && exchange(word, seen, seen | entry << 32).is_ok(),
    });
    assert!(entered, "there are more entries than places");
}

impl<P: Primitives, T: Place, const FIRST: usize> Default for Index<P, T, FIRST> {
    fn default() -> Self {
        let finding = Finding {
            tables_made: Word::new(0),
            tables: std::array::from_fn(|_| OnceLock::new()),
            places: Arena::default(),
        };
        let inserting = Inserting { turn: Mutex::new(0), visible: Word::new(0) };
        Self { finding: Apart(finding), inserting: Apart(inserting) }
    }
}

impl<P: Primitives, T: Place, const FIRST: usize> Index<P, T, FIRST> {
    /// The place of an id.
    #[inline]
    pub(super) fn get(&self, id: Uuid) -> Option<&T> {
        let Finding { tables_made, tables, places } = &self.finding.0;
        // Acquire: the entries that were made before the table was published are there.
        let latest = (tables_made.load(Ordering::Acquire) as usize).checked_sub(1)?;
        let table = tables.get(latest)?.get()?;
        let hash = hash(id);
        let number_bits = number_bits(table.len());
        for word in search(table, hash) {
            // Acquire: the places were filled before.
            let two = word.load(Ordering::Acquire);
            for entry in [two as u32, (two >> 32) as u32] {
                if entry == NOBODY {
                    return None;
                }
                if (entry ^ hash as u32) & !number_bits == 0 {
                    let place = places.get((entry & number_bits).wrapping_sub(1))?;
                    if place.id() == id {
                        return Some(place);
                    }
                }
            }
        }
        None
    }

    /// Fills a slot for a new id. A thread that learns the id afterwards finds it.
    ///
    /// # Panics
    /// If the index holds more slots than an entry can number.
    pub(super) fn insert(&self, id: Uuid, fill: impl FnOnce(&T)) {
        let Inserting { turn, visible } = &self.inserting.0;
        let mut filled = turn.lock();
        let number = *filled;
        assert!(number < u32::MAX >> 1, "fewer approvals than entries of 32 bits can number");
        fill(self.finding.0.places.make(number));
        // Release: publishes the place.
        enter(self.table_with_room(number), id, number, Ordering::Release);
        *filled += 1;
        // Release: publishes the slot to `for_each`.
        visible.store((*filled).into(), Ordering::Release);
        drop(filled);
    }

    /// The table with room for `filled` slots and one more.
    fn table_with_room(&self, filled: u32) -> &[P::Word] {
        let Finding { tables_made, tables, places } = &self.finding.0;
        let (segment, _) = Arena::<T, FIRST>::locate(filled);
        if let Some(table) = tables[segment].get() {
            return table;
        }
        let places_then = FIRST << (segment + 1);
        let table: Box<[P::Word]> =
            std::iter::repeat_with(|| Word::new(0)).take((places_then * 3 / 4).max(1)).collect();
        for (number, place) in (0..filled).filter_map(|number| Some((number, places.get(number)?))) {
            // Relaxed: the table is not searched before its number is published.
            enter(&table, place.id(), number, Ordering::Relaxed);
        }
        let table = tables[segment].get_or_init(|| table);
        // Release: publishes the table and its entries.
        tables_made.store(segment as u64 + 1, Ordering::Release);
        table
    }

    /// Visits every place, in the order in which they were filled.
    pub(super) fn for_each(&self, visit: impl FnMut(&T)) {
        // Acquire: the counted slots are filled.
        let filled = self.inserting.0.visible.load(Ordering::Acquire) as u32;
        (0..filled).filter_map(|number| self.finding.0.places.get(number)).for_each(visit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::strategy::sync::Std;

    #[test]
    fn a_search_meets_every_word_once_and_begins_where_the_hash_says() {
        let table: Vec<usize> = (0..8).collect();
        for (hash, first) in [(0, 0), (1 << 61, 1), (u64::MAX, 7)] {
            let mut met: Vec<usize> = search(&table, hash).copied().collect();
            assert_eq!(met[0], first);
            met.sort_unstable();
            assert_eq!(met, table);
        }
    }

    #[test]
    fn every_number_of_a_table_has_room_in_its_entry() {
        for words in [1, 3, 6, 12, 3 << 20] {
            let largest = words as u32 * 2 - 1;
            assert!(entry(u64::MAX, largest, words) & number_bits(words) == largest + 1);
            assert_ne!(entry(0, 0, words), NOBODY);
        }
    }

    /// Has only its id.
    #[derive(Default)]
    struct Named(OnceLock<Uuid>);

    impl Place for Named {
        fn id(&self) -> Uuid {
            *self.0.get().expect("it is filled")
        }
    }

    /// Two ids whose entries would be the same, but for their numbers.
    fn two_that_look_alike() -> [Uuid; 2] {
        let mut seen = std::collections::BTreeMap::new();
        (0_u128..)
            .map(|number| Uuid::from_u128(number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C834)))
            .find_map(|id| seen.insert(hash(id) as u32 >> 3, id).map(|other| [other, id]))
            .expect("there are more ids than tags")
    }

    #[test]
    fn similar_ids_are_distinguished() {
        let [one, other] = two_that_look_alike();
        // One word, so that every search begins there.
        let index = Index::<Std, Named, 1>::default();
        let insert = |id| index.insert(id, |place| place.0.set(id).expect("it is a new place"));
        insert(one);
        assert!(index.get(other).is_none(), "the tag alone does not decide");
        insert(other);
        for id in [one, other] {
            assert_eq!(index.get(id).map(Place::id), Some(id));
        }
    }
}
