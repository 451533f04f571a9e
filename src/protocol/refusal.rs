//! Refusals: the negative replies of the protocol, each with its HTTP status and its stable code.
//!
//! The constants stand in order of precedence: if two apply, the earlier one is the reply.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

/// The protocol says no. `status` is from 400 to 599, `code` is `snake_case`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Refusal {
    status: u16,
    code: Cow<'static, str>,
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:literal $code:literal;)+) => {
        impl Refusal {
            $($(#[doc = $doc])+ pub const $name: Self = Self { status: $status, code: Cow::Borrowed($code) };)+

            /// Every refusal that has a name here, in the order in which they are checked.
            pub const WELL_KNOWN: &[Self] = &[$(Self::$name),+];
        }
    };
}

refusals! {
    // Before the protocol begins.
    /// Promotes are not part of the team's plan.
    PLAN_REQUIRED = 402 "plan_required";
    /// No such stack or resource, or another team's: never reveal which.
    NOT_FOUND = 404 "not_found";
    /// The body is not the JSON that was expected.
    INVALID_BODY = 400 "invalid_body";
    /// An environment's name is not 1 to 64 of `[A-Za-z0-9_-]`.
    INVALID_ENV = 400 "invalid_env";
    /// From and to are the same environment.
    INVALID_TARGET = 400 "invalid_target";
    /// The source is not in the environment that the request says.
    ENV_MISMATCH = 409 "env_mismatch";
    /// The session has no e-mail address.
    MISSING_EMAIL = 400 "missing_email";

    // The idempotency key.
    /// The idempotency key was used for another request.
    IDEMPOTENCY_KEY_REUSED = 422 "idempotency_key_reused";
    /// A concurrent request holds this idempotency key.
    IDEMPOTENCY_KEY_IN_FLIGHT = 409 "idempotency_key_in_flight";

    // The approval's page and the administrator's list.
    /// The approval's window has passed, it is not pending, or a concurrent decision won.
    APPROVAL_GONE = 410 "approval_gone";
    /// The approval to reject is not pending.
    NOT_PENDING = 409 "not_pending";

    // Validate.
    /// The approval's id is not a UUID.
    INVALID_APPROVAL_ID = 400 "invalid_approval_id";
    /// No such approval, or another team's: never reveal which.
    APPROVAL_NOT_FOUND = 404 "approval_not_found";
    /// The store failed while the approval (or the target) was looked for.
    LOOKUP_FAILED = 503 "lookup_failed";
    /// Any status but approved, including executed: the reply to a later retry.
    APPROVAL_NOT_APPROVED = 409 "approval_not_approved";
    /// Kind, from or to differ from the request.
    APPROVAL_MISMATCH = 400 "approval_mismatch";
    /// Approved, but its window has passed.
    APPROVAL_EXPIRED = 410 "approval_expired";
    /// The current payload differs from the approved one.
    APPROVAL_PAYLOAD_MISMATCH = 409 "approval_payload_mismatch";

    // The lease.
    /// The store failed while the approval's lease was taken.
    LEASE_FAILED = 503 "lease_failed";

    // Preflight.
    /// Reading the source's or the target's services failed.
    FETCH_FAILED = 503 "fetch_failed";
    /// The source stack has no service.
    NO_SERVICES = 412 "no_services";
    /// A source service has no recorded image.
    MISSING_IMAGE_REF = 412 "missing_image_ref";
    /// A new target would pass the plan's cap.
    DEPLOYMENT_LIMIT_REACHED = 402 "deployment_limit_reached";
    /// Creating the target failed.
    CREATE_FAILED = 503 "create_failed";
    /// Updating the target failed.
    UPDATE_FAILED = 503 "update_failed";
    /// Loading the source's or the target's environment variables failed.
    ENV_LOAD_FAILED = 503 "env_load_failed";
    /// A vault reference cannot be resolved in the target environment.
    VAULT_REF_FAILED = 400 "vault_ref_failed";
    /// The resource already has a twin in that environment.
    TWIN_EXISTS = 409 "twin_exists";
    /// The provisioner failed.
    PROVISION_FAILED = 503 "provision_failed";

    // Consume.
    /// The compare-and-swap changed no row: a concurrent consumer won.
    APPROVAL_ALREADY_EXECUTED = 409 "approval_already_executed";
    /// The promotion's lease expired, and another attempt has acquired it since.
    LEASE_LOST = 409 "lease_lost";
    /// The store failed in the consume.
    EXECUTE_FAILED = 503 "execute_failed";
    /// The store failed while the launch job was written.
    ENQUEUE_FAILED = 503 "enqueue_failed";
}

/// The refusals of steps that no flow of the gate has, and those of changes that are no promotion.
impl Refusal {
    /// A protected environment changes by approved promotions only.
    pub const PROTECTED_ENVIRONMENT: Self =
        Self { status: 409, code: Cow::Borrowed("protected_environment") };
    /// The team has as many undecided approvals as it may have.
    pub const TOO_MANY_PENDING: Self =
        Self { status: 429, code: Cow::Borrowed("too_many_pending_approvals") };
    /// Only an administrator of the team may do this.
    pub const ADMIN_REQUIRED: Self = Self { status: 403, code: Cow::Borrowed("admin_required") };
    /// Another deploy has changed the target since the approval.
    pub const TARGET_CHANGED: Self = Self { status: 409, code: Cow::Borrowed("target_changed") };
    /// Another attempt has the object's lease, and the step does not wait for it.
    pub const LEASE_HELD: Self = Self { status: 409, code: Cow::Borrowed("lease_held") };
    /// Another attempt under the same key has not ended.
    pub const IN_FLIGHT: Self = Self { status: 409, code: Cow::Borrowed("in_flight") };
    /// The act has been done for this use already.
    pub const DUPLICATE: Self = Self { status: 409, code: Cow::Borrowed("duplicate") };
    /// The other system failed, or its answer was lost.
    pub const CALL_FAILED: Self = Self { status: 503, code: Cow::Borrowed("call_failed") };
    /// The store failed while the outcome was stored.
    pub const REMEMBER_FAILED: Self = Self { status: 503, code: Cow::Borrowed("remember_failed") };
}

/// Why a text is no refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidRefusal {
    /// Not a number and a code with one blank between them.
    Shape,
    /// The status is not from 400 to 599.
    Status,
    /// The code is not `snake_case`: `[a-z][a-z0-9_]*`.
    Code,
}

