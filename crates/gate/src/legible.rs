//! Text for people: characters that cannot be seen or that reorder others are marked, as `[U+202E]`.

use std::{borrow::Cow, fmt::Write as _};

use unicode_general_category::{GeneralCategory, get_general_category};

/// The text with all such characters marked, line ends too: a name must not be able to add lines.
pub(crate) fn legible(text: &str) -> Cow<'_, str> {
    marked(text, |_| false)
}

/// The same for text of several lines.
pub(crate) fn legible_lines(text: &str) -> Cow<'_, str> {
    marked(text, |character| matches!(character, '\n' | '\r' | '\t'))
}

/// The same for a line of a log, which may have colours.
pub(crate) fn legible_log(text: &str) -> Cow<'_, str> {
    marked(text, |character| matches!(character, '\n' | '\t' | '\u{1b}'))
}

fn marked(text: &str, is_kept: impl Fn(char) -> bool) -> Cow<'_, str> {
    let is_marked = |character: char| is_hidden(character) && !is_kept(character);
    if !text.contains(is_marked) {
        return Cow::Borrowed(text);
    }
    let mut legible = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_marked(character) {
            // Writing to a string does not fail.
            let _ = write!(legible, "[U+{:04X}]", u32::from(character));
        } else {
            legible.push(character);
        }
    }
    Cow::Owned(legible)
}

/// True for controls, bidirectional and other format characters, separators of lines, and fillers without a glyph.
fn is_hidden(character: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    if matches!(character, ' '..='~') {
        return false;
    }
    // Letters and marks by their category, and invisible all the same.
    let is_filler = matches!(
        character,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2800}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}'
    );
    let category = get_general_category(character);
    is_filler
        || matches!(
            category,
            Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_legible_stays_as_it_is() {
        for text in ["", "shop:1.4.2", "Größe, 日本語, עברית 🚀", "a\u{301} b\u{a0}c"] {
            assert!(matches!(legible(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn what_hides_or_reorders_is_marked() {
        for (text, shown) in [
            ("shop\u{202e}1:pohs", "shop[U+202E]1:pohs"),
            ("\u{2066}a\u{2069}", "[U+2066]a[U+2069]"),
            ("pro\u{200b}duction", "pro[U+200B]duction"),
            ("a\u{feff}\u{3164}b", "a[U+FEFF][U+3164]b"),
            ("a\nb\u{2028}c\u{7f}", "a[U+000A]b[U+2028]c[U+007F]"),
            ("\u{e0041}\u{e000}", "[U+E0041][U+E000]"),
        ] {
            assert_eq!(legible(text), shown);
        }
    }

    #[test]
    fn lines_and_colours_stay_where_they_may_be() {
        assert_eq!(legible_lines("a\r\n\tb\u{1b}[1m"), "a\r\n\tb[U+001B][1m");
        assert_eq!(legible_log("\u{1b}[1ma\u{202e}\n"), "\u{1b}[1ma[U+202E]\n");
    }
}
