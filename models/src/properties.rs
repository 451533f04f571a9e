//! The properties: each with its sentence, its judgement on a run's [`Facts`], and the witness that shows it was put to the test.
//!
//! Every method judges by this file: the model checker on each state, any other on what it recorded of a run.

use std::fmt;

use countersign::protocol::Status;

/// S: nothing bad ever happens. L: something good can always still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Judged on every state.
    Safety,
    /// Judged on what is inevitable, or possible, from every state.
    Liveness,
}

macro_rules! properties {
    ($($id:ident $kind:ident $name:literal $sentence:literal;)+) => {
        /// What an approval gate promises.
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

            /// What it says.
            pub fn sentence(self) -> &'static str {
                match self { $(Self::$id => $sentence),+ }
            }

            /// Those that the model knows enough to judge, in the order of the matrix. The others are about what it
            /// has one of, or none: teams, keys, instances.
            pub const MODELLED: &[Self] = Self::ALL.split_at(Self::S12 as usize).0;

            /// Those that the simulator can judge, too. The others are about a surface: links, pages, logs.
            pub const SIMULATED: &[Self] = Self::ALL.split_at(Self::S15 as usize).0;

            /// Those of `wanted` (a bit for each) that this state shows broken. Liveness is not judged.
            pub fn violated(facts: &Facts<'_>, wanted: u32) -> u32 {
                let mut broken = 0;
                $(
                    let bit = 1 << Self::$id as u32;
                    if wanted & bit != 0 && matches!(Kind::$kind, Kind::Safety) && Self::$id.is_violated(facts, || true) {
                        broken |= bit;
                    }
                )+
                broken
            }

            /// Those of `wanted` that this state puts to the test.
            pub fn witnessed(facts: &Facts<'_>, wanted: u32) -> u32 {
                let mut witnessed = 0;
                $(
                    let bit = 1 << Self::$id as u32;
                    if wanted & bit != 0 && Self::$id.is_witnessed(facts) {
                        witnessed |= bit;
                    }
                )+
                witnessed
            }

            /// Whether it says what must come about: only a whole graph shows it broken, no single state.
            pub fn is_inevitable(self) -> bool {
                Inevitable::ALL.iter().any(|inevitable| inevitable.property() == self)
            }

            /// Safety or liveness.
            pub fn kind(self) -> Kind {
                match self { $(Self::$id => Kind::$kind),+ }
            }
        }
    };
}

properties! {
    S1 Safety "no_burn_on_preflight_failure"
        "A promotion that ends in a preflight refusal has not consumed its approval.";
    S2 Safety "at_most_one_execution"
        "Of one approval at most one promotion succeeds, it is executed at most once, and at most one launch takes effect.";
    S3 Safety "losers_get_409"
        "When nothing else happens, exactly one of the consumers succeeds and every other one gets a 409.";
    S4 Safety "executed_implies_approved"
        "An approval becomes executed from approved only.";
    S5 Safety "no_execution_after_expiry"
        "The consume itself refuses once the window has passed.";
    S6 Safety "executes_what_was_approved"
        "Whatever is launched has the digest that was approved.";
    S7 Safety "refusal_leaves_no_trace"
        "A refused promotion has written neither target nor vault.";
    S8 Safety "every_transition_audited"
        "When nothing is under way, an executed approval has exactly one executed event, and any other none.";
    S9 Safety "final_is_final"
        "Rejected, expired and executed are never left.";
    S10 Safety "single_decision"
        "Of approve, reject and expire exactly one wins.";
    S11 Safety "one_target_per_env"
        "Two promotions never create two targets in one environment.";
    S17 Safety "launched_implies_executed"
        "Nothing is launched for an approval that is not executed.";
    L1 Liveness "executed_is_eventually_launched"
        "Once faults stop, an executed approval's deploy is launched.";
    L2 Liveness "target_eventually_settles"
        "Once faults stop, no target stays in building.";
    L3 Liveness "failed_preflight_is_retryable"
        "After a preflight refusal, one fresh promotion of what was approved succeeds.";
    L4 Liveness "contenders_make_progress"
        "While the approval is approved and unexpired, one fresh promotion of what was approved succeeds.";
    S12 Safety "foreign_is_absent"
        "Another team's approval answers exactly as one that does not exist.";
    S13 Safety "retry_returns_the_same_outcome"
        "A retry with the same key after an unknown outcome gets the first outcome.";
    S14 Safety "stale_worker_is_fenced"
        "A worker whose lease ran out cannot act.";
    S15 Safety "safe_methods_change_nothing"
        "No GET or HEAD moves an approval.";
    S16 Safety "token_is_never_shown"
        "No token is in a list, an audit event, a log line or an error.";
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// Where a promotion is, or how it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It has not begun.
    #[default]
    Waiting,
    /// It has begun and not ended.
    Running,
    /// 200 or 202.
    Succeeded,
    /// Refused by the approval's rules with a 409.
    Conflict,
    /// Refused otherwise, but not by the preflight.
    Refused,
    /// Refused by the preflight.
    PreflightRefused,
    /// Outcome unknown.
    Unknown,
    /// Its process died.
    Killed,
}