impl fmt::Display for InvalidRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "expected a status and a code, as in \"412 no_services\"",
            Self::Status => "expected a status from 400 to 599",
            Self::Code => "expected a code of small letters, digits and underscores, as in \"no_services\"",
        })
    }
}

impl std::error::Error for InvalidRefusal {}

impl Refusal {
    /// Reads `"412 no_services"`.
    ///
    /// # Errors
    /// [`InvalidRefusal`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidRefusal> {
        let (status, code) = text.split_once(' ').ok_or(InvalidRefusal::Shape)?;
        if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidRefusal::Shape);
        }
        let status = status
            .parse::<u16>()
            .ok()
            .filter(|status| (400..600).contains(status))
            .ok_or(InvalidRefusal::Status)?;
        let snake_case = code.starts_with(|first: char| first.is_ascii_lowercase())
            && code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        if !snake_case {
            return Err(InvalidRefusal::Code);
        }
        // A known code costs no allocation, neither here nor when it is cloned.
        let known = Self::WELL_KNOWN.iter().find(|known| known.code == code);
        let code = known.map_or_else(|| Cow::Owned(code.to_owned()), |known| known.code.clone());
        Ok(Self { status, code })
    }

    /// The HTTP status, 400 to 599.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The stable, machine-readable code.
    pub fn code(&self) -> &str {
        &self.code
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.code)
    }
}

impl std::error::Error for Refusal {}

impl TryFrom<String> for Refusal {
    type Error = InvalidRefusal;

    fn try_from(text: String) -> Result<Self, InvalidRefusal> {
        Self::parse(&text)
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> Self {
        refusal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_well_known_refusal_reads_back() {
        for refusal in Refusal::WELL_KNOWN {
            assert_eq!(Refusal::parse(&refusal.to_string()).as_ref(), Ok(refusal));
        }
    }

    #[test]
    fn a_refusal_is_its_status_and_its_code() {
        let refusal = Refusal::NO_SERVICES;
        assert_eq!((refusal.status(), refusal.code()), (412, "no_services"));
        assert_eq!(refusal.to_string(), "412 no_services");
        assert_eq!(String::from(refusal.clone()), "412 no_services");
        assert_eq!(Refusal::try_from("412 no_services".to_owned()), Ok(refusal));
        // The same code under another status is another refusal.
        let other = Refusal::parse("413 no_services").expect("a refusal");
        assert_eq!((other.status(), other.code()), (413, "no_services"));
        for (invalid, word) in [
            (InvalidRefusal::Shape, "as in \"412 no_services\""),
            (InvalidRefusal::Status, "400 to 599"),
            (InvalidRefusal::Code, "underscores"),
        ] {
            assert!(invalid.to_string().contains(word), "{invalid}");
        }
    }

    #[test]
    fn an_invalid_refusal_is_rejected_with_the_reason() {
        for (text, why) in [
            ("", InvalidRefusal::Shape),
            ("412", InvalidRefusal::Shape),
            ("no_services", InvalidRefusal::Shape),
            ("4120 no_services", InvalidRefusal::Shape),
            ("+41 no_services", InvalidRefusal::Shape),
            ("399 no_services", InvalidRefusal::Status),
            ("600 no_services", InvalidRefusal::Status),
            ("412 ", InvalidRefusal::Code),
            ("412  no_services", InvalidRefusal::Code),
            ("412 No_services", InvalidRefusal::Code),
            ("412 _services", InvalidRefusal::Code),
            ("412 no-services", InvalidRefusal::Code),
        ] {
            assert_eq!(Refusal::parse(text), Err(why), "{text:?}");
        }
        assert_eq!(Refusal::parse("418 teapot").map(|refusal| refusal.status()), Ok(418));
    }
}
