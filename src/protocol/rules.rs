//! The rules that read an approval: [`validate`] for a request, [`consume`] for a use, and [`lease`].
//!
//! Each is a pure function of the approval's row, for a store to call inside its transaction or to be compared with its
//! conditional `UPDATE`.

use uuid::Uuid;

use super::{
    approval::{Approval, ApprovalState, Digest, Event, Status, Timestamp, Validity, transition},
    flow::{Checks, Guards},
    refusal::Refusal,
};

/// A caller's request to use one approval for one promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The approval that the caller names.
    pub approval: Uuid,
    /// The team that the caller belongs to.
    pub team: Uuid,
}

impl Request {
    /// Parses an approval's id.
    ///
    /// # Errors
    /// [`Refusal::INVALID_APPROVAL_ID`] unless it is a UUID.
    pub fn parse_approval_id(text: &str) -> Result<Uuid, Refusal> {
        Uuid::try_parse(text).map_err(|_| Refusal::INVALID_APPROVAL_ID)
    }
}

/// The values that a read or a swap compares with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The digest of what would run.
    pub digest: Digest,
    /// The clock.
    pub now: Timestamp,
    /// A use that is not undone belongs to an attempt of the same caller.
    pub own_use: bool,
    /// The target's version is that of the approval.
    pub target_is_current: bool,
    /// The request is for what was approved.
    pub same_binding: bool,
}

impl Compared {
    /// An object without uses by the same caller, whose target has not changed, asked for what was approved.
    #[inline(always)]
    pub fn at(now: Timestamp, digest: Digest) -> Self {
        Self { digest, now, own_use: false, target_is_current: true, same_binding: true }
    }
}

/// Why an attempt may use the object, or go on towards its use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Usable.
    Usable,
    /// An earlier attempt of the same caller has used it (`accept_own`): no change is needed.
    OwnUse,
}

/// Applies `checks`, reading only. With `accept_own` the caller's own use meets status and expiry, unless the object
/// was revoked since.
///
/// # Errors
/// In this order: 404 not found (also for another team's approval), 409 not approved, 400 mismatch, 410 expired,
/// 409 payload mismatch, 409 target changed.
pub fn validate(
    approval: Option<&Approval>,
    checks: Checks,
    accept_own: bool,
    request: &Request,
    against: Compared,
) -> Result<Granted, Refusal> {
    let approval = approval.ok_or(Refusal::APPROVAL_NOT_FOUND)?;
    if checks.owner && approval.team != request.team {
        return Err(Refusal::APPROVAL_NOT_FOUND);
    }
    let granted = grant(approval.status, accept_own, against);
    let is_own = granted == Granted::OwnUse;
    if checks.status && !is_own && approval.status != Status::Approved {
        return Err(Refusal::APPROVAL_NOT_APPROVED);
    }
    if checks.binding && !against.same_binding {
        return Err(Refusal::APPROVAL_MISMATCH);
    }
    if checks.expiry && !is_own && approval.validity(against.now) == Validity::Expired {
        return Err(Refusal::APPROVAL_EXPIRED);
    }
    if checks.digest && approval.digest != against.digest {
        return Err(Refusal::APPROVAL_PAYLOAD_MISMATCH);
    }
    if checks.target && !against.target_is_current {
        return Err(Refusal::TARGET_CHANGED);
    }
    Ok(granted)
}

/// A use counts as the caller's own whether or not the object is usable besides: using it again would be another use.
#[inline(always)]
fn grant(status: Status, accept_own: bool, against: Compared) -> Granted {
    if accept_own && against.own_use && status != Status::Revoked { Granted::OwnUse } else { Granted::Usable }
}

/// The fencing numbers that a consume compares under the `lease` guard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fences {
    /// The promotion's own number; `None` without a lease.
    pub held: Option<u64>,
    /// The latest number; 0 before the first lease.
    pub latest: u64,
}

/// Decides whether an approval's lease can be acquired now, and returns its fencing number, larger than any before.
/// `fence` is the latest number, 0 if there is none, and its lease ends at `until`.
///
/// # Errors
/// The end of the current lease, if it is held.
pub fn lease(fence: u64, until: Timestamp, now: Timestamp) -> Result<u64, Timestamp> {
    if now < until { Err(until) } else { Ok(fence.saturating_add(1)) }
}

/// Decides whether the approval may become executed under `guards`. `digest` is the promotion's.
///
/// This is the compare of the compare-and-swap. A guard that is left out is not compared: without the `status` guard
/// this is an unconditional update, which executes twice for two requests.
///
/// # Errors
/// In this order: 409 already executed (any status but approved), 410 expired, 409 payload mismatch, 409 lease lost.
#[inline(always)]
pub fn consume(
    approval: ApprovalState,
    fences: Fences,
    guards: Guards,
    digest: Digest,
    now: Timestamp,
) -> Result<(), Refusal> {
    use_object(approval, fences, guards, false, Compared::at(now, digest)).map(|_| ())
}

