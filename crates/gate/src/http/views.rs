//! Response bodies in JSON: never a token, a payload, a variable's value or a secret.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{bodies::ResourceType, time::rfc3339};
use countersign::{
    platform::Kind,
    store::{AuditEvent, Listed, Resource, Service, Stack, StackStatus, Way},
};

/// A service.
#[derive(Serialize, ToSchema)]
pub(super) struct ServiceView {
    name: String,
    image_ref: Option<String>,
    port: Option<u16>,
    expose: bool,
    /// The status of its stack.
    status: &'static str,
}

impl ServiceView {
    pub(super) fn new(service: &Service, status: StackStatus) -> Self {
        let Service { name, image_ref, port, expose } = service.clone();
        Self { name, image_ref, port, expose, status: status_name(status) }
    }
}

/// A service that was changed.
#[derive(Serialize, ToSchema)]
pub(super) struct ServiceAnswer {
    ok: bool,
    #[serde(flatten)]
    service: ServiceView,
}

impl From<ServiceView> for ServiceAnswer {
    fn from(service: ServiceView) -> Self {
        Self { ok: true, service }
    }
}

/// A stack, without its variables: they may be secrets.
#[derive(Serialize, ToSchema)]
pub(super) struct StackView {
    ok: bool,
    id: Uuid,
    /// Name in addresses.
    slug: String,
    name: String,
    env: String,
    /// `building`, `healthy` or `failed`.
    status: &'static str,
    /// The stack that it was promoted from.
    parent_id: Option<Uuid>,
    services: Vec<ServiceView>,
}

impl From<&Stack> for StackView {
    fn from(stack: &Stack) -> Self {
        Self {
            ok: true,
            id: stack.id,
            slug: stack.slug(),
            name: stack.name.clone(),
            env: stack.env.to_string(),
            status: status_name(stack.status),
            parent_id: stack.parent,
            services: stack.services.iter().map(|one| ServiceView::new(one, stack.status)).collect(),
        }
    }
}

/// The stacks of one family.
#[derive(Serialize, ToSchema)]
pub(super) struct FamilyView {
    ok: bool,
    /// The first of them.
    root_id: Uuid,
    /// Oldest first.
    items: Vec<StackView>,
}

impl FamilyView {
    pub(super) fn new(root_id: Uuid, stacks: &[Stack]) -> Self {
        Self { ok: true, root_id, items: stacks.iter().map(StackView::from).collect() }
    }
}

/// A resource.
#[derive(Serialize, ToSchema)]
pub(super) struct ResourceView {
    ok: bool,
    id: Uuid,
    name: String,
    r#type: ResourceType,
    env: String,
    family_root_id: Uuid,
    /// `building`, `healthy` or `failed`.
    status: &'static str,
}

impl From<&Resource> for ResourceView {
    fn from(resource: &Resource) -> Self {
        Self {
            ok: true,
            id: resource.id,
            name: resource.name.clone(),
            r#type: resource.kind.into(),
            env: resource.env.to_string(),
            family_root_id: resource.root,
            status: status_name(resource.status),
        }
    }
}

/// An approval was requested.
#[derive(Serialize, ToSchema)]
pub(super) struct PendingView {
    pub(super) ok: bool,
    /// `pending_approval`, or `approved` where the same was asked for before and is usable.
    pub(super) status: &'static str,
    pub(super) approval_id: Uuid,
    /// End of its validity.
    #[schema(format = DateTime)]
    pub(super) expires_at: String,
    pub(super) from: String,
    pub(super) to: String,
    /// The stack's slug, or the resource's id.
    pub(super) source: String,
}

