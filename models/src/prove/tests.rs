//! Provers that are broken on purpose: each is caught by its verdicts, by a view that it lacks, or by the checker of its
//! certificate.

use std::ops::ControlFlow;

use super::{
    Limits,
    certificate::{self, Refusal},
    checker,
    fixpoint::Fixpoint,
    sight::Sight,
    steps::{ModelSteps, Mover, Step, Steps},
    view::{Class, Context, NoRoom, Participant},
};
use crate::{
    explorer::{self, Explorable, explore},
    flows::{BuiltIn, Subject},
    model::{Bounds, Model},
    properties::{PromotionState, Property, Set},
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
    /// Its certificate is refused.
    Certificate,
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

/// The certificate that this prover would write.
fn certificate_of(prover: &Mutated, real: &ModelSteps, source: &str, wanted: Set) -> String {
    let mut go_on = |_| ControlFlow::Continue(());
    let fixpoint = Fixpoint::run(prover, Limits::default(), false, &mut go_on).expect("small flows");
    let proved = certificate::ids(wanted & !fixpoint.violated());
    let open = certificate::ids(wanted & fixpoint.violated());
    let mut text = format!("{}proved{proved}\n", certificate::heading(source));
    if !open.is_empty() {
        text.push_str(&format!("open{open}\n"));
    }
    certificate::write_views(real, &fixpoint, &mut text).expect("small flows");
    text
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
    if let Err(Refusal::Unsound { .. }) =
        certificate::check(&certificate_of(&mutated, &real, &source, wanted), None)
    {
        caught.push(Caught::Certificate);
    }
    caught
}

#[test]
fn each_broken_prover_is_caught() {
    let table: [(Mutant, &str, &[Caught]); 16] = {
        use Caught::{Certificate, Missing, Verdict};
        [
            (Mutant::None, "atomic-commit", &[]),
            (Mutant::DropsAMove, "atomic-commit", &[Missing, Certificate]),
            (Mutant::DropsAView, "atomic-commit", &[Missing, Certificate]),
            (Mutant::CompletesWithNone, "atomic-commit", &[Missing, Certificate]),
            (Mutant::ForgetsAClass, "twin-consume-first", &[Verdict, Missing, Certificate]),
            (Mutant::CountsToOne, "20-hermes-memory-buggy", &[Missing, Certificate]),
            (Mutant::HasNoCrash, "20-hermes-memory-buggy", &[Verdict, Missing, Certificate]),
            (Mutant::OverwritesViolations, "06-eliza-deadline-buggy", &[Verdict, Certificate]),
            (Mutant::NamesNoUser, "magic-link", &[Verdict, Certificate]),
            (Mutant::ForgetsTheWindow, "06-eliza-deadline-buggy", &[Verdict, Missing, Certificate]),
            (Mutant::ForgetsRetries, "03-cert-manager-order-buggy", &[Missing, Certificate]),
            (Mutant::FreesTheLease, "12-queue-worker-lock-fixed", &[Missing, Certificate]),
            // Without retries one that was killed is left out, whether or not a crash killed it.
            (Mutant::SparesOthersInACrash, "atomic-commit, retried", &[Missing, Certificate]),
            (Mutant::RunsOutOfCrashes, "20-hermes-memory-buggy", &[Missing, Certificate]),
            (Mutant::SeesNoOther, "atomic-commit", &[Missing, Certificate]),
            (Mutant::ForgetsOwnUses, "03-cert-manager-order-fixed", &[Verdict, Missing, Certificate]),
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

/// A random flow (seed 40): a validation accepts a use of the same caller's earlier attempt.
const ACCEPTS_OWN: &str = r#"
[object]
approvers = 3
expires = false
bound = false
owner = false
audited = false

[decision]
guards = ["expiry", "distinct"]

[endpoint]
retry = "keyless"
method = "GET"

[[step]]
do = "validate"
checks = ["owner", "status", "binding", "expiry"]
accept_own = true
on_error = "retry"

[[step]]
do = "lease"
on_held = "refuse"
on_error = "retry"

[[step]]
atomic = [{ do = "consume", guards = [] }, { do = "audit" }]
"#;

/// A random flow (seed 215): a consume may be repeated, and is undone.
const UNDOES_A_USE: &str = r#"
[object]
approvers = 2
separate = true
expires = false
bound = false
owner = false

[endpoint]

[[step]]
do = "validate"
checks = ["expiry", "binding"]

[[step]]
do = "consume"
guards = []
how = "read-then-write"
undo = true
on_error = "retry"

[[step]]
do = "audit"

[[step]]
do = "check"

[[step]]
do = "act"
via = "outbox"
refusals = ["503 fetch_failed"]
name = "act 1"
"#;

/// Why the checker refuses the certificate of a prover with this forgetting, which it shares. The certificate is closed under single
/// moves, and lacks a view of a state within bounds.
fn refusal_of_forgetting(
    source: &str,
    wanted: Property,
    names_users: bool,
    forget: fn(&mut Sight),
) -> Option<Refusal> {
    let flow = Subject::read(source.as_bytes()).expect("a flow file").flow;
    let mut steps = ModelSteps::new(Model::unseated(flow.clone()), wanted.bit(), names_users);
    forget(&mut steps.abstraction.sight);
    let go_on = &mut |_| ControlFlow::Continue(());
    let fixpoint = Fixpoint::run(&steps, Limits::default(), false, go_on).expect("a small flow");
    assert_eq!(fixpoint.violated(), 0);
    for (context, others) in fixpoint.iter() {
        let mut all = steps.steps(context, &[], Mover::Context).expect("a small flow");
        for one in others {
            all.extend(steps.steps(context, &[*one], Mover::Other(0)).expect("a small flow"));
        }
        assert!(all.iter().all(|step| fixpoint.contains(&step.context, None)));
    }
    let model = Model::new(flow, Bounds { consumers: 2, crashes: 1, faults: 2 });
    let limits = explorer::Limits { max_states: 20_000, ..explorer::Limits::default() };
    let explored = explore(&model, limits, &mut |_| ControlFlow::Continue(()));
    let has = |context: &Context, one: Option<&Participant>| fixpoint.contains(context, one);
    let mut states = explored.ids().map(|id| model.unpack(explored.packed(id)));
    assert!(states.any(|state| !steps.is_covered(&model, &state, has)));
    let mut text = format!("{}proved {}\n", certificate::heading(source), wanted.id());
    text.push_str(if names_users { "" } else { "coarse\n" });
    certificate::write_views(&steps, &fixpoint, &mut text).expect("a small flow");
    let certificate = certificate::read(&text, None).expect("a certificate");
    checker::check(&steps, &certificate.claims[0]).err()
}

/// Its name, the flow, the property, if users are named, the defect, and if the checker refuses its certificate.
type Forgetting<'t> = (&'t str, &'t str, Property, bool, fn(&mut Sight), bool);

#[test]
fn a_certificate_of_views_that_forget_what_a_later_move_reads_is_refused() {
    let of = |name: &str| BuiltIn::find(name).expect("a built-in flow").source;
    let (keyed, downloads) = (of("atomic-commit-keyed"), of("14-secure-ftp-downloads-buggy"));
    let lease = of("12-queue-worker-lock-fixed");
    let table: [Forgetting; 7] = [
        ("both uses are undone", UNDOES_A_USE, Property::S10, true, |one| one.undoes_last = Some(9), true),
        ("uses of an attempt", ACCEPTS_OWN, Property::S4, false, |one| one.attempt_uses = false, true),
        ("how far a job is", keyed, Property::S17, false, |one| one.jobs = false, true),
        ("the window", keyed, Property::S13, false, |one| one.forgets_window = true, true),
        ("the count that is read", downloads, Property::S1, false, |one| one.live.seen.fill(false), true),
        ("targets", of("consume-first"), Property::L2, false, |one| one.targets = false, true),
        // Whom the world refers to is named in a view: that is what a view is, and not what it forgets.
        ("the last lease", lease, Property::S1, false, |one| one.fences = false, false),
    ];
    for (name, source, wanted, names_users, forget, is_refused) in table {
        let refusal = refusal_of_forgetting(source, wanted, names_users, forget);
        println!("{name}: {refusal:?}");
        assert_eq!(matches!(refusal, Some(Refusal::Unsound { .. })), is_refused, "{name}");
    }
}