impl Stage {
    /// Whether the caller was told no.
    pub fn is_refused(self) -> bool {
        matches!(self, Self::Conflict | Self::Refused | Self::PreflightRefused)
    }

    /// Whether it has begun and is over.
    pub fn has_ended(self) -> bool {
        !matches!(self, Self::Waiting | Self::Running)
    }
}

/// What is known of one promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct PromotionFacts {
    /// Where it is.
    pub stage: Stage,
    /// It asks for something else than was approved.
    pub foreign: bool,
    /// The approval was approved when it began.
    pub began_on_approved: bool,
    /// Its consume took effect.
    pub consumed: bool,
    /// It wrote the target or the vault.
    pub wrote: bool,
    /// Its next action consumes. It may be its first.
    pub at_consume: bool,
    /// Its next action writes the target, and somebody else has created one.
    pub at_contended_write: bool,
}

/// What is known of a run so far. Counts saturate at 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The approval's status.
    pub status: Status,
    /// Its window has passed.
    pub window_passed: bool,
    /// The source has changed since the approval.
    pub drifted: bool,
    /// How often the approval became executed.
    pub executions: u8,
    /// It became executed from neither approved nor executed.
    pub executed_unapproved: bool,
    /// It became executed after its window had passed.
    pub executed_late: bool,
    /// A final status was left for another one.
    pub final_left: bool,
    /// How many of approve, reject and expire won.
    pub decisions: u8,
    /// How many executed events were written.
    pub executed_events: u8,
    /// How many targets were created.
    pub targets_created: u8,
    /// A vault key was written.
    pub vault_written: bool,
    /// A bit for each target that is building.
    pub building: u8,
    /// How many launches took effect; all under one key count as one.
    pub launches: u8,
    /// Something was launched that is not what was approved.
    pub launched_other: bool,
    /// Something was launched while the approval was not executed.
    pub launched_unexecuted: bool,
    /// A promotion, a job or a deploy is under way.
    pub under_way: bool,
    /// There was no fault, crash, expiry, rejection, drift or preflight refusal, and all who began asked for what
    /// was approved, after it was.
    pub clean: bool,
    /// The promotions.
    pub promotions: &'a [PromotionFacts],
    /// What the model has nothing to say about.
    pub beyond: Beyond,
}

/// What is known of a run with several teams, keys, instances, a cap and a surface. In the model nothing of it ever
/// happens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Beyond {
    /// A target that was launched has other services than those that were approved.
    pub other_services: bool,
    /// A team has more stacks than its plan allows.
    pub cap_passed: bool,
    /// A promotion of another team has read the approval.
    pub stranger_asked: bool,
    /// It was told something else than that there is none.
    pub stranger_told: bool,
    /// A retry with the same key, after an outcome that nobody knew, has ended.
    pub retried: bool,
    /// It was told something else than what had happened.
    pub retry_differs: bool,
    /// A worker whose lease somebody else had taken over tried to act.
    pub stale_worker_tried: bool,
    /// It succeeded.
    pub stale_worker_acted: bool,
    /// Somebody opened the link, or anything else by a method that is safe, while the approval was pending.
    pub looked_at: bool,
    /// And it was not pending any more, though nobody had decided.
    pub moved_by_a_look: bool,
    /// Lists, events, logs and errors were searched for the link's token.
    pub searched: bool,
    /// It was found.
    pub token_found: bool,
}

impl Facts<'_> {
    fn count(&self, wanted: impl Fn(&PromotionFacts) -> bool) -> usize {
        self.promotions.iter().filter(|promotion| wanted(promotion)).count()
    }

    fn any(&self, wanted: impl Fn(&PromotionFacts) -> bool) -> bool {
        self.promotions.iter().any(wanted)
    }

    fn successes(&self) -> usize {
        self.count(|promotion| promotion.stage == Stage::Succeeded)
    }

    /// L1 has yet to be kept.
    pub fn launch_is_owed(&self) -> bool {
        self.status == Status::Executed && self.launches == 0
    }

    /// What a fresh promotion was promised by L3.
    fn retry_is_promised(&self) -> bool {
        !self.window_passed
            && self.any(|promotion| {
                let others = self.executions.saturating_sub(u8::from(promotion.consumed));
                promotion.stage == Stage::PreflightRefused && promotion.began_on_approved && others == 0
            })
    }

    /// What a fresh promotion was promised by L4.
    fn progress_is_promised(&self) -> bool {
        self.status == Status::Approved && !self.window_passed
    }
}

