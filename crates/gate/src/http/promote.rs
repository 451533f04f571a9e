//! Promotions: requesting an approval, using one, and running without one where the policy needs none.
//!
//! The work runs on a task of its own: a caller who hangs up does not stop it half-way.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::{
    App, Backend, Problem,
    bodies::{Body, LONGEST_NAME, PromoteBody, TwinBody, checked_text},
    environment,
    extract::{Segments, id, is_slug},
    idempotency::{Keyed, REPLAYED},
    openapi::{PromoteRefusals, TwinRefusals},
    problem::{About, Code},
    session::Session,
    time::rfc3339,
    views::{PendingView, PromotedView, TwinView},
};
use countersign::{
    platform::{Binding, Kind},
    protocol::{Flow, Outcome, Refusal, Request, Status, Target},
    service::{
        Answer, Deployer, Driver, UnsupportedStep, admit, admit_source, is_auto_approved, request_decision,
    },
    store::{
        ApprovalRecord, Payload, PromotionRequest, Requested, Service, StoreError, StoreErrorKind, digest_of,
    },
};

/// Promotes a stack into another environment.
///
/// Without `approval_id` an approval is requested (202 `pending_approval`), except for `development`, where the promote
/// runs immediately. With one, it uses that approval.
#[utoipa::path(
    post,
    path = "/api/v1/stacks/{slug}/promote",
    tag = "promotes",
    params(
        ("slug" = String, Path, description = "The source stack"),
        ("Idempotency-Key" = Option<String>, Header, max_length = 255, pattern = "^[!-~]+$",
            description = "A retry under the same key gets the same outcome"),
    ),
    request_body = PromoteBody,
    responses(
        (status = 200, body = PromotedView, description = "Promoted into a stack that existed"),
        (status = 202, body = PromoteAccepted, description = "Promoted into a new stack, or an approval was requested"),
        PromoteRefusals,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn promote_stack<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(slug): Segments<String>,
    keyed: Keyed,
    body: Body,
) -> Result<Response, Problem> {
    admit_source(session.caller(), Some(()))?;
    let stack = if is_slug(&slug) { app.store().stack(session.team, &slug).await? } else { None };
    let stack = admit_source(session.caller(), stack)?;
    let asked: PromoteBody = body.parse()?;
    asked.name.as_ref().map_or(Ok(()), |name| checked_text("name", name, LONGEST_NAME))?;
    environment::check(&asked.to, &stack.env)?;
    let binding = admit(session.caller(), Kind::Stack, Some(&stack.env), asked.from.as_deref(), &asked.to)?;
    let payload = Payload { source: stack.id, name: asked.name, copy_vault: asked.copy_vault };
    let order = Order::new(&session, binding, payload, asked.approval_id.as_deref(), &keyed)?;
    let (parent_id, services) = (stack.id, stack.services);
    let done = order.carry_out(&app, session.team, keyed, body, services).await?;
    Ok(done.answer(slug, |target, env, source, done| {
        let view = PromotedView {
            ok: true,
            action: action(target),
            stack_id: target.map(|target| target.id),
            env,
            parent_id,
            source,
            status: "building",
            vault_keys_copied: done.vault_keys.clone(),
            approval_id: done.approval,
        };
        let created = target.is_some_and(|target| target.created);
        (if created { StatusCode::ACCEPTED } else { StatusCode::OK }, Json(view)).into_response()
    }))
}

/// Provisions a resource's twin in another environment.
///
/// Approvals are as for stacks.
#[utoipa::path(
    post,
    path = "/api/v1/resources/{id}/provision-twin",
    tag = "promotes",
    params(
        ("id" = String, Path, description = "The source resource"),
        ("Idempotency-Key" = Option<String>, Header, max_length = 255, pattern = "^[!-~]+$",
            description = "A retry under the same key gets the same outcome"),
    ),
    request_body = TwinBody,
    responses(
        (status = 201, body = TwinView, description = "Provisioned"),
        (status = 202, body = PendingView, description = "An approval was requested"),
        TwinRefusals,
    ),
    security(("bearer" = [])),
)]
pub(super) async fn provision_twin<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    session: Session,
    Segments(source): Segments<String>,
    keyed: Keyed,
    body: Body,
) -> Result<Response, Problem> {
    admit_source(session.caller(), Some(()))?;
    let resource = match id(&source) {
        Some(id) => app.store().resource(session.team, id).await?,
        None => None,
    };
    let resource = admit_source(session.caller(), resource)?;
    let asked: TwinBody = body.parse()?;
    asked.name.as_ref().map_or(Ok(()), |name| checked_text("name", name, LONGEST_NAME))?;
    environment::check(&asked.env, &resource.env)?;
    let binding = admit(session.caller(), Kind::ResourceTwin, Some(&resource.env), None, &asked.env)?;
    let payload = Payload { source: resource.id, name: asked.name, copy_vault: false };
    let order = Order::new(&session, binding, payload, asked.approval_id.as_deref(), &keyed)?;
    let done = order.carry_out(&app, session.team, keyed, body, Arc::default()).await?;
    Ok(done.answer(resource.id.to_string(), |target, env, _, done| {
        let view = TwinView {
            ok: true,
            id: target.map(|target| target.id),
            env,
            family_root_id: resource.root,
            status: "building",
            approval_id: done.approval,
        };
        (StatusCode::CREATED, Json(view)).into_response()
    }))
}

