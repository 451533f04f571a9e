//! What is wrong with a flow file, and where.

use std::{fmt, ops::Range};

/// The first thing that is wrong with a flow file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, in bytes from the beginning of the file.
    pub span: Range<usize>,
    /// What was found there.
    pub found: String,
    /// What was expected.
    pub expected: String,
    /// What to do about it, where that is more than doing what was expected.
    pub help: Option<String>,
}

impl Problem {
    pub(super) fn new(span: Range<usize>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { span, found: found.into(), expected: expected.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Suggests the closest of `words`, if one is close.
    pub(super) fn did_you_mean(mut self, found: &str, words: &[&str]) -> Self {
        const CLOSE: f64 = 0.8;
        // Whoever writes in capitals means the same word.
        let found = found.to_ascii_lowercase();
        let likeness = |word: &&str| strsim::jaro_winkler(&found, &word.to_ascii_lowercase());
        let closest = words.iter().max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
        if let Some(word) = closest.filter(|word| likeness(word) >= CLOSE) {
            self.help = Some(format!("did you mean `{word}`?"));
        }
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}", self.found, self.expected)
    }
}

impl std::error::Error for Problem {}

/// The line and the column of a byte in a file, both from 1; the column counts characters.
pub fn position(bytes: &[u8], offset: usize) -> (usize, usize) {
    let before = &bytes[..offset.min(bytes.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    (line, 1 + String::from_utf8_lossy(&before[line_start..]).chars().count())
}