impl Property {
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

    /// Whether this state shows it broken. `fresh_succeeds` tells whether one fresh promotion of what was
    /// approved, alone, without faults and drift, would succeed here.
    ///
    /// L1 and L2 speak of what is inevitable: no single state shows them broken.
    #[inline]
    pub fn is_violated(self, facts: &Facts<'_>, fresh_succeeds: impl Fn() -> bool) -> bool {
        match self {
            Self::S1 => facts.any(|one| one.stage == Stage::PreflightRefused && one.consumed),
            Self::S2 => facts.successes() > 1 || facts.executions > 1 || facts.launches > 1,
            Self::S3 if !facts.clean => false,
            Self::S3 => {
                let ended = facts.count(|one| one.stage.has_ended());
                let told = facts.count(|one| matches!(one.stage, Stage::Succeeded | Stage::Conflict));
                told < ended
                    || facts.successes() > 1
                    || (!facts.under_way && ended > 0 && facts.successes() == 0)
            }
            Self::S4 => facts.executed_unapproved,
            Self::S5 => facts.executed_late,
            Self::S6 => facts.launched_other || facts.beyond.other_services,
            Self::S7 => facts.any(|one| one.stage.is_refused() && one.wrote),
            Self::S8 => {
                !facts.under_way && facts.executed_events != u8::from(facts.status == Status::Executed)
            }
            Self::S9 => facts.final_left,
            Self::S10 => facts.decisions > 1,
            Self::S11 => facts.targets_created > 1 || facts.beyond.cap_passed,
            Self::S12 => facts.beyond.stranger_told,
            Self::S13 => facts.beyond.retry_differs,
            Self::S14 => facts.beyond.stale_worker_acted,
            Self::S15 => facts.beyond.moved_by_a_look,
            Self::S16 => facts.beyond.token_found,
            Self::S17 => facts.launched_unexecuted,
            Self::L1 | Self::L2 => false,
            Self::L3 => facts.retry_is_promised() && !fresh_succeeds(),
            Self::L4 => facts.progress_is_promised() && !fresh_succeeds(),
        }
    }

    /// Whether this state shows that the property was put to the test.
    #[inline]
    pub fn is_witnessed(self, facts: &Facts<'_>) -> bool {
        let executed = facts.status == Status::Executed;
        let launched = facts.launches > 0;
        match self {
            Self::S1 => facts.any(|one| one.stage == Stage::PreflightRefused && one.began_on_approved),
            Self::S2 => {
                // One that found it approved and comes too late, or one whose first action it is.
                let comes_late = |one: &PromotionFacts| one.began_on_approved || one.stage == Stage::Waiting;
                executed && facts.any(|one| one.at_consume && comes_late(one))
            }
            Self::S3 => {
                facts.clean && facts.successes() == 1 && facts.any(|one| one.stage == Stage::Conflict)
            }
            Self::S4 => executed,
            Self::S5 => facts.window_passed && facts.any(|one| one.at_consume),
            Self::S6 => {
                launched && (facts.drifted || facts.any(|one| one.foreign && one.stage != Stage::Waiting))
            }
            Self::S7 => {
                (facts.targets_created > 0 || facts.vault_written) && facts.any(|one| one.stage.is_refused())
            }
            Self::S8 => executed && !facts.under_way,
            Self::S9 => facts.status.is_final() && facts.any(|one| one.stage.is_refused()),
            Self::S10 => facts.decisions > 0 && facts.window_passed,
            Self::S11 => facts.any(|one| one.at_contended_write),
            Self::S12 => facts.beyond.stranger_asked,
            Self::S13 => facts.beyond.retried,
            Self::S14 => facts.beyond.stale_worker_tried,
            Self::S15 => facts.beyond.looked_at,
            Self::S16 => facts.beyond.searched,
            Self::S17 => launched,
            Self::L1 => facts.launch_is_owed(),
            Self::L2 => facts.building != 0,
            Self::L3 => facts.retry_is_promised(),
            Self::L4 => facts.progress_is_promised() && facts.any(|one| one.stage != Stage::Waiting),
        }
    }
}

/// The properties that say what must come about from every state once faults stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inevitable {
    /// L1: the launch of an executed approval.
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

    /// Whether it has yet to come about in this state.
    pub fn is_pending(self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Launch => facts.launch_is_owed(),
            Self::Settling => facts.building != 0,
        }
    }
}