/// Name of the action that wrote this target.
pub(super) fn action(target: Option<Target>) -> &'static str {
    if target.is_some_and(|target| target.created) { "created" } else { "updated_existing" }
}

/// Either of the two bodies of a 202.
#[derive(serde::Serialize, utoipa::ToSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(super) enum PromoteAccepted {
    Promoted(PromotedView),
    Pending(PendingView),
}

/// A request that was admitted.
struct Order {
    ask: PromotionRequest,
    /// The approval to use, if the caller names one.
    approval: Option<Uuid>,
}

impl Order {
    fn new(
        session: &Session,
        binding: Binding,
        payload: Payload,
        approval: Option<&str>,
        keyed: &Keyed,
    ) -> Result<Self, Problem> {
        let approval = approval.map(Request::parse_approval_id).transpose()?;
        let by = session.email.as_deref().unwrap_or_default().into();
        let key = keyed.key.as_ref().map(|key| key.as_str().into());
        Ok(Self {
            ask: PromotionRequest { team: session.team, binding, requested_by: by, payload, key },
            approval,
        })
    }

    /// Carries it out, on a task of its own and under its key.
    async fn carry_out<B: Backend, D: Deployer + 'static>(
        self,
        app: &App<B, D>,
        team: Uuid,
        keyed: Keyed,
        body: Body,
        services: Arc<[Service]>,
    ) -> Result<Done, Problem> {
        let mine = app.clone();
        // Boxed: it is large, and on its way to its task it is moved more than once.
        app.detached(Box::pin(async move {
            let work = async {
                let done = self.work(&mine, &services).await;
                let keep = match &done {
                    Ok(_) | Err(Failed { may_have_happened: true, .. }) => true,
                    Err(Failed { may_have_happened: false, .. }) => false,
                };
                (done.map_err(|failed| failed.problem), keep)
            };
            keyed.once(&mine, team, body.bytes(), work).await?
        }))
        .await?
    }

    async fn work<B: Backend, D: Deployer + 'static>(
        &self,
        app: &App<B, D>,
        services: &[Service],
    ) -> Result<Done, Failed> {
        let (ask, store) = (&self.ask, app.store());
        let flow: &Flow = match ask.binding.kind {
            Kind::Stack => &app.flows().stacks,
            Kind::ResourceTwin => &app.flows().twins,
        };
        let source = digest_of(ask, services);
        let driver = Driver::new(flow, store, app.deployer())?.waiting(app.wait_queue());
        if let Some(approval) = self.approval {
            let answer = driver.promote_once(approval, ask, source).await;
            return self.ended(app, flow, approval, answer).await;
        }
        if is_auto_approved(ask) {
            let (approval, answer) = driver.promote_auto_approved(ask, source).await??;
            if !answer.replayed {
                app.metrics().transition(None, Status::Pending);
                app.metrics().transition(Some(Status::Pending), Status::Approved);
            }
            return self.ended(app, flow, approval, answer).await;
        }
        if !app.tenants().has_approver(ask.team, &ask.requested_by) {
            return Err(Failed {
                problem: Problem::new(Code::SelfApprovalForbidden),
                may_have_happened: false,
            });
        }
        let Requested { record, created } =
            request_decision(ask, app.settings().max_pending_approvals, store).await??;
        if created {
            app.metrics().transition(None, Status::Pending);
            if let Some(wakeups) = app.wakeups() {
                wakeups.wake_notifier();
            }
        }
        match record.approval.status {
            Status::Pending | Status::Approved => {}
            // An earlier request under the same key.
            Status::Rejected | Status::Expired | Status::Executed | Status::Revoked => {
                let problem = Problem::new(Code::ApprovalClosed).about(Some(about(&record, false)));
                return Err(Failed { problem, may_have_happened: true });
            }
        }
        Ok(Done::Pending { record: Box::new(record), replayed: !created })
    }

    /// Answer to a promotion that has ended.
    async fn ended<B: Backend, D: Deployer + 'static>(
        &self,
        app: &App<B, D>,
        flow: &Flow,
        approval: Uuid,
        Answer { end, replayed }: Answer,
    ) -> Result<Done, Failed> {
        let ask = &self.ask;
        let team = ask.team;
        let (refusal, may_have_happened) = match end {
            Outcome::Succeeded { target, .. } => {
                app.metrics().consumed(if replayed { "replayed" } else { "executed" });
                if !replayed {
                    app.metrics().transition(Some(Status::Approved), Status::Executed);
                    if let Some(wakeups) = app.wakeups() {
                        wakeups.wake_workers();
                    }
                }
                let vault_keys = match ask.binding.kind {
                    Kind::Stack => match app.store().execution(team, approval).await {
                        Ok(execution) => execution.map(|execution| execution.vault_keys),
                        Err(_) => without_vault_keys(flow, ask)?,
                    },
                    Kind::ResourceTwin => None,
                };
                let env = ask.binding.to.to_string();
                return Ok(Done::Promoted(Promoted { approval, target, env, vault_keys, replayed }));
            }
            Outcome::Refused { refusal, .. } => (refusal, false),
            Outcome::Unknown { refusal } => (refusal, true),
        };
        app.metrics().consumed(refusal.code());
        let record = app.store().approval(team, approval).await.ok().flatten();
        let about = record.map(|record| about(&record, may_have_happened));
        let problem = Problem::from(refusal.clone()).about(about);
        // The remedy for these changes the digest.
        let is_lost = [Refusal::NO_SERVICES, Refusal::MISSING_IMAGE_REF].contains(&refusal);
        let problem =
            if is_lost && self.approval.is_some() { problem.needs_another_approval() } else { problem };
        Err(Failed { problem, may_have_happened })
    }
}

