//! Coverage of a campaign: how often each event happened, and the events that a flow rules out.

use std::collections::BTreeMap;

use countersign::protocol::{Atomicity, Consume, Flow, Member, StepAction, Via, Write, WriteTarget};
use serde::{Deserialize, Serialize};

use super::{Ending, Fault};
use crate::{flows::Subject, properties::Property};

/// Number of occurrences of each event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coverage {
    /// Faults, by kind.
    pub faults: BTreeMap<String, u64>,
    /// Requests, by how they ended.
    pub endings: BTreeMap<String, u64>,
    /// Schedules that put a property to the test, by property.
    pub witnesses: BTreeMap<String, u64>,
}

impl Coverage {
    /// Events that never happened, although the flow allows them and its author does not exclude them.
    pub fn missing(&self, subject: &Subject) -> Vec<String> {
        let cannot = cannot_happen(&subject.flow);
        let vacuous = |name: &str| subject.expectations.vacuous.iter().any(|one| one.id() == name);
        let counts = [&self.faults, &self.endings, &self.witnesses].into_iter().flatten();
        let never = counts.filter(|(_, count)| **count == 0).map(|(name, _)| name);
        never.filter(|name| !cannot.contains(&name.as_str()) && !vacuous(name)).cloned().collect()
    }
}

/// Events that this flow rules out.
fn cannot_happen(flow: &Flow) -> Vec<&'static str> {
    let acts_via = |via| flow.acts().any(|(_, act)| act.via == via);
    let enqueues = acts_via(Via::Outbox);
    let mut cannot = Vec::new();
    if !enqueues {
        // Without a job there is no worker.
        let of_workers = [Fault::Skew, Fault::PausedWorker, Fault::SlowDeploy];
        cannot.extend(of_workers.map(Fault::name));
        cannot.push(Property::S14.id());
    }
    if !enqueues && !acts_via(Via::Memory) {
        cannot.push(Fault::FailedDeploy.name());
    }
    if !flow.recalls() {
        cannot.push(Ending::Replayed.name());
    }
    let never = [Property::S13, Property::S23].into_iter().filter(|property| !property.applies(flow));
    cannot.extend(never.map(Property::id));
    if !reads_what_may_be_stale(flow) {
        cannot.push(Fault::StaleRead.name());
    }
    cannot
}

/// True if a read can return a value that another attempt has read before and that has changed since. An attempt past a
/// consume that compares the status is alone: no other attempt reads there, and its own first read is fresh.
fn reads_what_may_be_stale(flow: &Flow) -> bool {
    let mut alone = false;
    let mut reads_alone = 0;
    for step in flow.steps() {
        match &step.action {
            // The look for a target is one at what all approvals share.
            StepAction::Write(Write {
                what: WriteTarget::Target,
                atomicity: Atomicity::ReadThenWrite,
                ..
            })
            | StepAction::Consume(Consume { atomicity: Atomicity::ReadThenWrite, .. }) => return true,
            StepAction::Validate { .. } | StepAction::Check { .. } if alone => reads_alone += 1,
            StepAction::Validate { .. } | StepAction::Check { .. } => return true,
            StepAction::Consume(Consume { guards, .. }) => alone |= guards.status,
            StepAction::Atomic(members) => {
                let compares = |member: &Member| matches!(member, Member::Consume(Consume { guards, .. }) if guards.status);
                alone |= members.iter().any(compares);
            }
            StepAction::Write { .. }
            | StepAction::Recall { .. }
            | StepAction::Lease(_)
            | StepAction::Audit
            | StepAction::Act(_)
            | StepAction::Remember => {}
        }
    }
    reads_alone > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn can_be_stale(steps: &str) -> bool {
        let subject = Subject::read(format!("step = [{steps}]").as_bytes()).expect("a flow");
        !cannot_happen(&subject.flow).contains(&Fault::StaleRead.name())
    }

    const CONSUME: &str = r#"{ do = "consume", guards = ["status"] }"#;
    const CHECK: &str = r#"{ do = "check" }"#;

    #[test]
    fn one_read_after_the_consume_has_nothing_to_be_behind_of() {
        assert!(!can_be_stale(CONSUME));
        assert!(!can_be_stale(&format!("{CONSUME}, {CHECK}")));
        assert!(can_be_stale(&format!("{CONSUME}, {CHECK}, {CHECK}")));
        assert!(can_be_stale(&format!("{CHECK}, {CONSUME}")));
    }

    #[test]
    fn after_a_consume_without_the_status_guard_others_still_read() {
        assert!(can_be_stale(&format!(r#"{{ do = "consume", guards = [] }}, {CHECK}"#)));
        let look_first = r#"{ do = "consume", guards = ["status"], how = "read-then-write" }"#;
        assert!(can_be_stale(look_first));
    }
}
