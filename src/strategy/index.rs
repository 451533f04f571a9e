//! A map by approval id, with a hash that is the same in every run.

use std::hash::{BuildHasherDefault, Hasher};

use uuid::Uuid;

/// A map by id.
#[expect(
    clippy::disallowed_types,
    reason = "its hash has a fixed key: this is the one place that makes such maps"
)]
pub(super) type IdMap<T> = std::collections::HashMap<Uuid, T, BuildHasherDefault<IdHasher>>;

/// Folds the sixteen bytes of an id. Ids are random, and given out by the server: nobody chooses their collisions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // An odd number whose bits look random: 2⁶⁴ divided by the golden ratio.
        const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;
        for chunk in bytes.chunks(size_of::<u64>()) {
            let mut word = [0; size_of::<u64>()];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(29) ^ u64::from_le_bytes(word)).wrapping_mul(SPREAD);
        }
    }
}

/// The shard of an id, of so many.
pub(super) fn shard_of(id: Uuid, shards: usize) -> usize {
    let mut hasher = IdHasher::default();
    hasher.write(id.as_bytes());
    // The maps take the other bits.
    (hasher.finish() >> 48) as usize % shards
}
