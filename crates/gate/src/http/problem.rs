//! The one table from refusals to HTTP: title, explanation, and whether to retry.
//!
//! The texts are constant: a problem contains no part of a request, so that none can show a token. The exception is
//! [`Problem::invalid_body`], which describes the caller's own input.

use std::borrow::Cow;

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;

use countersign::{
    protocol::{Refusal, Status},
    store::{StoreError, StoreErrorKind},
};

/// Retry behaviour of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Again {
    /// Never: a different request is needed.
    No,
    /// A retry may succeed later.
    Yes,
    /// Only while the approval is pending: it succeeds once approved.
    WhilePending,
}

/// A row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) status: u16,
    pub(super) code: &'static str,
    pub(super) title: &'static str,
    detail: &'static str,
    again: Again,
}

/// Seconds to wait before a retry, if the caller is not at fault.
const PAUSE_S: u64 = 1;

/// A row has a name where the surface itself answers with it; the others are refusals of the protocol.
macro_rules! table {
    ($($status:literal $($name:ident)? $code:literal $again:ident $title:literal $detail:literal;)+) => {
        /// Every problem that the surface knows, refusals in the order in which they are checked.
        pub(super) const TABLE: &[Row] = &[$(Row {
            status: $status, code: $code, title: $title, detail: $detail, again: Again::$again,
        }),+];

        /// A problem that the surface itself answers with.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code {
            $($(#[doc = $title] $name,)?)+
        }

        impl Code {
            fn row(self) -> &'static Row {
                match self {
                    $($(Self::$name => &Row {
                        status: $status, code: $code, title: $title, detail: $detail, again: Again::$again,
                    },)?)+
                }
            }

            #[cfg(test)]
            const ALL: &[Self] = &[$($(Self::$name,)?)+];
        }
    };
}

