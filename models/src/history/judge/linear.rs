//! The linear check: whether a use can have taken effect before an operation that ends the object's life.
//!
//! A use takes effect at one point between its begin and its end. Every read of "unused" comes before that point, so the
//! point is later than the begin of each such read. It takes time in proportion to the operations.

/// An interval of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
}

/// The earliest moment at which a use can have taken effect, given the reads that found the object unused.
/// `None`: no moment fits, because a read of "unused" began after the use had ended.
pub fn earliest(usage: Span, unused_reads: &[Span], used_reads: &[Span]) -> Option<u64> {
    let from = unused_reads.iter().map(|read| read.from).fold(usage.from, u64::max);
    let to = used_reads.iter().map(|read| read.to).fold(usage.to, u64::min);
    (from < to).then_some(from)
}

/// A use can have taken effect before `end` did.
pub fn fits_before(usage: Span, end: Span, unused_reads: &[Span], used_reads: &[Span]) -> bool {
    earliest(usage, unused_reads, used_reads).is_some_and(|from| from < end.to)
}
