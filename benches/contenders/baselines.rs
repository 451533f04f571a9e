//! The baselines of the strategies: a bare exchange, a frozen map, and popular concurrent maps.

use std::{
    hash::{BuildHasherDefault, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use countersign::{
    protocol::{ApprovalState, Digest, Status, Timestamp},
    store::memory::strategy::Record,
};
use uuid::Uuid;

use super::{APPROVED, BEGAN, Contender, DIGEST, EXPIRES_AT, may_be_consumed};

/// The strategies' hash: ids are random, so two multiplications suffice.
#[derive(Clone, Copy, Default)]
pub(crate) struct IdHasher(u64);

const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        (self.0 ^ self.0 >> 32).wrapping_mul(SPREAD)
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(29) ^ u64::from_be_bytes(word)).wrapping_mul(SPREAD);
        }
    }
}

type ById = BuildHasherDefault<IdHasher>;

#[expect(clippy::disallowed_types, reason = "its hash has a fixed key")]
type FrozenMap = std::collections::HashMap<Uuid, Row, ById>;

fn packed(status: Status, at: Timestamp) -> u64 {
    at.0 << 3 | status as u64
}

/// The constant part, and a word for the rest.
struct Row {
    expires_at: Timestamp,
    digest: Digest,
    word: AtomicU64,
}

impl Row {
    fn approved() -> Self {
        Self { expires_at: EXPIRES_AT, digest: DIGEST, word: AtomicU64::new(packed(Status::Approved, BEGAN)) }
    }

    fn standing(&self, word: u64) -> ApprovalState {
        let status = Status::ALL[(word & 7) as usize];
        ApprovalState { status, expires_at: self.expires_at, digest: self.digest }
    }

    fn validate(&self, now: Timestamp) -> bool {
        may_be_consumed(self.standing(self.word.load(Ordering::Acquire)), now)
    }

    /// Looks first: a loser does not write.
    fn load_then_exchange(&self, now: Timestamp) -> bool {
        let mut seen = self.word.load(Ordering::Acquire);
        let new = packed(Status::Executed, now);
        while may_be_consumed(self.standing(seen), now) {
            match self.word.compare_exchange(seen, new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return true,
                Err(meanwhile) => seen = meanwhile,
            }
        }
        false
    }

    fn reset(&self) {
        self.word.store(packed(Status::Approved, BEGAN), Ordering::Release);
    }
}

/// An array of words, and a compare-exchange: nothing is looked up, and nothing else is judged.
pub(crate) struct BareCas(Vec<AtomicU64>);

impl BareCas {
    fn word(&self, id: Uuid) -> &AtomicU64 {
        &self.0[id.as_u128() as u32 as usize]
    }
}