table! {
    // Transport.
    404 NoSuchPath "no_such_path" No "No such path" "No resource has this path.";
    405 MethodNotAllowed "method_not_allowed" No "Method not allowed" "The Allow header lists the methods of this path.";
    413 BodyTooLarge "body_too_large" No "Body too large" "The body is larger than this server accepts.";
    415 UnsupportedMediaType "unsupported_media_type" No "Unsupported media type" "This path does not accept the body's media type.";
    408 BodyTooSlow "body_too_slow" Yes "Body too slow" "The body did not arrive in time.";
    400 InvalidQuery "invalid_query" No "Invalid query" "A query parameter is invalid.";
    429 TooManyRequests "too_many_requests" Yes "Too many requests" "Too many requests from one address or with one token. Retry after the time in Retry-After.";
    500 Internal "internal" Yes "Internal error" "The server failed. The outcome is unknown: the request may have been carried out.";
    503 TimedOut "timed_out" Yes "Timed out" "The request took too long and may still be carried out: retry with the same Idempotency-Key.";
    503 Overloaded "overloaded" Yes "Overloaded" "Too many requests are running. Nothing was changed.";
    503 NotReady "not_ready" Yes "Not ready" "The instance does not take new work.";

    // Sessions.
    401 Unauthorized "unauthorized" No "Unauthorized" "A valid bearer token is required.";
    403 AdminRequired "admin_required" No "Administrator required" "Only an administrator may do this.";
    403 SelfApprovalForbidden "self_approval_forbidden" No "Self-approval forbidden" "The requester may not approve this promotion, and no other approver is configured.";
    403 NotAnApprover "not_an_approver" No "Not an approver" "Only one of the approval's approvers may do this; an administrator may reject and revoke.";
    403 CrossSite "cross_site" No "Cross-site request" "Decisions are accepted from the approval page only, not from another site.";

    400 InvalidIdempotencyKey "invalid_idempotency_key" No "Invalid idempotency key" "Idempotency-Key has to be one header of 1 to 255 visible ASCII characters.";

    // Before the protocol begins.
    402 "plan_required" No "Plan required" "Promotions need the tier Pro or higher.";
    404 NotFound "not_found" No "Not found" "Not found.";
    400 "invalid_body" No "Invalid body" "The body is invalid.";
    400 "invalid_env" No "Invalid environment" "An environment's name is 1 to 64 of A-Z, a-z, 0-9, _ and -.";
    400 EnvLookAlike "env_look_alike" No "Look-alike of an environment" "The name can be taken for that of another environment: development, staging, production, or the source's.";
    400 "invalid_target" No "Invalid target" "From and to are the same environment.";
    409 "env_mismatch" No "Environment mismatch" "The source is not in the environment named in `from`.";
    400 "missing_email" No "Missing e-mail" "The session has no e-mail address.";

    // Direct changes.
    409 "protected_environment" No "Protected environment" "This environment changes by approved promotions only. An administrator may change it with a reason in the header Break-Glass.";
    400 InvalidBreakGlass "invalid_break_glass" No "Invalid reason" "Break-Glass has to be one header of 1 to 500 printable ASCII characters.";

    // The idempotency key.
    422 "idempotency_key_reused" No "Idempotency key reused" "This Idempotency-Key was used for another request.";
    409 "idempotency_key_in_flight" Yes "Request in flight" "A request with this Idempotency-Key is still running.";

    // The approval's page and the administrator's list.
    410 "approval_gone" No "Approval gone" "The approval has expired, or it has been decided already.";
    409 "not_pending" No "Not pending" "Only a pending approval can be rejected.";
    409 ApprovalNotExecuted "approval_not_executed" No "Approval not executed" "Only the deploy of an executed approval can be given up.";
    409 DeployEnded "deploy_ended" No "Deploy ended" "The deploy has ended already, or was given up.";
    400 InvalidId "invalid_id" No "Invalid id" "The id is not a UUID.";
    400 InvalidStatus "invalid_status" No "Invalid status" "A status is pending, approved, rejected, expired, executed or revoked.";
    400 InvalidLimit "invalid_limit" No "Invalid limit" "A limit is a number from 1 to 200.";
    400 InvalidCursor "invalid_cursor" No "Invalid cursor" "The cursor is not one that an earlier answer returned in next_cursor.";

    // Requests for an approval.
    409 ApprovalClosed "approval_closed" No "Approval closed" "The approval that was asked for under this Idempotency-Key was rejected, revoked or used, or has expired; approval_status has its status. Ask under another key.";
    429 "too_many_pending_approvals" Yes "Too many pending approvals" "The team has as many undecided approvals as it may have. Retry when some have been decided.";

    // Validate.
    400 "invalid_approval_id" No "Invalid approval id" "The approval's id is not a UUID.";
    404 "approval_not_found" No "Approval not found" "Approval not found.";
    503 "lookup_failed" Yes "Lookup failed" "The store failed during a lookup. Nothing was changed.";
    409 "approval_not_approved" WhilePending "Approval not approved" "Only an approved approval can be used; approval_status has its status.";
    400 "approval_mismatch" No "Approval mismatch" "Kind, from or to differ from the approval's.";
    410 "approval_expired" No "Approval expired" "The approval has expired.";
    409 "approval_payload_mismatch" No "Approval payload mismatch" "The payload is not the approved one.";

    409 "target_changed" No "Target changed" "The target was changed after this was asked for. Ask for another approval.";

    // The lease.
    503 "lease_failed" Yes "Lease failed" "The store failed while taking the approval's lease. The approval is not used.";

    // Preflight.
    503 "fetch_failed" Yes "Fetch failed" "Reading the services of the source or the target failed. The approval is not used.";
    412 "no_services" Yes "No services" "The source stack has no service. The approval is not used.";
    412 "missing_image_ref" Yes "Missing image" "A service of the source has no recorded image. The approval is not used.";
    402 "deployment_limit_reached" Yes "Deployment limit reached" "Another stack would exceed the limit of the team's tier.";
    503 "create_failed" Yes "Create failed" "Creating the target failed.";
    503 "update_failed" Yes "Update failed" "Updating the target failed.";
    503 "env_load_failed" Yes "Variables not loaded" "Loading the environment variables of the source or the target failed.";
    400 "vault_ref_failed" Yes "Vault reference not resolved" "A vault reference has no value in the target environment.";
    409 "twin_exists" No "Twin exists" "The resource already has a twin in that environment.";
    503 "provision_failed" Yes "Provision failed" "The provisioner failed.";

    // Consume.
    409 "approval_already_executed" No "Approval already executed" "A concurrent promotion used the approval.";
    409 "lease_lost" Yes "Lease lost" "The lease expired before the commit, and another promotion holds it now. The approval is not used.";
    503 "execute_failed" Yes "Execute failed" "The store failed. If `consumed` is absent the outcome is unknown: retry with the same Idempotency-Key.";
    503 "enqueue_failed" Yes "Enqueue failed" "The store failed while writing the launch job.";
    503 StoreFailed "store_failed" Yes "Store failed" "The store failed. The outcome is unknown.";
}

