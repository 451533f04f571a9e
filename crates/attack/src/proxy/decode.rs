//! Parameters in their binary form, shown as text.

use super::{statement::Parameter, wire::Fields};

/// Object ids of the types that are decoded.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
}

/// A parameter in binary form; `type_id` is 0 where it is not known.
pub(super) fn binary(type_id: u32, bytes: &[u8]) -> Parameter {
    text(type_id, bytes).map_or_else(|| Parameter::Binary(bytes.to_vec()), Parameter::Text)
}

fn text(type_id: u32, bytes: &[u8]) -> Option<String> {
    let utf8 = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
    Some(match type_id {
        oid::BOOL => (if bytes == [0] { "f" } else { "t" }).to_owned(),
        oid::INT2 => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
        oid::INT4 => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        oid::INT8 => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        oid::OID => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        oid::FLOAT4 => f32::from_be_bytes(bytes.try_into().ok()?).to_string(),
        oid::FLOAT8 => f64::from_be_bytes(bytes.try_into().ok()?).to_string(),
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::JSON => utf8(bytes)?,
        oid::JSONB => utf8(bytes.strip_prefix(&[1])?)?,
        oid::UUID => uuid(bytes.try_into().ok()?),
        oid::DATE => date(i64::from(i32::from_be_bytes(bytes.try_into().ok()?))),
        oid::TIMESTAMP => timestamp(i64::from_be_bytes(bytes.try_into().ok()?)),
        oid::TIMESTAMPTZ => timestamp(i64::from_be_bytes(bytes.try_into().ok()?)) + "+00",
        oid::NUMERIC => numeric(bytes)?,
        _ => return None,
    })
}

fn uuid(bytes: [u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if [4, 6, 8, 10].contains(&index) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A date by its distance from 2000-01-01, in the proleptic Gregorian calendar.
fn date(days: i64) -> String {
    const FROM_0000_03_01: i64 = 730_425;
    const DAYS_OF_400_YEARS: i64 = 146_097;
    let days = days + FROM_0000_03_01;
    let era = days.div_euclid(DAYS_OF_400_YEARS);
    let day_of_era = days.rem_euclid(DAYS_OF_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Counted from March.
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year_of_era + next_year)
}

fn timestamp(microseconds: i64) -> String {
    const PER_SECOND: i64 = 1_000_000;
    const PER_DAY: i64 = 86_400 * PER_SECOND;
    let (day, rest) = (microseconds.div_euclid(PER_DAY), microseconds.rem_euclid(PER_DAY));
    let (seconds, fraction) = (rest / PER_SECOND, rest % PER_SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let clock = format!("{} {hour:02}:{minute:02}:{second:02}", date(day));
    if fraction == 0 { clock } else { format!("{clock}.{fraction:06}") }
}

fn numeric(bytes: &[u8]) -> Option<String> {
    const NEGATIVE: u16 = 0x4000;
    const POSITIVE: u16 = 0;
    let mut fields = Fields(bytes);
    let count = fields.u16()?;
    let weight = i32::from(fields.u16()?.cast_signed());
    let sign = fields.u16()?;
    let scale = usize::from(fields.u16()?);
    if sign != NEGATIVE && sign != POSITIVE {
        return None;
    }
    let digits: Vec<u16> = (0..count).map(|_| fields.u16()).collect::<Option<_>>()?;
    let group = |position: i32| {
        usize::try_from(position).ok().and_then(|position| digits.get(position)).copied().unwrap_or(0)
    };
    let whole: String = (0..=weight).map(|position| format!("{:04}", group(position))).collect();
    let whole = whole.trim_start_matches('0');
    let mut text = if sign == NEGATIVE { "-".to_owned() } else { String::new() };
    text.push_str(if whole.is_empty() { "0" } else { whole });
    if scale > 0 {
        let groups = i32::try_from(scale.div_ceil(4)).ok()?;
        let fraction: String = (1..=groups).map(|place| format!("{:04}", group(weight + place))).collect();
        text.push('.');
        text.push_str(fraction.get(..scale)?);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_types_are_shown_as_postgresql_does() {
        let shown = |type_id, bytes: &[u8]| match binary(type_id, bytes) {
            Parameter::Text(text) => text,
            other => format!("{other:?}"),
        };
        assert_eq!(shown(oid::INT4, &(-5i32).to_be_bytes()), "-5");
        assert_eq!(shown(oid::DATE, &0i32.to_be_bytes()), "2000-01-01");
        assert_eq!(shown(oid::DATE, &(-1i32).to_be_bytes()), "1999-12-31");
        assert_eq!(shown(oid::DATE, &8825i32.to_be_bytes()), "2024-02-29");
        assert_eq!(
            shown(oid::TIMESTAMPTZ, &86_400_500_000i64.to_be_bytes()),
            "2000-01-02 00:00:00.500000+00"
        );
        assert_eq!(shown(oid::BOOL, &[1]), "t");
        assert_eq!(shown(oid::UUID, &[0xab; 16]), "abababab-abab-abab-abab-abababababab");
        // 12345.67: groups 1, 2345, 6700.
        assert_eq!(shown(oid::NUMERIC, &[0, 3, 0, 1, 0, 0, 0, 2, 0, 1, 9, 41, 26, 44]), "12345.67");
        // -0.0001
        assert_eq!(shown(oid::NUMERIC, &[0, 1, 0xff, 0xff, 0x40, 0, 0, 4, 0, 1]), "-0.0001");
    }

    #[test]
    fn bytes_that_do_not_fit_their_type_stay_bytes() {
        assert_eq!(binary(oid::INT4, &[1]), Parameter::Binary(vec![1]));
        assert_eq!(binary(0, b"x"), Parameter::Binary(b"x".to_vec()));
        assert_eq!(binary(oid::NUMERIC, &[0, 9, 0, 0]), Parameter::Binary(vec![0, 9, 0, 0]));
    }
}