/// Answer to a successful promotion after the store failed to return the copied keys. With a key the caller retries and
/// gets all of it: one key, one answer. Without one there is no second answer, and this one is a success.
fn without_vault_keys(flow: &Flow, ask: &PromotionRequest) -> Result<Option<Vec<String>>, Failed> {
    if ask.key.is_some() && flow.recalls() {
        return Err(Failed { problem: Refusal::EXECUTE_FAILED.into(), may_have_happened: true });
    }
    Ok(None)
}

/// State of an approval after a refusal.
pub(super) fn about(record: &ApprovalRecord, may_have_happened: bool) -> About {
    let status = record.approval.status;
    let consumed = match status {
        Status::Executed => Some(true),
        Status::Pending | Status::Approved | Status::Rejected | Status::Expired | Status::Revoked => {
            (!may_have_happened).then_some(false)
        }
    };
    About { status, consumed }
}

/// A promote that was not carried out, or perhaps was.
struct Failed {
    problem: Problem,
    may_have_happened: bool,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self { may_have_happened: error.kind() == StoreErrorKind::Unknown, problem: error.into() }
    }
}

impl From<UnsupportedStep> for Failed {
    /// The flows were checked when they were loaded.
    fn from(_: UnsupportedStep) -> Self {
        Self { may_have_happened: false, problem: Problem::new(Code::Internal) }
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self { may_have_happened: false, problem: refusal.into() }
    }
}

/// Outcome of an order.
enum Done {
    Pending { record: Box<ApprovalRecord>, replayed: bool },
    Promoted(Promoted),
}

/// Changes made by a promotion.
struct Promoted {
    approval: Uuid,
    target: Option<Target>,
    env: String,
    vault_keys: Option<Vec<String>>,
    replayed: bool,
}

impl Done {
    /// The answer: `promoted` writes that of a promotion, from its target, its environment and its source.
    fn answer(
        self,
        source: String,
        promoted: impl FnOnce(Option<Target>, String, String, &Promoted) -> Response,
    ) -> Response {
        let (mut response, replayed) = match self {
            Self::Pending { record, replayed } => {
                let approval = &record.approval;
                let view = PendingView {
                    ok: true,
                    status: match approval.status {
                        Status::Approved => "approved",
                        _ => "pending_approval",
                    },
                    approval_id: approval.id,
                    expires_at: rfc3339(approval.expires_at),
                    from: record.binding.from.to_string(),
                    to: record.binding.to.to_string(),
                    source,
                };
                ((StatusCode::ACCEPTED, Json(view)).into_response(), replayed)
            }
            Self::Promoted(done) => (promoted(done.target, done.env.clone(), source, &done), done.replayed),
        };
        if replayed {
            let value = HeaderValue::from_static("true");
            response.headers_mut().insert(HeaderName::from_static(REPLAYED), value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign::platform::Environment;

    #[test]
    fn an_answer_that_can_be_had_again_is_whole_or_is_asked_for_again() {
        let env = |name| Environment::parse(name).expect("a legal name");
        let binding = Binding { kind: Kind::Stack, from: env("staging"), to: env("production") };
        let ask = PromotionRequest {
            team: Uuid::nil(),
            binding,
            requested_by: "dev@example.com".into(),
            payload: Payload { source: Uuid::nil(), name: None, copy_vault: true },
            key: None,
        };
        let keyed = PromotionRequest { key: Some("mine".into()), ..ask.clone() };
        let told = |flow: &Flow, ask: &PromotionRequest| {
            without_vault_keys(flow, ask).map_err(|failed| {
                let Failed { problem, may_have_happened } = failed;
                (problem.status().as_u16(), problem.code().to_owned(), may_have_happened)
            })
        };
        let flow = Flow::atomic_commit();
        assert_eq!(told(&flow, &ask), Ok(None));
        assert_eq!(told(&flow, &keyed), Err((503, "execute_failed".to_owned(), true)));
    }
}
