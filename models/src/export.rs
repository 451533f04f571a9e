//! Exports of a flow for other provers: guarded commands in Promela, TLA+ and constrained Horn clauses.
//!
//! The rules are not written a second time: the model's moves are tabulated, and guards are found that say the same.
//! Another tool then checks the exploration, the counts and the verdicts by itself, but not the rules.

mod claims;
mod closure;
mod cover;
mod promela;
mod smt2;
mod system;
mod text;
mod tla;
mod vars;
mod walk;

use std::{fmt, ops::ControlFlow};

use countersign::protocol::Flow;

use crate::{model::Model, properties::Property};
use system::System;

/// Why a flow is not exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More states, or more rows of a table for any number, than allowed.
    TooMany(usize),
    /// `watch` stopped it.
    Stopped,
    /// A move depends on, or changes, a participant other than its mover.
    Depends(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany(most) => write!(f, "more than {most} states"),
            Self::Stopped => f.write_str("the time is up"),
            Self::Depends(what) => f.write_str(what),
        }
    }
}

/// A flow for any number of callers, crashes and faults, as constrained Horn clauses, for z3. `about` says what the file
/// is. `watch` is called with the number of rows so far every now and then, and may stop it.
///
/// # Errors
/// [`Refused`], if there are more than `most` rows, say.
pub fn smt2(
    flow: &Flow,
    about: &str,
    most: usize,
    watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<String, Refused> {
    let table = closure::closure(flow.clone(), most, watch)?;
    Ok(smt2::file(&system::system(&Model::unseated(flow.clone()), &table), about))
}

/// A flow within bounds, as guarded commands.
pub struct Export {
    system: System,
}

impl Export {
    /// Tabulates `model`, which has at most `max_states`. `watch` is called with the number of states every now and then,
    /// and may stop it.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn new(
        model: &Model,
        max_states: usize,
        watch: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Self, Refused> {
        let walk = walk::walk(model, max_states, watch)?;
        Ok(Self { system: system::system(model, &walk) })
    }

    /// The number of states.
    pub fn states(&self) -> usize {
        self.system.states
    }

    /// The properties that some state violates.
    pub fn violated(&self) -> &[Property] {
        &self.system.violated
    }

    /// For a checker of TLA+. `about` says what the module is.
    pub fn tla(&self, module: &str, about: &str) -> String {
        tla::file(&self.system, module, about)
    }

    /// For spin. `about` says what the file is.
    pub fn promela(&self, about: &str) -> String {
        promela::file(&self.system, about)
    }
}

#[cfg(test)]
mod tests;
