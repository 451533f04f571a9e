//! The error of a store: what it says about the change that was asked for, and what caused it.

use std::{error::Error, fmt, sync::Arc};

/// The effect of a failed store call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// Nothing changed: the call may be repeated.
    NotApplied,
    /// The change may have happened: read before repeating the call.
    Unknown,
}

/// The infrastructure failed: a database, a disk, a connection. A refusal by the rules is never an error.
///
/// [`source`](Error::source) is the cause, for a database the driver's own error. Two errors are equal if their kinds
/// are: the cause is informational.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    source: Arc<dyn Error + Send + Sync>,
}

impl StoreError {
    /// Nothing changed, because of `source`.
    pub fn not_applied(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::NotApplied, source: Arc::from(source.into()) }
    }

    /// The change may have happened, because of `source`.
    pub fn unknown(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind: StoreErrorKind::Unknown, source: Arc::from(source.into()) }
    }

    /// The effect on the requested change.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// True if this is not the store that was opened.
    pub fn is_replaced(&self) -> bool {
        self.source.is::<Replaced>()
    }

    /// The same cause for a change that certainly did not happen.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn into_not_applied(self) -> Self {
        Self { kind: StoreErrorKind::NotApplied, ..self }
    }
}

/// The cause of an error: this is not the store that was opened: it was restored, replaced or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced(pub String);

impl fmt::Display for Replaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Replaced {}

impl PartialEq for StoreError {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl Eq for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            StoreErrorKind::NotApplied => "the store failed and nothing changed",
            StoreErrorKind::Unknown => "the store failed and the change may have happened",
        })
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// An error and its causes, in one line.
#[derive(Clone, Copy, Debug)]
pub struct Causes<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_carries_its_cause_and_is_equal_by_kind() {
        let full = StoreError::not_applied(std::io::Error::other("no space left"));
        assert_eq!(full, StoreError::not_applied("another cause"));
        assert_ne!(full, StoreError::unknown("no space left"));
        let source = full.source().expect("it has a cause");
        assert!(source.downcast_ref::<std::io::Error>().is_some());
        assert_eq!(Causes(&full).to_string(), "the store failed and nothing changed: no space left");
    }
}
