//! Provers that are broken on purpose: each is caught by its verdicts, or by a view that it lacks. And writers of certificates that
//! are: what they write is refused.

use std::ops::ControlFlow;

use super::{
    Limits,
    certificate::{self, Refusal},
    fixpoint::Fixpoint,
    listing::Listing,
    plain::{self, Move, Scene, Views},
    steps::{ModelSteps, Mover, Step, Steps},
    view::{Class, Context, NoRoom, Participant},
};
use crate::{
    explorer::{self, Explorable, explore},
    flows::{BuiltIn, Subject},
    model::{Bounds, Cast, Model, Role},
    properties::{PromotionState, Property, Set},
    world::{JobStatus, Lease, State, TargetStatus},
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
    SparesOthersInACrash,
    RunsOutOfCrashes,
    SeesNoOther,
    ForgetsOwnUses,
}

struct Mutated {
    inner: ModelSteps,
    mutant: Mutant,
}

impl Steps for Mutated {
    fn wanted(&self) -> Set {
        self.inner.wanted()
    }

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
            Mutant::RunsOutOfCrashes if mover == Mover::Crash && context.world.crashes_left == 0 => {
                steps.clear();
            }
            Mutant::SparesOthersInACrash if mover == Mover::Crash => {
                steps.iter_mut().for_each(|step| step.others = others.to_vec());
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
                Mutant::RunsOutOfCrashes => {
                    world.crashes_left = context.world.crashes_left - u8::from(mover == Mover::Crash);
                }
                Mutant::SeesNoOther => step.others.clear(),
                Mutant::ForgetsOwnUses => {
                    let all = step.context.named.iter_mut().chain(&mut step.others);
                    all.flat_map(|one| &mut one.attempts).for_each(|attempt| attempt.uses = 0);
                }
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

/// Ends the name of a flow whose callers retry under their key.
const RETRIED: &str = ", retried";

/// The check that catches a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caught {
    /// The mutant proves a violated property, or leaves a proved one open.
    Verdict,
    /// A state within bounds has a view that it lacks.
    Missing,
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
    let name = flow.trim_end_matches(RETRIED);
    let mut source = BuiltIn::find(name).expect("a built-in flow").source.to_owned();
    if name != flow {
        source.push_str("\n[endpoint]\nretry = \"key\"\n");
    }
    let subject = Subject::read(source.as_bytes()).expect("a flow file");
    let base = Model::unseated(subject.flow.clone());
    let applied = Property::MODELLED.iter().filter(|one| base.applies(**one));
    let all = applied.fold(0, |set, one| set | one.bit()) & !Property::S3.bit();
    let wanted = if clean { Property::S3.bit() } else { all };
    let real = ModelSteps::new(base.clone(), wanted, true);
    let mutated = Mutated { inner: ModelSteps::new(base, wanted, true), mutant };
    let mut go_on = |_| ControlFlow::Continue(());
    let fixpoint = Fixpoint::run(&mutated, Limits::default(), true, &mut go_on).expect("small flows");
    let mut caught = Vec::new();
    let sound = Fixpoint::run(&real, Limits::default(), false, &mut go_on).expect("small flows");
    if fixpoint.violated() != sound.violated() {
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
    caught
}

#[test]
fn each_broken_prover_is_caught() {
    let table: [(Mutant, &str, &[Caught]); 16] = {
        use Caught::{Missing, Verdict};
        [
            (Mutant::None, "atomic-commit", &[]),
            (Mutant::DropsAMove, "atomic-commit", &[Missing]),
            (Mutant::DropsAView, "atomic-commit", &[Missing]),
            (Mutant::CompletesWithNone, "atomic-commit", &[Missing]),
            (Mutant::ForgetsAClass, "twin-consume-first", &[Verdict, Missing]),
            (Mutant::CountsToOne, "20-hermes-memory-buggy", &[Missing]),
            (Mutant::HasNoCrash, "20-hermes-memory-buggy", &[Verdict, Missing]),
            (Mutant::OverwritesViolations, "06-eliza-deadline-buggy", &[Verdict]),
            (Mutant::NamesNoUser, "magic-link", &[Verdict]),
            (Mutant::ForgetsTheWindow, "06-eliza-deadline-buggy", &[Verdict, Missing]),
            (Mutant::ForgetsRetries, "03-cert-manager-order-buggy", &[Missing]),
            (Mutant::FreesTheLease, "12-queue-worker-lock-fixed", &[Missing]),
            // Without retries one that was killed is left out, whether or not a crash killed it.
            (Mutant::SparesOthersInACrash, "atomic-commit, retried", &[Missing]),
            (Mutant::RunsOutOfCrashes, "20-hermes-memory-buggy", &[Missing]),
            (Mutant::SeesNoOther, "atomic-commit", &[Missing]),
            (Mutant::ForgetsOwnUses, "03-cert-manager-order-fixed", &[Verdict, Missing]),
        ]
    };
    let found: Vec<_> =
        table.iter().map(|(mutant, flow, _)| (*mutant, *flow, caught(*mutant, flow, false))).collect();
    for (mutant, flow, by) in &found {
        println!("{mutant:?} on {flow}: {by:?}");
    }
    let expected: Vec<_> = table.iter().map(|(mutant, flow, by)| (*mutant, *flow, by.to_vec())).collect();
    assert_eq!(found, expected);
    assert!(found.iter().all(|(mutant, _, by)| by.is_empty() == (*mutant == Mutant::None)));
}

#[test]
fn a_retry_is_no_further_caller_where_a_property_reads_whose_it_is() {
    let flow = BuiltIn::find("atomic-commit-keyed").expect("a built-in flow").subject().flow;
    let model = Model::new(flow.clone(), Bounds { consumers: 1, crashes: 0, faults: 1 });
    let explored = explore(&model, explorer::Limits::default(), &mut |_| ControlFlow::Continue(()));
    for callers in [true, false] {
        let mut steps = ModelSteps::new(Model::unseated(flow.clone()), Property::S13.bit(), false);
        assert!(steps.abstraction.sight.callers);
        steps.abstraction.sight.callers = callers;
        let go_on = &mut |_| ControlFlow::Continue(());
        let fixpoint = Fixpoint::run(&steps, Limits::default(), false, go_on).expect("a small flow");
        let has = |context: &Context, one: Option<&Participant>| fixpoint.contains(context, one);
        let mut states = explored.ids().map(|id| model.unpack(explored.packed(id)));
        assert_eq!(states.all(|state| steps.is_covered(&model, &state, has)), callers);
    }
}

#[test]
fn the_views_of_small_flows_are_closed_when_each_pair_moves_together() {
    for flow in ["atomic-commit", "magic-link", "coupon-redeem", "19-idempot-retry-fixed"] {
        for clean in [false, true] {
            let subject = BuiltIn::find(flow).expect("a built-in flow").subject();
            let wanted = expected(&subject.expectations.broken, clean);
            if wanted == 0 {
                // A fixpoint of which every property is violated stops before it is closed.
                continue;
            }
            let steps = ModelSteps::new(Model::unseated(subject.flow), wanted, true);
            let go_on = &mut |_| ControlFlow::Continue(());
            let apart = Fixpoint::run(&steps, Limits::default(), false, go_on).expect("a small flow");
            assert!(is_closed(&steps, &apart).expect("a small flow"), "{flow}");
        }
    }
}

fn expected(broken: &[Property], clean: bool) -> Set {
    let safe = Property::MODELLED.iter().filter(|one| !broken.contains(one));
    let all = safe.fold(0, |set, one| set | one.bit());
    if clean { all & Property::S3.bit() } else { all & !Property::S3.bit() }
}

#[test]
fn a_stage_of_a_view_is_one_that_a_run_has() {
    let subject = BuiltIn::find("atomic-commit").expect("a built-in flow").subject();
    let steps = ModelSteps::new(Model::unseated(subject.flow), expected(&[], false), true);
    let fixpoint = Fixpoint::run(&steps, Limits::default(), false, &mut |_| ControlFlow::Continue(()))
        .expect("a small flow");
    for (context, others) in fixpoint.iter() {
        let waits = |one: &Participant| one.attempts[0].stage == PromotionState::Waiting;
        assert!(!context.named.iter().any(waits) && !others.into_iter().any(waits));
    }
}

/// Why the checker refuses the certificate of a writer that changes the moves of each view like this, of all properties that none of
/// its views violates.
fn refusal_of(source: &str, names_users: bool, change: &dyn Fn(&mut Vec<Move>)) -> Option<Refusal> {
    let base = Model::unseated(Subject::read(source.as_bytes()).expect("a flow file").flow);
    let views = Views::new(base.clone(), names_users);
    let moves = |context: &Scene, other: Option<&Scene>| {
        let mut moves = views.moves(context, other)?;
        change(&mut moves);
        Ok(moves)
    };
    let listing = Listing::new(&views, &moves, &mut |_| ControlFlow::Continue(())).expect("a small flow");
    let applied = Property::MODELLED.iter().filter(|one| base.applies(**one));
    let claimed = applied.fold(0, |set, one| set | one.bit()) & !listing.violated;
    assert_ne!(claimed, 0);
    let mut text = certificate::heading(source, claimed, names_users);
    listing.write(&mut text);
    certificate::check(&text, None).err()
}

/// A field that is forgotten: its name, a flow in which it shows, and how.
type Forgotten<'f> = (&'f str, &'f str, fn(&mut State));

/// What is left out, and how.
type LeftOut<'f> = (&'f str, fn(&mut Vec<Move>));

#[test]
fn the_certificate_of_a_writer_that_forgets_is_refused() {
    let of = |name: &str| BuiltIn::find(name).expect("a built-in flow").source;
    let (lease, downloads) = (of("12-queue-worker-lock-fixed"), of("14-secure-ftp-downloads-buggy"));
    let (small, retried) = (of("atomic-commit"), of("03-cert-manager-order-fixed"));
    let table: [Forgotten<'_>; 8] = [
        ("uses", small, |state| state.world.uses = 0),
        ("uses of an attempt", retried, |state| state.attempts.iter_mut().for_each(|one| one.uses = 0)),
        ("how far a job is", small, |state| {
            let jobs = state.world.jobs.iter_mut().flatten();
            jobs.filter(|one| one.is_open()).for_each(|one| one.status = JobStatus::Done);
        }),
        ("the window", small, |state| state.world.window_passed = false),
        ("the count that is read", downloads, |state| {
            state.attempts.iter_mut().for_each(|one| one.seen = 0);
        }),
        ("targets", small, |state| state.world.targets = [TargetStatus::Absent; 6]),
        ("the lease", lease, |state| (state.world.lease, state.world.lease_last) = (Lease::Free, None)),
        ("the last lease", lease, |state| state.world.lease_last = None),
    ];
    for (name, source, forget) in table {
        assert_eq!(refusal_of(source, false, &|_| ()), None, "{name}: nothing is forgotten");
        let refusal = refusal_of(source, false, &|moves| {
            for (_, (context, others)) in moves {
                forget(&mut context.state);
                others.iter_mut().for_each(|one| forget(&mut one.state));
            }
        });
        println!("{name}: {refusal:?}");
        assert!(matches!(refusal, Some(Refusal::Unsound { .. })), "{name}");
    }
}

#[test]
fn the_certificate_of_a_writer_that_leaves_out_is_refused() {
    let table: [LeftOut<'_>; 7] = [
        ("a move", |moves| moves.truncate(moves.len().max(2) - 1)),
        ("the crash", |moves| moves.retain(|(leaves_others, _)| *leaves_others)),
        ("others", |moves| moves.iter_mut().for_each(|(_, (_, others))| others.clear())),
        ("others after a move", |moves| moves.iter_mut().for_each(|one| one.0 = false)),
        ("a crash of others", |moves| moves.iter_mut().for_each(|one| one.0 = true)),
        ("a class", |moves| moves.iter_mut().for_each(|one| one.1.1.retain(|one| one.classes != "f"))),
        ("those that end", |moves| {
            let ends = |one: &Scene| one.state.attempts.iter().any(|one| one.stage.has_ended());
            moves.iter_mut().for_each(|one| one.1.1.retain(|one| !ends(one)));
        }),
    ];
    let source = BuiltIn::find("atomic-commit").expect("a built-in flow").source;
    for (name, change) in table {
        let refusal = refusal_of(source, true, &change);
        println!("{name}: {refusal:?}");
        assert!(matches!(refusal, Some(Refusal::Unsound { .. })), "{name}");
    }
}

/// A state of a bounded model, with a caller who never begins in front.
fn seated(views: &Views, model: &Model, state: State) -> Scene {
    let class = |one: &Cast| match one.role {
        Role::Caller { foreign: false, .. } => 'c',
        Role::Caller { foreign: true, .. } => 'f',
        Role::OtherTenant => 's',
        Role::Scanner => 'l',
    };
    let mut scene = Scene {
        classes: model.cast().iter().filter(|one| one.retry_of.is_none()).map(class).collect(),
        state,
    };
    let (_, _, shift) = views.seats("")[0];
    scene.state.attempts.rotate_right(shift);
    plain::references(&mut scene.state.world).for_each(|by| *by += shift as u8);
    if model.flow().object().uses > 1 {
        scene.state.world.keyed.iter_mut().for_each(|keyed| *keyed <<= shift);
        scene.state.world.jobs.iter_mut().for_each(|jobs| jobs.rotate_right(shift));
    }
    scene
}

#[test]
fn every_view_of_every_state_within_bounds_is_listed() {
    let flows = ["atomic-commit", "atomic-commit-lease", "magic-link", "16-gafaelfawr-token-fixed"];
    let plain = ["coupon-redeem", "20-hermes-memory-buggy"].map(|name| (name, false));
    for (name, names_users) in flows.map(|name| (name, true)).into_iter().chain(plain) {
        let flow = BuiltIn::find(name).expect("a built-in flow").subject().flow;
        let views = Views::new(Model::unseated(flow.clone()), names_users);
        let moves = |context: &Scene, other: Option<&Scene>| views.moves(context, other);
        let listing = Listing::new(&views, &moves, &mut |_| ControlFlow::Continue(())).expect("a small flow");
        let model = Model::new(flow, Bounds { consumers: 3, crashes: 1, faults: 1 });
        let limits = explorer::Limits { max_states: 50_000, ..explorer::Limits::default() };
        let explored = explore(&model, limits, &mut |_| ControlFlow::Continue(()));
        for id in explored.ids() {
            let state = model.unpack(explored.packed(id));
            assert!(listing.covers(&views, &seated(&views, &model, state)), "{name}: {state:?}");
        }
    }
}
