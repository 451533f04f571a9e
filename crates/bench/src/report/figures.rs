//! Figures as people read them: with as many digits as they are worth, and a unit.

/// Three digits that count, with separators: 12,300 or 4.56.
pub(crate) fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    if digits >= 3 {
        let step = 10_f64.powi(digits - 2);
        return grouped(((value / step).round() * step) as i64);
    }
    let decimals = (2 - digits).clamp(0, 3) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A count, whole.
pub(crate) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("−{text}") } else { text }
}

/// A time that is given in microseconds.
pub(crate) fn micros(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{} ns", number(value * 1_000.0)),
        value if value < 1_000.0 => format!("{} µs", number(value)),
        value if value < 1_000_000.0 => format!("{} ms", number(value / 1_000.0)),
        value => format!("{} s", number(value / 1_000_000.0)),
    }
}

/// A factor, such as `2.5×`.
pub(crate) fn times(ratio: f64) -> String {
    format!("{} ×", number(ratio))
}

/// A count with its noun: 1 core, 2 cores.
pub(crate) fn count_of(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// A share, as per cent.
pub(crate) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// A figure that there may not be.
pub(crate) fn or_dash(value: Option<f64>, format: fn(f64) -> String) -> String {
    value.map_or_else(|| "–".to_owned(), format)
}

/// `a`, `b` and `c`.
pub(crate) fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_that_count_and_their_unit() {
        for (value, text) in
            [(12_345.0, "12,300"), (999.6, "1000"), (4.5678, "4.57"), (0.061, "0.061"), (0.0, "0")]
        {
            assert_eq!(number(value), text);
        }
        for (value, text) in [(0.35, "350 ns"), (53.2, "53.2 µs"), (1_234.0, "1.23 ms"), (2.5e6, "2.5 s")] {
            assert_eq!(micros(value), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(listed(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
