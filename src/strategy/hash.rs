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

/// An odd number whose bits look random: 2⁶⁴ divided by the golden ratio.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Folds the sixteen bytes of an id. Ids are random, and given out by the server: nobody chooses their collisions.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        // A product's low bits know nothing of the factor's high ones.
        (self.0 ^ self.0 >> 32).wrapping_mul(SPREAD)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(size_of::<u64>()) {
            let mut word = [0; size_of::<u64>()];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(29) ^ u64::from_be_bytes(word)).wrapping_mul(SPREAD);
        }
    }
}

/// The hash of an id. Its high bits are the better ones.
#[inline]
pub(super) fn hash(id: Uuid) -> u64 {
    // What `write` makes of its bytes.
    let (high, low) = id.as_u64_pair();
    IdHasher((high.wrapping_mul(SPREAD).rotate_left(29) ^ low).wrapping_mul(SPREAD)).finish()
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
    fn ids_that_differ_little_are_spread_over_all_shards() {
        const SHARDS: usize = 64;
        const IDS: usize = 100 * SHARDS;
        let hasher = BuildHasherDefault::<IdHasher>::default();
        for shift in [0, 40, 90] {
            let ids = (0..IDS as u128).map(|number| Uuid::from_u128(number << shift));
            let mut sizes = [0; SHARDS];
            let mut hashes = BTreeSet::new();
            for id in ids {
                sizes[shard_of(id, SHARDS)] += 1;
                assert_eq!(hash(id), hasher.hash_one(id), "maps hash alike");
                hashes.insert(hash(id));
            }
            assert_eq!(hashes.len(), IDS, "no two have one hash, shifted by {shift}");
            assert!(sizes.iter().all(|size| (25..400).contains(size)), "shifted by {shift}: {sizes:?}");
        }
    }
}
