//! Sessions: bearer tokens (JWT), their teams, and the tiers of these.
//!
//! HS256 is verified with the server's secrets only, RS256 and ES256 with the identity provider's keys only: a token's
//! header chooses between the two, and never what they are verified with. A token that is forged, expired or signed by
//! another party gets 401 without a reason.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::sync::RwLock;
use uuid::Uuid;

use super::{App, Backend, IdentityProvider, Problem, problem::Code};
use countersign::{
    protocol::{Refusal, Timestamp},
    service::{Caller, Deployer},
    store::{Plan, Team},
};

/// Claims of a bearer token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The team that the caller belongs to.
    pub team: Uuid,
    /// The caller's e-mail address. Without one nothing can be promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The team's tier: `free`, `pro` or `enterprise`; a [`TenantPolicy`] interprets it. If the team's tokens disagree,
    /// the latest one applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<ClaimedPlan>,
    /// True for an administrator of the team.
    #[serde(default)]
    pub admin: bool,
    /// The end of the token's validity, in seconds since the Unix epoch.
    pub exp: u64,
    /// The beginning of the token's validity, in seconds since the Unix epoch; none: immediately. A token is good up to 60 s
    /// earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// Time of issue. Of two tokens without it the one with the longer validity counts as later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iat: Option<u64>,
}

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("team", &self.team).field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// A plan, as tokens and configuration files write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimedPlan {
    /// [`Plan::Free`]
    Free,
    /// [`Plan::Pro`]
    Pro,
    /// [`Plan::Enterprise`]
    Enterprise,
}

impl From<ClaimedPlan> for Plan {
    fn from(claimed: ClaimedPlan) -> Self {
        match claimed {
            ClaimedPlan::Free => Self::Free,
            ClaimedPlan::Pro => Self::Pro,
            ClaimedPlan::Enterprise => Self::Enterprise,
        }
    }
}

/// A bearer token that says this.
pub fn mint(secret: &[u8], claims: &Claims) -> String {
    let header = Header { kid: Some(key_id(secret)), ..Header::new(Algorithm::HS256) };
    match encode(&header, claims, &EncodingKey::from_secret(secret)) {
        Ok(token) => token,
        Err(error) => unreachable!("claims are plain JSON, and the key fits the algorithm: {error}"),
    }
}

/// The id of a secret, in the header of the tokens that it signs. It says nothing about the secret that such a token
/// does not say as well.
fn key_id(secret: &[u8]) -> String {
    let Ok(mut code) = Hmac::<Sha256>::new_from_slice(secret) else {
        unreachable!("any key will do for this code")
    };
    code.update(b"countersign: the id of a key");
    BASE64_URL_SAFE_NO_PAD.encode(&code.finalize().into_bytes()[..9])
}

/// Tier and limits of teams, as configured.
pub trait TenantPolicy: Send + Sync {
    /// The plan and the cap of this team, whose token claims this plan.
    fn terms(&self, team: Uuid, claimed: Option<Plan>) -> Team;

    /// A number that changes when [`terms`](Self::terms) may answer otherwise than before.
    fn edition(&self) -> u64 {
        0
    }

    /// True if an approver exists for requests of this member of the team. Otherwise the request is refused: its link
    /// would have no recipient.
    fn has_approver(&self, _team: Uuid, _requester: &str) -> bool {
        true
    }

    /// True if this person may decide, with a session or a link, about what `requester` requests.
    fn may_decide(&self, _team: Uuid, _requester: &str, _person: &str) -> bool {
        false
    }
}

impl<F: Fn(Uuid, Option<Plan>) -> Team + Send + Sync> TenantPolicy for F {
    fn terms(&self, team: Uuid, claimed: Option<Plan>) -> Team {
        self(team, claimed)
    }
}

/// The claimed tier, or Pro by default, with the tier's cap.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByPlan;

impl TenantPolicy for ByPlan {
    fn terms(&self, _team: Uuid, claimed: Option<Plan>) -> Team {
        let plan = claimed.unwrap_or(Plan::Pro);
        let deployment_cap = match plan {
            Plan::Free => 3,
            Plan::Pro => 50,
            Plan::Enterprise => 1_000,
        };
        Team { plan, deployment_cap }
    }
}

/// How far an issuer's clock may be ahead of this instance's. The end of a token has no leeway.
const LEEWAY_S: u64 = 60;

/// Tells good tokens from others.
pub(super) struct Sessions {
    /// By their ids, the newest first.
    keys: Vec<(String, DecodingKey)>,
    identity: Option<Arc<IdentityProvider>>,
    validation: Validation,
    teams: Mutex<BTreeMap<Uuid, Arc<RwLock<Option<Known>>>>>,
}

/// A team as last stored, and the token that determined it.
#[derive(Clone, Copy, Debug)]
struct Known {
    by: Authority,
    team: Team,
    /// The policy's [`edition`](TenantPolicy::edition).
    edition: u64,
}

/// Precedence of a token's claims about its team: no tier below any tier, earlier below later. Tokens with different
/// claims are never equal, so that the result does not depend on the order of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Authority {
    claims_one: bool,
    iat: u64,
    exp: u64,
    plan: Option<ClaimedPlan>,
}

