//! Status and time in one word, so that one exchange moves both.
//!
//! ```text
//!  63                                              3 2      0
//! ┌─────────────────────────────────────────────────┬────────┐
//! │ changed_at, in milliseconds                     │ status │   0: nothing there yet
//! └─────────────────────────────────────────────────┴────────┘
//! ```

use crate::protocol::{Status, Timestamp};

/// The word of a slot that has no record yet.
pub(super) const EMPTY: u64 = 0;

const STATUS_BITS: u32 = 3;

/// Packs both. A time beyond the year 73,000,000 is cut to its end.
pub(super) fn pack(status: Status, changed_at: Timestamp) -> u64 {
    let code = match status {
        Status::Pending => 1,
        Status::Approved => 2,
        Status::Rejected => 3,
        Status::Expired => 4,
        Status::Executed => 5,
        Status::Revoked => 6,
    };
    changed_at.0.min(u64::MAX >> STATUS_BITS) << STATUS_BITS | code
}

/// Both, unless it is [`EMPTY`].
pub(super) fn unpack(word: u64) -> Option<(Status, Timestamp)> {
    let status = match word & ((1 << STATUS_BITS) - 1) {
        1 => Status::Pending,
        2 => Status::Approved,
        3 => Status::Rejected,
        4 => Status::Expired,
        5 => Status::Executed,
        6 => Status::Revoked,
        _ => return None,
    };
    Some((status, Timestamp(word >> STATUS_BITS)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing_and_is_never_empty() {
        for status in Status::ALL {
            for at in [Timestamp(0), Timestamp(1), Timestamp(u64::MAX >> 3)] {
                let word = pack(status, at);
                assert_ne!(word, EMPTY);
                assert_eq!(unpack(word), Some((status, at)));
            }
        }
        let late = unpack(pack(Status::Executed, Timestamp(u64::MAX)));
        assert_eq!(late, Some((Status::Executed, Timestamp(u64::MAX >> 3))), "cut to the end of time");
        assert_eq!(unpack(EMPTY), None);
        assert_eq!(unpack(7), None, "no status has this code");
    }
}