/// A stack was promoted.
#[derive(Serialize, ToSchema)]
pub(super) struct PromotedView {
    pub(super) ok: bool,
    /// `created` or `updated_existing`.
    pub(super) action: &'static str,
    /// The target.
    pub(super) stack_id: Option<Uuid>,
    pub(super) env: String,
    /// The stack that it was promoted from.
    pub(super) parent_id: Uuid,
    /// Slug of that stack.
    pub(super) source: String,
    /// `building`: the deploy goes on by itself.
    pub(super) status: &'static str,
    /// The keys that were copied into the vault of the target's environment.
    /// Absent if the store could no longer read them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vault_keys_copied: Option<Vec<String>>,
    /// The approval that was used. The outcome can be looked up under it.
    pub(super) approval_id: Uuid,
}

/// A twin was provisioned.
#[derive(Serialize, ToSchema)]
pub(super) struct TwinView {
    pub(super) ok: bool,
    pub(super) id: Option<Uuid>,
    pub(super) env: String,
    pub(super) family_root_id: Uuid,
    /// `building`: the provisioning goes on by itself.
    pub(super) status: &'static str,
    /// The approval that was used.
    pub(super) approval_id: Uuid,
}

/// An approval.
#[derive(Serialize, ToSchema)]
pub(super) struct ApprovalView {
    pub(super) ok: bool,
    #[serde(flatten)]
    pub(super) approval: ListedView,
    #[schema(format = DateTime)]
    pub(super) approved_at: Option<String>,
    #[schema(format = DateTime)]
    pub(super) executed_at: Option<String>,
    #[schema(format = DateTime)]
    pub(super) rejected_at: Option<String>,
    #[schema(format = DateTime)]
    pub(super) revoked_at: Option<String>,
    /// The latest decision: who made it; null while there is none.
    pub(super) decided_by: Option<String>,
    /// The reason that was given for it.
    pub(super) reason: Option<String>,
    /// The outcome of the promotion that used it; null while it is unused.
    pub(super) outcome: Option<OutcomeView>,
}

/// Outcome of a promote: its answer, and the present state of its deploy.
#[derive(Serialize, ToSchema)]
pub(super) struct OutcomeView {
    /// `created` or `updated_existing`.
    pub(super) action: &'static str,
    /// The stack that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stack_id: Option<Uuid>,
    /// The twin that it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Uuid>,
    pub(super) env: String,
    /// The source.
    pub(super) parent_id: Uuid,
    /// The source stack's slug, or the source resource's id; null if the stack was deleted.
    pub(super) source: Option<String>,
    pub(super) vault_keys_copied: Vec<String>,
    /// Status of this approval's own deploy: `building`, `healthy` or `failed`. Before its end, the target's status; null if
    /// the target was deleted.
    pub(super) status: Option<&'static str>,
    /// The deploys for it that have ended, oldest first.
    pub(super) deploys: Vec<DeployView>,
}

/// Result of a deploy.
#[derive(Serialize, ToSchema)]
pub(super) struct DeployView {
    #[schema(format = DateTime)]
    pub(super) ended_at: String,
    /// Null after a signal, or if it could not be started.
    pub(super) exit_code: Option<i32>,
}

/// An approval in a list: neither token nor payload.
#[derive(Serialize, ToSchema)]
pub(super) struct ListedView {
    pub(super) id: Uuid,
    /// `stack` or `resource_twin`.
    pub(super) kind: &'static str,
    pub(super) from_env: String,
    pub(super) to_env: String,
    /// `pending`, `approved`, `rejected`, `expired`, `executed` or `revoked`.
    pub(super) status: String,
    pub(super) requested_by_email: String,
    #[schema(format = DateTime)]
    pub(super) created_at: String,
    #[schema(format = DateTime)]
    pub(super) expires_at: String,
    /// Time of the last change of status; null while it is pending.
    #[schema(format = DateTime)]
    pub(super) decided_at: Option<String>,
}

impl From<&Listed> for ListedView {
    fn from(Listed { approval, binding, created_at, decided_at }: &Listed) -> Self {
        Self {
            id: approval.id,
            kind: kind_name(binding.kind),
            from_env: binding.from.to_string(),
            to_env: binding.to.to_string(),
            status: approval.status.to_string(),
            requested_by_email: approval.requested_by.to_string(),
            created_at: rfc3339(*created_at),
            expires_at: rfc3339(approval.expires_at),
            decided_at: decided_at.map(rfc3339),
        }
    }
}