impl Contender for BareCas {
    fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>) {
        let place = |(number, id): (usize, &Uuid)| {
            Uuid::from_u128(id.as_u128() & !u128::from(u32::MAX) | number as u128)
        };
        let words = ids.iter().map(|_| AtomicU64::new(packed(Status::Approved, BEGAN))).collect();
        (Self(words), ids.iter().enumerate().map(place).collect())
    }

    fn consume(&self, id: Uuid, now: Timestamp) -> bool {
        let approved = packed(Status::Approved, BEGAN);
        let executed = packed(Status::Executed, now);
        self.word(id).compare_exchange(approved, executed, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn validate(&self, id: Uuid, _: Timestamp) -> bool {
        self.word(id).load(Ordering::Acquire) == packed(Status::Approved, BEGAN)
    }

    fn reset(&self, id: Uuid) {
        self.word(id).store(packed(Status::Approved, BEGAN), Ordering::Release);
    }
}

macro_rules! frozen {
    ($(#[doc = $doc:literal] $name:ident $consume:path;)+) => {
        $(
            #[doc = $doc]
            pub(crate) struct $name(FrozenMap);

            impl Contender for $name {
                fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>) {
                    let mut map = FrozenMap::default();
                    map.extend(ids.iter().map(|id| (*id, Row::approved())));
                    (Self(map), ids.to_vec())
                }

                fn consume(&self, id: Uuid, now: Timestamp) -> bool {
                    self.0.get(&id).is_some_and(|row| $consume(row, now))
                }

                fn validate(&self, id: Uuid, now: Timestamp) -> bool {
                    self.0.get(&id).is_some_and(|row| row.validate(now))
                }

                fn reset(&self, id: Uuid) {
                    if let Some(row) = self.0.get(&id) {
                        row.reset();
                    }
                }
            }
        )+
    };
}

frozen! {
    /// A frozen map, and a compare-exchange without a load before it: a loser takes the cache line.
    FrozenCas exchange_without_load;
    /// The same, with a look before the compare-exchange.
    FrozenLoadCas Row::load_then_exchange;
    /// The same, with a store where the compare-exchange should be: fast, and wrong.
    CheckThenAct check_then_act;
}

fn exchange_without_load(row: &Row, now: Timestamp) -> bool {
    let (approved, executed) = (packed(Status::Approved, BEGAN), packed(Status::Executed, now));
    may_be_consumed(row.standing(approved), now)
        && row.word.compare_exchange(approved, executed, Ordering::AcqRel, Ordering::Acquire).is_ok()
}

fn check_then_act(row: &Row, now: Timestamp) -> bool {
    let may = row.validate(now);
    if may {
        row.word.store(packed(Status::Executed, now), Ordering::Release);
    }
    may
}

/// Judges and moves while the map's lock is held.
fn move_locked(record: &mut Record, now: Timestamp) -> bool {
    let may = may_be_consumed(record.standing, now);
    if may {
        record.standing.status = Status::Executed;
        record.changed_at = now;
    }
    may
}

/// `DashMap`: locked shards.
pub(crate) struct Dash(dashmap::DashMap<Uuid, Record, ById>);

impl Contender for Dash {
    fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>) {
        let map = dashmap::DashMap::with_hasher(ById::default());
        for id in ids {
            map.insert(*id, APPROVED);
        }
        (Self(map), ids.to_vec())
    }

    fn consume(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.get_mut(&id).is_some_and(|mut record| move_locked(&mut record, now))
    }

    fn validate(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.get(&id).is_some_and(|record| may_be_consumed(record.standing, now))
    }

    fn reset(&self, id: Uuid) {
        self.0.insert(id, APPROVED);
    }
}

/// `papaya`: a map without locks, and an atomic word in each value.
pub(crate) struct Papaya(papaya::HashMap<Uuid, Row, ById>);

impl Contender for Papaya {
    fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>) {
        let map = papaya::HashMap::with_hasher(ById::default());
        let pinned = map.pin();
        for id in ids {
            pinned.insert(*id, Row::approved());
        }
        drop(pinned);
        (Self(map), ids.to_vec())
    }

    fn consume(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.pin().get(&id).is_some_and(|row| row.load_then_exchange(now))
    }

    fn validate(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.pin().get(&id).is_some_and(|row| row.validate(now))
    }

    fn reset(&self, id: Uuid) {
        if let Some(row) = self.0.pin().get(&id) {
            row.reset();
        }
    }
}

/// `scc`: a lock for each bucket.
pub(crate) struct Scc(scc::HashMap<Uuid, Record, ById>);

impl Contender for Scc {
    fn build(ids: &[Uuid]) -> (Self, Vec<Uuid>) {
        let map = scc::HashMap::with_hasher(ById::default());
        for id in ids {
            map.upsert_sync(*id, APPROVED);
        }
        (Self(map), ids.to_vec())
    }

    fn consume(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.update_sync(&id, |_, record| move_locked(record, now)) == Some(true)
    }

    fn validate(&self, id: Uuid, now: Timestamp) -> bool {
        self.0.read_sync(&id, |_, record| may_be_consumed(record.standing, now)) == Some(true)
    }

    fn reset(&self, id: Uuid) {
        self.0.update_sync(&id, |_, record| *record = APPROVED);
    }
}
