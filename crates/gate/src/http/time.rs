//! Format of times: RFC 3339, in UTC, to the millisecond.

use countersign::protocol::Timestamp;

/// `2026-07-01T12:00:00.000Z`.
pub(super) fn rfc3339(at: Timestamp) -> String {
    format!("{:.3}", in_range(at))
}

/// `1 July 2026, 12:00 UTC`, for people.
pub(super) fn for_people(at: Timestamp) -> String {
    in_range(at).strftime("%-d %B %Y, %H:%M UTC").to_string()
}

/// A time past the year 9999 is written as the last moment before.
fn in_range(at: Timestamp) -> jiff::Timestamp {
    let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc_and_never_out_of_range() {
        assert_eq!(rfc3339(Timestamp(0)), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(Timestamp(1_782_907_200_250)), "2026-07-01T12:00:00.250Z");
        assert_eq!(for_people(Timestamp(1_782_907_200_250)), "1 July 2026, 12:00 UTC");
        assert!(rfc3339(Timestamp(u64::MAX)).starts_with("9999-12-30T"));
    }
}