/// State of the approval that a problem is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// Its status after the refusal.
    pub(super) status: Status,
    /// True if the approval is used; `None` if the outcome is unknown.
    pub(super) consumed: Option<bool>,
}

/// An error response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    status: u16,
    code: Cow<'static, str>,
    title: Cow<'static, str>,
    detail: Cow<'static, str>,
    again: Again,
    about: Option<About>,
    retry_after_s: Option<u64>,
    allow: Option<HeaderValue>,
}

/// The body of an error response (RFC 9457, problem details).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// A URN that ends with the code.
    r#type: String,
    /// A short title, the same for every problem with this code.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    /// One sentence: what happened, and what to do.
    detail: &'a str,
    /// Stable identifier for programs.
    code: &'a str,
    /// True if the same request may succeed later.
    retryable: bool,
    /// The approval's status after this response, where one is concerned.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval_status: Option<String>,
    /// True if the approval is used, where one is concerned. Absent if the outcome is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    consumed: Option<bool>,
}

impl Problem {
    /// The problem of this code.
    pub(super) fn new(code: Code) -> Self {
        Self::of_row(code.row())
    }

    fn of_row(row: &'static Row) -> Self {
        Self(Box::new(Parts {
            status: row.status,
            code: Cow::Borrowed(row.code),
            title: Cow::Borrowed(row.title),
            detail: Cow::Borrowed(row.detail),
            again: row.again,
            about: None,
            retry_after_s: (matches!(row.status, 429 | 503) || row.code == "idempotency_key_in_flight")
                .then_some(PAUSE_S),
            allow: None,
        }))
    }

    /// The problem with an explanation of what is wrong with the body.
    pub(super) fn invalid_body(what: &dyn std::fmt::Display) -> Self {
        /// Enough for a name and a place.
        const LONGEST: usize = 300;
        let mut problem = Self::from(Refusal::INVALID_BODY);
        problem.0.detail = what.to_string().chars().take(LONGEST).collect::<String>().into();
        problem
    }

    /// The instance is not ready, for this reason.
    pub(super) fn not_ready(why: &'static str) -> Self {
        let mut problem = Self::new(Code::NotReady);
        problem.0.detail = Cow::Borrowed(why);
        problem
    }

    /// Adds what is known of the approval.
    pub(super) fn about(mut self, about: Option<About>) -> Self {
        self.0.about = about;
        self
    }

    /// What mends this makes another approval necessary.
    pub(super) fn needs_another_approval(mut self) -> Self {
        self.0.again = Again::No;
        self.0.detail =
            format!("{} Mending it changes what would run: ask for another approval.", self.0.detail).into();
        self
    }

    /// With a time to wait.
    pub(super) fn retry_after_s(mut self, seconds: u64) -> Self {
        self.0.retry_after_s = Some(seconds.max(1));
        self
    }

    /// With the methods that there are.
    pub(super) fn allow(mut self, allow: Option<HeaderValue>) -> Self {
        self.0.allow = allow;
        self
    }

    pub(super) fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    pub(super) fn code(&self) -> &str {
        &self.0.code
    }

    pub(super) fn title(&self) -> &str {
        &self.0.title
    }

    pub(super) fn detail(&self) -> &str {
        &self.0.detail
    }

    fn is_retryable(&self) -> bool {
        let used_up = |about: About| about.consumed == Some(true) || about.status.is_final();
        match self.0.again {
            Again::No => false,
            Again::Yes => !self.0.about.is_some_and(used_up),
            Again::WhilePending => self.0.about.is_some_and(|about| about.status == Status::Pending),
        }
    }

