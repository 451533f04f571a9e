//! Functions of a team's administrators: the list of its approvals, and a rejection.
//!
//! Administrators belong to one team: another team's approvals are not found.

use axum::{
    Json,
    body::HttpBody,
    extract::{Request, State},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha2::Sha256;
use uuid::Uuid;

use super::{
    App, Backend, Problem,
    bodies::Body,
    decisions::{DecisionBody, reason_of},
    extract::{Parameters, Segments, id},
    openapi::{GiveUpRefusals, ListRefusals, RejectRefusals},
    problem::Code,
    promote::about,
    session::Administrator,
    views::{GivenUpView, ListView, ListedView, RejectedView},
};
use countersign::{
    protocol::{Refusal, Status, Timestamp},
    service::Deployer,
    store::{Decision, DeployLog, Named, PersonalDecision, Place, Query, Verdict},
};

/// Which of the team's approvals.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

/// The team's approvals, the newest first.
#[utoipa::path(
    get,
    path = "/api/v1/admin/promotions",
    tag = "admin",
    params(
        ("status" = Option<String>, Query, description = "pending, approved, rejected, expired, executed or revoked"),
        ("limit" = Option<u16>, Query, minimum = 1, maximum = 200, description = "50 by default"),
        ("cursor" = Option<String>, Query, description = "next_cursor of an earlier answer"),
    ),
    responses((status = 200, body = ListView, description = "A part of the list"), ListRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn list<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    Administrator(session): Administrator,
    Parameters(asked): Parameters<ListQuery>,
) -> Result<Json<ListView>, Problem> {
    let team = session.team;
    let status = match asked.status.as_deref() {
        None => None,
        Some(name) => {
            let named = Status::ALL.into_iter().find(|status| status.to_string() == name);
            Some(named.ok_or_else(|| Problem::new(Code::InvalidStatus))?)
        }
    };
    let limit = match asked.limit.as_deref() {
        None => None,
        Some(limit) => {
            let number = limit.parse().ok().filter(|limit| (1..=Query::MAX_LIMIT).contains(limit));
            Some(number.ok_or_else(|| Problem::new(Code::InvalidLimit))?)
        }
    };
    let after = match asked.cursor.as_deref() {
        None => None,
        Some(cursor) => {
            let place = app.cursors().read(team, cursor);
            Some(place.ok_or_else(|| Problem::new(Code::InvalidCursor))?)
        }
    };
    let page = app.store().list_approvals(&Query { team: Some(team), status, limit, after }).await?;
    Ok(Json(ListView {
        ok: true,
        items: page.items.iter().map(ListedView::from).collect(),
        next_cursor: page.next.map(|place| app.cursors().write(team, place)),
    }))
}

/// Rejects a pending approval. The body may be left out.
#[utoipa::path(
    post,
    path = "/api/v1/admin/promotions/{id}/reject",
    tag = "admin",
    params(("id" = String, Path)),
    request_body = Option<DecisionBody>,
    responses((status = 200, body = RejectedView, description = "Rejected"), RejectRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn reject<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    Administrator(session): Administrator,
    Segments(approval): Segments<String>,
    request: Request,
) -> Result<Json<RejectedView>, Problem> {
    let approval = id(&approval).ok_or_else(|| Problem::new(Code::InvalidId))?;
    let (team, by) = (session.team, session.person()?.to_owned());
    let body = match request.body().is_end_stream() {
        true => None,
        false => Body::take(request, &app, "application/json").await?.parse()?,
    };
    let reason = reason_of(body)?;
    let mine = app.clone();
    let work = async move {
        let (about, verdict) = (Named::OfTeam { team, approval }, Verdict::Reject);
        let decision = PersonalDecision { about, verdict, by: &by, reason: reason.as_deref() };
        mine.store().decide(Decision::Person(decision)).await
    };
    let decided = app.detached(work).await??;
    match decided {
        Ok(record) => {
            app.metrics().transition(Some(Status::Pending), record.approval.status);
            let status = record.approval.status.to_string();
            Ok(Json(RejectedView { ok: true, id: approval, status }))
        }
        Err(refusal) if refusal == Refusal::NOT_PENDING => {
            let record = app.store().approval(team, approval).await.ok().flatten();
            let about = record.map(|record| about(&record, false));
            Err(Problem::from(refusal).about(about))
        }
        Err(refusal) => Err(refusal.into()),
    }
}

/// Gives up on a deploy: it counts as failed, and its command is not started any more. A command that runs is ended by its
/// instance within seconds; one that exits before that decides by its exit code.
#[utoipa::path(
    post,
    path = "/api/v1/admin/promotions/{id}/give-up",
    tag = "admin",
    params(("id" = String, Path)),
    responses((status = 200, body = GivenUpView, description = "Given up"), GiveUpRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn give_up<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    Administrator(session): Administrator,
    Segments(approval): Segments<String>,
) -> Result<Json<GivenUpView>, Problem> {
    let approval = id(&approval).ok_or_else(|| Problem::new(Code::InvalidId))?;
    let (mine, team, by) = (app.clone(), session.team, session.person()?.to_owned());
    app.detached(async move {
        let store = mine.store();
        let record = store.approval(team, approval).await?.ok_or_else(|| Problem::new(Code::NotFound))?;
        if record.approval.status != Status::Executed {
            return Err(Problem::new(Code::ApprovalNotExecuted).about(Some(about(&record, false))));
        }
        if !store.deploy_logs(approval).await?.is_empty() {
            return Err(Problem::new(Code::DeployEnded));
        }
        tracing::warn!(%approval, by, "an administrator gives up on a deploy");
        let output = format!("given up by {by}");
        let log = DeployLog { approval, ended_at: mine.now(), exit_code: None, output };
        store.log_deploy(log.clone()).await?;
        // The deploy may have ended meanwhile.
        if store.deploy_logs(approval).await?.first() != Some(&log) {
            return Err(Problem::new(Code::DeployEnded));
        }
        mine.metrics().deploy("failed");
        Ok(Json(GivenUpView { ok: true, id: approval, status: record.approval.status.to_string() }))
    })
    .await?
}

/// Makes cursors: positions in a list, authenticated so that clients cannot forge them.
pub(super) struct Cursors(Hmac<Sha256>);

impl Cursors {
    /// Length of the code to keep.
    const CODE: usize = 16;
    /// A time and an id.
    const PLACE: usize = 24;

    pub(super) fn new(secret: &[u8]) -> Self {
        // A code of its own: what signs cursors must not sign tokens.
        let Ok(mut code) = Hmac::<Sha256>::new_from_slice(secret) else {
            unreachable!("any key will do for this code")
        };
        code.update(b"countersign cursor");
        Self(code)
    }

    fn code(&self, team: Uuid, place: &[u8]) -> [u8; Self::CODE] {
        let mut code = self.0.clone();
        code.update(team.as_bytes());
        code.update(place);
        let full = code.finalize().into_bytes();
        std::array::from_fn(|index| full[index])
    }

    pub(super) fn write(&self, team: Uuid, place: Place) -> String {
        let mut cursor = Vec::with_capacity(Self::PLACE + Self::CODE);
        cursor.extend(place.created_at.0.to_be_bytes());
        cursor.extend(place.id.as_bytes());
        let code = self.code(team, &cursor);
        cursor.extend(code);
        BASE64_URL_SAFE_NO_PAD.encode(cursor)
    }

    /// The place, if this text was written for this team.
    pub(super) fn read(&self, team: Uuid, text: &str) -> Option<Place> {
        let cursor = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
        let (place, code) = cursor.split_at_checked(Self::PLACE)?;
        // No constant-time comparison: a guess yields a position in the caller's own list, and nothing else.
        if code != self.code(team, place) {
            return None;
        }
        let (at, id) = place.split_first_chunk()?;
        Some(Place { created_at: Timestamp(u64::from_be_bytes(*at)), id: Uuid::from_slice(id).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_valid_for_its_team_only() {
        let (cursors, team) = (Cursors::new(b"secret"), Uuid::from_u128(1));
        let place = Place { created_at: Timestamp(7), id: Uuid::from_u128(9) };
        let cursor = cursors.write(team, place);
        assert_eq!(cursors.read(team, &cursor), Some(place));
        assert_eq!(cursors.read(Uuid::from_u128(2), &cursor), None);
        assert_eq!(Cursors::new(b"another").read(team, &cursor), None);
        for (index, _) in cursor.char_indices() {
            let mut tampered = cursor.clone();
            let other = if tampered.as_bytes()[index] == b'A' { "B" } else { "A" };
            tampered.replace_range(index..=index, other);
            assert_eq!(cursors.read(team, &tampered), None, "{tampered}");
        }
        assert_eq!(cursors.read(team, ""), None);
    }
}
