//! Checkpoints: a running promotion as a value, for a driver that continues it later in the same process.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
};

use super::Position;
use crate::protocol::{flow::Flow, refusal::Refusal, rules::Request};

/// A running promotion between two effects. Only [`Promotion::checkpoint`](super::Promotion::checkpoint) makes one, so that
/// no promotion goes on behind steps that never ran.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Checkpoint {
    pub(super) at: Position,
    pub(super) refusal: Option<Refusal>,
    flow: u64,
    request: u64,
}

impl Checkpoint {
    pub(super) fn new(flow: &Flow, request: &Request, at: Position, refusal: Option<Refusal>) -> Self {
        Self { at, refusal, flow: hash_of(flow), request: hash_of(request) }
    }

    /// The state of the promotion's machine.
    pub fn position(&self) -> Position {
        self.at
    }

    pub(super) fn check(&self, flow: &Flow, request: &Request) -> Result<(), InvalidCheckpoint> {
        if self.flow != hash_of(flow) {
            return Err(InvalidCheckpoint::OtherFlow);
        }
        if self.request != hash_of(request) {
            return Err(InvalidCheckpoint::OtherRequest);
        }
        Ok(())
    }
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A promotion cannot go on from a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidCheckpoint {
    /// The checkpoint is of another flow.
    OtherFlow,
    /// The checkpoint is of another request.
    OtherRequest,
}

impl fmt::Display for InvalidCheckpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OtherFlow => "the checkpoint is of another flow",
            Self::OtherRequest => "the checkpoint is of another request",
        })
    }
}

impl std::error::Error for InvalidCheckpoint {}
