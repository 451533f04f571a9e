//! The object of a flow file: its requirements, and how people and clients reach it.

/// The promises that are made about the object. The default is a deployment approval.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Object {
    /// Name of the object in messages.
    pub noun: String,
    /// Number of permitted uses, 1 to [`Object::MAX_USES`].
    pub uses: u8,
    /// Number of different people who have to approve, at most [`Object::MAX_APPROVERS`]. With 0 it is usable when
    /// issued.
    pub approvers: u8,
    /// The requester is not one of the approvers.
    pub separate: bool,
    /// No use after `expires_at`.
    pub expires: bool,
    /// No use after it was revoked.
    pub revocable: bool,
    /// A use has the payload that was approved.
    pub bound: bool,
    /// A use finds the target as it was at the approval.
    pub target_bound: bool,
    /// Only its owner uses it; for others it does not exist.
    pub owner: bool,
    /// Every use has exactly one event.
    pub audited: bool,
    /// Effect of a refused attempt on the object.
    pub failed_attempt: FailedAttempt,
}

impl Object {
    /// The most uses.
    pub const MAX_USES: u8 = 3;
    /// The most approvers.
    pub const MAX_APPROVERS: u8 = 3;
}

impl Default for Object {
    fn default() -> Self {
        Self {
            noun: "approval".to_owned(),
            uses: 1,
            approvers: 1,
            separate: false,
            expires: true,
            revocable: false,
            bound: true,
            target_bound: false,
            owner: true,
            audited: true,
            failed_attempt: FailedAttempt::Keep,
        }
    }
}

/// Effect of a refused attempt on the object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailedAttempt {
    /// The object stays usable.
    #[default]
    Keep,
    /// The object is used up, as a challenge is.
    Burn,
}

/// Rule for an approver's decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DecisionRule {
    /// The fields that the approving swap compares.
    pub guards: DecisionGuards,
    /// The method of the link; with [`Method::Get`] a link scanner decides, too.
    pub method: Method,
}

/// The fields that the approving swap compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DecisionGuards {
    /// The object is pending.
    pub status: bool,
    /// Its window is open.
    pub expiry: bool,
    /// The person has not approved it before.
    pub distinct: bool,
    /// The person is not the requester.
    pub not_requester: bool,
}

impl Default for DecisionGuards {
    fn default() -> Self {
        Self { status: true, expiry: true, distinct: false, not_requester: false }
    }
}

/// The endpoint that runs the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Its method; with [`Method::Get`] a link scanner runs the whole flow, once.
    pub method: Method,
    /// Retries of clients without an answer.
    pub retry: Retry,
}

/// An HTTP method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// Safe: link scanners send it, too.
    Get,
    /// Sent by proper callers only.
    #[default]
    Post,
}

/// Retries of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Retry {
    /// Never.
    #[default]
    None,
    /// Once more, under the same idempotency key.
    Key,
    /// Once more, without a key.
    Keyless,
}
