//! Provers that are broken on purpose: each is caught by its verdicts, by a view that it lacks, or by the check that its
//! views are closed under every move.

use std::ops::ControlFlow;

use super::{
    Limits,
    fixpoint::Fixpoint,
    steps::{ModelSteps, Mover, Step, Steps},
    view::{Class, Context, NoRoom, Participant},
};
use crate::{
    explorer::{self, Explorable, explore},
    flows::BuiltIn,
    model::{Bounds, Model},
    properties::{Property, Set, Stage},
    world::Lease,
};

/// Defect of a prover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mutant {
    None,
    DropsAMove,
    DropsAView,
    CompletesWithNone,
    ForgetsAClass,
    CountsToOne,
    HasNoCrash,
    OverwritesViolations,
    NamesNoUser,
    ForgetsTheWindow,
    ForgetsRetries,
    FreesTheLease,
}

struct Mutated {
    inner: ModelSteps,
    mutant: Mutant,
}

impl Steps for Mutated {
    fn initial(&self) -> Context {
        self.inner.initial()
    }

    fn steps(&self, context: &Context, others: &[Participant], mover: Mover) -> Result<Vec<Step>, NoRoom> {
        let mut steps = self.inner.steps(context, others, mover)?;
        match self.mutant {
            Mutant::DropsAMove if matches!(mover, Mover::Other(_)) && !steps.is_empty() => {
                drop(steps.remove(0));
            }
            Mutant::CompletesWithNone if others.len() > usize::from(mover == Mover::Other(0)) => {
                steps.clear();
            }
            _ => {}
        }
        for step in &mut steps {
            let world = &mut step.context.world;
            match self.mutant {
                Mutant::DropsAView => step.others.retain(|one| one.attempts[0].cursor != 1),
                Mutant::ForgetsAClass => step.others.retain(|one| one.class != Class::Foreign),
                Mutant::CountsToOne => {
                    step.context.successes = step.context.successes.min(1);
                    world.applied = world.applied.min(1);
                    world.effects = world.effects.map(|count| count.min(1));
                }
                Mutant::NamesNoUser => step.others.append(&mut step.context.named),
                Mutant::ForgetsTheWindow => world.window_passed = false,
                Mutant::ForgetsRetries => step.others.retain(|one| !one.attempts[0].stage.has_ended()),
                Mutant::OverwritesViolations => step.violated = 0,
                Mutant::FreesTheLease => (world.lease, world.lease_last) = (Lease::Free, None),
                _ => {}
            }
        }
        Ok(steps)
    }

    fn violated(&self, context: &Context, others: &[Participant]) -> Result<Set, NoRoom> {
        let violated = self.inner.violated(context, others)?;
        Ok(if self.mutant == Mutant::OverwritesViolations { 0 } else { violated })
    }

    fn may_crash(&self, context: &Context, others: &[Participant]) -> Result<bool, NoRoom> {
        Ok(self.mutant != Mutant::HasNoCrash && self.inner.may_crash(context, others)?)
    }

    fn reaches_others(&self) -> bool {
        self.inner.reaches_others()
    }
}

/// The check that catches a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    /// The mutant proves a violated property, or leaves a proved one open.
    Verdict,
    /// A state within bounds has a view that it lacks.
    Missing,
    /// Its views are not closed under the moves of a pair.
    NotClosed,
}

