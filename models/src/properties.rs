//! The properties: each with its sentence, the flows that it applies to, and the methods that can judge it.
//!
//! Every method judges by this module: the model checker on each state, any other on what it recorded of a run. The
//! judgement on a run's [`Facts`] is in `properties/judgement.rs`, the condition that shows that it was exercised in
//! `properties/exercised.rs`, the flows that it does not apply to in `properties/applies.rs`.

mod applies;
mod exercised;
mod facts;
mod judgement;

pub(crate) use applies::{starts_deploys, writes_anything, writes_target};
pub use facts::{ExtraFacts, Facts, More, PromotionFacts, PromotionState};

use std::fmt;

/// S: nothing bad ever happens. L: the good remains reachable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Judged on every state.
    Safety,
    /// Judged on the inevitable, or reachable, states after every state.
    Liveness,
}

/// A way to judge properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The model checker.
    Model,
    /// The simulator.
    Simulator,
    /// A test of a surface: links, pages, logs.
    Surface,
    /// Requests to a running service.
    Attack,
}

macro_rules! properties {
    ($($id:ident $kind:ident [$($method:ident)+] $name:literal $sentence:literal;)+) => {
        /// A promise about an object that is used.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Property {
            $(#[doc = $sentence] $id),+
        }

        impl Property {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$id),+];
            /// The ids of all of them.
            pub const IDS: &[&str] = &[$(stringify!($id)),+];

            /// `S1`, say.
            pub fn id(self) -> &'static str {
                match self { $(Self::$id => stringify!($id)),+ }
            }

            /// The name in `snake_case`.
            pub fn name(self) -> &'static str {
                match self { $(Self::$id => $name),+ }
            }

            /// The promise.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$id => $sentence),+ }
            }

            /// Id, name and sentence.
            pub fn title(self) -> &'static str {
                match self { $(Self::$id => concat!(stringify!($id), " ", $name, ": ", $sentence)),+ }
            }

            /// The methods that can judge it.
            pub fn methods(self) -> &'static [Method] {
                match self { $(Self::$id => &[$(Method::$method),+]),+ }
            }

            const fn is_of(self, method: Method) -> bool {
                match self {
                    $(Self::$id => {
                        let mut found = false;
                        $(found |= Method::$method as u8 == method as u8;)+
                        found
                    })+
                }
            }

            /// Safety or liveness.
            pub fn kind(self) -> Kind {
                match self { $(Self::$id => Kind::$kind),+ }
            }
        }
    };
}

/// The bits of a set of properties.
pub type Set = u32;

const _: () = assert!(Property::ALL.len() <= Set::BITS as usize, "a set has a bit for each property");

properties! {
    S1 Safety [Model Simulator Attack] "no_burn_on_refusal"
        "A refused attempt has not used the object, or has given it back.";
    S2 Safety [Model Simulator Attack] "at_most_once"
        "Uses, successful attempts and effects of one act never exceed the promised number of uses.";
    S3 Safety [Model Simulator Attack] "losers_get_409"
        "Without other events, as many callers succeed as there are uses, and each other caller gets a 409.";
    S4 Safety [Model Simulator Attack] "used_implies_approved"
        "The object becomes used from approved only.";
    S5 Safety [Model Simulator Attack] "no_use_after_expiry"
        "Past expires_at the consume itself refuses, even after checks that passed.";
    S6 Safety [Model Simulator Attack] "does_what_was_approved"
        "Every act has the digest that was approved.";
    S7 Safety [Model Simulator Attack] "refusal_leaves_no_trace"
        "A refused attempt leaves no write and no act, except undone ones.";
    S8 Safety [Model Simulator Attack] "every_use_audited"
        "When nothing is under way, there are as many executed events as uses.";
    S9 Safety [Model Simulator Attack] "final_is_final"
        "No transition leaves rejected, expired, revoked or used-up, except an attempt's undo of its own use.";
    S10 Safety [Model Simulator Attack] "single_decision"
        "Of approve, reject and expire exactly one wins.";
    S11 Safety [Model Simulator Attack] "one_target_per_env"
        "Two attempts never create two targets in one environment.";
    S12 Safety [Model Simulator Attack] "foreign_is_absent"
        "For another owner's caller the object does not exist.";
    S13 Safety [Model Simulator Attack] "retry_returns_the_same_outcome"
        "The retry of an attempt that took effect succeeds, without a second effect.";
    S14 Safety [Simulator] "stale_worker_is_fenced"
        "A worker whose lease ran out cannot act.";
    S15 Safety [Model Surface Attack] "safe_methods_change_nothing"
        "A GET or HEAD decides nothing, uses nothing and causes no act.";
    S16 Safety [Surface] "token_is_never_shown"
        "No list, audit event, log line or error contains a token.";
    S17 Safety [Model Simulator Attack] "act_implies_used"
        "No act takes effect for an object that is not used.";
    S18 Safety [Model] "enough_distinct_approvers"
        "An approved object was approved by the required number of different people.";
    S19 Safety [Model] "requester_does_not_approve"
        "The requester is not among the approvers.";
    S20 Safety [Model] "no_use_after_revocation"
        "The object is not used after it was revoked.";
    S21 Safety [Model] "failed_attempt_burns"
        "A refused attempt has used the object up.";
    S22 Safety [Model] "no_stale_target"
        "The target's version at the use is that of the approval.";
    S23 Safety [Simulator] "deploys_of_a_target_do_not_overlap"
        "A worker starts a deploy only when every other deploy of its target has ended.";
    L1 Liveness [Model Simulator Attack] "used_is_eventually_done"
        "Once faults stop, each act of a used object takes effect: a coupon that is used up is paid out.";
    L2 Liveness [Model Simulator Attack] "target_eventually_settles"
        "Once faults stop, no target stays in building.";
    L3 Liveness [Model Simulator Attack] "refused_is_retryable"
        "After a preflight refusal, a new attempt of what was approved succeeds if nothing stands in its way.";
    L4 Liveness [Model Simulator Attack] "contenders_make_progress"
        "While the object is usable, one fresh attempt of what was approved succeeds.";
}

