//! Mutants: platforms that are broken on purpose, each in one way that people really get wrong. The simulator must find each.

use std::borrow::Cow;

use countersign::{
    protocol::{ApprovalState, Change, Guards, Refusal, Status, Timestamp},
    store::memory::strategy::{Record, Sharded, Strategy, sync::Std},
};
use uuid::Uuid;

use crate::properties::Property;

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $mutant:ident $name:literal breaks $property:ident;)+) => {
        /// A deliberately broken platform.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $mutant),+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$mutant),+];

            /// Name in reports.
            pub fn name(self) -> &'static str {
                match self { $(Self::$mutant => $name),+ }
            }

            /// A property that it breaks under the order that the library ships.
            pub fn breaks(self) -> Property {
                match self { $(Self::$mutant => Property::$property),+ }
            }
        }
    };
}

mutants! {
    /// The canary: acknowledged writes are lost when an instance restarts, and a used approval is unused.
    ForgottenOnRestart "forgotten-on-restart" breaks S9;
    /// The consume is an update without a condition.
    UnconditionalUpdate "unconditional-update" breaks S2;
    /// The consume's row count is ignored.
    RowCountIgnored "row-count-ignored" breaks S2;
    /// A rejection is written without a look at the status.
    RejectOverwrites "reject-overwrites" breaks S10;
    /// An approval is written without a look at the status.
    ApproveOverwrites "approve-overwrites" breaks S10;
    /// When the answer of the consume is lost, the approval is given back.
    ClaimReleased "claim-released" breaks S2;
    /// The loser of a race gets a server error.
    LoserGetsServerError "loser-gets-server-error" breaks S3;
    /// The commit writes the current source, not the approved one.
    WritesWhatIsThere "writes-what-is-there" breaks S6;
    /// The executed event is left out.
    EventLost "event-lost" breaks S8;
    /// The launch job is left out.
    JobLost "job-lost" breaks L1;
    /// The job is done, and its target is left building.
    NeverSettles "never-settles" breaks L2;
    /// The plan's cap is looked at before the transaction, and not in it.
    CapIgnored "cap-ignored" breaks S11;
    /// Another team's approval is read as if it was one's own.
    OwnerIgnored "owner-ignored" breaks S12;
    /// The idempotency key is not looked up.
    KeyIgnored "key-ignored" breaks S13;
    /// A worker whose lease expired may finish the job.
    Unfenced "unfenced" breaks S14;
    /// The worker launches without the approval's key.
    LaunchWithoutKey "launch-without-key" breaks S2;
    /// A job is done when its deploy has started, not when it has ended.
    DoneWhenLaunched "done-when-launched" breaks S23;
}

impl Mutant {
    /// The mutant of this name.
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|mutant| mutant.name() == name)
    }

    /// The applied part of the requested changes.
    pub(super) fn ops(mutant: Option<Self>, ops: &[Change]) -> Cow<'_, [Change]> {
        if !matches!(mutant, Some(Self::EventLost | Self::JobLost | Self::UnconditionalUpdate)) {
            return Cow::Borrowed(ops);
        }
        ops.iter()
            .filter(|op| match mutant {
                Some(Self::EventLost) => **op != Change::Audit,
                Some(Self::JobLost) => **op != Change::Enqueue { act: 0 },
                _ => true,
            })
            .map(|op| match (op, mutant) {
                (Change::Consume(_), Some(Self::UnconditionalUpdate)) => Change::consume(Guards::default()),
                _ => *op,
            })
            .collect()
    }
}

/// One shard: on a single thread all strategies behave alike. Loom checks them on several.
type Sound = Sharded<Std, 1>;

/// A strategy with a mutant's hand on it.
pub(super) struct Switchable {
    sound: Sound,
    mutant: Option<Mutant>,
}

impl Switchable {
    pub(super) fn new(mutant: Option<Mutant>) -> Self {
        Self { sound: Sound::default(), mutant }
    }

    /// A used approval becomes unused again, without a decision.
    pub(super) fn forget(&self, id: Uuid) {
        let judge = |standing: ApprovalState| {
            if standing.status == Status::Executed { Ok(Status::Approved) } else { Err(Refusal::NOT_FOUND) }
        };
        self.sound.update(id, Timestamp(0), judge);
    }
}

impl Strategy for Switchable {
    const NAME: &'static str = Sound::NAME;

    fn insert(&self, id: Uuid, record: Record) -> Uuid {
        self.sound.insert(id, record)
    }

    fn read(&self, id: Uuid) -> Option<Record> {
        self.sound.read(id)
    }

    fn update(
        &self,
        id: Uuid,
        now: Timestamp,
        judge: impl Fn(ApprovalState) -> Result<Status, Refusal>,
    ) -> Option<Result<Status, Refusal>> {
        let overwrites = match self.mutant {
            Some(Mutant::RejectOverwrites) => Status::Rejected,
            Some(Mutant::ApproveOverwrites) => Status::Approved,
            _ => return self.sound.update(id, now, judge),
        };
        // A transition that applies to a pending approval applies to this one, too.
        let pending = |standing| ApprovalState { status: Status::Pending, ..standing };
        self.sound.update(id, now, |standing| match judge(pending(standing)) {
            Ok(status) if status == overwrites => Ok(status),
            _ => judge(standing),
        })
    }

    fn for_each(&self, visit: &mut dyn FnMut(Uuid, Record)) {
        self.sound.for_each(visit);
    }
}
