//! What the properties look at, in three words: schedules are played by the million, and most of their steps show nothing new.

use countersign::protocol::Status;

use super::Known;
use crate::properties::{Beyond, PromotionFacts};

/// The promotions of one approval, each packed when it changes.
#[derive(Clone, Debug, Default)]
pub(in crate::simulation) struct Promotions {
    facts: Vec<PromotionFacts>,
    packed: u128,
}

impl Promotions {
    /// How many are packed. With more of them nothing is.
    const MOST: usize = 10;
    /// For the stage four, since one that is there is no zero, and for the flags six.
    const BITS: usize = 10;

    /// In the order in which they came.
    pub(super) fn all(&self) -> &[PromotionFacts] {
        &self.facts
    }

    pub(super) fn clear(&mut self) {
        self.facts.clear();
        self.packed = 0;
    }

    /// One more; its place.
    pub(in crate::simulation) fn add(&mut self, facts: PromotionFacts) -> usize {
        let place = self.facts.len();
        self.facts.push(facts);
        self.pack(place, facts);
        place
    }

    /// Nothing happens where there is none.
    #[inline]
    pub(in crate::simulation) fn change(&mut self, place: usize, change: impl FnOnce(&mut PromotionFacts)) {
        let Some(known) = self.facts.get_mut(place) else { return };
        let mut facts = *known;
        change(&mut facts);
        if facts != *known {
            *known = facts;
            self.pack(place, facts);
        }
    }

    fn pack(&mut self, place: usize, facts: PromotionFacts) {
        if place < Self::MOST {
            let shift = FLAGS + place * Self::BITS;
            self.packed = self.packed & !(0x3FF << shift) | u128::from(packed_promotion(facts)) << shift;
        }
    }
}

fn packed_promotion(facts: PromotionFacts) -> u64 {
    // All of them by name, here and below: one that is added is missed here first.
    let PromotionFacts { stage, foreign, began_on_approved, consumed, wrote, at_consume, at_contended_write } =
        facts;
    let flags =
        bits([foreign, began_on_approved, consumed, wrote, at_consume, at_contended_write, false, false]);
    flags >> 2 << 4 | (stage as u64 + 1)
}

/// The bits that are no promotion's: 24 flags, and three for the status.
const FLAGS: usize = 27;

/// All that the properties look at, in a form that is quickly compared.
pub(super) type Packed = (u64, u64, u64);

/// What is different is packed differently; none when there is too much to be packed.
pub(super) fn packed(status: Status, known: &Known, promotions: &Promotions) -> Option<Packed> {
    // As they lie, so that eight are loaded at once.
    let Known {
        executions,
        decisions,
        executed_events,
        targets_created,
        building,
        unkeyed_launches,
        launched_keyed,
        launched_other,
        launched_unexecuted,
        under_way,
        clean,
        drifted,
        window_passed,
        executed_unapproved,
        executed_late,
        final_left,
        vault_written,
        wrote_other,
        beyond,
    } = *known;
    let Beyond {
        other_services,
        cap_passed,
        stranger_asked,
        stranger_told,
        retried,
        retry_differs,
        stale_worker_tried,
        stale_worker_acted,
        looked_at,
        moved_by_a_look,
        searched,
        token_found,
    } = beyond;
    if promotions.facts.len() > Promotions::MOST {
        return None;
    }
    let counts = u64::from_le_bytes([
        executions,
        decisions,
        executed_events,
        targets_created,
        building,
        unkeyed_launches,
        u8::from(launched_keyed),
        u8::from(launched_other),
    ]);
    let flags = bits([
        launched_unexecuted,
        under_way,
        clean,
        drifted,
        window_passed,
        executed_unapproved,
        executed_late,
        final_left,
    ]) << 16
        | bits([
            vault_written,
            wrote_other,
            other_services,
            cap_passed,
            stranger_asked,
            stranger_told,
            retried,
            retry_differs,
        ]) << 8
        | bits([
            stale_worker_tried,
            stale_worker_acted,
            looked_at,
            moved_by_a_look,
            searched,
            token_found,
            false,
            false,
        ]);
    let all = promotions.packed | u128::from(flags << 3 | status as u64);
    Some((counts, all as u64, (all >> u64::BITS) as u64))
}

/// Eight flags as eight bits, the first one highest.
fn bits(flags: [bool; 8]) -> u64 {
    // The factor has a one wherever a byte's lowest bit has to be moved to: into the highest byte, each to its own place.
    const GATHER: u64 = 0x8040_2010_0804_0201;
    u64::from_le_bytes(flags.map(u8::from)).wrapping_mul(GATHER) >> 56
}

#[cfg(test)]
mod tests {
    use countersign::protocol::{Digest, Timestamp};
    use uuid::Uuid;

    use super::{super::Ledger, *};

    #[test]
    fn eight_flags_are_eight_bits_the_first_one_highest() {
        for byte in 0..=u8::MAX {
            let flags = std::array::from_fn(|place| byte >> (7 - place) & 1 == 1);
            assert_eq!(bits(flags), u64::from(byte), "{flags:?}");
        }
    }

    #[test]
    fn a_promotion_is_packed_unlike_any_flag() {
        let blank = || {
            let (nobody, nothing) = (Uuid::nil(), Digest([0; 32]));
            let ledger = Ledger::new(nobody, nobody, 0, [nobody; 2], nothing, Timestamp(0));
            Ledger { known: Known::default(), ..ledger }
        };
        let pack = |ledger: &Ledger| packed(ledger.status, &ledger.known, &ledger.promotions);
        let mut seen = vec![pack(&blank())];
        for promotions in 1..=3 {
            let mut ledger = blank();
            (0..promotions).for_each(|_| _ = ledger.promotions.add(PromotionFacts::default()));
            seen.push(pack(&ledger));
        }
        let mut asked = blank();
        asked.known.beyond.stranger_asked = true;
        seen.push(pack(&asked));
        let mut cap = blank();
        cap.known.beyond.cap_passed = true;
        seen.push(pack(&cap));
        for (place, one) in seen.iter().enumerate() {
            assert!(one.is_some() && !seen[..place].contains(one), "{place}");
        }
    }
}
