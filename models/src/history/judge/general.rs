//! The general search: every order of the operations that respects real time, tried on a model of the object.
//!
//! The search takes exponential time. It serves to check the linear check, which produces the verdicts.

use super::linear::Span;

/// An operation of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A use that succeeded.
    Use,
    /// A read of the state.
    Read {
        /// The operation found the object used.
        used: bool,
    },
    /// The object's life ends: no later use is permitted.
    End,
}

/// Some order of the operations respects real time and the model.
pub fn linearizable(operations: &[(Step, Span)]) -> bool {
    search(operations, 0, false, false)
}

fn search(operations: &[(Step, Span)], done: u64, used: bool, ended: bool) -> bool {
    let open = || (0..operations.len()).filter(|index| done & (1 << index) == 0);
    // An operation may come next if no other open one ended before it began.
    let first_end = open().map(|index| operations[index].1.to).min();
    let Some(first_end) = first_end else { return true };
    open().filter(|index| operations[*index].1.from < first_end).any(|index| {
        let done = done | 1 << index;
        match operations[index].0 {
            Step::Use => !used && !ended && search(operations, done, true, ended),
            Step::Read { used: found } => found == used && search(operations, done, used, ended),
            Step::End => search(operations, done, used, true),
        }
    })
}