/// True if every move from these views, of every pair of participants, leads to one of them.
fn is_closed(steps: &ModelSteps, fixpoint: &Fixpoint) -> Result<bool, NoRoom> {
    let has = |step: &Step| {
        fixpoint.contains(&step.context, None)
            && step.others.iter().all(|one| fixpoint.contains(&step.context, Some(one)))
    };
    let initial = steps.initial();
    if !fixpoint.contains(&initial, None) {
        return Ok(false);
    }
    for (context, others) in fixpoint.iter() {
        let others: Vec<Participant> = others.copied().collect();
        let mut all = steps.steps(context, &[], Mover::Context)?;
        if steps.may_crash(context, &[])? {
            all.extend(steps.steps(context, &[], Mover::Crash)?);
        }
        for one in &others {
            all.extend(steps.steps(context, &[*one], Mover::Context)?);
            all.extend(steps.steps(context, &[*one], Mover::Other(0))?);
            for second in &others {
                let pair = [*one, *second];
                all.extend(steps.steps(context, &pair, Mover::Other(0))?);
                if steps.may_crash(context, &pair)? {
                    all.extend(steps.steps(context, &pair, Mover::Crash)?);
                }
            }
        }
        if !all.iter().all(has) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The checks that catch `mutant` on this flow.
fn caught(mutant: Mutant, flow: &str, clean: bool) -> Vec<Caught> {
    let subject = BuiltIn::find(flow).expect("a built-in flow").subject();
    let base = Model::unseated(subject.flow.clone());
    let applied = Property::MODELLED.iter().filter(|one| base.applies(**one));
    let all = applied.fold(0, |set, one| set | one.bit()) & !Property::S3.bit();
    let wanted = if clean { Property::S3.bit() } else { all };
    let broken = subject.expectations.broken.iter().fold(0, |set, one| set | one.bit()) & wanted;
    let real = ModelSteps::new(base.clone(), wanted);
    let mutated = Mutated { inner: ModelSteps::new(base, wanted), mutant };
    let mut go_on = |_| ControlFlow::Continue(());
    let fixpoint = Fixpoint::run(&mutated, Limits::default(), true, &mut go_on).expect("small flows");
    let mut caught = Vec::new();
    if fixpoint.violated() != broken {
        caught.push(Caught::Verdict);
    }
    let model = Model::new(subject.flow, Bounds { consumers: 2, crashes: 1, faults: 1 });
    let explored = explore(&model, explorer::Limits::default(), &mut |_| ControlFlow::Continue(()));
    let has = |context: &Context, one: Option<&Participant>| fixpoint.contains(context, one);
    let is_missing =
        |state: &crate::world::State| (!clean || state.world.clean) && !real.is_covered(&model, state, has);
    if explored.ids().step_by(7).any(|id| is_missing(&model.unpack(explored.packed(id)))) {
        caught.push(Caught::Missing);
    }
    if !is_closed(&real, &fixpoint).expect("small flows") {
        caught.push(Caught::NotClosed);
    }
    caught
}

#[test]
fn each_broken_prover_is_caught() {
    let table: [(Mutant, &str, &[Caught]); 12] = {
        use Caught::{Missing, NotClosed, Verdict};
        [
            (Mutant::None, "atomic-commit", &[]),
            (Mutant::DropsAMove, "atomic-commit", &[Missing, NotClosed]),
            (Mutant::DropsAView, "atomic-commit", &[Missing, NotClosed]),
            (Mutant::CompletesWithNone, "atomic-commit", &[Missing, NotClosed]),
            (Mutant::ForgetsAClass, "twin-consume-first", &[Verdict, Missing, NotClosed]),
            (Mutant::CountsToOne, "20-hermes-memory-buggy", &[Missing, NotClosed]),
            (Mutant::HasNoCrash, "20-hermes-memory-buggy", &[Verdict, Missing, NotClosed]),
            (Mutant::OverwritesViolations, "06-eliza-deadline-buggy", &[Verdict]),
            (Mutant::NamesNoUser, "magic-link", &[Verdict, NotClosed]),
            (Mutant::ForgetsTheWindow, "06-eliza-deadline-buggy", &[Verdict, Missing, NotClosed]),
            (Mutant::ForgetsRetries, "03-cert-manager-order-buggy", &[Missing, NotClosed]),
            (Mutant::FreesTheLease, "12-queue-worker-lock-fixed", &[Missing, NotClosed]),
        ]
    };
    let found: Vec<_> =
        table.iter().map(|(mutant, flow, _)| (*mutant, *flow, caught(*mutant, flow, false))).collect();
    let expected: Vec<_> = table.iter().map(|(mutant, flow, by)| (*mutant, *flow, by.to_vec())).collect();
    assert_eq!(found, expected);
    assert!(found.iter().all(|(mutant, _, by)| by.is_empty() == (*mutant == Mutant::None)));
}

#[test]
fn the_views_of_small_flows_are_closed_when_each_pair_moves_together() {
    for flow in ["atomic-commit", "magic-link", "coupon-redeem", "19-idempot-retry-fixed"] {
        for clean in [false, true] {
            let subject = BuiltIn::find(flow).expect("a built-in flow").subject();
            let wanted = expected(&subject.expectations.broken, clean);
            let steps = ModelSteps::new(Model::unseated(subject.flow), wanted);
            let go_on = &mut |_| ControlFlow::Continue(());
            let apart = Fixpoint::run(&steps, Limits::default(), false, go_on).expect("a small flow");
            assert!(is_closed(&steps, &apart).expect("a small flow"), "{flow}");
        }
    }
}

fn expected(broken: &[Property], clean: bool) -> Set {
    let safe = Property::MODELLED.iter().filter(|one| !broken.contains(one));
    let all = safe.fold(0, |set, one| set | one.bit());
    if clean { Property::S3.bit() } else { all & !Property::S3.bit() }
}

#[test]
fn a_stage_of_a_view_is_one_that_a_run_has() {
    let subject = BuiltIn::find("atomic-commit").expect("a built-in flow").subject();
    let steps = ModelSteps::new(Model::unseated(subject.flow), expected(&[], false));
    let fixpoint = Fixpoint::run(&steps, Limits::default(), false, &mut |_| ControlFlow::Continue(()))
        .expect("a small flow");
    for (context, others) in fixpoint.iter() {
        let waits = |one: &Participant| one.attempts[0].stage == Stage::Waiting;
        assert!(!context.named.iter().any(waits) && !others.into_iter().any(waits));
    }
}
