//! Direct changes of protected environments: refused, or made by an administrator who gives a reason.

use axum::{Json, extract::FromRequestParts, extract::State, http::request::Parts};

use super::{
    App, Backend, Problem,
    openapi::BreakGlassRefusals,
    problem::Code,
    session::{Administrator, Session},
    time::rfc3339,
    views::{GlassBrokenListView, GlassBrokenView},
};
use countersign::{
    platform::Environment,
    service::{Admitted, Deployer, admit_change},
};

/// The header with the administrator's reason.
pub(super) const HEADER: &str = "break-glass";

/// The reason of a direct change, where its caller gives one.
#[derive(Clone, Debug)]
pub(super) struct Reason(Option<String>);

impl<S: Sync> FromRequestParts<S> for Reason {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        const LONGEST: usize = 500;
        let mut sent = parts.headers.get_all(HEADER).iter();
        let text = match (sent.next(), sent.next()) {
            (None, _) => return Ok(Self(None)),
            (Some(only), None) => only.to_str().map(str::trim).unwrap_or_default(),
            (Some(_), Some(_)) => "",
        };
        if text.is_empty() || text.len() > LONGEST {
            return Err(Problem::new(Code::InvalidBreakGlass));
        }
        Ok(Self(Some(text.to_owned())))
    }
}

impl Reason {
    /// Admits a direct change of this environment; `change` names it in the audit. With a reason that is needed, its event is
    /// written.
    pub(super) async fn admit<B: Backend, D: Deployer + 'static>(
        self,
        app: &App<B, D>,
        session: &Session,
        env: &Environment,
        change: String,
    ) -> Result<(), Problem> {
        let by = session.email.as_deref().unwrap_or_default();
        match admit_change(env, change, by, session.admin, self.0)? {
            Admitted::Open => Ok(()),
            Admitted::AfterEvent(event) => {
                let by = session.person()?;
                tracing::warn!(team = %session.team, %env, by, "an administrator changes a protected environment directly");
                Ok(app.store().break_glass(session.team, event).await?)
            }
        }
    }
}

/// The team's latest direct changes of protected environments, the newest first. An event is written before its change: the
/// change itself may have failed.
#[utoipa::path(
    get,
    path = "/api/v1/admin/break-glass",
    tag = "admin",
    responses((status = 200, body = GlassBrokenListView, description = "At most 200"), BreakGlassRefusals),
    security(("bearer" = [])),
)]
pub(super) async fn list_glass_broken<B: Backend, D: Deployer + 'static>(
    State(app): State<App<B, D>>,
    Administrator(session): Administrator,
) -> Result<Json<GlassBrokenListView>, Problem> {
    let events = app.store().glass_broken(session.team).await?;
    let view = |event: countersign::store::GlassBroken| GlassBrokenView {
        at: rfc3339(event.at),
        env: event.what.env.to_string(),
        change: event.what.change,
        by: event.what.by,
        reason: event.what.reason,
    };
    Ok(Json(GlassBrokenListView { ok: true, items: events.into_iter().map(view).collect() }))
}
