//! A state for people: one line for the world, one for each attempt that has begun.

use std::fmt;

use super::{JobStatus, Lease, State, TargetStatus};
use crate::properties::PromotionState;

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let world = &self.world;
        write!(f, "object {}, used {}×", world.status, world.uses)?;
        write!(f, ", window {}", if world.window_passed { "passed" } else { "open" })?;
        if world.drifted {
            f.write_str(", source changed")?;
        }
        if world.target_drifted {
            f.write_str(", target changed")?;
        }
        write!(f, ", executed events {}", world.executed_events)?;
        for (index, target) in world.targets.iter().enumerate() {
            if *target != TargetStatus::Absent {
                write!(f, ", target {} {target:?}", index + 1)?;
            }
        }
        for job in world.jobs.iter().flatten().filter(|job| job.status != JobStatus::Absent) {
            write!(f, ", job {:?}", job.status)?;
        }
        if let Lease::Held { by, .. } = world.lease {
            write!(f, ", lease held by attempt {}", by + 1)?;
        }
        write!(f, ", effects {:?}", world.effects)?;
        write!(f, "; left: {} crashes, {} faults", world.crashes_left, world.faults_left)?;
        for (index, one) in
            self.attempts.iter().enumerate().filter(|(_, one)| one.stage != PromotionState::Waiting)
        {
            write!(f, "\nattempt {}: {:?}", index + 1, one.stage)?;
            if one.stage == PromotionState::Running {
                write!(f, ", next action {}, holds {:?}", one.cursor + 1, one.held)?;
            }
            for (is, what) in [
                (one.is_deploying(), "deploy running"),
                (one.uses > 0, "used it"),
                (one.wrote, "wrote"),
                (one.acted.iter().any(|count| *count > 0), "acted"),
                (one.ending.is_some(), "undoing"),
                (one.has_marker, "in flight"),
                (one.is_stored, "outcome stored"),
            ] {
                if is {
                    write!(f, ", {what}")?;
                }
            }
        }
        Ok(())
    }
}