/// As [`consume`], for objects of any kind: with `accept_own` the caller's own use meets status and expiry, unless
/// the object was revoked since, and is not counted again.
///
/// # Errors
/// As [`consume`], and 409 target changed before the lease.
#[inline(always)]
pub fn use_object(
    approval: ApprovalState,
    fences: Fences,
    guards: Guards,
    accept_own: bool,
    against: Compared,
) -> Result<Granted, Refusal> {
    let validity = approval.validity(against.now);
    let granted = grant(approval.status, accept_own, against);
    let is_own = granted == Granted::OwnUse;
    if guards.status && !is_own && transition(approval.status, Event::Consume, validity).is_err() {
        return Err(Refusal::APPROVAL_ALREADY_EXECUTED);
    }
    if guards.expiry && !is_own && validity == Validity::Expired {
        return Err(Refusal::APPROVAL_EXPIRED);
    }
    if guards.digest && approval.digest != against.digest {
        return Err(Refusal::APPROVAL_PAYLOAD_MISMATCH);
    }
    if guards.target && !against.target_is_current {
        return Err(Refusal::TARGET_CHANGED);
    }
    // An expired lease stays valid until another attempt acquires it.
    if guards.lease && fences.held != Some(fences.latest) {
        return Err(Refusal::LEASE_LOST);
    }
    Ok(granted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_000);

    /// Something wrong with an approval, and the refusal that it causes.
    type Wrong = (fn(&mut Case), Refusal);

    /// A row, and whether the request is for what was approved.
    #[derive(Clone)]
    struct Case {
        approval: Approval,
        same_binding: bool,
    }

    /// In the order of precedence.
    const WRONGS: [Wrong; 5] = [
        (|case| case.approval.team = Uuid::from_u128(99), Refusal::APPROVAL_NOT_FOUND),
        (|case| case.approval.status = Status::Executed, Refusal::APPROVAL_NOT_APPROVED),
        (|case| case.same_binding = false, Refusal::APPROVAL_MISMATCH),
        (|case| case.approval.expires_at = NOW, Refusal::APPROVAL_EXPIRED),
        (|case| case.approval.digest = Digest([9; 32]), Refusal::APPROVAL_PAYLOAD_MISMATCH),
    ];

    fn good() -> Case {
        let approval = Approval {
            id: Uuid::from_u128(1),
            team: Uuid::from_u128(2),
            requested_by: "dev@example.com".into(),
            digest: Digest([1; 32]),
            status: Status::Approved,
            expires_at: Timestamp(1_001),
        };
        Case { approval, same_binding: true }
    }

    const REQUEST: Request = Request { approval: Uuid::from_u128(1), team: Uuid::from_u128(2) };

    fn judge(Case { approval, same_binding }: &Case, checks: Checks) -> Result<(), Refusal> {
        let against = Compared { same_binding: *same_binding, ..Compared::at(NOW, Digest([1; 32])) };
        validate(Some(approval), checks, false, &REQUEST, against).map(|_| ())
    }

    #[test]
    fn of_two_refusals_that_apply_the_earlier_one_is_the_answer() {
        for (first, (spoil_first, refusal)) in WRONGS.iter().enumerate() {
            for (spoil_second, _) in &WRONGS[first..] {
                let mut case = good();
                spoil_second(&mut case);
                spoil_first(&mut case);
                assert_eq!(judge(&case, Checks::ALL).as_ref(), Err(refusal));
            }
        }
        assert_eq!(judge(&good(), Checks::ALL), Ok(()));
    }

    #[test]
    fn a_check_that_is_left_out_is_not_made() {
        let mut case = good();
        WRONGS.iter().for_each(|(spoil, _)| spoil(&mut case));
        assert_eq!(judge(&case, Checks::default()), Ok(()));
        for (index, (_, refusal)) in WRONGS.iter().enumerate() {
            let only = |wanted| index == wanted;
            let checks = Checks {
                owner: only(0),
                status: only(1),
                binding: only(2),
                expiry: only(3),
                digest: only(4),
                target: false,
            };
            assert_eq!(judge(&case, checks).as_ref(), Err(refusal));
        }
    }

    #[test]
    fn the_consume_looks_at_status_then_window_then_digest_then_lease() {
        let spoilt = |wrongs: &[usize]| {
            let mut case = good();
            wrongs.iter().for_each(|&wrong| WRONGS[wrong].0(&mut case));
            case
        };
        let leased = Guards { lease: true, ..Guards::ALL };
        let judge_as = |held, case: &Case, guards| {
            consume(case.approval.state(), Fences { held, latest: 2 }, guards, Digest([1; 32]), NOW)
        };
        let judge = |case: &Case, guards| judge_as(Some(1), case, guards);
        assert_eq!(judge(&good(), Guards::ALL), Ok(()));
        assert_eq!(judge(&spoilt(&[1, 3, 4]), leased), Err(Refusal::APPROVAL_ALREADY_EXECUTED));
        assert_eq!(judge(&spoilt(&[3, 4]), leased), Err(Refusal::APPROVAL_EXPIRED));
        assert_eq!(judge(&spoilt(&[4]), leased), Err(Refusal::APPROVAL_PAYLOAD_MISMATCH));
        for (held, judgement) in
            [(Some(2), Ok(())), (Some(1), Err(Refusal::LEASE_LOST)), (None, Err(Refusal::LEASE_LOST))]
        {
            assert_eq!(judge_as(held, &good(), leased), judgement, "{held:?} of 2");
        }
        assert_eq!(judge(&spoilt(&[1, 3, 4]), Guards::default()), Ok(()), "an unconditional update");
    }

    #[test]
    fn a_lease_is_given_to_one_until_it_runs_out_under_larger_and_larger_numbers() {
        assert_eq!(lease(0, Timestamp(0), NOW), Ok(1), "nobody has ever had it");
        assert_eq!(lease(1, Timestamp(NOW.0 + 1), NOW), Err(Timestamp(NOW.0 + 1)));
        assert_eq!(lease(1, NOW, NOW), Ok(2), "its last moment is not its holder's any more");
    }

    #[test]
    fn an_absent_approval_is_not_found_under_any_checks() {
        let verdict = validate(None, Checks::default(), false, &REQUEST, Compared::at(NOW, Digest([1; 32])));
        assert_eq!(verdict, Err(Refusal::APPROVAL_NOT_FOUND));
        assert_eq!(Request::parse_approval_id("17"), Err(Refusal::INVALID_APPROVAL_ID));
    }
}