/// A part of the team's approvals.
#[derive(Serialize, ToSchema)]
pub(super) struct ListView {
    pub(super) ok: bool,
    /// Newest first.
    pub(super) items: Vec<ListedView>,
    /// The `cursor` of the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// An approval was rejected.
#[derive(Serialize, ToSchema)]
pub(super) struct RejectedView {
    pub(super) ok: bool,
    pub(super) id: Uuid,
    /// `rejected`.
    pub(super) status: String,
}

/// An approval that was decided about.
#[derive(Serialize, ToSchema)]
pub(super) struct DecidedView {
    pub(super) ok: bool,
    pub(super) id: Uuid,
    /// `approved`, `rejected` or `revoked`.
    pub(super) status: String,
    /// Until when it can be used.
    #[schema(format = DateTime)]
    pub(super) expires_at: String,
}

/// A deploy that was given up.
#[derive(Serialize, ToSchema)]
pub(super) struct GivenUpView {
    pub(super) ok: bool,
    pub(super) id: Uuid,
    /// `executed`: the approval is used.
    pub(super) status: String,
}

/// Direct changes of protected environments.
#[derive(Serialize, ToSchema)]
pub(super) struct GlassBrokenListView {
    pub(super) ok: bool,
    /// Newest first.
    pub(super) items: Vec<GlassBrokenView>,
}

/// A direct change of a protected environment.
#[derive(Serialize, ToSchema)]
pub(super) struct GlassBrokenView {
    #[schema(format = DateTime)]
    pub(super) at: String,
    pub(super) env: String,
    /// What was changed. Never a value.
    pub(super) change: String,
    /// The administrator.
    pub(super) by: String,
    /// The administrator's reason.
    pub(super) reason: String,
}

/// Events of an approval.
#[derive(Serialize, ToSchema)]
pub(super) struct AuditView {
    pub(super) ok: bool,
    /// Oldest first.
    pub(super) items: Vec<EventView>,
}

/// One event.
#[derive(Serialize, ToSchema)]
pub(super) struct EventView {
    /// `promote.approval_requested`, `.approved`, `.rejected`, `.expired` or `.executed`.
    kind: &'static str,
    approval_id: Uuid,
    #[schema(format = DateTime)]
    at: String,
    /// The actor: an e-mail address, `operator` for the holder of the link, or a rule of the platform.
    by: String,
    from_env: String,
    to_env: String,
    requested_by_email: String,
    /// `stack` or `resource_twin`.
    approval_kind: &'static str,
    /// How a person decided: `link` for a link of their own, `session`; null for other events.
    way: Option<&'static str>,
    /// The reason that was given.
    reason: Option<String>,
}

impl From<&AuditEvent> for EventView {
    fn from(event: &AuditEvent) -> Self {
        Self {
            kind: event.kind.as_str(),
            approval_id: event.approval,
            at: rfc3339(event.at),
            by: event.by.to_string(),
            from_env: event.binding.from.to_string(),
            to_env: event.binding.to.to_string(),
            requested_by_email: event.requested_by.to_string(),
            approval_kind: kind_name(event.binding.kind),
            way: event.way.map(Way::as_str),
            reason: event.reason.as_deref().map(str::to_owned),
        }
    }
}

/// Success.
#[derive(Serialize, ToSchema)]
pub(super) struct OkView {
    pub(super) ok: bool,
}

/// Name of a kind.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Stack => "stack",
        Kind::ResourceTwin => "resource_twin",
    }
}

/// Name of a status.
pub(super) fn status_name(status: StackStatus) -> &'static str {
    match status {
        StackStatus::Building => "building",
        StackStatus::Healthy => "healthy",
        StackStatus::Failed => "failed",
    }
}
