//! How ids are hashed: with a key that is the same in every run, for maps, shards and the [`index`](super::index).

use std::hash::{BuildHasherDefault, Hasher};

use uuid::Uuid;

/// A map by something that looks random, and that nobody outside chooses.
#[expect(
    clippy::disallowed_types,
    reason = "its hash has a fixed key: this is the one place that makes such maps"
)]
pub(crate) type RandomMap<K, T> = std::collections::HashMap<K, T, BuildHasherDefault<IdHasher>>;

/// A map by id.
pub(crate) type IdMap<T> = RandomMap<Uuid, T>;

/// Numbers whose bits look random: 2⁶⁴ divided by the golden ratio, and the fraction of π.
const SPREAD: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0x243F_6A88_85A3_08D3];

/// Folds the sixteen bytes of an id. Ids are random, and given out by the server: nobody chooses their collisions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl IdHasher {
    /// Takes in two words by one product. Its low bits know nothing of the factors' high ones, and its high bits little of
    /// their low ones; folded, all know of all.
    #[inline]
    fn fold(self, one: u64, other: u64) -> Self {
        let product = u128::from(self.0 ^ one ^ SPREAD[0]) * u128::from(other ^ SPREAD[1]);
        Self(product as u64 ^ (product >> u64::BITS) as u64)
    }
}

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(size_of::<u128>()) {
            let mut words = [0; size_of::<u128>()];
            words[..chunk.len()].copy_from_slice(chunk);
            let words = u128::from_be_bytes(words);
            *self = self.fold((words >> u64::BITS) as u64, words as u64);
        }
    }
}

/// The hash of an id.
#[inline]
pub(super) fn hash(id: Uuid) -> u64 {
    // What `write` makes of its bytes.
    let (high, low) = id.as_u64_pair();
    IdHasher::default().fold(high, low).finish()
}

/// The shard of an id, of so many.
pub(super) fn shard_of(id: Uuid, shards: usize) -> usize {
    // The maps take the other bits.
    (hash(id) >> 48) as usize % shards
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, hash::BuildHasher};

    use super::*;

    #[test]
    fn ids_that_differ_little_are_spread_over_all_shards_and_over_maps() {
        const SHARDS: usize = 64;
        const IDS: u128 = 100 * SHARDS as u128;
        let hasher = BuildHasherDefault::<IdHasher>::default();
        // One counter, or two: where each of them is.
        for (first, second) in [(0, 7), (40, 47), (90, 97), (0, 64), (0, 96), (29, 64), (32, 64), (16, 80)] {
            let mut sizes = [[0; SHARDS]; 2];
            let mut hashes = BTreeSet::new();
            for number in 0..IDS {
                let id = Uuid::from_u128((number % 128) << first | (number / 128) << second);
                sizes[0][shard_of(id, SHARDS)] += 1;
                // A map begins its search where the low bits say.
                sizes[1][hash(id) as usize % SHARDS] += 1;
                assert_eq!(hash(id), hasher.hash_one(id), "maps hash alike");
                hashes.insert(hash(id));
            }
            let place = format!("bits from {first} and from {second} on");
            assert_eq!(hashes.len() as u128, IDS, "no two have one hash: {place}");
            assert!(sizes.as_flattened().iter().all(|size| (25..400).contains(size)), "{place}: {sizes:?}");
        }
    }
}