/// The number of properties that a method can judge.
const fn count_of(method: Method) -> usize {
    let (mut count, mut index) = (0, 0);
    while index < Property::ALL.len() {
        count += Property::ALL[index].is_of(method) as usize;
        index += 1;
    }
    count
}

/// The properties that a method can judge, in their order.
const fn list_of<const N: usize>(method: Method) -> [Property; N] {
    let mut list = [Property::S1; N];
    let (mut count, mut index) = (0, 0);
    while index < Property::ALL.len() {
        if Property::ALL[index].is_of(method) {
            list[count] = Property::ALL[index];
            count += 1;
        }
        index += 1;
    }
    assert!(count == N, "the list has a place for each");
    list
}

impl Property {
    /// Properties that the model judges, in the order of the matrix.
    pub const MODELLED: &[Self] = {
        const LIST: [Property; count_of(Method::Model)] = list_of(Method::Model);
        &LIST
    };
    /// Properties that the simulator judges.
    pub const SIMULATED: &[Self] = {
        const LIST: [Property; count_of(Method::Simulator)] = list_of(Method::Simulator);
        &LIST
    };

    /// Its bit in a [`Set`].
    pub const fn bit(self) -> Set {
        1 << self as u32
    }

    /// The properties of `wanted` that this state violates. Liveness is not judged.
    pub fn violated(facts: &Facts<'_>, wanted: Set) -> Set {
        let safety = Self::ALL.iter().filter(|one| wanted & one.bit() != 0 && one.kind() == Kind::Safety);
        safety.filter(|one| one.is_violated(facts, || true)).fold(0, |set, one| set | one.bit())
    }

    /// The properties of `wanted` that this state exercises.
    pub fn exercised(facts: &Facts<'_>, wanted: Set) -> Set {
        let wanted = Self::ALL.iter().filter(|one| wanted & one.bit() != 0);
        wanted.filter(|one| one.is_exercised(facts)).fold(0, |set, one| set | one.bit())
    }

    /// True for a liveness property: only a whole graph violates it, no single state.
    pub fn is_inevitable(self) -> bool {
        Inevitable::ALL.iter().any(|inevitable| inevitable.property() == self)
    }

    /// All of them, by kind and number.
    pub fn numbered() -> Vec<Self> {
        let number = |property: &Self| property.id()[1..].parse::<u8>().unwrap_or(u8::MAX);
        let mut all = Self::ALL.to_vec();
        all.sort_by_key(|property| (property.kind() == Kind::Liveness, number(property)));
        all
    }

    /// The property of this id.
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|property| property.id() == id)
    }
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The properties that must be reached from every state once faults stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inevitable {
    /// L1: the acts of a used object.
    Launch,
    /// L2: the end of building.
    Settling,
}

impl Inevitable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Launch, Self::Settling];

    /// The property that it is about.
    pub fn property(self) -> Property {
        match self {
            Self::Launch => Property::L1,
            Self::Settling => Property::L2,
        }
    }

    /// True while the property is pending in this state.
    pub fn is_pending(self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Launch => facts.launch_is_owed(),
            Self::Settling => facts.building != 0,
        }
    }
}
