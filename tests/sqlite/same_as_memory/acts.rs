//! Anything that can be asked of a store, drawn at random.

use countersign::protocol::{Change, Guards, Refusal, Status};
use proptest::{collection::vec, option, prelude::*, prop_oneof, sample::select};

/// Something that is asked. Numbers stand for what there was before.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Wait(u64),
    Request(Wish, Option<u8>),
    Decide { approval: usize, yes: bool },
    RejectAsAdministrator { approval: usize, ours: bool },
    ApproveByRule { approval: usize, ours: bool },
    Look { approval: usize, ours: bool },
    Read { wish: Wish, approval: usize, ours: bool },
    Check { wish: Wish, refusals: Vec<Refusal> },
    FindTarget(Wish),
    Commit { wish: Wish, approval: usize, ops: Vec<Change>, key: Option<u8>, stale: bool, look: bool },
    Promote { wish: Wish, approval: usize, key: Option<u8>, flow: usize },
    List { ours: Option<bool>, status: Option<Status>, limit: Option<usize>, after: Option<usize> },
    LeaseJob(u64),
    Renew { lease: usize, ms: u64 },
    Finish { lease: usize, well: bool },
    Settle { approval: usize, well: bool },
    LeaseNotice(u64),
    SettleNotice { notice: usize, again: Option<u64> },
    Claim { key: u8, request: u8, ms: u64 },
    Release { key: u8, claim: usize, keep: bool },
    LogDeploy { approval: usize, exit_code: Option<i32> },
    CreateStack { images: Vec<Option<u8>>, speaks_of_vault: bool },
    PutImage { source: usize, image: u8 },
    PatchEnv { source: usize, name: u8, value: Option<u8> },
    PutVault { env: u8, key: u8 },
    CreateResource,
    Cap(usize),
}

/// The source and the destination of a promote.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) source: usize,
    pub(super) twin: bool,
    pub(super) to: u8,
    pub(super) name: Option<u8>,
    pub(super) copy_vault: bool,
}

fn wish() -> impl Strategy<Value = Wish> {
    (0..3_usize, prop::bool::weighted(0.2), 0..2_u8, option::weighted(0.2, 0..2_u8), any::<bool>())
        .prop_map(|(source, twin, to, name, copy_vault)| Wish { source, twin, to, name, copy_vault })
}

/// Which approval: most often one of the latest.
fn approval() -> impl Strategy<Value = usize> {
    0..5_usize
}

fn key() -> impl Strategy<Value = Option<u8>> {
    option::weighted(0.3, 0..2_u8)
}

fn guards() -> impl Strategy<Value = Guards> {
    let guard = || prop::bool::weighted(0.7);
    (guard(), guard(), guard()).prop_map(|(status, expiry, digest)| Guards {
        status,
        expiry,
        digest,
        target: false,
        lease: false,
    })
}

fn op() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => guards().prop_map(Change::consume),
        2 => any::<bool>().prop_map(|trust_look| Change::WriteTarget { trust_look }),
        1 => Just(Change::WriteVault),
        1 => Just(Change::Audit),
        1 => Just(Change::Enqueue { act: 0 }),
    ]
}

/// One consume at most, as in a flow.
fn ops() -> impl Strategy<Value = Vec<Change>> {
    vec(op(), 1..5).prop_map(|mut ops| {
        let mut consumes = 0;
        ops.retain(|op| {
            consumes += usize::from(matches!(op, Change::Consume(_)));
            !matches!(op, Change::Consume(_)) || consumes == 1
        });
        ops
    })
}

fn refusal() -> impl Strategy<Value = Refusal> {
    select(vec![
        Refusal::NO_SERVICES,
        Refusal::MISSING_IMAGE_REF,
        Refusal::VAULT_REF_FAILED,
        Refusal::TWIN_EXISTS,
        Refusal::NOT_FOUND,
        Refusal::DEPLOYMENT_LIMIT_REACHED,
        Refusal::FETCH_FAILED,
    ])
}

