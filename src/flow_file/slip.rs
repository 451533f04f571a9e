//! Slips of TOML: from the parser's complaint and the text around it to the author's mistake and its place.

use std::ops::Range;

use super::position;

/// A slip that makes a file invalid TOML.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slip {
    /// A list or an inline table without its end.
    Unclosed {
        /// `[` or `{`.
        opening: char,
        /// The line before which the end is missing; `None` if it is that of the opening, or the last one.
        before: Option<usize>,
    },
    /// A table's header without its end.
    Header,
    /// A text without one of its quotes.
    Quote,
    /// A text without quotes.
    Unquoted(String),
    /// Two values without a comma between them.
    Comma,
    /// A colon between a key and its value.
    Colon,
    /// A key or a table that the file has already.
    Repeated {
        /// The key, or the table in its brackets.
        name: String,
        /// The line of the first one, where it was found.
        first: Option<usize>,
    },
}

/// The slip that made the TOML parser say `why` of this part of the text, and its place.
pub(super) fn slip(text: &str, span: &Range<usize>, why: &str) -> Option<(Range<usize>, Slip)> {
    let begin = text.get(..span.start)?.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    let rest = &text[span.start..];
    if why.starts_with("duplicate key") {
        return Some((span.clone(), repeated(text, begin, span)?));
    }
    if let Some(quote) = odd_quote(line) {
        return Some((begin + quote..begin + line.len(), Slip::Quote));
    }
    if line.trim_start().starts_with('[')
        && why.starts_with("unclosed")
        && !why.starts_with("unclosed array,")
    {
        return Some((begin..begin + line.len(), Slip::Header));
    }
    if let Some((at, opening)) = open_bracket(&text[..span.start]) {
        let closing = if opening == '[' { ']' } else { '}' };
        let is_other_end = rest.starts_with([']', '}']) && !rest.starts_with(closing);
        let is_later = text[at..begin.max(at)].contains('\n');
        let begins_anew = line.trim_start().starts_with('[') || (opening == '[' && key(line).is_some());
        if why.starts_with("unclosed") || is_other_end || (is_later && begins_anew) {
            let is_last = why.starts_with("unclosed");
            let before = (is_later && !is_last).then(|| position(text.as_bytes(), span.start).0);
            return Some((at..at + 1, Slip::Unclosed { opening, before }));
        }
    }
    if why.starts_with("missing comma") {
        return Some((span.clone(), Slip::Comma));
    }
    if let Some(colon) = line.find(':').filter(|_| why.starts_with("key with no value")) {
        return Some((begin + colon..begin + colon + 1, Slip::Colon));
    }
    let end = rest.find([',', ']', '}', '#', '\r', '\n']).unwrap_or(rest.len());
    let word = rest[..end].trim_end();
    let is_word = word.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_value = text[begin..span.start].trim_end().ends_with(['=', '[', ',']);
    (is_word && is_value).then(|| (span.clone(), Slip::Unquoted(word.to_owned())))
}

fn is_of_key(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

/// The key of a line `key = value`.
fn key(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let end = line.find(|letter| !is_of_key(letter))?;
    (end > 0 && line[end..].trim_start().starts_with('=')).then_some(&line[..end])
}

/// The first one of a key or a table that comes again. `begin` is where its line begins.
fn repeated(text: &str, begin: usize, span: &Range<usize>) -> Option<Slip> {
    let name = text.get(span.clone())?.to_owned();
    let lines: Vec<&str> = text[..begin].lines().collect();
    let header = |line: &str| line.trim_start().starts_with('[');
    if header(&text[begin..]) && text[begin..span.start].trim() != "" {
        let inner = |line: &str| line.trim().trim_start_matches('[').split(']').next() == Some(&name);
        let first = lines.iter().position(|line| header(line) && inner(line)).map(|index| index + 1);
        return Some(Slip::Repeated { name: format!("[{name}]"), first });
    }
    let own = lines.iter().rposition(|line| header(line)).map_or(0, |index| index + 1);
    let first = lines[own..].iter().position(|line| key(line) == Some(&name)).map(|index| own + index + 1);
    Some(Slip::Repeated { name, first })
}

/// The first quote of a line with an odd number of them, apart from comments and texts of several lines.
fn odd_quote(line: &str) -> Option<usize> {
    if line.contains("\"\"\"") || line.contains("'''") {
        return None;
    }
    let mut quotes = Vec::new();
    let mut letters = line.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' if quotes.len() % 2 == 1 => _ = letters.next(),
            '"' => quotes.push(at),
            '#' if quotes.len() % 2 == 0 => break,
            _ => {}
        }
    }
    (quotes.len() % 2 == 1).then(|| quotes[0])
}

