//! Checks before an approval is requested or used: the caller's role, the source and target environments.

use super::{
    records::{BreakGlass, Plan},
    request::PromotionRequest,
};
use crate::{
    platform::{Binding, Environment, Kind},
    protocol::Refusal,
};

/// The caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller<'a> {
    /// The tier of the caller's team.
    pub plan: Plan,
    /// The caller's e-mail address, where the session has one.
    pub email: Option<&'a str>,
}

/// Admits a request: to promote a source that is in `source_env` (none: there is no such source for this team) from
/// `from`, if it is given, to `to`.
///
/// # Errors
/// In this order: 402 off-plan, 404 not found, 400 invalid environment, 400 invalid target, 409 mismatch of
/// environments, 400 missing e-mail.
pub fn admit(
    caller: Caller<'_>,
    kind: Kind,
    source_env: Option<&Environment>,
    from: Option<&str>,
    to: &str,
) -> Result<Binding, Refusal> {
    let source_env = admit_source(caller, source_env)?;
    let from = from.map_or_else(|| Ok(source_env.clone()), Environment::parse)?;
    let to = Environment::parse(to)?;
    if from == to {
        return Err(Refusal::INVALID_TARGET);
    }
    if from != *source_env {
        return Err(Refusal::ENV_MISMATCH);
    }
    if caller.email.is_none_or(str::is_empty) {
        return Err(Refusal::MISSING_EMAIL);
    }
    Ok(Binding { kind, from, to })
}

/// Requirement of a direct change of an environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Nothing: the environment is open.
    Open,
    /// The event in the team's audit, before the change.
    AfterEvent(BreakGlass),
}

/// Admits a direct change of what runs in an environment: `change` says which, for the audit. An administrator may change a
/// protected environment with a reason.
///
/// # Errors
/// 403 for a reason by another member of the team, 409 for a protected environment without one.
pub fn admit_change(
    env: &Environment,
    change: String,
    by: &str,
    is_admin: bool,
    reason: Option<String>,
) -> Result<Admitted, Refusal> {
    if reason.is_some() && !is_admin {
        return Err(Refusal::ADMIN_REQUIRED);
    }
    match reason {
        _ if !is_protected(env) => Ok(Admitted::Open),
        Some(reason) => {
            Ok(Admitted::AfterEvent(BreakGlass { env: env.clone(), change, by: by.to_owned(), reason }))
        }
        None => Err(Refusal::PROTECTED_ENVIRONMENT),
    }
}

/// The part of [`admit`] that is judged before the request's body is looked at.
///
/// # Errors
/// 402 off-plan, 404 not found.
pub fn admit_source<T>(caller: Caller<'_>, source: Option<T>) -> Result<T, Refusal> {
    if caller.plan < Plan::Pro {
        return Err(Refusal::PLAN_REQUIRED);
    }
    source.ok_or(Refusal::NOT_FOUND)
}

/// Whether what runs in this environment changes by approved promotions only. Every environment but `development` is
/// protected: a name that only looks like it is another name.
pub fn is_protected(env: &Environment) -> bool {
    env.as_str() != "development"
}

/// Whether a rule approves this promotion: into `development`, unless it takes the secrets of a protected environment along.
pub fn is_auto_approved(ask: &PromotionRequest) -> bool {
    let binding = &ask.binding;
    !(is_protected(&binding.to) || ask.payload.copy_vault && is_protected(&binding.from))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLER: Caller<'_> = Caller { plan: Plan::Pro, email: Some("dev@example.com") };

    fn staging() -> Environment {
        Environment::parse("staging").expect("a legal name")
    }

    #[test]
    fn refusals_come_in_their_order() {
        let judge =
            |caller, source: Option<&Environment>, from, to| admit(caller, Kind::Stack, source, from, to);
        let nobody = Caller { plan: Plan::Free, email: None };
        let nameless = Caller { email: None, ..CALLER };
        let staging = staging();
        let here = Some(&staging);
        assert_eq!(judge(nobody, None, Some("a b"), "a b"), Err(Refusal::PLAN_REQUIRED));
        assert_eq!(judge(nameless, None, Some("a b"), "a b"), Err(Refusal::NOT_FOUND));
        assert_eq!(judge(nameless, here, Some("a b"), "qa"), Err(Refusal::INVALID_ENV));
        assert_eq!(judge(nameless, here, Some("qa"), "a b"), Err(Refusal::INVALID_ENV));
        assert_eq!(judge(nameless, here, Some("qa"), "qa"), Err(Refusal::INVALID_TARGET));
        assert_eq!(judge(nameless, here, None, "staging"), Err(Refusal::INVALID_TARGET));
        assert_eq!(judge(nameless, here, Some("qa"), "production"), Err(Refusal::ENV_MISMATCH));
        assert_eq!(judge(nameless, here, None, "production"), Err(Refusal::MISSING_EMAIL));
        let admitted = judge(CALLER, here, None, "production").expect("nothing is wrong");
        assert_eq!((admitted.from.as_str(), admitted.to.as_str()), ("staging", "production"));
    }

    #[test]
    fn only_an_administrator_with_a_reason_changes_a_protected_environment() {
        let judge = |env: &str, is_admin, reason: Option<&str>| {
            let env = Environment::parse(env).expect("a legal name");
            admit_change(&env, "variables".to_owned(), "dev@example.com", is_admin, reason.map(str::to_owned))
        };
        for is_admin in [false, true] {
            assert_eq!(judge("development", is_admin, None), Ok(Admitted::Open));
            for env in ["production", "staging", "Development", "development-2", "deveIopment"] {
                assert_eq!(judge(env, is_admin, None), Err(Refusal::PROTECTED_ENVIRONMENT), "{env}");
            }
        }
        assert_eq!(judge("production", false, Some("outage")), Err(Refusal::ADMIN_REQUIRED));
        assert_eq!(judge("development", false, Some("outage")), Err(Refusal::ADMIN_REQUIRED));
        let Ok(Admitted::AfterEvent(event)) = judge("production", true, Some("outage")) else {
            panic!("an administrator with a reason may")
        };
        let BreakGlass { env, change, by, reason } = event;
        assert_eq!(
            [env.as_str(), &change, &by, &reason],
            ["production", "variables", "dev@example.com", "outage"]
        );
    }
}