/// A few milliseconds, or as long as an approval can be used.
fn ms() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..20_u64,
        1 => Just(countersign::store::APPROVAL_WINDOW_MS),
        1 => Just(countersign::store::APPROVAL_WINDOW_MS - 5),
    ]
}

pub(super) fn act() -> impl Strategy<Value = Act> {
    let many = prop_oneof![
        2 => ms().prop_map(Act::Wait),
        4 => (wish(), key()).prop_map(|(wish, key)| Act::Request(wish, key)),
        6 => (approval(), prop::bool::weighted(0.8)).prop_map(|(approval, yes)| Act::Decide { approval, yes }),
        8 => (wish(), approval(), ops(), key(), prop::bool::weighted(0.2), any::<bool>()).prop_map(
            |(wish, approval, ops, key, stale, look)| Act::Commit { wish, approval, ops, key, stale, look }
        ),
        4 => (wish(), approval(), key(), 0..4_usize)
            .prop_map(|(wish, approval, key, flow)| Act::Promote { wish, approval, key, flow }),
        2 => (approval(), any::<bool>()).prop_map(|(approval, ours)| Act::Look { approval, ours }),
        2 => (wish(), vec(refusal(), 0..4)).prop_map(|(wish, refusals)| Act::Check { wish, refusals }),
    ];
    let some = prop_oneof![
        (approval(), any::<bool>())
            .prop_map(|(approval, ours)| Act::RejectAsAdministrator { approval, ours }),
        (wish(), approval(), any::<bool>()).prop_map(|(wish, approval, ours)| Act::Read {
            wish,
            approval,
            ours
        }),
        (approval(), any::<bool>()).prop_map(|(approval, ours)| Act::ApproveByRule { approval, ours }),
        wish().prop_map(Act::FindTarget),
        (
            option::of(any::<bool>()),
            option::of(select(Status::ALL.to_vec())),
            option::of(0..4_usize),
            option::of(approval())
        )
            .prop_map(|(ours, status, limit, after)| Act::List { ours, status, limit, after }),
        ms().prop_map(Act::LeaseJob),
        (0..3_usize, ms()).prop_map(|(lease, ms)| Act::Renew { lease, ms }),
        (0..3_usize, any::<bool>()).prop_map(|(lease, well)| Act::Finish { lease, well }),
        (approval(), any::<bool>()).prop_map(|(approval, well)| Act::Settle { approval, well }),
        ms().prop_map(Act::LeaseNotice),
        (0..3_usize, option::of(ms())).prop_map(|(notice, again)| Act::SettleNotice { notice, again }),
    ];
    let few = prop_oneof![
        (0..2_u8, 0..2_u8, ms()).prop_map(|(key, request, ms)| Act::Claim { key, request, ms }),
        (0..2_u8, 0..2_usize, any::<bool>()).prop_map(|(key, claim, keep)| Act::Release { key, claim, keep }),
        (approval(), option::of(-1..2_i32))
            .prop_map(|(approval, exit_code)| Act::LogDeploy { approval, exit_code }),
        (vec(option::weighted(0.8, 0..2_u8), 0..3), any::<bool>())
            .prop_map(|(images, speaks_of_vault)| Act::CreateStack { images, speaks_of_vault }),
        (0..3_usize, 0..2_u8).prop_map(|(source, image)| Act::PutImage { source, image }),
        (0..3_usize, 0..2_u8, option::of(0..4_u8)).prop_map(|(source, name, value)| Act::PatchEnv {
            source,
            name,
            value
        }),
        (0..3_u8, 0..2_u8).prop_map(|(env, key)| Act::PutVault { env, key }),
        Just(Act::CreateResource),
        (0..6_usize).prop_map(Act::Cap),
    ];
    prop_oneof![5 => many, 2 => some, 1 => few]
}