impl Authority {
    fn of(claims: &Claims) -> Self {
        let Claims { plan, iat, exp, .. } = *claims;
        Self { claims_one: plan.is_some(), iat: iat.unwrap_or_default(), exp, plan }
    }
}

impl Sessions {
    pub(super) fn new(secret: &[u8], earlier: &[Vec<u8>], identity: Option<Arc<IdentityProvider>>) -> Self {
        let key = |secret: &[u8]| (key_id(secret), DecodingKey::from_secret(secret));
        let keys = [secret].into_iter().chain(earlier.iter().map(Vec::as_slice)).map(key).collect();
        let mut validation = Validation::new(Algorithm::HS256);
        // By the instance's own clock, below.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self { keys, identity, validation, teams: Mutex::default() }
    }

    fn verified(&self, token: &str) -> Option<Claims> {
        let header = decode_header(token).ok()?;
        match header.alg {
            Algorithm::HS256 => {
                // The id is a hint: a token of another program may have one of its own, or none.
                let named = self.keys.iter().filter(|(id, _)| header.kid.as_ref() == Some(id));
                let others = self.keys.iter().filter(|(id, _)| header.kid.as_ref() != Some(id));
                let verified =
                    |(_, key): &(String, DecodingKey)| decode::<Claims>(token, key, &self.validation).ok();
                named.chain(others).find_map(verified).map(|token| token.claims)
            }
            Algorithm::RS256 | Algorithm::ES256 => self.identity.as_ref()?.claims(token, &header),
            _ => None,
        }
    }

    /// The claims of the request's bearer token; `None` without a valid one.
    pub(super) fn claims(&self, headers: &HeaderMap, now: Timestamp) -> Option<Claims> {
        let mut sent = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(only), None) = (sent.next(), sent.next()) else { return None };
        let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let claims = self.verified(token.trim())?;
        let now_s = now.0 / 1000;
        let is_good = now_s < claims.exp && claims.nbf.is_none_or(|from| from <= now_s + LEEWAY_S);
        // A store may be unable to keep what no address has in it.
        let is_text = claims.email.as_ref().is_none_or(|email| !email.contains(char::is_control));
        (is_good && is_text).then_some(claims)
    }

    /// The shared entry of this team.
    fn team(&self, id: Uuid) -> Arc<RwLock<Option<Known>>> {
        /// The most teams that are remembered; beyond that the store is written again.
        const MOST: usize = 65_536;
        let mut teams = self.teams.lock().unwrap_or_else(PoisonError::into_inner);
        if teams.len() >= MOST && !teams.contains_key(&id) {
            teams.clear();
        }
        Arc::clone(teams.entry(id).or_default())
    }
}

impl<B: Backend, D: Deployer + 'static> App<B, D> {
    /// The team of this token, according to the latest of its tokens; also written to the store.
    async fn team(&self, claims: &Claims) -> Result<Team, Problem> {
        let by = Authority::of(claims);
        let team = self.sessions().team(claims.team);
        let edition = self.tenants().edition();
        let is_current = |known: &Known| by <= known.by && known.edition == edition;
        if let Some(known) = team.read().await.filter(is_current) {
            return Ok(known.team);
        }
        // One writer at a time, so that this entry is what the store was given last.
        let mut team = team.write().await;
        if let Some(known) = team.filter(is_current) {
            return Ok(known.team);
        }
        let by = team.map_or(by, |known| by.max(known.by));
        let terms = self.tenants().terms(claims.team, by.plan.map(Plan::from));
        if team.is_none_or(|known| known.team != terms) {
            self.store().put_team(claims.team, terms).await?;
        }
        *team = Some(Known { by, team: terms, edition });
        Ok(terms)
    }
}

/// A caller with a good token. The caller's team is in the store.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) team: Uuid,
    pub(super) plan: Plan,
    pub(super) email: Option<String>,
    pub(super) admin: bool,
}

impl Session {
    pub(super) fn caller(&self) -> Caller<'_> {
        Caller { plan: self.plan, email: self.email.as_deref() }
    }

    /// The name that a decision or a direct change is recorded under. Without one it is refused.
    pub(super) fn person(&self) -> Result<&str, Refusal> {
        self.email.as_deref().filter(|email| !email.is_empty()).ok_or(Refusal::MISSING_EMAIL)
    }
}

impl<B: Backend, D: Deployer + 'static> FromRequestParts<App<B, D>> for Session {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<B, D>) -> Result<Self, Problem> {
        let claims = app.sessions().claims(&parts.headers, app.now());
        let claims = claims.ok_or_else(|| Problem::new(Code::Unauthorized))?;
        let plan = app.team(&claims).await?.plan;
        let Claims { team, email, admin, .. } = claims;
        Ok(Self { team, plan, email, admin })
    }
}

/// A caller who administers the team.
#[derive(Clone, Debug)]
pub(super) struct Administrator(pub(super) Session);

impl<B: Backend, D: Deployer + 'static> FromRequestParts<App<B, D>> for Administrator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App<B, D>) -> Result<Self, Problem> {
        let session = Session::from_request_parts(parts, app).await?;
        if session.admin { Ok(Self(session)) } else { Err(Problem::new(Code::AdminRequired)) }
    }
}