/// The innermost bracket or brace that is open at the end of this text, of which all is TOML so far.
fn open_bracket(text: &str) -> Option<(usize, char)> {
    let mut open = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        let rest = &text[at..];
        let end_of = |opening: usize, closing: &str| {
            let inner = &rest[opening.min(rest.len())..];
            inner.find(closing).map_or(rest.len(), |end| opening + end + closing.len())
        };
        at += match letter {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' if rest.starts_with("\"\"\"") => end_of(3, "\"\"\""),
            '\'' if rest.starts_with("'''") => end_of(3, "'''"),
            '"' => end_of_text(rest),
            '\'' => end_of(1, "'"),
            '[' | '{' => {
                open.push((at, letter));
                1
            }
            ']' | '}' => {
                open.pop();
                1
            }
            letter => letter.len_utf8(),
        };
    }
    open.pop()
}

/// The length of the text in quotes that `rest` begins with.
fn end_of_text(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => _ = letters.next(),
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

impl Slip {
    pub(super) fn found(&self) -> String {
        match self {
            Self::Unclosed { opening: '[', .. } => "a list without its end".to_owned(),
            Self::Unclosed { .. } => "an inline table without its end".to_owned(),
            Self::Header => "a table's header without its end".to_owned(),
            Self::Quote => "a text without one of its quotes".to_owned(),
            Self::Unquoted(word) => format!("`{}` without quotes", super::problem::shortened(word)),
            Self::Comma => "two values without a comma between them".to_owned(),
            Self::Colon => "a colon after a key".to_owned(),
            Self::Repeated { name, .. } => {
                format!("`{}` for the second time", super::problem::shortened(name))
            }
        }
    }

    pub(super) fn expected(&self) -> String {
        match self {
            Self::Unclosed { opening, before } => {
                let closing = if *opening == '[' { ']' } else { '}' };
                match before {
                    Some(line) => format!("`{closing}` before line {line}"),
                    None => format!("`{closing}` at its end"),
                }
            }
            Self::Header => "`[object]`, `[[step]]`: as many closing brackets as opening ones".to_owned(),
            Self::Quote => "`\"` on both sides of each text".to_owned(),
            Self::Unquoted(_) => "a text in quotes, `true`, `false` or a number".to_owned(),
            Self::Comma => "`,` before this one".to_owned(),
            Self::Colon => "`=` between a key and its value".to_owned(),
            Self::Repeated { name, .. } if name == "[step]" => "`[[step]]`".to_owned(),
            Self::Repeated { first: Some(line), .. } => format!("it once: the first one is in line {line}"),
            Self::Repeated { first: None, .. } => "it once".to_owned(),
        }
    }

    pub(super) fn help(&self) -> Option<String> {
        match self {
            Self::Unquoted(word) => super::problem::did_you_mean(word, &["true", "false"]).or_else(|| {
                Some(format!("a text is written in quotes: `\"{}\"`", super::problem::shortened(word)))
            }),
            Self::Repeated { name, .. } if name == "[step]" => {
                Some("each step begins with `[[step]]`, in double brackets".to_owned())
            }
            Self::Repeated { name, .. } if name == "do" => {
                Some("each step begins with a `[[step]]` of its own".to_owned())
            }
            Self::Repeated { name, .. } if name.starts_with('[') => {
                Some("put its keys into the first one".to_owned())
            }
            _ => None,
        }
    }
}