    /// The headers of the answer, for a page as well.
    pub(super) fn headers(&self) -> Vec<(header::HeaderName, HeaderValue)> {
        let mut headers = Vec::new();
        if let Some(seconds) = self.0.retry_after_s {
            headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        if let Some(allow) = &self.0.allow {
            headers.push((header::ALLOW, allow.clone()));
        }
        if self.0.status == 401 {
            headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        headers
    }
}

impl From<Refusal> for Problem {
    /// A refusal that only a flow's author knows is explained by its status and its code.
    fn from(refusal: Refusal) -> Self {
        let same = |row: &&Row| row.status == refusal.status() && row.code == refusal.code();
        if let Some(row) = TABLE.iter().find(same) {
            return Self::of_row(row);
        }
        let unavailable = refusal.status() >= 500;
        Self(Box::new(Parts {
            status: refusal.status(),
            code: Cow::Owned(refusal.code().to_owned()),
            title: Cow::Owned(refusal.code().replace('_', " ")),
            detail: Cow::Borrowed("A step of this instance's own flow refuses."),
            again: if unavailable { Again::Yes } else { Again::No },
            about: None,
            retry_after_s: unavailable.then_some(PAUSE_S),
            allow: None,
        }))
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::NotApplied => Self::from(Refusal::LOOKUP_FAILED),
            StoreErrorKind::Unknown => Self::new(Code::StoreFailed),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            r#type: format!("urn:countersign:problem:{}", self.code()),
            title: self.title(),
            status: self.status().as_u16(),
            detail: self.detail(),
            code: self.code(),
            retryable: self.is_retryable(),
            approval_status: self.0.about.map(|about| about.status.to_string()),
            consumed: self.0.about.and_then(|about| about.consumed),
        };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        let kind = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status(), [(header::CONTENT_TYPE, kind)], json).into_response();
        response.headers_mut().extend(self.headers().into_iter().map(|(name, value)| (Some(name), value)));
        // For the log, and for rendering it as a page.
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_of_the_protocol_has_its_row() {
        for refusal in Refusal::WELL_KNOWN {
            let row = TABLE.iter().find(|row| row.code == refusal.code()).expect("it has a row");
            assert_eq!(row.status, refusal.status(), "{refusal}");
        }
    }

    #[test]
    fn a_code_has_one_row_and_every_row_a_title_and_an_explanation() {
        for (place, row) in TABLE.iter().enumerate() {
            assert!(TABLE[..place].iter().all(|other| other.code != row.code), "{}", row.code);
            assert!(!row.title.is_empty() && row.detail.ends_with('.'), "{}", row.code);
        }
    }

    #[test]
    fn a_code_names_a_row_of_the_table() {
        for code in Code::ALL {
            assert!(TABLE.contains(code.row()), "{code:?}");
        }
    }

    #[test]
    fn the_rows_stand_in_the_order_in_which_refusals_are_checked() {
        let place = |refusal: &Refusal| TABLE.iter().position(|row| row.code == refusal.code());
        assert!(Refusal::WELL_KNOWN.is_sorted_by_key(place));
    }

    #[test]
    fn a_refusal_of_a_custom_flow_is_explained() {
        let problem = Problem::from(Refusal::parse("418 teapot_is_empty").expect("a refusal"));
        assert_eq!((problem.status().as_u16(), problem.code()), (418, "teapot_is_empty"));
        assert_eq!(problem.title(), "teapot is empty");
    }

    #[test]
    fn what_is_used_up_is_not_worth_asking_for_again() {
        let executed = About { status: Status::Executed, consumed: Some(true) };
        let pending = About { status: Status::Pending, consumed: Some(false) };
        let not_approved = Problem::from(Refusal::APPROVAL_NOT_APPROVED);
        assert!(not_approved.clone().about(Some(pending)).is_retryable());
        assert!(!not_approved.about(Some(executed)).is_retryable());
        let failed = Problem::from(Refusal::EXECUTE_FAILED);
        assert!(failed.is_retryable() && !failed.about(Some(executed)).is_retryable());
    }
}
